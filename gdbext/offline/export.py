"""A snapshot as a plain core file, for tools that know nothing of gdb-ckpt or its store.

A snapshot is a core file already, but one that leaves out what stands in the store. Here all memory
is written that the program could read: code and constants too, and untouched memory as holes. The
notes are the snapshot's, without ours, and NT_FILE names the program's files as the program did.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

from ..errors import DamagedError, MissingContentError
from ..publish import new_file, write_all
from .memory import Memory, Piece
from .saved import PAGE_BYTES, SavedMapping
from .snapshot import Snapshot

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_NOTE = struct.Struct("<III")
_PT_LOAD, _PT_NOTE = 1, 4
_NT_FILE = 0x46494C45
_PN_XNUM = 0xFFFF
# Untouched memory of more than this stays out of the file: a sanitizer reserves 14 TiB.
_LARGEST_HOLE = 16 << 20


class Exported(NamedTuple):
    """A core file that was written: what it takes on disk, and the files whose content is missing
    in it.
    """

    path: Path
    disk_bytes: int
    missing: Tuple[str, ...]


class _Segment(NamedTuple):
    start: int
    end: int
    flags: int
    pieces: Tuple[Piece, ...]  # none: it is not in the file


def export(snapshot: Snapshot, output: Path, *, force: bool = False) -> Exported:
    """Write `snapshot` as the core file `output`; `force` replaces an existing file.

    The file has mode 0600: it holds all of the program's secrets. Raises SnapshotError, CkptError;
    there is no file then.
    """
    missing: List[str] = []
    segments: List[_Segment] = []
    for mapping in snapshot.maps:
        segments += _segments(snapshot.memory, mapping, missing)
    notes = b"".join(_notes(snapshot))
    many = len(segments) + 1 >= _PN_XNUM
    front = _HEADER.size + _PROGRAM_HEADER.size * (len(segments) + 1)
    front += _SECTION_HEADER.size if many else 0
    offset = -(-(front + len(notes)) // PAGE_BYTES) * PAGE_BYTES
    headers = [_PROGRAM_HEADER.pack(_PT_NOTE, 0, front, 0, 0, len(notes), 0, 4)]
    places = []
    for each in segments:
        size = each.end - each.start
        in_file = size if each.pieces else 0
        headers.append(
            _PROGRAM_HEADER.pack(
                _PT_LOAD, each.flags, offset, each.start, 0, in_file, size, PAGE_BYTES
            )
        )
        places.append(offset)
        offset += in_file
    with new_file(output, force=force) as fd:
        os.ftruncate(fd, offset)
        content = _elf_header(len(headers), many) + b"".join(headers)
        if many:
            content += _SECTION_HEADER.pack(0, 0, 0, 0, 0, 0, 0, len(headers), 0, 0)
        write_all(fd, memoryview(content + notes), 0)
        for each, place in zip(segments, places):
            for piece in each.pieces:
                if piece.kind != "zero":
                    view = snapshot.memory.view(piece)
                    write_all(fd, view, place + piece.address - each.start)
        disk_bytes = os.fstat(fd).st_blocks * 512
    return Exported(output, disk_bytes, tuple(missing))


def _segments(memory: Memory, mapping: SavedMapping, missing: List[str]) -> Iterator[_Segment]:
    flags = sum(bit for letter, bit in (("r", 4), ("w", 2), ("x", 1)) if letter in mapping.prot)
    run: List[Piece] = []
    for piece in memory.pieces(mapping, mapping.start, mapping.end):
        present = piece.kind != "missing"
        if piece.kind == "zero" and piece.size > _LARGEST_HOLE:
            present = False
        if piece.kind == "file":
            try:
                memory.view(piece)
            except MissingContentError:
                present = False
                if mapping.path not in missing:
                    missing.append(mapping.path)
        if present:
            run.append(piece)
            continue
        if run:
            yield _Segment(run[0].address, run[-1].end, flags, tuple(run))
            run = []
        if piece.kind != "missing" or mapping.backing != "kernel":
            yield _Segment(piece.address, piece.end, flags, ())
    if run:
        yield _Segment(run[0].address, run[-1].end, flags, tuple(run))


def _elf_header(count: int, many: bool) -> bytes:
    identity = b"\x7fELF\2\1\1".ljust(16, b"\0")
    sections = _HEADER.size + _PROGRAM_HEADER.size * count if many else 0
    return _HEADER.pack(
        identity, 4, 62, 1, 0, _HEADER.size, sections, 0,
        _HEADER.size, _PROGRAM_HEADER.size, _PN_XNUM if many else count,
        _SECTION_HEADER.size if many else 0, 1 if many else 0, 0,
    )  # fmt: skip


def _notes(snapshot: Snapshot) -> Iterator[bytes]:
    """The notes of the snapshot's file, which the reader has compared with their digest."""
    with open(snapshot.path, "rb") as stream:
        header = stream.read(_HEADER.size)
        first = stream.read(_PROGRAM_HEADER.size)
        if len(first) < _PROGRAM_HEADER.size or header[:4] != b"\x7fELF":
            raise DamagedError(f"{snapshot.path}: not a snapshot")
        kind, _, offset, _, _, size, _, _ = _PROGRAM_HEADER.unpack(first)
        if kind != _PT_NOTE or offset + size > os.fstat(stream.fileno()).st_size:
            raise DamagedError(f"{snapshot.path}: not a snapshot")
        stream.seek(offset)
        notes = memoryview(stream.read(size))
    at = 0
    while len(notes) - at >= _NOTE.size:
        name_bytes, content_bytes, kind = _NOTE.unpack_from(notes, at)
        content_at = at + _NOTE.size + _padded(name_bytes)
        end = content_at + _padded(content_bytes)
        if end > len(notes):
            raise DamagedError(f"{snapshot.path}: not a snapshot")
        owner = bytes(notes[at + _NOTE.size : at + _NOTE.size + name_bytes])
        if owner == b"CORE\0" and kind == _NT_FILE:
            yield _note(b"CORE\0", _NT_FILE, _file_table(snapshot.maps))
        elif owner != b"CKPT\0":
            yield bytes(notes[at:end])
        at = end


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _note(owner: bytes, kind: int, content: bytes) -> bytes:
    head = _NOTE.pack(len(owner), len(content), kind)
    return (
        head + owner.ljust(_padded(len(owner)), b"\0") + content.ljust(_padded(len(content)), b"\0")
    )


def _file_table(mappings: Tuple[SavedMapping, ...]) -> bytes:
    named = [mapping for mapping in mappings if mapping.file is not None]
    table = [struct.pack("<QQ", len(named), PAGE_BYTES)]
    table += [struct.pack("<QQQ", m.start, m.end, m.offset // PAGE_BYTES) for m in named]
    table += [os.fsencode(mapping.path) + b"\0" for mapping in named]
    return b"".join(table)
