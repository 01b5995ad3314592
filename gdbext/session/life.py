"""What outlives the command `ckpt restore`: the restored program's ties to this GDB.

    - It ends with GDB, like a program started with `run`, unless it was detached (GDB would detach
      it on quit).
    - Its helper is collected when it ends.
    - While it lives, an overlay may show GDB the snapshot's copies of replaced libraries.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ContextManager, Dict, List, Mapping, NamedTuple, Optional, Tuple

import gdb

from ..debugger import launch
from ..records import Origin
from ..store import overlay
from ..text.report import RestoredHere
from . import settings


class _Ours(NamedTuple):
    """A restored program this GDB holds."""

    pid: int
    # GDB's number of the inferior: a core file of the same process has the same pid.
    inferior: int
    helper: int
    # GDB's numbers of the threads when they were saved, by the ids they have now.
    numbers: Dict[int, int]
    # The snapshot's file, its name and when it was made, and whether the ids are the "saved" or
    # "virtual" ones.
    image: Path
    origin: Origin
    ids: str


class _Shown:
    """How GDB is shown the files of a restored program: settings changed for its life, as (name,
    value, value before); and the overlay, if there is one: the link that is GDB's sysroot, and the
    directory behind it.
    """

    def __init__(self, link: Path, directory: Path) -> None:
        self.link = link
        self.directory = directory
        self.changed: List[Tuple[str, str, str]] = []
        # False once its program is gone: then the real files are shown until the settings can be
        # put back.
        self.active = True


_ours: Dict[int, _Ours] = {}
_helpers: List[int] = []
# Overlays of inferiors that show a snapshot.
_overlays: Dict[int, Path] = {}
_shown: Optional[_Shown] = None
# The value of debug-file-directory that we have set, and the one before.
_debug_files: Optional[Tuple[str, str]] = None


_connected = False


def _connect() -> None:
    """Register the event handlers. At the first restore and not before: who never restores pays
    nothing.
    """
    global _connected
    if _connected:
        return
    _connected = True
    gdb.events.exited.connect(_on_exited)
    gdb.events.before_prompt.connect(_on_prompt)
    gdb.events.inferior_deleted.connect(_on_inferior_deleted)
    if hasattr(gdb.events, "gdb_exiting"):
        gdb.events.gdb_exiting.connect(_on_exiting)


def adopt(
    pid: int, helper: int, numbers: Dict[int, int], image: Path, origin: Origin, ids: str
) -> None:
    """The restored program `pid` is GDB's now. `numbers`: see `saved_numbers`. `image`, `origin`:
    the snapshot; `ids`: "saved" or "virtual".
    """
    _connect()
    _ours[pid] = _Ours(pid, int(gdb.selected_inferior().num), helper, numbers, image, origin, ids)


def origin_of(target: Any) -> Optional[Origin]:
    """The snapshot from which the program of an inferior was restored
    in this session, if it was.
    """
    ours = _ours_in(target)
    return ours.origin if ours is not None else None


def renamed(old: Path, new: Path, name: str) -> None:
    """A snapshot is called `name` now, and its file `new`."""
    for pid, ours in _ours.items():
        if ours.image == old:
            _ours[pid] = ours._replace(image=new, origin=ours.origin._replace(name=name))


def restores_of(image: Path, created: float) -> List[RestoredHere]:
    """The programs of this session that were restored from the snapshot made at `created`."""
    found = []
    for target in gdb.inferiors():
        ours = _ours_in(target)
        if ours is not None and ours.image == image and ours.origin.created == created:
            found.append(RestoredHere(int(target.num), ours.pid, ours.ids))
    return found


def _ours_in(target: Any) -> Optional[_Ours]:
    ours = _ours.get(int(target.pid))
    return ours if ours is not None and ours.inferior == int(target.num) else None


def saved_numbers(pid: int) -> Dict[int, int]:
    """GDB's thread numbers at the save, by present thread id; empty for a program that was not
    restored in this session.
    """
    ours = _ours.get(pid)
    return dict(ours.numbers) if ours is not None else {}


def _on_exited(event: Any) -> None:
    # Also comes for `kill` and `detach`. The inferior still has its pid.
    target = getattr(event, "inferior", None) or gdb.selected_inferior()
    ours = _ours_in(target)
    if ours is None:
        return
    del _ours[ours.pid]
    _helpers.append(ours.helper)
    _expose_real_files()
    forget_debug_files()


def _on_prompt() -> None:
    _helpers[:] = [helper for helper in _helpers if not launch.reap(helper)]
    # With a process there, `set sysroot` makes GDB 13 lose the addresses of libraries.
    if (
        _shown is not None
        and not _shown.active
        and not any(target.pid for target in gdb.inferiors())
    ):
        forget_libraries()


def _on_exiting(event: Any) -> None:
    for target in gdb.inferiors():
        if _ours_in(target) is not None:
            _end(target)
    _ours.clear()
    if _shown is not None:
        _remove(_shown)
    for directory in _overlays.values():
        overlay.remove(directory)
    _overlays.clear()


def _end(target: Any) -> None:
    """Kill a program that GDB is about to detach."""
    pid, number = int(target.pid), int(target.num)
    # GDB's own question has just said that it "will be detached": say what really happens.
    told = bool(gdb.parameter("confirm")) and os.isatty(0)
    try:
        with settings.unasked(), settings.hooks_silenced("kill"):
            settings.quietly(f"kill inferiors {number}")
        if told:
            gdb.write(f"[Inferior {number} (process {pid}) killed]\n")
    except gdb.error:
        # It may be running just now (asynchronous execution); the kernel knows no such hindrance.
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass


# -- where GDB finds libraries ---------------------------------------------------------------------


def show_libraries(scratch: Path, files: Mapping[str, str]) -> None:
    """Make GDB find `files` (see `overlay.files_for`) for the life of the program that is about to
    be restored. Those with relative names are found within `looking_for()` only.

    There must be no process. Raises OSError.
    """
    global _shown
    _connect()
    forget_libraries()
    link = scratch / f"sysroot-{os.getpid()}"
    shown = _Shown(link, scratch / f"overlay-{os.getpid()}")
    _remove(shown)
    _shown = shown
    if any(os.path.isabs(name) for name in files):
        link.symlink_to(overlay.build(shown.directory, link, files))
        _change(shown, "sysroot", str(link))


def looking_for(scratch: Path, files: Mapping[str, str]) -> ContextManager[None]:
    """While GDB looks for the libraries of a program: those with relative names are to be found."""
    return overlay.working_directory(scratch / f"beside-{os.getpid()}", files)


def is_own_sysroot(path: str) -> bool:
    """Whether GDB's sysroot `path` is one that we have set for a restored program."""
    return _shown is not None and bool(path) and path == str(_shown.link)


