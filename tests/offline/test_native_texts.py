"""Names in a snapshot or a file system may be any bytes: the native module takes and tells them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import pytest
from gdbext import native

ODD = "no-such-\udcff\udc9b.ckpt"


def _on_a_file(function: Callable[..., Any]) -> Callable[[str], Any]:
    """`function` of an empty file that is called by a path."""

    def call(path: str) -> Any:
        with open(os.devnull, "rb") as stream:
            return function(stream.fileno(), path)

    return call


CALLS: dict[str, Callable[[str], Any]] = {
    "describe": lambda path: native.core.describe(path),
    "validate": lambda path: native.core.validate(path, {}),
    "proxied_vdso_kernel": lambda path: native.core.proxied_vdso_kernel(path),
    "relabel": lambda path: native.core.relabel(path, ODD, ODD),
    "elf_symbols": lambda path: native.core.elf_symbols(path),
    "read_record": _on_a_file(lambda fd, path: native.core.read_record(fd, path)),
    "verify_memory": _on_a_file(lambda fd, path: native.core.verify_memory(fd, path)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_failure_names_the_file(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / ODD)
    with pytest.raises(native.core.NativeError) as raised:
        CALLS[name](path)
    assert path in str(raised.value)


def test_digests(tmp_path: Path) -> None:
    path = tmp_path / ODD
    path.write_bytes(b"content")
    with open(path, "rb") as stream:
        digest = native.core.digest_file(stream.fileno(), str(path))
        assert native.core.has_digest(stream.fileno(), str(path), digest)
        assert not native.core.has_digest(stream.fileno(), str(path), digest[:-1] + "\udc9b")
