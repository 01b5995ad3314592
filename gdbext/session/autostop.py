"""The parts of GDB with which `ckpt auto` stops a program unnoticed: see auto.py.

A catchpoint with its commands, and hooks on the commands that an interruption would end. The user's
event handlers, hook-stop and handling of SIGSTOP are put away for a while.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Optional, Tuple

import gdb

from .. import native
from ..debugger import gdbtext
from . import breakpoints, inferior, settings, show

_SI_TKILL = -6

_STEPPING = ("step", "next", "stepi", "nexti", "finish", "until", "advance")
_HOOK = "python __import__('gdbext.session.auto').session.auto.note_stepping()"
_OWN_STOP = "maintenance ckpt-auto-stop"
_COMMANDS = f"""silent
{_OWN_STOP}
if $_ckpt_drops_signal
signal 0
end
if $_ckpt_continues
continue
end"""


class _Condition(gdb.Function):
    """$_ckpt_auto(): the catchpoint's condition."""

    def __init__(self, is_ours_to_stop: Callable[[], bool]) -> None:
        super().__init__("_ckpt_auto")
        self.invoke = native.core.uninterrupted(is_ours_to_stop)


class _OwnStop(gdb.Command):
    """What the catchpoint does at a stop of `ckpt auto`. It is not for typing."""

    # Not the command `python`: a Ctrl-C that was typed while GDB took the terminal would be raised
    # in that before any of our code, and GDB would show where.

    def __init__(self, at_own_stop: Callable[[], None]) -> None:
        super().__init__(_OWN_STOP, gdb.COMMAND_MAINTENANCE)
        self.invoke = native.core.uninterrupted(lambda argument, from_tty: at_own_stop())


class Trap:
    """The catchpoint for SIGSTOP and the hooks on stepping commands. `is_ours_to_stop` is the
    catchpoint's condition, `at_own_stop` the first of its commands; a Ctrl-C waits for both.
    """

    def __init__(
        self, is_ours_to_stop: Callable[[], bool], at_own_stop: Callable[[], None]
    ) -> None:
        self._called = is_ours_to_stop, at_own_stop
        self._for_gdb: Optional[Tuple[_Condition, _OwnStop]] = None
        self._catchpoint: Optional[Any] = None
        self._hooks_defined = False

    def keep_up(self) -> None:
        """Make the catchpoint and the hooks, if they are not there or the user has deleted them."""
        if not self._is_catching():
            self._remove_catchpoint()
            self._make_catchpoint()
        for command in _STEPPING:
            body = settings.user_command(f"hook-{command}") or []
            if _HOOK not in body:
                settings.define(f"hook-{command}", [_HOOK, *body])
        self._hooks_defined = True

    def remove(self) -> None:
        """Delete the catchpoint and the hooks."""
        self._remove_catchpoint()
        if not self._hooks_defined:
            return
        self._hooks_defined = False
        for command in _STEPPING:
            body = settings.user_command(f"hook-{command}") or []
            if _HOOK in body:
                settings.define(f"hook-{command}", [line for line in body if line != _HOOK])

    def is_catchpoint(self, point: Any) -> bool:
        """Whether `point` is the catchpoint."""
        return point is self._catchpoint

    def _make_catchpoint(self) -> None:
        if self._for_gdb is None:
            is_ours_to_stop, at_own_stop = self._called
            self._for_gdb = _Condition(is_ours_to_stop), _OwnStop(at_own_stop)
        with settings.convenience_kept("_"), settings.unasked():
            settings.quietly("catch signal SIGSTOP")
        point = max(gdb.breakpoints(), key=lambda each: int(each.number))
        breakpoints.own.add(int(point.number))
        self._catchpoint = point
        with settings.language():
            point.condition = "$_ckpt_auto()"
        point.commands = _COMMANDS

    def _is_catching(self) -> bool:
        point = self._catchpoint
        return point is not None and point.is_valid() and bool(point.enabled)

    def _remove_catchpoint(self) -> None:
        if self._catchpoint is not None and self._catchpoint.is_valid():
            self._catchpoint.delete()
        self._catchpoint = None


# -- the catchpoint's commands ---------------------------------------------------------------------


