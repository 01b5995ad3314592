"""Snapshots as another machine would have written them: the record is taken apart, changed, and put
together again with right digests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gdbext import native

_NOTE = b"CKPT\0\0\0\0"
_EXTENT = struct.Struct("<4Q")


def _head(major: int, value: int) -> bytes:
    for code, form, limit in (
        (24, ">B", 1 << 8),
        (25, ">H", 1 << 16),
        (26, ">I", 1 << 32),
        (27, ">Q", 1 << 64),
    ):
        if value < 24:
            return bytes([major << 5 | value])
        if value < limit:
            return bytes([major << 5 | code]) + struct.pack(form, value)
    raise ValueError(value)


class Encoded(bytes):
    """An item that is CBOR already."""

    @classmethod
    def many(cls, item: bytes, count: int) -> Encoded:
        """A list of `count` items that are all the same."""
        return cls(_head(4, count) + item * count)

    @classmethod
    def of(cls, items: list[bytes]) -> Encoded:
        """A list of items."""
        return cls(_head(4, len(items)) + b"".join(items))


def encode(value: Any) -> bytes:
    """CBOR (RFC 8949), of what a record holds. Texts are bytes that need not be UTF-8:
    surrogates stand for those.
    """
    if isinstance(value, Encoded):
        return bytes(value)
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogateescape")
        return _head(3, len(text)) + text
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(encode, value))
    return _head(5, len(value)) + b"".join(
        encode(key) + encode(item) for key, item in value.items()
    )


def decode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """The item at `at`, and where the next one begins."""
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7 and info < 24:
        return {20: False, 21: True, 22: None}[info], at
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(info, 0)
    raw = data[at : at + size]
    at += size
    if major == 7:
        return struct.unpack({4: ">f", 8: ">d"}[size], raw)[0], at
    number = int.from_bytes(raw, "big") if size else info
    if major < 2:
        return (number if major == 0 else -1 - number), at
    if major < 4:
        content = data[at : at + number]
        return (content if major == 2 else content.decode("utf-8", "surrogateescape")), at + number
    items = []
    for _ in range(number * (major - 3)):
        item, at = decode(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


_OF_PROCESS = (
    "program",
    "process",
    "threads",
    "memory",
    "signals",
    "timers",
    "children",
    "clocks",
    "own_clocks",
    "aio",
    "ring_numbers",
)


def _as_version_1(record: dict[str, Any]) -> dict[str, Any]:
    """The record as the first version of the format had it: that of one process."""
    record = dict(record)
    shared = record.pop("shared")
    (process,) = record.pop("processes")
    mappings = [dict(row) for row in process["memory"]["mappings"]]
    for row in mappings:
        index = row.pop("shared")
        row["sharing"] = "" if index is None else shared["memory"][index]["name"]
    old = {key: process[key] for key in _OF_PROCESS if key in process}
    old["memory"] = {**process["memory"], "mappings": mappings}
    old["files"] = {
        "descriptors": process["descriptors"],
        "descriptions": shared["descriptions"],
    }
    for key in ("sysv", "terminal_input"):
        old[key] = shared[key]
    (extents,) = record.pop("extents")
    return {**record, **old, "extents": extents, "format": 1}


class Forgery:
    """A snapshot that can be changed. `record` is the whole record, `process` the image of its
    process in it, `shared` what other processes could share.
    """

    def __init__(self, image: Path) -> None:
        self.path = image
        self.content = bytearray(image.read_bytes())
        (self._table,) = struct.unpack_from("<Q", self.content, 32)
        # The first program header is that of the notes, of which ours is the last.
        _, _, self._notes, _, _, size, _, _ = struct.unpack_from(
            "<IIQQQQQQ", self.content, self._table
        )
        self._ours = self.content.rindex(_NOTE, self._notes, self._notes + size) - 12
        _, length, _ = struct.unpack_from("<III", self.content, self._ours)
        self.record: dict[str, Any] = decode(
            bytes(self.content[self._ours + 44 : self._ours + 20 + length])
        )[0]

        (self.process,) = self.record["processes"]
        self.shared = self.record["shared"]

    @property
    def extents(self) -> bytes:
        """Where memory stands in the file."""
        (packed,) = self.record["extents"]
        assert isinstance(packed, bytes)
        return packed

    @extents.setter
    def extents(self, packed: bytes) -> None:
        self.record["extents"] = [packed]

    def mapping(self, path: str) -> dict[str, Any]:
        """The row of the record about the mapping of that path."""
        (found,) = (row for row in self.process["memory"]["mappings"] if row["path"] == path)
        row: dict[str, Any] = found
        return row

    def memory(self, start: int, end: int) -> bytes:
        """Stored bytes, which must stand in one piece of the file."""
        at, _ = self._place(start, end)
        return bytes(self.content[at : at + end - start])

    def write_memory(self, start: int, data: bytes) -> None:
        """Change stored bytes."""
        at, index = self._place(start, start + len(data))
        self.content[at : at + len(data)] = data
        rows = [list(row) for row in _EXTENT.iter_unpack(self.extents)]
        _, offset, size, _ = rows[index]
        rows[index][3] = native.core.digest64(bytes(self.content[offset : offset + size]))
        self.extents = b"".join(_EXTENT.pack(*row) for row in rows)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """All of the stored memory: addresses and bytes."""
        for address, offset, size, _ in _EXTENT.iter_unpack(self.extents):
            yield address, bytes(self.content[offset : offset + size])

    def _place(self, start: int, end: int) -> tuple[int, int]:
        for index, (address, offset, size, _) in enumerate(
            _EXTENT.iter_unpack(self.extents)
        ):
            if address <= start and end <= address + size:
                return offset + start - address, index
        raise AssertionError(f"{start:#x}-{end:#x} is not stored")

    def write(self, path: Path, *, version: int = 2) -> Path:
        """The changed snapshot, in that version of the format."""
        cbor = encode(_as_version_1(self.record) if version == 1 else self.record)
        front = self.content[: self._notes]
        before = self.content[self._notes : self._ours]
        padded = cbor + bytes(-len(cbor) % 4)
        size = len(before) + 20 + 24 + len(padded)
        struct.pack_into("<Q", front, self._table + 32, size)
        count = struct.unpack_from("<H", front, 56)[0]
        around = front[:64] + front[self._table : self._table + 56 * count] + before
        head = struct.pack(
            "<IIQQ", version, 0, native.core.digest64(cbor), native.core.digest64(bytes(around))
        )
        note = struct.pack("<III", 5, 24 + len(cbor), 1) + _NOTE + head + padded
        path.write_bytes(bytes(front) + bytes(before) + note)
        return path
