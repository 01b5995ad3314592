"""Snapshots of a process inside GDB: saved in one session, restored in another.

What a user loads is `load.py`. The modules directly in this package know nothing of GDB and run
under any Python; `session/` is the adapter to GDB, `commands/` holds one command per module.

Scripts inside GDB use `import gdbext`: what they find there is described in docs/scripting-gdb.md
and imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import events as events
    from .errors import CkptError as CkptError
    from .session.api import Deferred as Deferred
    from .session.api import restore as restore
    from .session.api import save as save
    from .session.api import snapshots as snapshots

__version__ = "0.1.0"

# What is there inside GDB only.
_INSIDE_GDB = frozenset({"Deferred", "restore", "save", "snapshots"})


def __getattr__(name: str) -> Any:
    import importlib
    import sys

    if name == "CkptError":
        return importlib.import_module(".errors", __name__).CkptError
    if name == "events":
        return importlib.import_module(".events", __name__)
    if name in _INSIDE_GDB:
        if "gdb" not in sys.modules:
            raise AttributeError(f"gdbext.{name} is there inside GDB only")
        importlib.import_module(".load", __name__)
        return getattr(importlib.import_module(".session.api", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