def stay_stopped() -> None:
    """Have the catchpoint's commands stay where the program has stopped."""
    # One variable for each way to go on: languages differ in how they compare.
    for name in ("_ckpt_drops_signal", "_ckpt_continues"):
        gdb.set_convenience_variable(name, 0)


def go_on_without_signal() -> None:
    """Have them let the program go on without the SIGSTOP."""
    gdb.set_convenience_variable("_ckpt_drops_signal", 1)


def go_on() -> None:
    """Have them let the program go on."""
    gdb.set_convenience_variable("_ckpt_continues", 1)


def is_sent_by_us() -> bool:
    """Whether the clock has sent the signal for which the program has stopped."""
    try:
        info = inferior.signal_information()
        sender = int(info["_sifields"]["_kill"]["si_pid"])
        return sender == os.getpid() and int(info["si_code"]) == _SI_TKILL
    except (gdb.error, RuntimeError):
        return False  # the program is being stopped by a SIGSTOP that was delivered


def show_foreign() -> None:
    """Do for a SIGSTOP of another process what GDB does without a catchpoint."""
    row = gdbtext.signals(settings.quietly("info signals SIGSTOP"))["SIGSTOP"]
    if row.print:
        thread = gdb.selected_thread()
        who = f'Thread {thread.num} "{thread.name}"' if thread is not None else "Program"
        show("", f"{who} received signal SIGSTOP, Stopped (signal).")
    if row.stop:
        gdb.execute("frame")
    else:
        go_on()


def watch_hits() -> Dict[int, int]:
    """How often each watchpoint has been hit."""
    return {
        int(point.number): int(point.hit_count)
        for point in gdb.breakpoints()
        if point.expression is not None
    }


# -- the user's handlers and settings --------------------------------------------------------------


class Silence:
    """The user's handlers of stops and of the program's going on, and hook-stop, while they are put
    away.
    """

    def __init__(self) -> None:
        self._handlers: Dict[str, Tuple[List[Any], List[Any]]] = {}
        self._hook_stop: Optional[List[str]] = None

    def begin(self) -> None:
        """Keep them from the stop that is about to come, and from the program's going on.

        None of our own handlers either: with the stop GDB takes the terminal, and Ctrl-C is a
        KeyboardInterrupt in whatever Python code runs next. In a handler GDB would drop that with a
        message; the catchpoint's first command has it wait.
        """
        self.give_handlers_back()
        self.give_hook_back()
        for name in ("stop", "cont"):
            handlers = settings.handlers_of(getattr(gdb.events, name))
            if handlers is not None:
                self._handlers[name] = (handlers, list(handlers))
                del handlers[:]
        body = settings.user_command("hook-stop")
        if body:
            self._hook_stop = body
            settings.define("hook-stop", [])

    def give_hook_back(self) -> None:
        """Give hook-stop back. Runs GDB commands."""
        if self._hook_stop is not None:
            settings.define("hook-stop", self._hook_stop)
            self._hook_stop = None

    def give_handlers_back(self) -> None:
        """Give all handlers back."""
        for name in list(self._handlers):
            self._give_back(name)

    def give_stop_handlers_back(self) -> None:
        """Give the handlers of stops back: the next stop may be the user's."""
        self._give_back("stop")

    def _give_back(self, name: str) -> None:
        # A Ctrl-C may end this anywhere, and then it is done again.
        handlers, before = self._handlers.get(name, ([], []))
        # Those connected meanwhile stay connected.
        handlers[:0] = [each for each in before if each not in handlers]
        self._handlers.pop(name, None)


class Dropping:
    """GDB's handling of SIGSTOP, kept while GDB ignores the signal."""

    def __init__(self) -> None:
        self._before: Optional[str] = None

    def begin(self) -> None:
        """Have GDB ignore the signal that it is looking at."""
        if self._before is None:
            row = gdbtext.signals(settings.quietly("info signals SIGSTOP"))["SIGSTOP"]
            self._before = " ".join(
                word if wanted else f"no{word}"
                for word, wanted in (("print", row.print), ("stop", row.stop), ("pass", row.passed))
            )
        settings.quietly("handle SIGSTOP nostop noprint nopass")

    def end(self) -> None:
        """Restore the handling."""
        if self._before is not None:
            settings.quietly(f"handle SIGSTOP {self._before}")
            self._before = None
