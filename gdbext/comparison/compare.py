"""What differs between two snapshots: memory, registers, threads, mappings, descriptors."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .. import native
from ..errors import MissingContentError, UnmappedError
from ..offline.memory import Memory, Piece
from ..offline.saved import PAGE_BYTES, SavedDescriptor, SavedMapping, SavedThread
from ..offline.snapshot import Snapshot

# Differences fewer than this many bytes apart are one range: a changed word or pointer is one.
_JOIN_BYTES = 8
# O_LARGEFILE, which says nothing of a 64-bit program; what opens a file again has it.
_LARGE_FILE = 0o100000


class ByteRange(NamedTuple):
    """Bytes of memory from `address` on, `length` of them."""

    address: int
    length: int


class ChangedRegister(NamedTuple):
    """A register of the thread that the program knows as `thread`."""

    thread: int
    name: str
    old: int
    new: int


class ChangedMapping(NamedTuple):
    """A mapping: `old` is None for one that was added, `new` for one that is gone. One at the same
    addresses that differs otherwise has both.
    """

    old: Optional[SavedMapping]
    new: Optional[SavedMapping]


class ChangedDescriptor(NamedTuple):
    """A descriptor: `old` is None for one that was opened, `new` for one that was closed."""

    old: Optional[SavedDescriptor]
    new: Optional[SavedDescriptor]


class Difference(NamedTuple):
    """What `diff()` found; false when it is nothing.

    `pages`: the addresses of the pages that hold other bytes, among those that both have. `ranges`:
    the bytes in them, where differences fewer than 8 bytes apart are one range. `truncated`:
    there were more ranges than were asked for, and pages and ranges behind the last are left out.
    `unknown`: pages whose bytes cannot be compared since one of the snapshots lacks them, as
    ranges. Threads are told apart by the ids that the program itself is shown.
    """

    pages: Tuple[int, ...]
    ranges: Tuple[ByteRange, ...]
    truncated: bool
    unknown: Tuple[ByteRange, ...]
    registers: Tuple[ChangedRegister, ...]
    threads_added: Tuple[SavedThread, ...]
    threads_gone: Tuple[SavedThread, ...]
    mappings: Tuple[ChangedMapping, ...]
    descriptors: Tuple[ChangedDescriptor, ...]

    def __bool__(self) -> bool:
        return any(self)


def diff(old: Snapshot, new: Snapshot, *, limit: int = 1_000_000) -> Difference:
    """Compare two snapshots, which are of one program as a rule.

    `limit`: the most ranges of bytes to collect. Reads the memory that both have, as far as digests
    do not tell that it is the same. Raises SnapshotError.
    """
    pages, ranges, unknown, truncated = _memory(old.memory, new.memory, limit)
    before = {thread.remembered: thread for thread in old.threads}
    after = {thread.remembered: thread for thread in new.threads}
    registers = [
        ChangedRegister(tid, name, value, after[tid].registers[name])
        for tid, thread in before.items()
        if tid in after
        for name, value in thread.registers.items()
        if after[tid].registers.get(name, value) != value
    ]
    return Difference(
        tuple(pages),
        tuple(ranges),
        truncated,
        tuple(unknown),
        tuple(registers),
        tuple(thread for tid, thread in after.items() if tid not in before),
        tuple(thread for tid, thread in before.items() if tid not in after),
        tuple(_mappings(old.maps, new.maps)),
        tuple(_descriptors(old.files, new.files)),
    )


# -- memory ----------------------------------------------------------------------------------------


def _pairs(old: Memory, new: Memory) -> Iterator[Tuple[Piece, Piece]]:
    """The pieces of memory that both have, cut so that they have the same bounds."""
    left, right = old.all_pieces(), new.all_pieces()
    a, b = next(left, None), next(right, None)
    while a is not None and b is not None:
        start, end = max(a.address, b.address), min(a.end, b.end)
        if start < end:
            yield a.part(start, end), b.part(start, end)
        if a.end <= b.end:
            a = next(left, None)
        else:
            b = next(right, None)


def _same(old: Memory, a: Piece, new: Memory, b: Piece) -> bool:
    """Whether two pieces are known to be the same without a look at their bytes."""
    if a.kind != b.kind:
        return False
    if a.kind in ("zero", "missing"):
        return True
    if a.kind == "stored":
        digest = old.digest(a)
        return digest is not None and digest == new.digest(b)
    left, right = a.mapping.file, b.mapping.file
    if a.offset != b.offset or left is None or right is None:
        return False
    if left.object is not None and right.object is not None:
        return left.object[0] == right.object[0]
    return left == right


def _memory(
    old: Memory, new: Memory, limit: int
) -> Tuple[List[int], List[ByteRange], List[ByteRange], bool]:
    pages: List[int] = []
    ranges: List[ByteRange] = []
    unknown: List[ByteRange] = []
    differing = native.core.differing
    for a, b in _pairs(old, new):
        if _same(old, a, new, b):
            continue
        try:
            left = None if a.kind == "zero" else old.view(a)
            right = None if b.kind == "zero" else new.view(b)
        except (MissingContentError, UnmappedError):
            unknown.append(ByteRange(a.address, a.size))
            continue
        if left is None:
            left, right = right, None
        assert left is not None  # two of zeros are the same
        for offset, length in differing(left, right, _JOIN_BYTES, limit + 1 - len(ranges)):
            if len(ranges) == limit:
                return pages, ranges, unknown, True
            address = a.address + offset
            ranges.append(ByteRange(address, length))
            for page in range(address - address % PAGE_BYTES, address + length, PAGE_BYTES):
                if not pages or pages[-1] < page:
                    pages.append(page)
    return pages, ranges, unknown, False


# -- tables ----------------------------------------------------------------------------------------


def _mappings(
    old: Sequence[SavedMapping], new: Sequence[SavedMapping]
) -> Iterator[ChangedMapping]:
    before = {(each.start, each.end): each for each in old}
    after = {(each.start, each.end): each for each in new}
    for place in sorted({*before, *after}):
        left, right = before.get(place), after.get(place)
        if left is None or right is None or _looks(left) != _looks(right):
            yield ChangedMapping(left, right)


def _looks(mapping: SavedMapping) -> Tuple[object, ...]:
    return mapping.prot, mapping.offset, mapping.path, mapping.backing, mapping.guards


def _descriptors(
    old: Sequence[SavedDescriptor], new: Sequence[SavedDescriptor]
) -> Iterator[ChangedDescriptor]:
    before = {each.fd: each for each in old}
    after = {each.fd: each for each in new}
    for fd in sorted({*before, *after}):
        left, right = before.get(fd), after.get(fd)
        if left is None or right is None or _state(left) != _state(right):
            yield ChangedDescriptor(left, right)


def _state(descriptor: SavedDescriptor) -> Tuple[object, ...]:
    # The numbers of descriptions are those of one snapshot.
    return (
        descriptor.close_on_exec,
        descriptor.kind,
        descriptor.path,
        descriptor.flags & ~_LARGE_FILE,
        descriptor.offset,
        dict(descriptor.details),
    )
