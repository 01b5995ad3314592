"""What a store knows of who has saved the sessions in its snapshots.

A file can say of itself what it likes. What is known stands in the store, which no other user can
write to:

    index/sessions/DIGEST    a session that was saved with this store: the SHA-256 of all of it. A
                             file with the same session, changed in nothing, has the user's own
                             words
    index/imported/NAME      the snapshot NAME came in a bundle
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import AbstractSet, Any, Mapping


def digest(session: Mapping[str, Any]) -> str:
    """What names a session: all of it, in one way of writing it."""
    text = json.dumps(session, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Marks:
    """What a store knows of who has saved what: the files in these two directories. Looking raises
    nothing.
    """

    def __init__(self, sessions: Path, imported: Path) -> None:
        self._sessions, self._imported = sessions, imported

    def note_session(self, session: Mapping[str, Any]) -> None:
        """This user's GDB saves this session. Raises OSError."""
        _touch(self._sessions / digest(session))

    def knows_session(self, session: Mapping[str, Any]) -> bool:
        """Whether this user's GDB has saved just this session."""
        return (self._sessions / digest(session)).is_file()

    def note_imported(self, name: str) -> None:
        """The snapshot `name` comes from elsewhere. Raises OSError."""
        _touch(self._imported / name)

    def is_imported(self, name: str) -> bool:
        """Whether the snapshot `name` came from elsewhere."""
        return (self._imported / name).exists()

    def forget_imported(self, name: str) -> None:
        """There is another snapshot `name`, or none."""
        (self._imported / name).unlink(missing_ok=True)

    def rename(self, old: str, new: str) -> None:
        """The snapshot `old` is called `new` now."""
        if self.is_imported(old):
            self.note_imported(new)
            self.forget_imported(old)

    def keep_only(self, sessions: AbstractSet[str], names: AbstractSet[str]) -> None:
        """Forget all other sessions, and the imports of snapshots with other names."""
        for directory, kept in ((self._sessions, sessions), (self._imported, names)):
            for path in directory.iterdir() if directory.is_dir() else ():
                if path.name not in kept:
                    path.unlink(missing_ok=True)


def _touch(path: Path) -> None:
    for directory in (path.parent.parent, path.parent):
        directory.mkdir(mode=0o700, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
