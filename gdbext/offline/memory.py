"""The memory of a snapshot: bytes by address, from the image and from the files that were mapped.

The image holds what the program had written; what it had not is zero in memory of its own, and in
the mapping of a file what the file holds, whose content is taken from a store. Both are mapped
into our memory, so that reading costs one copy and looking costs none. Every stored piece and every
file is compared with its digest when it is first looked at.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from .. import native
from ..errors import DamagedError, MissingContentError, SnapshotError, UnmappedError, VersionError
from ..records import StoredObject
from . import opening
from .saved import PAGE_BYTES, KeptFile, SavedMapping

_ZEROS = memoryview(bytes(1 << 20))
_EXTENT_WORDS = 4


def object_path(store: Path, stored: Tuple[str, str]) -> Optional[Path]:
    """Where a store keeps the object (hash, name), or None for what is no name of one. Whether it
    is there is another question.
    """
    found = native.core.store_object(store, *stored)
    return Path(found) if found is not None else None


def translated(error: Any) -> SnapshotError:
    """The native module's error as a CkptError."""
    kinds = {"damaged": DamagedError, "unsupported": VersionError}
    return kinds.get(error.kind, SnapshotError)(str(error))


def _map(fd: int, size: int) -> memoryview:
    """A file's content as read-only memory; the mapping lives as long as there is a view of it."""
    if size == 0:
        return memoryview(b"")
    return memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_READ))


def is_unchanged(file: KeptFile) -> bool:
    """Whether the file is at its old place, and has not been written to since the save."""
    try:
        found = os.stat(file.path)
    except (OSError, ValueError):
        return False
    identity = (file.device, file.inode, file.size, file.mtime_ns, file.ctime_ns)
    return not file.deleted and identity == (
        found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )  # fmt: skip


class Contents:
    """The contents of the program's files, as they were at the save."""

    def __init__(self, stores: Sequence[Path]) -> None:
        self._stores = tuple(stores)
        self._views: Dict[KeptFile, memoryview] = {}

    def path(self, file: KeptFile) -> Path:
        """A file with this content: a store's copy, else the file itself when it has not changed.
        Raises MissingContentError.
        """
        if file.object is not None:
            kept = self._kept(file.object, file.size)
            if kept is not None:
                return kept
        if is_unchanged(file):
            return Path(file.path)
        why = "its copy is in no store" if file.object else "its content was not kept"
        raise MissingContentError(f"{file.path} is not what it was at the save, and {why}")

    def object(self, stored: StoredObject) -> Path:
        """A file with the content `stored`: a store's copy, else the file that it was taken from,
        if it still has it. Raises MissingContentError.
        """
        path = self._kept((stored.hash, stored.name), stored.size)
        if path is not None:
            return path
        try:
            with opening.regular(stored.path) as stream:
                if os.fstat(stream.fileno()).st_size == stored.size:
                    if native.core.has_digest(stream.fileno(), stored.path, stored.hash):
                        return Path(stored.path)
        except (OSError, ValueError):
            pass
        raise MissingContentError(f"the content of {stored.path} is in no store")

    def _kept(self, stored: Tuple[str, str], size: int) -> Optional[Path]:
        for store in self._stores:
            path = object_path(store, stored)
            try:
                if path is not None and path.is_file() and path.stat().st_size == size:
                    return path
            except OSError:
                continue
        return None

    def view(self, file: KeptFile) -> memoryview:
        """The content of `file`, as long as it was. Raises MissingContentError, DamagedError."""
        known = self._views.get(file)
        if known is not None:
            return known
        path = self.path(file)
        try:
            with opening.regular(path) as stream:
                if file.object is not None:
                    if not native.core.has_digest(stream.fileno(), str(path), file.object[0]):
                        raise DamagedError(f"{file.path}: the store's copy {path} is damaged")
                view = _map(stream.fileno(), file.size)
        except (OSError, ValueError) as error:
            raise MissingContentError(f"{path} (for {file.path}): {error}") from None
        self._views[file] = view
        return view

    def close(self) -> None:
        """Let go of all contents."""
        self._views.clear()


