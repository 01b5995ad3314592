"""What the dynamic linker of a saved program called its libraries, and which files they are.

A debugger opens libraries by the names in the linker's list (`struct link_map`). These are texts as
the linker put them together, from RPATH, LD_LIBRARY_PATH or an argument of dlopen(): with "..", by
way of symbolic links that may lead elsewhere by now, or relative to what was the working directory
at that time. The kernel says which file is mapped. The list lies in the program's memory, so it is
in every snapshot, whichever program saved it.
"""

from __future__ import annotations

import os
import struct
from typing import Iterator, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import SnapshotError, SymbolError
from .snapshot import Snapshot

_AT_PHDR, _AT_PHENT, _AT_PHNUM = 3, 4, 5
_PT_LOAD, _PT_DYNAMIC, _PT_PHDR = 1, 2, 6
_DT_NULL, _DT_DEBUG = 0, 21
# A damaged list has no end.
_MOST = 1 << 16
_MOST_NAME_BYTES = 1 << 14
_MOST_BYTES = 1 << 24  # of all names: many entries may have one
_MOST_HEADERS = 1 << 16  # e_phnum has 16 bits


class Linked(NamedTuple):
    """A library: `name` is the linker's, `path` the kernel's at the save."""

    name: str
    path: str


def libraries(snapshot: Snapshot) -> Tuple[Linked, ...]:
    """The libraries of the saved program, in the linker's order and without the program itself.

    None for a program that has no dynamic linker, or whose linker had not begun. What cannot be
    read ends the list.
    """
    found = []
    room = _MOST_BYTES
    try:
        for name_at, dynamic_at in _entries(snapshot):
            name = os.fsdecode(snapshot.read_cstring(name_at, _MOST_NAME_BYTES))
            room -= len(name)
            if room < 0:
                break
            mapping = snapshot.memory.mapping_at(dynamic_at)
            if name and mapping is not None and mapping.file is not None:
                found.append(Linked(name, mapping.path))
    except SnapshotError:
        pass
    return tuple(found)


def _entries(snapshot: Snapshot) -> Iterator[Tuple[int, int]]:
    """The addresses of the name and of the dynamic section, of every `struct link_map`."""
    namespace = _debug_structure(snapshot)
    seen: Set[int] = set()
    while namespace and namespace not in seen:
        seen.add(namespace)
        version, entry = struct.unpack("<i4xQ", snapshot.read(namespace, 16))
        while entry and entry not in seen and len(seen) < _MOST:
            seen.add(entry)
            _, name_at, dynamic_at, following = struct.unpack("<4Q", snapshot.read(entry, 32))
            yield name_at, dynamic_at
            entry = following
        # Those of dlmopen() have lists of their own since version 2.
        namespace = _word(snapshot, namespace + 40) if version >= 2 else 0


def _debug_structure(snapshot: Snapshot) -> int:
    """The address of `struct r_debug`, or 0."""
    dynamic = _dynamic_section(snapshot)
    places: Sequence[int] = () if dynamic is None else range(dynamic, dynamic + 16 * _MOST, 16)
    for place in places:
        tag, value = struct.unpack("<2Q", snapshot.read(place, 16))
        if tag == _DT_DEBUG and value:
            return int(value)
        if tag == _DT_NULL:
            break
    # When the linker itself was executed, with the program as its argument, it is the program here.
    try:
        return snapshot.symbol("_r_debug").address
    except SymbolError:
        return 0


def _dynamic_section(snapshot: Snapshot) -> Optional[int]:
    """The address of the executable's, or None."""
    headers, size, count = (snapshot.auxv.get(key, 0) for key in (_AT_PHDR, _AT_PHENT, _AT_PHNUM))
    if not headers or size < 56:
        return None
    mapping = snapshot.memory.mapping_at(headers)
    base = dynamic = beginning = None
    for index in range(min(count, _MOST_HEADERS)):
        kind, _, offset, address = struct.unpack("<2I2Q", snapshot.read(headers + index * size, 24))
        if kind == _PT_PHDR:
            base = headers - address
        elif kind == _PT_LOAD and offset == 0:
            beginning = address
        elif kind == _PT_DYNAMIC:
            dynamic = address
    if base is None and beginning is not None and mapping is not None:
        base = mapping.start - mapping.offset - beginning  # glibc's linker has no PT_PHDR
    return None if dynamic is None or base is None else int(base + dynamic)


def _word(snapshot: Snapshot, address: int) -> int:
    return int.from_bytes(snapshot.read(address, 8), "little")
