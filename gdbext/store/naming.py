"""What snapshots may be called, and patterns of names."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase

from ..errors import StoreError

# Long enough for anybody, short enough for a file name with our suffix and a temporary one behind
# it.
NAME_LIMIT = 200


def check_name(name: str) -> None:
    """Raise StoreError unless `name` may name a snapshot: one word, no "/", not starting with "-"
    or ".".
    """
    if not name:
        raise StoreError("the name is empty")
    if "/" in name:
        raise StoreError(f'a name cannot contain "/": "{name}" (-o FILE writes a file elsewhere)')
    if name[0] in "-.":
        raise StoreError(f'a name cannot begin with "{name[0]}": "{name}"')
    if not name.isprintable() or any(character.isspace() for character in name):
        raise StoreError(f"a name is one word of printable characters, not {name!r}")
    if len(os.fsencode(name)) > NAME_LIMIT:
        raise StoreError(
            f"a name has at most {NAME_LIMIT} bytes, this one has {len(os.fsencode(name))}"
        )


def is_name(name: str) -> bool:
    """Whether `check_name` lets it pass."""
    try:
        check_name(name)
    except StoreError:
        return False
    return True


def matches(name: str, pattern: str) -> bool:
    """Whether `name` is what `pattern` says, or fits it as a file name fits a shell's."""
    return name == pattern or fnmatchcase(name, pattern)


def is_pattern(text: str) -> bool:
    """Whether `text` may stand for several names."""
    return any(character in text for character in "*?[")