def remove_with(number: int, directory: Path) -> None:
    """Remove an overlay when the inferior `number` is removed, or with GDB."""
    _connect()
    _overlays[number] = directory


def _on_inferior_deleted(event: Any) -> None:
    directory = _overlays.pop(int(event.inferior.num), None)
    if directory is not None:
        overlay.remove(directory)


def show_debug_files(directory: Path) -> None:
    """Make GDB look for separate debug information in `directory` as well, for the life of the
    program that is about to be restored.
    """
    global _debug_files
    _connect()
    forget_debug_files()
    before = settings.shown("debug-file-directory")
    value = ":".join(filter(None, [before, str(directory)]))
    settings.assign("debug-file-directory", value)
    _debug_files = (value, before)


def forget_debug_files() -> None:
    """Put that back, unless the user has chosen another meanwhile."""
    global _debug_files
    if _debug_files is not None and settings.shown("debug-file-directory") == _debug_files[0]:
        settings.assign("debug-file-directory", _debug_files[1])
    _debug_files = None


def _change(shown: _Shown, name: str, value: str) -> None:
    before = settings.shown(name)
    settings.assign(name, value)
    shown.changed.append((name, value, before))


def _expose_real_files() -> None:
    """The program is gone: from now on the overlay leads to the real files.

    `set sysroot` here would crash GDB 13 (it reloads libraries of an inferior that is half gone);
    but the next program may start before any other chance, within the same `run`. The link is
    turned to "/" now, and the settings are put back at the next prompt without a process.
    """
    if _shown is None:
        return
    _shown.active = False
    if not _shown.link.is_symlink():
        return
    try:
        temporary = _shown.link.with_name(_shown.link.name + ".new")
        temporary.symlink_to("/")
        temporary.replace(_shown.link)
    except OSError:
        pass


def forget_libraries() -> None:
    """Put GDB's settings back and remove the overlay, if there is one. There must be no process."""
    global _shown
    if _shown is None:
        return
    shown, _shown = _shown, None
    try:
        for name, value, before in reversed(shown.changed):
            # Unless the user has chosen another meanwhile.
            if settings.shown(name) == value:
                settings.assign(name, before)
    finally:
        _remove(shown)


def _remove(shown: _Shown) -> None:
    shown.link.unlink(missing_ok=True)
    overlay.remove(shown.directory)
