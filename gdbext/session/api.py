"""What `import gdbext` offers scripts inside GDB. Described in docs/scripting-gdb.md.

A breakpoint's `stop` method runs in the middle of GDB's handling of the stop: other threads may
still be running, and the program cannot be saved or replaced. What is asked for there, or while the
program runs in the background, is deferred: it is done when the program has stopped, before the
breakpoint's commands run and before there is a prompt.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, Optional, Tuple, Union

import gdb

from .. import native
from ..errors import CkptError, one_line
from ..events import failure
from ..store.store import Entry
from . import breakpoints, inferior, open_store, parameters, show
from .firstcommand import FirstCommand
from .restoring import Restored
from .saving import Saved

PathLike = Union[str, "os.PathLike[str]"]


class Deferred:
    """A save or restore that is done when the program has stopped.

    `done` says whether it was tried; `result` is then its record, or None when it failed, and
    `error` the CkptError it failed with, or None.
    """

    def __init__(self, what: str, action: Callable[[], Any]) -> None:
        self._what = what
        self._action = action
        self.done = False
        self.result: Any = None
        self.error: Optional[CkptError] = None

    def __repr__(self) -> str:
        state = "to come" if not self.done else "failed" if self.error else "done"
        return f"<gdbext.Deferred {self._what}: {state}>"

    def _run(self) -> None:
        try:
            self.result = self._action()
        except CkptError as error:
            self._fail(error)
        except KeyboardInterrupt:
            inferior.flush_caches()  # as a command does
            self._fail(CkptError("interrupted"))
        except Exception as error:
            show(failure(f"the deferred {self._what}", error))
        finally:
            self.done = True

    def _fail(self, error: CkptError) -> None:
        self.done = True
        self.error = error
        show(f"ckpt: the deferred {self._what} failed: {error}")


def save(
    name: Optional[str] = None,
    message: str = "",
    force: bool = False,
    output: Optional[PathLike] = None,
    strict: bool = False,
) -> Union[Saved, Deferred]:
    """Save the selected inferior, as `ckpt save` does, and print nothing. With `strict` it fails
    when something would not come back as it was.

    Returns the record of the save: name, path, file_bytes, seconds, threads, stop, fidelity, notes.
    In a breakpoint's `stop` method, or while the program runs: a Deferred, at once. Raises
    CkptError.
    """
    from . import saving

    request = saving.SaveRequest(
        name=name,
        message=message,
        output=Path(output) if output is not None else None,
        force=force,
        file_limit_bytes=parameters.file_limit_bytes(),
        strict=strict,
    )

    def action() -> Saved:
        with _failures():
            return saving.save(open_store(), request)

    return _defer("save", action) if _is_running() else action()


def restore(
    name: Optional[PathLike] = None,
    *,
    stdin: Optional[PathLike] = None,
    stdout: Optional[PathLike] = None,
    stderr: Optional[PathLike] = None,
    files: str = "auto",
    file: Optional[Mapping[PathLike, PathLike]] = None,
    session: bool = True,
    ids: Optional[str] = None,
    clock: Optional[str] = None,
    peers: Optional[str] = None,
    set: Optional[Mapping[str, object]] = None,
    env: Optional[Mapping[str, str]] = None,
    trust: bool = False,
) -> Union[Restored, Deferred]:
    """Replace the selected inferior by a snapshot, as `ckpt restore` does; nothing is asked or
    printed. `name` is a name or a file, None the newest snapshot. `set` maps expressions to the
    values they are to have, as text that GDB reads or as numbers; `env` maps names to values.
    `trust`: the session's commands, conditions and displays are taken whichever user has saved it.

    Returns the record of the restore: name, record (of the snapshot), pid, ids, notes. In a
    breakpoint's `stop` method, or while the program runs: a Deferred, at once; when it is done, GDB
    shows where the program is. Raises CkptError.
    """
    from . import restoring, stopreason

    store = open_store()
    options = parameters.restart_options(store.root)
    ids = ids if ids is not None else options.ids
    clock = clock if clock is not None else options.clock
    peers = peers if peers is not None else options.peers
    for what, value, allowed in (
        ("files", files, parameters.FILES),
        ("ids", ids, parameters.IDS),
        ("clock", clock, parameters.CLOCKS),
        ("peers", peers, parameters.PEERS),
    ):
        if value not in allowed:
            raise CkptError(f"{what} is one of {', '.join(allowed)}, not {value!r}")
    options = options._replace(
        ids=ids,
        clock=clock,
        peers=peers,
        files=files,
        file=tuple((_path(old), _path(new)) for old, new in (file or {}).items()),
        stdin=_path(stdin) if stdin is not None else None,
        stdout=_path(stdout) if stdout is not None else None,
        stderr=_path(stderr) if stderr is not None else None,
        env=tuple(f"{variable}={value}" for variable, value in (env or {}).items()),
    )
    changes = tuple((expression, str(value)) for expression, value in (set or {}).items())
    request = restoring.RestoreRequest(
        os.fspath(name) if name is not None else None,
        options,
        session,
        ask=False,
        set=changes,
        trust=trust,
    )

    def action() -> Restored:
        with _failures():
            done = restoring.restore(store, request)
        stopreason.announce(done.stop)
        return done

    def later() -> Restored:
        from ..text import report

        with _failures():
            done = restoring.restore(store, request)
        show(report.restored(done.record, done.name, done.pid, done.ids, done.seconds))
        stopreason.announce(done.stop, restoring.print_location)
        return done

    return _defer("restore", later) if _is_running() else action()


def snapshots() -> Tuple[Entry, ...]:
    """All snapshots in the store, oldest first, each with name, path, created (Unix seconds),
    record (None when it cannot be read) and problem (why not). Raises CkptError.
    """
    return tuple(open_store().entries())


def _path(path: PathLike) -> str:
    # Absolute, since the helper need not have our directory; ~ is for people, not for programs.
    return os.path.abspath(os.path.expanduser(os.fspath(path)))


@contextmanager
def _failures() -> Iterator[None]:
    """Let scripts see one class of expected failures."""
    try:
        yield
    except (gdb.error, native.core.NativeError) as error:
        raise CkptError(one_line(str(error))) from error


# -- what is deferred ------------------------------------------------------------------------------
#
# It is done in the handler of the stop event, or by the first command of the breakpoint.

_waiting: List[Deferred] = []
_first = FirstCommand("python __import__('gdbext.session.api').session.api.run_deferred()")
_connected = False


def run_deferred() -> None:
    """Do what was deferred. The program has stopped."""
    while _waiting:
        _waiting.pop(0)._run()


def _is_running() -> bool:
    """Whether nothing can be done now. In a `stop` method every thread is still said to run."""
    thread = gdb.selected_thread()
    return thread is not None and thread.is_valid() and bool(thread.is_running())


def _defer(what: str, action: Callable[[], Any]) -> Deferred:
    global _connected
    if not _connected:
        _connected = True
        gdb.events.stop.connect(_on_stop)
        gdb.events.exited.connect(_on_exited)
    deferred = Deferred(what, action)
    if not _waiting:
        _first.give_to(_may_be_hit_next())
    _waiting.append(deferred)
    return deferred


def _may_be_hit_next() -> Iterator[Any]:
    """The breakpoints that may be hit by the stop that is about to come."""
    try:
        address: Optional[int] = int(gdb.selected_frame().pc())
    except gdb.error:
        address = None  # it runs in the background
    for point in gdb.breakpoints():
        places = {int(place.address) for place in breakpoints.locations(point)}
        elsewhere = address is not None and places and address not in places
        if not (elsewhere and point.type == gdb.BP_BREAKPOINT):
            yield point


def _on_stop(event: Any) -> None:
    if not _first.take_back():
        run_deferred()


def _on_exited(event: Any) -> None:
    _first.take_back()
    while _waiting:
        _waiting.pop(0)._fail(CkptError("the program ended before it stopped"))
