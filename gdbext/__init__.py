"""Snapshots of a process inside GDB: saved in one session, restored in another.

What a user loads in GDB is `load.py`. `session/` is the adapter to GDB, `commands/` holds one
command per module; all else runs under any Python. Each room says in its `__init__.py` what it is
for.

For scripts there are, imported when they are first used,

    from gdbext import Snapshot, diff

which work with and without GDB (docs/scripting.md), and what `import gdbext` offers inside GDB
(docs/scripting-gdb.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

if TYPE_CHECKING:
    from . import events as events
    from .comparison.compare import Difference as Difference
    from .comparison.compare import diff as diff
    from .errors import CkptError as CkptError
    from .errors import ClosedError as ClosedError
    from .errors import DamagedError as DamagedError
    from .errors import MissingContentError as MissingContentError
    from .errors import SnapshotError as SnapshotError
    from .errors import StoreError as StoreError
    from .errors import SymbolError as SymbolError
    from .errors import UnmappedError as UnmappedError
    from .errors import VersionError as VersionError
    from .errors import ReplayError as ReplayError
    from .errors import ReplayTimeout as ReplayTimeout
    from .plugins import register as register
    from .plugins import unregister as unregister
    from .regression.live import open_replay as open_replay
    from .session.api import Deferred as Deferred
    from .session.api import restore as restore
    from .session.api import save as save
    from .offline.saver import SavedProcess as SavedProcess
    from .offline.saver import save_pid as save_pid
    from .offline.snapshot import Snapshot as Snapshot
    from .offline.snapshot import snapshots as snapshots
    from .offline.stacks import Frame as Frame

__version__ = "0.1.0"

# The modules in which the names for scripts are. Every GDB that loads the commands imports this
# package, and few of them need these.
_ANYWHERE: Dict[str, str] = {
    **dict.fromkeys(
        (
            "CkptError",
            "ClosedError",
            "DamagedError",
            "MissingContentError",
            "ReplayError",
            "ReplayTimeout",
            "SnapshotError",
            "StoreError",
            "SymbolError",
            "UnmappedError",
            "VersionError",
        ),
        ".errors",
    ),
    "Difference": ".comparison.compare",
    "Frame": ".offline.stacks",
    "SavedProcess": ".offline.saver",
    "Snapshot": ".offline.snapshot",
    "diff": ".comparison.compare",
    "open_replay": ".regression.live",
    "register": ".plugins",
    "save_pid": ".offline.saver",
    "snapshots": ".offline.snapshot",
    "unregister": ".plugins",
}
# What is there inside GDB only, or is another one there: that of the store that is set.
_INSIDE_GDB = frozenset({"Deferred", "restore", "save", "snapshots"})

# What `from gdbext import *` gives anywhere.
__all__ = sorted(_ANYWHERE)


def __getattr__(name: str) -> Any:
    import importlib
    import sys

    inside = name in _INSIDE_GDB and "gdb" in sys.modules
    if name in _ANYWHERE and not inside:
        return getattr(importlib.import_module(_ANYWHERE[name], __name__), name)
    if name == "events":
        return importlib.import_module(".events", __name__)
    if name in _INSIDE_GDB:
        if not inside:
            raise AttributeError(f"gdbext.{name} is there inside GDB only")
        importlib.import_module(".load", __name__)
        return getattr(importlib.import_module(".session.api", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> List[str]:
    return sorted({*globals(), *_ANYWHERE})
