"""The version stands in gdbext/__init__.py; what cannot read it there says the same."""

from __future__ import annotations

from pathlib import Path

from gdbext import __version__, native

ROOT = Path(__file__).resolve().parents[3]


def test_the_native_module(native_module: Path) -> None:
    assert native.core.version() == f"gdb-ckpt {__version__}"


def test_the_debian_package() -> None:
    changelog = (ROOT / "debian" / "changelog").read_text()
    assert changelog.startswith(f"gdb-ckpt ({__version__}) ")
