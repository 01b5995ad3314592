"""What snapshots may be called, and patterns of names."""

from __future__ import annotations

from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Iterator

from .. import native
from ..errors import StoreError


@contextmanager
def store_errors() -> Iterator[None]:
    """What the native module says of the store is a StoreError."""
    try:
        yield
    except native.core.NativeError as error:
        raise StoreError(str(error)) from None


def check_name(name: str) -> None:
    """Raise StoreError unless `name` may name a snapshot: one word, no "/", not starting with "-"
    or ".".
    """
    with store_errors():
        native.core.store_check_name(name)


def matches(name: str, pattern: str) -> bool:
    """Whether `name` is what `pattern` says, or fits it as a file name fits a shell's."""
    return name == pattern or fnmatchcase(name, pattern)


def is_pattern(text: str) -> bool:
    """Whether `text` may stand for several names."""
    return any(character in text for character in "*?[")
