"""The failures a user is told about in one line; everything else is a defect and keeps its
traceback.
"""

from __future__ import annotations


class CkptError(Exception):
    """An expected failure. Its text is one clear line, without the command's name before it."""


class UsageError(CkptError):
    """What was typed does not fit the command."""


class StoreError(CkptError):
    """The store, or something in it, cannot be used as asked."""


class RecordError(CkptError):
    """The record of a snapshot does not have the expected shape."""


class SnapshotError(CkptError):
    """A snapshot cannot be read as asked. The classes below say why."""


class DamagedError(SnapshotError):
    """The file is no snapshot, is truncated, or its bytes are not those that were written."""


class VersionError(SnapshotError):
    """The file is of a format version that this gdb-ckpt does not know."""


class UnmappedError(SnapshotError):
    """There was no memory at `address`, or none that could be read."""

    def __init__(self, text: str, address: int) -> None:
        super().__init__(text)
        self.address = address


class MissingContentError(SnapshotError):
    """The content of a file that the program had mapped is neither in a store nor unchanged at its
    old place.
    """


class SymbolError(SnapshotError):
    """No file of the program has the symbol, or it has no address."""


class ClosedError(SnapshotError):
    """The snapshot has been closed."""


class LaunchError(CkptError):
    """The helper that restarts a snapshot failed; `kind` is the kind the helper gave, or "system".
    """

    def __init__(self, text: str, kind: str = "system") -> None:
        super().__init__(text)
        self.kind = kind


class NativeMissing(CkptError):
    """The native module is not there, or does not fit; the text says what to do."""


def one_line(text: str) -> str:
    """`text` with its line breaks (GDB wraps some of its errors) made spaces."""
    return " ".join(text.split())


class ReplayError(CkptError):
    """A replay cannot go on as asked."""


class ReplayTimeout(ReplayError):
    """Something in a replay took too long; it is over."""
