"""What a user sources: `source gdbext/load.py`, from a checkout after a build or from an
installation.

`python import gdbext.load` does the same where the package is on GDB's Python path. Doing it twice
is harmless.
"""

from __future__ import annotations


def _load(imported: bool) -> None:
    import importlib.util
    import os
    import sys

    import gdb

    # Not __file__: a script that sources this one has left its own in __main__.
    directory = os.path.dirname(os.path.abspath(_load.__code__.co_filename))
    package = sys.modules.get("gdbext")
    if package is None:
        # The package is put where `import` finds it, without touching sys.path: that is the user's.
        spec = importlib.util.spec_from_file_location(
            "gdbext", os.path.join(directory, "__init__.py"), submodule_search_locations=[directory]
        )
        assert spec is not None and spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules["gdbext"] = package
        spec.loader.exec_module(package)
    if getattr(package, "loaded", False):
        return

    from gdbext import commands, native
    from gdbext.debugger import laststop, prompt
    from gdbext.errors import NativeMissing

    try:
        native.load()
    except NativeMissing as error:
        if imported:
            raise gdb.GdbError(f"ckpt: {error}") from None
        # In a sourced file GDB prints a traceback for every exception, GdbError included.
        gdb.write(f"ckpt: {error}\n", gdb.STDERR)
        return
    commands.register()
    prompt.watch(gdb.events)
    laststop.watch(gdb.events)
    package.loaded = True  # type: ignore[attr-defined]


_load(__name__ != "__main__")
# Sourced into the user's __main__: leave no name behind.
del _load
