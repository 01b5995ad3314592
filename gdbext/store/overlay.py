"""Directories in which every path leads to the real file, except for a few that lead to a
snapshot's copies.

GDB opens the libraries of a process by the names the dynamic linker knows, below `sysroot`. When
such a file has been replaced or deleted since the save, or a name leads elsewhere by now, GDB would
read the wrong symbols or none. With a sysroot built here it opens the right file under the old
name, and everything else as ever. Names that are relative are not looked for below `sysroot` but in
GDB's working directory: for these there is one to be in while GDB looks.

Only the directories on the way to a given file are real; each of their other entries is a symbolic
link: to the real entry, or, where the real entry is a symbolic link itself, a link with the same
meaning inside the overlay (else /lib/libx.so, with /lib -> usr/lib, would lead out of it and past
the replaced /usr/lib/libx.so).

A directory that a ".." follows must be real, too: the kernel goes up from where a link leads to,
which is out of the overlay.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Set, Tuple

from ..errors import CkptError

# As many as the kernel follows.
_MOST_LINKS = 40
# The name of a directory between the top and the root of an overlay.
_UP = "up"


def files_for(names: Mapping[str, str], replaced: Mapping[str, str]) -> Dict[str, str]:
    """What is to be found under which name, as far as that is not so by itself. `names`: the
    linker's names and the paths the files had; `replaced`: these paths and the copies, where the
    files are not what they were.
    """
    found = dict(replaced)
    for name, path in names.items():
        if path in replaced or not _is_same(name, path):
            found.setdefault(name, replaced.get(path, path))
    return found


def _is_same(name: str, path: str) -> bool:
    if not os.path.isabs(name):
        return False  # relative to a directory that we do not know
    try:
        return name == path or os.path.samefile(name, path)
    except OSError:
        return False


def build(directory: Path, seen_as: Optional[Path], files: Mapping[str, str]) -> Path:
    """Make the overlay of `files` in the empty or missing `directory`, and return its root, which
    is to be looked at through the path `seen_as`, if that is another.

    `files` maps absolute paths to files; relative ones are left out. A path need not exist any
    more, nor the directories above it. Where two lead to one place, the first decides. Raises
    OSError.
    """
    tree: Dict[str, Dict[str, str]] = {"/": {}}
    above = 0
    for path, file in files.items():
        if not os.path.isabs(path):
            continue
        place, visited, exceeded = _walk(path)
        tree.setdefault(os.path.dirname(place), {}).setdefault(os.path.basename(place), file)
        above = max(above, exceeded)
        for each in (place, *visited):
            while each != "/":
                each = os.path.dirname(each)
                tree.setdefault(each, {})
    root = directory.joinpath(*[_UP] * above)
    seen_as = seen_as or root
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Above the root is the root.
    for level in list(root.parents)[:above]:
        for name in os.listdir("/"):
            if name != _UP:
                os.symlink(str(seen_as / name), level / name)
    for real in sorted(tree):
        _fill(root, seen_as, real, tree)
    return root


def _walk(path: str) -> Tuple[str, Set[str], int]:
    """Where an absolute path leads to, the last component not followed; names in the directories
    that a ".." follows; and how far up from the root it would lead.
    """
    at = "/"
    gone_up: Set[str] = set()
    above = deepest = links = 0
    components = _components(path)
    while components:
        name = components.pop()
        if name == "..":
            gone_up.add(os.path.join(at, name))
            # It stays at the root; in the overlay it does not.
            above = above + 1 if at == "/" else above
            deepest = max(deepest, above)
            at = os.path.dirname(at)
            continue
        full = os.path.join(at, name)
        above = 0
        if components and links < _MOST_LINKS:
            try:
                target = os.readlink(full)
            except OSError:
                target = ""  # a directory, or gone
            if target:
                links += 1
                at = "/" if os.path.isabs(target) else at
                components += _components(target)
                continue
        at = full
    return at, gone_up, deepest


def _components(path: str) -> List[str]:
    """The last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _fill(root: Path, seen_as: Path, real: str, tree: Mapping[str, Mapping[str, str]]) -> None:
    inside = root / real.lstrip("/")
    inside.mkdir(mode=0o700, exist_ok=True)
    replaced = {
        name: file for name, file in tree[real].items() if os.path.join(real, name) not in tree
    }
    for name, file in replaced.items():
        os.symlink(file, inside / name)
    try:
        entries = list(os.scandir(real))
    except OSError:
        return  # the directory is gone, or not ours to read: only the given files are in it then
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


@contextmanager
def working_directory(directory: Path, files: Mapping[str, str]) -> Iterator[None]:
    """Be in a working directory, made in the empty or missing `directory`, from which the relative
    names among `files` lead to their files; then back in the present one, and that one removed.
    Nothing happens if no name is relative. Raises CkptError.
    """
    relative = {name: file for name, file in files.items() if not os.path.isabs(name)}
    if not relative:
        yield
        return
    with ExitStack() as stack:
        stack.callback(remove, directory)
        try:
            inside = _lay_out(directory, relative)
            before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, before)
            os.chdir(inside)
            stack.callback(os.fchdir, before)
        except OSError as error:
            raise CkptError(f"{error.filename}: {error.strerror}") from None
        yield


def _lay_out(directory: Path, relative: Mapping[str, str]) -> Path:
    """Make links by relative names; the directory that the names start from."""
    start = directory.joinpath(*[_UP] * max(_components(name).count("..") for name in relative))
    start.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, file in relative.items():
        at = start
        *parents, last = reversed(_components(name))
        for parent in parents:
            at = at.parent if parent == ".." else at / parent
            at.mkdir(mode=0o700, exist_ok=True)
        if not os.path.lexists(at / last):
            os.symlink(file, at / last)
    return start


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