class Piece(NamedTuple):
    """A part of a mapping whose bytes are in one place: `kind` is "stored" (in the image, at
    `offset`), "zero", "file" (at `offset` of the mapping's file) or "missing"; `extent` is the
    index of a stored piece's extent.
    """

    address: int
    size: int
    kind: str
    offset: int
    extent: int
    mapping: SavedMapping

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.size

    def part(self, start: int, end: int) -> "Piece":
        """What of it lies from `start` to `end`."""
        start, end = max(start, self.address), min(end, self.end)
        return self._replace(
            address=start, size=end - start, offset=self.offset + start - self.address
        )


class Memory:
    """All memory of one snapshot."""

    def __init__(
        self,
        fd: int,
        path: str,
        file_bytes: int,
        extents: bytes,
        mappings: Sequence[SavedMapping],
        contents: Contents,
    ) -> None:
        self._path = path
        self._image = mmap.mmap(fd, file_bytes, access=mmap.ACCESS_READ)
        self._view = memoryview(self._image)
        words = memoryview(extents).cast("Q")
        self._starts: List[int] = list(words[0::_EXTENT_WORDS])
        self._offsets: List[int] = list(words[1::_EXTENT_WORDS])
        self._sizes: List[int] = list(words[2::_EXTENT_WORDS])
        self._digests: List[int] = list(words[3::_EXTENT_WORDS])
        self._checked: Set[int] = set()
        self.mappings = tuple(mappings)
        self._mapping_starts = [mapping.start for mapping in self.mappings]
        self._contents = contents

    def close(self) -> None:
        """Let go of the image; views that are still held stay valid."""
        self._view = memoryview(b"")
        del self._image
        self._contents.close()

    # -- pieces ------------------------------------------------------------------------------------

    def mapping_at(self, address: int) -> Optional[SavedMapping]:
        """The mapping that holds `address`, or None."""
        index = bisect_right(self._mapping_starts, address) - 1
        if index < 0 or address >= self.mappings[index].end:
            return None
        return self.mappings[index]

    def pieces(self, mapping: SavedMapping, start: int, end: int) -> Iterator[Piece]:
        """What makes up `mapping` from `start` to `end`, in order and without gaps."""
        guards = mapping.guards
        if not guards:
            yield from self._unguarded(mapping, start, end)
            return
        at = start
        for guard_start, guard_end in guards:
            guard_start, guard_end = max(guard_start, at), min(guard_end, end)
            if guard_start >= guard_end:
                continue
            yield from self._unguarded(mapping, at, guard_start)
            yield Piece(guard_start, guard_end - guard_start, "missing", 0, -1, mapping)
            at = guard_end
        yield from self._unguarded(mapping, at, end)

    def _unguarded(self, mapping: SavedMapping, start: int, end: int) -> Iterator[Piece]:
        at = start
        index = max(bisect_right(self._starts, start) - 1, 0)
        while at < end:
            while index < len(self._starts) and self._starts[index] + self._sizes[index] <= at:
                index += 1
            stored = self._starts[index] if index < len(self._starts) else end
            if stored <= at:
                size = min(stored + self._sizes[index], end) - at
                offset = self._offsets[index] + at - stored
                yield Piece(at, size, "stored", offset, index, mapping)
                at += size
            else:
                stop = min(stored, end)
                yield from self._unstored(mapping, at, stop)
                at = stop

    @staticmethod
    def _unstored(mapping: SavedMapping, start: int, end: int) -> Iterator[Piece]:
        if mapping.backing in ("anonymous", "shared-anonymous"):
            yield Piece(start, end - start, "zero", 0, -1, mapping)
            return
        file = mapping.file
        if file is None:
            yield Piece(start, end - start, "missing", 0, -1, mapping)
            return
        offset = mapping.offset + start - mapping.start
        in_file = min(max(file.size - offset, 0), end - start)
        # The rest of the page in which the file ends is zero; pages behind it do not exist.
        last_page_end = -(-file.size // PAGE_BYTES) * PAGE_BYTES
        readable = min(max(last_page_end - offset, 0), end - start)
        if in_file:
            yield Piece(start, in_file, "file", offset, -1, mapping)
        if readable > in_file:
            yield Piece(start + in_file, readable - in_file, "zero", 0, -1, mapping)
        if start + readable < end:
            yield Piece(start + readable, end - start - readable, "missing", 0, -1, mapping)

    def all_pieces(self) -> Iterator[Piece]:
        """The pieces of all mappings, in ascending order."""
        for mapping in self.mappings:
            yield from self.pieces(mapping, mapping.start, mapping.end)

    def digest(self, piece: Piece) -> Optional[int]:
        """The digest of a stored piece that is a whole extent, else None."""
        if piece.kind != "stored" or piece.size != self._sizes[piece.extent]:
            return None
        return self._digests[piece.extent]

    def view(self, piece: Piece) -> memoryview:
        """The bytes of a stored piece or of one in a file. Raises DamagedError,
        MissingContentError, UnmappedError.
        """
        if piece.kind == "stored":
            self._check(piece.extent)
            return self._view[piece.offset : piece.offset + piece.size]
        if piece.kind == "file" and piece.mapping.file is not None:
            view = self._contents.view(piece.mapping.file)
            return view[piece.offset : piece.offset + piece.size]
        raise self._unreadable(piece)

    def _unreadable(self, piece: Piece) -> UnmappedError:
        mapping = piece.mapping
        if any(start <= piece.address < end for start, end in mapping.guards):
            why = "a guard page"
        elif mapping.backing == "kernel":
            why = f"{mapping.path} is the kernel's and not saved"
        elif mapping.file is not None:
            why = f"behind the end of {mapping.path}"
        else:
            why = f"{mapping.path or 'this memory'} could not be saved"
        return UnmappedError(f"{self._path}: {piece.address:#x}: {why}", piece.address)

    def _check(self, extent: int) -> None:
        if extent in self._checked:
            return
        offset, size = self._offsets[extent], self._sizes[extent]
        if native.core.digest64(self._view[offset : offset + size]) != self._digests[extent]:
            raise DamagedError(
                f"{self._path}: the snapshot is damaged: memory at {self._starts[extent]:#x} has "
                "changed"
            )
        self._checked.add(extent)

    # -- reading -----------------------------------------------------------------------------------

    def _range(self, address: int, length: int) -> Iterator[Piece]:
        end = address + length
        while address < end:
            mapping = self.mapping_at(address)
            if mapping is None:
                raise UnmappedError(
                    f"{self._path}: {address:#x}: the program had no memory there", address
                )
            stop = min(end, mapping.end)
            yield from self.pieces(mapping, address, stop)
            address = stop

    def _parts(self, address: int, length: int) -> List[memoryview]:
        parts = []
        for piece in self._range(address, length):
            if piece.kind == "zero":
                whole, rest = divmod(piece.size, len(_ZEROS))
                parts += [_ZEROS] * whole
                parts.append(_ZEROS[:rest])
            else:
                parts.append(self.view(piece))
        return parts

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes from `address` on."""
        parts = self._parts(address, length)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def look(self, address: int, length: int) -> memoryview:
        """The same as read-only memory; nothing is copied when the bytes lie in one place."""
        parts = self._parts(address, length)
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))

    # -- searching ---------------------------------------------------------------------------------

    def search(self, wanted: bytes, start: int, end: int) -> Iterator[int]:
        """The addresses from `start` to `end` at which `wanted` stands, overlapping ones too.
        Memory whose bytes are missing is skipped.
        """
        find = native.core.find
        zeros = not any(wanted)
        tail, tail_end = b"", -1
        for mapping in self.mappings:
            low, high = max(start, mapping.start), min(end, mapping.end)
            if low >= high:
                continue
            for piece in self.pieces(mapping, low, high):
                view = self._searchable(piece)
                if view is None:
                    tail_end = -1
                    continue
                if piece.address != tail_end:
                    tail = b""
                # What begins in the pieces before and ends in this one.
                edge = tail + bytes(view[: len(wanted) - 1])
                at = edge.find(wanted)
                while 0 <= at < len(tail):
                    yield piece.address - len(tail) + at
                    at = edge.find(wanted, at + 1)
                if piece.kind == "zero":
                    if zeros:
                        yield from range(piece.address, piece.end - len(wanted) + 1)
                    last = bytes(min(len(wanted) - 1, piece.size))
                else:
                    found = find(view, wanted, 0)
                    while found is not None:
                        yield piece.address + found
                        found = find(view, wanted, found + 1)
                    last = bytes(view[max(len(view) - len(wanted) + 1, 0) :])
                tail = (tail + last)[-(len(wanted) - 1) :] if len(wanted) > 1 else b""
                tail_end = piece.end

    def _searchable(self, piece: Piece) -> Optional[memoryview]:
        if piece.kind == "zero":
            return _ZEROS[: min(piece.size, len(_ZEROS))]
        try:
            return self.view(piece)
        except (UnmappedError, MissingContentError):
            return None
