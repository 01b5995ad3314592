"""What `ckpt diff` prints."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Optional

from ..offline.saved import SavedDescriptor, SavedMapping
from ..offline.snapshot import Snapshot
from ..text.report import counted, printable
from .compare import ByteRange, Difference

# Of a longer range its beginning is shown.
_MOST_BYTES = 16


def _place(old: Snapshot, new: Snapshot, address: int) -> str:
    """Where an address is, in words: a symbol, else the mapping."""
    symbol = new.symbol_at(address) or old.symbol_at(address)
    if symbol is not None:
        offset = address - symbol.address
        return f"{symbol.name}+{offset}" if offset else symbol.name
    mapping = new.memory.mapping_at(address) or old.memory.mapping_at(address)
    return mapping.path if mapping is not None else ""


def table(old: Snapshot, new: Snapshot, found: Difference, limit: int) -> Dict[str, Any]:
    """The difference as values of JSON; at most `limit` ranges with their bytes."""
    return {
        "pages": len(found.pages),
        "ranges": len(found.ranges),
        "truncated": found.truncated,
        "bytes": [
            {
                "address": each.address,
                "length": each.length,
                "place": _place(old, new, each.address),
                "old": old.read(each.address, each.length).hex(),
                "new": new.read(each.address, each.length).hex(),
            }
            for each in found.ranges[:limit]
        ],
        "unknown": [each._asdict() for each in found.unknown],
        "registers": [each._asdict() for each in found.registers],
        "threads_added": [each.tid for each in found.threads_added],
        "threads_gone": [each.tid for each in found.threads_gone],
        "mappings": [
            {"old": _mapping_table(each.old), "new": _mapping_table(each.new)}
            for each in found.mappings
        ],
        "descriptors": [
            {"old": _descriptor_table(each.old), "new": _descriptor_table(each.new)}
            for each in found.descriptors
        ],
    }


def _mapping_table(mapping: Optional[SavedMapping]) -> Optional[Dict[str, Any]]:
    if mapping is None:
        return None
    return {
        "start": mapping.start,
        "end": mapping.end,
        "prot": mapping.prot,
        "offset": mapping.offset,
        "path": mapping.path,
        "kind": mapping.backing,
    }


def _descriptor_table(descriptor: Optional[SavedDescriptor]) -> Optional[Dict[str, Any]]:
    if descriptor is None:
        return None
    return {
        "fd": descriptor.fd,
        "kind": descriptor.kind,
        "path": descriptor.path,
        "flags": descriptor.flags,
        "offset": descriptor.offset,
    }


def lines(old: Snapshot, new: Snapshot, found: Difference, limit: int) -> Iterator[str]:
    """The difference for people; at most `limit` ranges of bytes."""
    if not found:
        yield "Nothing differs."
        return
    if found.ranges:
        yield (
            f"Memory: {counted(len(found.pages), 'page')} with other bytes, "
            f"{counted(len(found.ranges), 'range')}"
            f"{' and more' if found.truncated else ''}:"
        )
        for each in found.ranges[:limit]:
            yield f"  {each.address:#x} {_bytes(old, each)} -> {_bytes(new, each)}  " + printable(
                _place(old, new, each.address)
            )
        if len(found.ranges) > limit:
            yield f"  ... {counted(len(found.ranges) - limit, 'range')} more (--limit)"
    for each in found.unknown:
        yield f"Memory: {each.address:#x}, {each.length} bytes: cannot be compared"
    for change in found.registers:
        name = printable(change.name)
        yield f"Thread {change.thread}: {name} {change.old:#x} -> {change.new:#x}"
    yield from other_lines(found)


def other_lines(found: Difference) -> Iterator[str]:
    """What differs besides bytes: threads, mappings, descriptors."""
    for thread in found.threads_gone:
        yield f"Thread {thread.remembered} {printable(thread.name)}: gone"
    for thread in found.threads_added:
        yield f"Thread {thread.remembered} {printable(thread.name)}: new"
    for mapping in found.mappings:
        yield "Mapping " + _change(_mapping_text(mapping.old), _mapping_text(mapping.new))
    for descriptor in found.descriptors:
        old, new = _descriptor_text(descriptor.old), _descriptor_text(descriptor.new)
        if old == new and descriptor.old is not None and descriptor.new is not None:
            old += f" with flags {descriptor.old.flags:#o}"
            new += f" with flags {descriptor.new.flags:#o}"
        yield "Descriptor " + _change(old, new)


def _bytes(snapshot: Snapshot, each: ByteRange) -> str:
    shown = snapshot.read(each.address, min(each.length, _MOST_BYTES)).hex()
    return shown + (f"... ({each.length} bytes)" if each.length > _MOST_BYTES else "")


def _change(old: str, new: str) -> str:
    if not old:
        return f"{new}: new"
    return f"{old}: gone" if not new else f"{old} -> {new}"


def _mapping_text(mapping: Optional[SavedMapping]) -> str:
    if mapping is None:
        return ""
    return printable(
        f"{mapping.start:#x}-{mapping.end:#x} {mapping.prot} {mapping.path or mapping.backing}"
    )


def _descriptor_text(descriptor: Optional[SavedDescriptor]) -> str:
    if descriptor is None:
        return ""
    place = printable(f"{descriptor.kind} {descriptor.path}")
    return f"{descriptor.fd} {place} at {descriptor.offset}"
