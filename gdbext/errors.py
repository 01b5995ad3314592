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
