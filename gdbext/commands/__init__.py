"""The commands, one per module. `register()` holds the list.

What a command does is imported when it is first used, inside its `run`: GDB starts with this
package loaded, and who never saves should not wait for it.
"""

from __future__ import annotations


def register() -> None:
    """Make all commands and settings known to GDB."""
    # Imported here and not at the top, so that the package itself can be imported where there is no
    # GDB.
    from . import auto, back, bundle, delete, diff, export, find, forward, gc, goto, imports, info
    from . import inspect, last, list, note, params, position, prefix, prints, rename, replay
    from . import restore, rewind, save, threads, timeline, verify
    from ._base import make_prefix, make_setting, make_verb

    for each in (prefix.CKPT, prefix.SET, prefix.SHOW):
        make_prefix(each)
    for setting in params.SETTINGS:
        make_setting(setting)
    for module in (
        save, restore, back, forward, replay, auto, list, info, note, rename, delete, gc, threads,
        find, inspect, prints, diff, export, bundle, imports, verify, rewind, position, goto,
        timeline, last,
    ):  # fmt: skip
        make_verb(module.VERB)
