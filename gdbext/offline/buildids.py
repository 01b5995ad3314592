"""Build ids of ELF files, and the separate debug information that is found by them."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Optional, Sequence, Tuple

# Where distributions and GDB put it.
DEBUG_DIRECTORIES = (Path("/usr/lib/debug"), Path("/usr/local/lib/debug"))
_PT_NOTE = 4
_NT_GNU_BUILD_ID = 3
_MOST_HEADERS = 1024


def valid_build_id(text: str) -> bool:
    """Whether `text` is a build id in hex digits, as it is used in file names."""
    return re.fullmatch(r"[0-9a-f]{4,128}", text) is not None and len(text) % 2 == 0


def build_id(content: memoryview) -> Optional[str]:
    """The build id of an ELF file in hex digits, or None. Whatever makes no sense has none."""
    try:
        if bytes(content[:5]) != b"\x7fELF\2":
            return None
        (offset,) = struct.unpack_from("<Q", content, 32)
        size, count = struct.unpack_from("<HH", content, 54)
        if offset >= len(content):
            return None
        for index in range(min(count, _MOST_HEADERS)):
            kind, _, at, _, _, length = struct.unpack_from(
                "<IIQQQQ", content, offset + index * size
            )
            found = _in_notes(content[at : at + length]) if kind == _PT_NOTE else None
            if found is not None:
                return found
    except (struct.error, OverflowError):
        pass  # it ends early, or leads to where no file ends
    return None


def _in_notes(notes: memoryview) -> Optional[str]:
    at = 0
    while len(notes) - at >= 12:
        name_bytes, content_bytes, kind = struct.unpack_from("<III", notes, at)
        start = at + 12 + (name_bytes + 3 & ~3)
        end = start + content_bytes
        if kind == _NT_GNU_BUILD_ID and bytes(notes[at + 12 : at + 12 + name_bytes]) == b"GNU\0":
            text = bytes(notes[start:end]).hex()
            return text if valid_build_id(text) else None
        at = start + (content_bytes + 3 & ~3)
    return None


def debug_file(
    content: memoryview, directories: Optional[Sequence[Path]] = None
) -> Optional[Tuple[str, Path]]:
    """The build id of an ELF file, and its separate debug information in `directories` (the usual
    ones of this machine); None when there is none.
    """
    found = build_id(content)
    if found is None:
        return None
    for directory in DEBUG_DIRECTORIES if directories is None else directories:
        path = directory / ".build-id" / found[:2] / f"{found[2:]}.debug"
        if path.is_file():
            return found, path
    return None
