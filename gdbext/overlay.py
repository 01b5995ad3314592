"""A directory in which every path leads to the real file, except for a few that lead to a
snapshot's copies.

GDB opens the libraries of a process by the names the dynamic linker knows, below `sysroot`. When
such a file has been replaced or deleted since the save, GDB would read the wrong symbols or none.
With a sysroot built here it opens the snapshot's copy under the old name, and everything else as
ever.

Only the directories on the way to a replaced file are real; each of their other entries is a
symbolic link: to the real entry, or, where the real entry is a symbolic link itself, a link with
the same meaning inside the overlay (else /lib/libx.so, with /lib -> usr/lib, would lead out of it
and past the replaced /usr/lib/libx.so).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Mapping, Optional


def build(directory: Path, seen_as: Path, replaced: Mapping[str, str]) -> None:
    """Make the overlay in the empty or missing `directory`, to be looked at through the path
    `seen_as`.

    `replaced` maps absolute paths to their copies. A path need not exist any more, nor the
    directories above it. Raises OSError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    tree: Dict[str, Dict[str, str]] = {"/": {}}
    for path, copy in replaced.items():
        if not os.path.isabs(path):
            continue
        path = os.path.normpath(path)
        # The copy must be found by the name with all symbolic links among its directories resolved,
        # and by the name as it is: links are kept, so resolving the parent is enough for both.
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        tree.setdefault(os.path.dirname(path), {})[os.path.basename(path)] = copy
        parent = os.path.dirname(path)
        while parent != "/":
            parent = os.path.dirname(parent)
            tree.setdefault(parent, {})
    for real in sorted(tree):
        _fill(directory, seen_as, real, tree)


def _fill(directory: Path, seen_as: Path, real: str, tree: Mapping[str, Mapping[str, str]]) -> None:
    inside = directory / real.lstrip("/")
    inside.mkdir(mode=0o700, exist_ok=True)
    replaced = tree[real]
    for name, copy in replaced.items():
        os.symlink(copy, inside / name)
    try:
        entries = list(os.scandir(real))
    except OSError:
        return  # the directory is gone, or not ours to read: only the replaced files are in it then
    for entry in entries:
        path = os.path.join(real, entry.name)
        if entry.name in replaced or path in tree:
            continue
        target: Optional[str] = None
        try:
            if entry.is_symlink():
                target = os.readlink(path)
        except OSError:
            continue
        if target is None:
            os.symlink(path, inside / entry.name)
        elif os.path.isabs(target):
            os.symlink(str(seen_as / target.lstrip("/")), inside / entry.name)
        else:
            os.symlink(target, inside / entry.name)


def remove(directory: Path) -> None:
    """Remove an overlay. Only links and directories are removed; anything else in it stays, with
    its directory.
    """
    for parent, directories, files in os.walk(directory, topdown=False, followlinks=False):
        for name in files + directories:
            path = os.path.join(parent, name)
            try:
                if os.path.islink(path):
                    os.unlink(path)
                elif os.path.isdir(path):
                    os.rmdir(path)
            except OSError:
                continue
    try:
        os.rmdir(directory)
    except OSError:
        pass
