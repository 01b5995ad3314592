"""Snapshots of a process inside GDB: saved in one session, restored in another.

What a user loads is `load.py`. The modules directly in this package know nothing of GDB and run
under any Python; `session/` is the adapter to GDB, `commands/` holds one command per module.
"""

__version__ = "0.1.0"
