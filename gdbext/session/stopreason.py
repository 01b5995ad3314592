"""Why the program stopped: learned for a save, and told of a restored program as GDB tells it of
any other, once (see `announce`).
"""

from __future__ import annotations

import re
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional

import gdb

from .. import native
from ..debugger import laststop, mi
from ..debugger.debugstate import STOP_REASONS, DebugState, Stop
from ..records import Record
from . import breakpoints, inferior, output, settings, show

# Of a restored program that has not run yet: GDB itself knows only how it was attached.
_restored: Optional[Stop] = None


def read() -> Stop:
    """Why the program stopped. May change the selected thread."""
    told = laststop.told
    if _restored is not None and told is None:
        return _restored
    if told is not None and (told.points or told.reason in STOP_REASONS[1:]):
        reason = told.reason if told.reason in STOP_REASONS[1:] else _reason_of(told.points[0][1])
        return Stop(reason, told.signal, tuple(number for number, _ in told.points))
    try:
        # In GDB 16 it selects the thread that it tells of.
        text = settings.quietly("info program")
    except gdb.error:
        return Stop()
    if "after being stepped" in text:
        return Stop("end-stepping-range")
    points = tuple(int(number) for number in re.findall(r"stopped at breakpoint (\d+)", text))
    if points:
        return Stop("breakpoint-hit", "", points)  # a catchpoint: GDB tells of no others so
    if "since been deleted" in text:
        # GDB's own: `finish`, `until` and `advance` set it.
        return Stop("function-finished")
    signal = re.search(r"stopped \w+ signal (SIG\w+)", text)
    return Stop("signal-received", signal[1]) if signal else Stop()


_WATCHPOINT_REASONS = {
    "BP_WATCHPOINT": "watchpoint-trigger",
    "BP_HARDWARE_WATCHPOINT": "watchpoint-trigger",
    "BP_READ_WATCHPOINT": "read-watchpoint-trigger",
    "BP_ACCESS_WATCHPOINT": "access-watchpoint-trigger",
}


def _reason_of(kind: int) -> str:
    for constant, reason in _WATCHPOINT_REASONS.items():
        if getattr(gdb, constant, None) == kind:
            return reason
    return "breakpoint-hit"


def _breakpoint(number: int) -> Optional[Any]:
    return next((each for each in gdb.breakpoints() if each.number == number), None)


# -- telling of it ---------------------------------------------------------------------------------


def now(record: Record, state: DebugState) -> Stop:
    """Why a restored program stopped, with the present numbers of the breakpoints."""
    stop = state.stop
    if not stop.reason:
        stop = _guessed(record)
    numbers = breakpoints.present_numbers(state.breakpoints)
    # One that is not there now keeps its number, unless that is another one's.
    points = (numbers.get(each, 0 if _breakpoint(each) else each) for each in stop.breakpoints)
    return stop._replace(breakpoints=tuple(each for each in points if each))


def _guessed(record: Record) -> Stop:
    """What can be seen of the reason when the snapshot does not tell: it is an older one, or was
    saved without GDB.
    """
    held = next((each for each in record.threads if each.tid == record.selected_tid), None)
    if held is not None and held.held_signal:
        return Stop("signal-received", inferior.signal_name(held.held_signal) or "")
    return Stop()


def announce(stop: Stop, show_place: Callable[[], None] = lambda: None) -> None:
    """Tell of the stop of a restored program, once, in GDB's order: to the user's `hook-stop`; by
    `show_place`; to the Python handlers of stops, of which those of the debug adapter (DAP) are
    some; and to a front end that talks GDB/MI, after the result of the present command.
    """
    global _restored
    thread = gdb.selected_thread()
    moved: List[Any] = []
    gdb.events.cont.connect(moved.append)
    try:
        _run_hook()
        # A hook may let the program go on: then GDB has told of its next stop.
        if not moved:
            show_place()
            _restored, laststop.told = stop, None
            _forget_in_debug_adapter()
            _call_handlers(stop, moved)
    finally:
        gdb.events.cont.disconnect(moved.append)
    if output.interpreter() and not moved and thread is not None and thread.is_valid():
        _Telling(mi.stopped(_details(stop), _described(thread), int(thread.global_num)))


def _run_hook() -> None:
    if settings.user_command("hook-stop") is None:
        return
    try:
        gdb.execute("hook-stop")
    except gdb.error as error:
        show("Error while running hook_stop:", str(error))


def _call_handlers(stop: Stop, moved: List[Any]) -> None:
    handlers = settings.handlers_of(gdb.events.stop)
    event = _event(stop)
    for handler in list(handlers or ()):
        # Ours know. One that asked for this restore goes on when it is done.
        if moved or _is_ours(handler) or _is_running(handler):
            continue
        try:
            handler(event)
        except Exception as error:
            # What GDB does with a handler that fails: it says so, and calls the next one.
            show(f"Python Exception {type(error)}: {error}")


