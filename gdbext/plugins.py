"""Plug-ins: objects that are told before a save and after a restore, to let go of what cannot be
saved and to take hold of it again (a device, a token, a connection).

    class Reconnect:
        def before_save(self, session): ...
        def after_restore(self, session): ...

Both methods are optional; `session` is an `events.About`. An object is registered by a script with
`gdbext.register`, or by an installed distribution with an entry point of the group
"gdbext.plugins", which names the object, or a class that is called to make it. Entry points are
looked for at the first save or restore.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Iterator, List, Sequence, Set

from .events import About, failure

GROUP = "gdbext.plugins"

Tell = Callable[[str], object]

_registered: List[Any] = []
_looked = False


def register(plugin: Any) -> Any:
    """Have `plugin` told from now on. Returns it."""
    _registered.append(plugin)
    return plugin


def unregister(plugin: Any) -> None:
    """Do not tell `plugin` any more. Raises ValueError for one that is not registered."""
    _registered.remove(plugin)


def call(method: str, session: About, tell: Tell) -> bool:
    """Call `method` of all plug-ins that have it, in the order of their registration; `tell` gets a
    line for each that fails. Returns whether there were any.
    """
    global _looked
    if not _looked:
        _looked = True
        _registered[:0] = installed(sys.path, tell)
    called = False
    for plugin in list(_registered):
        function = getattr(plugin, method, None)
        if function is None:
            continue
        called = True
        try:
            function(session)
        except Exception as error:  # whatever a plug-in does wrong is not ours to fail for
            tell(failure(f"{method} of the plug-in {type(plugin).__name__}", error))
    return called


def installed(path: Sequence[str], tell: Tell) -> List[Any]:
    """The plug-ins of the distributions in the directories `path`."""
    found = []
    seen: Set[str] = set()
    for directory in _with_plugins(path):
        from importlib import metadata  # slow, and few users have a plug-in
        from pathlib import Path

        for entry in metadata.PathDistribution(Path(directory)).entry_points:
            if entry.group != GROUP or entry.name in seen:
                continue
            seen.add(entry.name)
            try:
                loaded = entry.load()
                found.append(loaded() if isinstance(loaded, type) else loaded)
            except Exception as error:
                tell(failure(f"the plug-in {entry.name}", error))
    return found


def _with_plugins(path: Sequence[str]) -> Iterator[str]:
    """The metadata directories that mention our group. Much quicker than importlib.metadata, which
    every first save would otherwise wait for.
    """
    for directory in path:
        try:
            names = os.listdir(directory or ".")
        except OSError:
            continue
        for name in sorted(names):
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            metadata = os.path.join(directory, name)
            try:
                with open(os.path.join(metadata, "entry_points.txt"), "rb") as file:
                    if f"[{GROUP}]".encode() in file.read():
                        yield metadata
            except OSError:
                continue
