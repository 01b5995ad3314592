"""Fixtures of the tests of snapshots as data:
the package under plain Python, and real snapshots.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.checkpoint import Workshop
from support.offline import Scene

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture(autouse=True)
def build_under_test(build_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package looks for its native module and programs where they were built."""
    monkeypatch.setenv("CKPT_BUILD_DIR", str(build_dir))


@pytest.fixture
def workshop(
    build_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workshop]:
    """The test's directory, store and processes; the store is the default one."""
    made = Workshop(build_dir, tmp_path)
    monkeypatch.setenv("CKPT_DIR", str(made.store))
    yield made
    made.close()


@pytest.fixture
def scene(workshop: Workshop) -> Callable[..., Scene]:
    """Starts the program."""
    return lambda variant="": Scene(workshop, variant)