def _forget_in_debug_adapter() -> None:
    """Let the debug adapter (DAP) forget the frames and the variables that it has shown. It does so
    when the program goes on, of which it must not be told.
    """
    for handler in settings.handlers_of(gdb.events.cont) or ():
        module = str(getattr(handler, "__module__", ""))
        if module.startswith("gdb.dap.") and module != "gdb.dap.events":
            handler(None)


def _is_ours(handler: Any) -> bool:
    return str(getattr(handler, "__module__", "")).startswith("gdbext")


def _is_running(handler: Any) -> bool:
    # Behind a decorator, whose own code may be running for another function.
    while hasattr(handler, "__wrapped__"):
        handler = handler.__wrapped__
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    frame = sys._getframe()
    while frame is not None:
        if code is not None and frame.f_code is code:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _event(stop: Stop) -> Any:
    """The event that GDB would have made."""
    points = [each for each in map(_breakpoint, stop.breakpoints) if each is not None]
    if points:
        event = _made(gdb.BreakpointEvent, stop)
        event.breakpoints, event.breakpoint = points, points[0]
    elif stop.signal:
        event = _made(gdb.SignalEvent, stop)
        event.stop_signal = stop.signal
    else:
        event = _made(gdb.StopEvent, stop)
    return event


def _made(kind: Any, stop: Stop) -> Any:
    """An object of a class that Python code cannot call."""
    import ctypes  # slow to import

    make = ctypes.pythonapi.PyType_GenericNew
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p]
    made = make(kind, None, None)
    # None: all threads have stopped. It must get an attribute before anybody asks for all of them.
    made.inferior_thread = None
    made.details = _details(stop)
    return made


def _details(stop: Stop) -> Dict[str, Any]:
    """The reason in the words of GDB/MI, which are those of an event's `details` (GDB 14)."""
    if not stop.reason:
        return {}
    found: Dict[str, Any] = {"reason": stop.reason}
    number = stop.breakpoints[0] if stop.breakpoints else None
    point = _breakpoint(number) if number is not None else None
    if stop.reason == "signal-received" or stop.signal:
        found.update(_signal(stop.signal))
    elif stop.reason in _WATCHED and point is not None:
        found[_WATCHED[stop.reason]] = {"number": number, "exp": point.expression}
        found["value"] = _watched_value(stop.reason, str(point.expression))
    elif number is not None:
        # A breakpoint that is no longer there was a temporary one.
        kept = point is not None and not point.temporary
        found.update({"disp": "keep" if kept else "del", "bkptno": number})
    return found


_WATCHED = {
    "watchpoint-trigger": "wpt",
    "read-watchpoint-trigger": "hw-rwpt",
    "access-watchpoint-trigger": "hw-awpt",
}


def _watched_value(reason: str, expression: str) -> Mapping[str, str]:
    try:
        text = gdb.parse_and_eval(expression).format_string()
    except (gdb.error, RuntimeError) as error:
        text = f"<error: {settings.problem_of(error)}>"
    return {"value" if reason == "read-watchpoint-trigger" else "new": text}


def _signal(name: str) -> Dict[str, Any]:
    meaning = ""
    try:
        rows = settings.quietly(f"info signals {name}").splitlines()
        meaning = next(row for row in rows if row.startswith(name)).split("\t")[-1].strip()
    except (gdb.error, StopIteration):
        pass
    return {"signal-name": name, "signal-meaning": meaning}


def _described(thread: Any) -> str:
    return output.answer_of(f"-thread-info {int(thread.global_num)}")


class _Telling:
    """`*stopped` for a front end, written when GDB has answered the present command and waits for
    the next one; unless the program has gone on meanwhile, or another restore has its own.
    """

    _latest: Optional["_Telling"] = None

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._connected = [
            (gdb.events.cont, native.core.keeping_interrupts(self._forget)),
            (gdb.events.exited, self._forget),
            (gdb.events.gdb_exiting, _end_without_callbacks),
        ]
        for registry, handler in self._connected:
            registry.connect(handler)
        _Telling._latest = self
        gdb.post_event(self._tell)

    def _forget(self, event: Any = None) -> None:
        if _Telling._latest is self:
            _Telling._latest = None

    def _tell(self) -> None:
        for registry, handler in self._connected:
            registry.disconnect(handler)
        if _Telling._latest is self:
            self._forget()
            output.write([self._line])


def _end_without_callbacks(event: Any) -> None:
    """GDB ends while a callback is still to come. It would destroy it after the end of Python, and
    crash: so the C library ends the process before that, with its exit status.
    """
    import ctypes  # slow to import

    libc = ctypes.CDLL(None)
    # The one that is asked for last is called first.
    libc.on_exit(libc._exit, None)
    libc.__cxa_atexit(libc.fflush, None, None)
