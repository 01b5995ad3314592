"""`ckpt auto`: saving without being asked.

At fatal signals the save is made in the handler of the stop event, so before the prompt, or before
the commands of a `catch signal`; every N stops, right before the prompt.

Every so many seconds the program has to be stopped, and nobody must notice:

    1. A thread of ours sends one thread of the program a SIGSTOP. It does nothing else: GDB may
       only be used from its main thread. It is native: a Ctrl-C at any moment, also while a lock is
       being taken, must leave it whole.
    2. GDB sees the signal, and a catchpoint of ours for it. Its condition, a function of ours,
       is where we are told first: it disconnects the user's handlers and hooks for what follows.
    3. The catchpoint's commands are GDB's own way of going on silently: `silent`, then the save,
       then `signal 0`, which continues and does not deliver the SIGSTOP.

A stop ends `step`, `finish` and their like for good. So while one of them runs nothing is sent; that
is known from hooks of ours on these commands. The signal may have been sent just before: then the
condition says no, and has GDB drop the signal, upon which it goes on with what it was doing. The
same happens to a signal that was overtaken by a stop of the user's.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import gdb

from .. import native
from ..debugger import gdbtext
from ..debugger.trail import KEEP, Kept, Schedule, changed, surplus
from ..errors import CkptError, one_line
from ..text import report
from . import breakpoints, inferior, open_store, parameters, positions, settings, show
from .firstcommand import FirstCommand
from .saving import SaveRequest, save, told_of

_SI_TKILL = -6

# Those whose default action is to end the program with a core dump.
FATAL = frozenset(
    "SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGSEGV SIGXCPU SIGXFSZ SIGSYS".split()
)

_STEPPING = ("step", "next", "stepi", "nexti", "finish", "until", "advance")
_MODULE = "__import__('gdbext.session.auto').session.auto"
_HOOK = f"python {_MODULE}.note_stepping()"
_OWN_STOP = "maintenance ckpt-auto-stop"
_COMMANDS = f"""silent
{_OWN_STOP}
if $_ckpt_drops_signal
signal 0
end
if $_ckpt_continues
continue
end"""


def _forget_going_on() -> None:
    """Have the catchpoint's commands stay where the program has stopped."""
    # One variable for each way to go on: languages differ in how they compare.
    for name in ("_ckpt_drops_signal", "_ckpt_continues"):
        gdb.set_convenience_variable(name, 0)


class _Condition(gdb.Function):
    """$_ckpt_auto(): the catchpoint's condition."""

    def __init__(self) -> None:
        super().__init__("_ckpt_auto")
        self.invoke = native.module().uninterrupted(_auto.is_ours_to_stop)


class _OwnStop(gdb.Command):
    """What the catchpoint does at a stop of `ckpt auto`. It is not for typing."""

    # Not the command `python`: a Ctrl-C that was typed while GDB took the terminal would be raised in
    # that before any code of ours, and GDB would show where.

    def __init__(self) -> None:
        super().__init__(_OWN_STOP, gdb.COMMAND_MAINTENANCE)
        self.invoke = native.module().uninterrupted(
            lambda argument, from_tty: _auto.at_own_stop()
        )


class _Auto:
    """All that `ckpt auto` is doing in this session."""

    def __init__(self) -> None:
        self.schedule = Schedule()
        self.keep = KEEP
        self.limit_bytes: Optional[int] = None
        self.trail: List[Kept] = []
        self._clock: Any = None  # native.StopClock, while there is something to do for it
        self._catchpoint: Optional[Any] = None
        self._hooks_defined = False
        self._connected: List[Tuple[Any, Callable[..., None]]] = []
        self._for_gdb: Optional[Tuple[_Condition, _OwnStop]] = None
        self._stepping = False
        self._calling = False
        self._in_own_stop = False
        self._foreign = False
        self._hits: Dict[int, int] = {}  # of watchpoints, when the program went on
        self._dropping: Optional[str] = None  # how SIGSTOP was handled before it is dropped
        self._silenced: Dict[str, Tuple[List[Any], List[Any]]] = {}
        self._hook_stop: Optional[List[str]] = None
        self._stops = 0
        self._stopped = False
        self._saved_here = False
        self._received = ""  # the signal that the program was last stopped by
        self._at_catch = FirstCommand(f"python {_MODULE}.at_catch()")
        self._problem = ""

    # -- switching ---------------------------------------------------------------------------------

    def apply(self, schedule: Schedule) -> None:
        """Make the schedule the one that is followed. Raises CkptError and gdb.error."""
        if schedule.every_s and gdb.parameter("non-stop"):
            raise CkptError('non-stop mode is on: "set non-stop off" first')
        if schedule.every_stops != self.schedule.every_stops:
            self._stops = 0
        if schedule.every_s != self.schedule.every_s:
            self._clock = None
        self.schedule = schedule
        self._problem = ""
        if schedule.active and not self._connected:
            self._connect()
        if schedule.every_s:
            if self._clock is None:
                self._clock = native.module().StopClock(schedule.every_s)
            self._keep_up()
        else:
            self._remove_catchpoint()
            self._remove_hooks()
        if not schedule.active:
            for registry, handler in self._connected:
                registry.disconnect(handler)
            self._connected = []

    def _connect(self) -> None:
        known: Any = gdb.events
        pairs: List[Tuple[Any, Callable[..., None]]] = [
            (known.stop, self._on_stop),
            (known.cont, native.module().uninterrupted(self._on_cont)),
            (known.exited, self._on_exited),
            (known.before_prompt, native.module().uninterrupted(self._on_prompt)),
            (known.inferior_call, self._on_call),
        ]
        if hasattr(known, "gdb_exiting"):
            pairs.append((known.gdb_exiting, self._on_exiting))
        for registry, handler in pairs:
            registry.connect(handler)
        self._connected = pairs

    def _keep_up(self) -> None:
        """Make what the user may have deleted meanwhile again: the catchpoint, the hooks."""
        if not self._is_catching():
            self._remove_catchpoint()
            if self._for_gdb is None:
                self._for_gdb = _Condition(), _OwnStop()
            with settings.convenience_kept("_"), settings.unasked():
                settings.quietly("catch signal SIGSTOP")
            point = max(gdb.breakpoints(), key=lambda each: int(each.number))
            breakpoints.own.add(int(point.number))
            self._catchpoint = point
            with settings.language():
                point.condition = "$_ckpt_auto()"
            point.commands = _COMMANDS
        for command in _STEPPING:
            body = settings.user_command(f"hook-{command}") or []
            if _HOOK not in body:
                settings.define(f"hook-{command}", [_HOOK, *body])
        self._hooks_defined = True

    def _is_catching(self) -> bool:
        point = self._catchpoint
        return point is not None and point.is_valid() and bool(point.enabled)

    def _remove_catchpoint(self) -> None:
        if self._catchpoint is not None and self._catchpoint.is_valid():
            self._catchpoint.delete()
        self._catchpoint = None

    def _remove_hooks(self) -> None:
        if not self._hooks_defined:
            return
        self._hooks_defined = False
        for command in _STEPPING:
            body = settings.user_command(f"hook-{command}") or []
            if _HOOK in body:
                settings.define(f"hook-{command}", [line for line in body if line != _HOOK])

    # -- what happens in the session ---------------------------------------------------------------

    def note_stepping(self) -> None:
        """A command begins that an interruption would end."""
        self._stepping = True

    def _on_call(self, event: Any) -> None:
        self._calling = type(event).__name__ == "InferiorCallPreEvent"

    def _on_cont(self, event: Any) -> None:
        self._saved_here = False
        self._stop_dropping()
        if self.schedule.on_signal and not self._calling:
            self._at_catch.give_to(
                point
                for point in gdb.breakpoints()
                if point.type == gdb.BP_CATCHPOINT and point is not self._catchpoint
            )
        if self._clock is None or self._stepping or self._calling:
            return
        thread = gdb.selected_thread()
        target = gdb.selected_inferior()
        kind = getattr(getattr(target, "connection", None), "type", "native")
        if thread is None or not target.pid or kind != "native":
            return
        self._keep_up()
        self._arm(target, thread)

    def _arm(self, target: Any, thread: Any) -> None:
        assert self._clock is not None
        self._saved_here = False
        self._hits = self._watch_hits()
        self._clock.arm(int(target.pid), inferior.thread_tid(thread))

    def _on_stop(self, event: Any) -> None:
        self._in_own_stop = False
        self._end_run()
        self._stopped = True
        self._received = getattr(event, "stop_signal", "")
        if not self._at_catch.take_back():
            self.at_signal()

    def at_signal(self) -> None:
        """The program has stopped, and GDB is going to do nothing of the user's now."""
        received, self._received = self._received, ""
        if self.schedule.on_signal and received in FATAL:
            try:
                self._save(received)
            except KeyboardInterrupt:
                self._tell("interrupted")

    def _on_exited(self, event: Any) -> None:
        self._in_own_stop = False
        self._at_catch.take_back()
        self._leave_run()
        target = getattr(event, "inferior", None)
        if self._clock is not None and self._clock.on_its_way:
            self._clock.seen()
            if target is not None and not hasattr(event, "exit_code"):
                # Detached, perhaps: GDB has let it have the signal that it had not shown yet.
                try:
                    os.kill(int(target.pid), signal.SIGCONT)
                except OSError:
                    pass  # it was killed

    def _end_run(self) -> None:
        """The program has stopped. Without commands of GDB's: firstcommand.py says why."""
        if self._clock is not None:
            self._clock.disarm()
        self._stepping = False
        self._give_handlers_back()

    def _leave_run(self) -> None:
        self._end_run()
        self._give_hook_back()
        self._stop_dropping()

    def _on_prompt(self) -> None:
        # Also comes while the program runs in the background, when it is not to be interrupted.
        self._leave_run()
        try:
            if self._in_own_stop:
                self._stay()  # Ctrl-C has ended the catchpoint's commands
                gdb.execute("frame")
            if self.schedule.every_s:
                self._keep_up()
            if self._stopped and self.schedule.every_stops:
                self._stops += 1
                if self._stops % self.schedule.every_stops == 0 and not self._saved_here:
                    self._save(f"stop {self._stops}")
        except gdb.error as error:
            self._tell(one_line(str(error)))
        except KeyboardInterrupt:
            self._tell("interrupted")
        self._stopped = False

    def _on_exiting(self, event: Any) -> None:
        if self._clock is not None:
            if self._clock.on_its_way:
                # GDB is about to detach, and would let the program have it.
                settings.quietly("handle SIGSTOP nopass")
            self._clock = None

    # -- a stop of ours ----------------------------------------------------------------------------

    def is_ours_to_stop(self) -> bool:
        """Called when GDB has seen a SIGSTOP, before it decides what to do."""
        self._foreign = False
        try:
            info = inferior.signal_information()
            sender = int(info["_sifields"]["_kill"]["si_pid"])
            ours = sender == os.getpid() and int(info["si_code"]) == _SI_TKILL
        except (gdb.error, RuntimeError):
            ours = False  # the program is being stopped by a SIGSTOP that was delivered
        if not ours:
            self._foreign = True
            return True
        if self._clock is not None:
            self._clock.seen()
        if self._clock is None or not self._clock.disarm() or self._stepping or self._calling:
            self._drop()
            return False
        self._silence()
        self._in_own_stop = True
        return True

    def _drop(self) -> None:
        """Have GDB ignore the signal that it is looking at."""
        if self._dropping is None:
            row = gdbtext.signals(settings.quietly("info signals SIGSTOP"))["SIGSTOP"]
            self._dropping = " ".join(
                word if wanted else f"no{word}"
                for word, wanted in (("print", row.print), ("stop", row.stop), ("pass", row.passed))
            )
        settings.quietly("handle SIGSTOP nostop noprint nopass")

    def _stop_dropping(self) -> None:
        if self._dropping is not None:
            settings.quietly(f"handle SIGSTOP {self._dropping}")
            self._dropping = None

    def _silence(self) -> None:
        """Keep the user's handlers and hooks from the stop that is about to come, and from the
        program's going on.

        No handlers of ours either: with the stop GDB takes the terminal, and Ctrl-C is a
        KeyboardInterrupt in whatever Python code runs next. In a handler GDB would drop that with a
        message; the catchpoint's first command has it wait.
        """
        self._give_handlers_back()
        self._give_hook_back()
        for name in ("stop", "cont"):
            handlers = settings.handlers_of(getattr(gdb.events, name))
            if handlers is not None:
                self._silenced[name] = (handlers, list(handlers))
                del handlers[:]
        body = settings.user_command("hook-stop")
        if body:
            self._hook_stop = body
            settings.define("hook-stop", [])

    def _give_hook_back(self) -> None:
        if self._hook_stop is not None:
            settings.define("hook-stop", self._hook_stop)
            self._hook_stop = None

    def _give_handlers_back(self) -> None:
        for name in list(self._silenced):
            self._give_back(name)

    def _give_back(self, name: str) -> None:
        # A Ctrl-C may end this anywhere, and then it is done again.
        handlers, before = self._silenced.get(name, ([], []))
        # Those connected meanwhile stay connected.
        handlers[:0] = [each for each in before if each not in handlers]
        self._silenced.pop(name, None)

    @staticmethod
    def _watch_hits() -> Dict[int, int]:
        """How often each watchpoint has been hit."""
        return {
            int(point.number): int(point.hit_count)
            for point in gdb.breakpoints()
            if point.expression is not None
        }

    def at_own_stop(self) -> None:
        """The first command of the catchpoint. A Ctrl-C waits meanwhile."""
        _forget_going_on()
        if self._foreign:
            self._show_foreign()
            return
        if self._clock is None:
            return
        if not self._in_own_stop:
            # The condition has failed.
            gdb.execute("frame")
            self._stay()
            return
        core = native.module()
        if core.take_interrupt():
            self._present("interrupted")
            return
        # Every stop looks at software watchpoints, so this may be a stop of the user's as well.
        shared = self._watch_hits() != self._hits
        try:
            target = gdb.selected_inferior()
            tids = [inferior.thread_tid(thread) for thread in target.threads()]
            self._save(f"every {self.schedule.every_s:g} s")
            if not shared:
                core.undo_interruptions(int(target.pid), tids)
            interrupted = core.take_interrupt()
        except KeyboardInterrupt:
            interrupted = True
        except native.error_type() as error:
            self._present(one_line(str(error)))
            return
        if interrupted:
            self._present("interrupted")
        elif shared:
            self._stay()
        else:
            self._go_on(target)

    def _present(self, problem: str) -> None:
        """Show the user why the program is stopped here."""
        show(f"ckpt auto: {problem}")
        gdb.execute("frame")
        self._stay()

    def _go_on(self, target: Any) -> None:
        """What is left of the catchpoint's commands lets the program go on."""
        positions.left()
        self._give_back("stop")
        self._give_hook_back()
        self._arm(target, gdb.selected_thread())
        gdb.set_convenience_variable("_ckpt_drops_signal", 1)

    def _stay(self) -> None:
        """Make the stop of ours one of the user's: `continue` must not deliver our signal."""
        _forget_going_on()
        settings.quietly("queue-signal 0")
        self._in_own_stop = False
        self._leave_run()

    def _show_foreign(self) -> None:
        """Do for a SIGSTOP of somebody else's what GDB does without a catchpoint."""
        row = gdbtext.signals(settings.quietly("info signals SIGSTOP"))["SIGSTOP"]
        if row.print:
            thread = gdb.selected_thread()
            who = f'Thread {thread.num} "{thread.name}"' if thread is not None else "Program"
            show("", f"{who} received signal SIGSTOP, Stopped (signal).")
        if row.stop:
            gdb.execute("frame")
        else:
            gdb.set_convenience_variable("_ckpt_continues", 1)

    # -- saving ------------------------------------------------------------------------------------

    def _save(self, reason: str) -> None:
        """Save, tell in one line, and keep the trail within its bounds. Raises KeyboardInterrupt
        only.
        """
        self._at_catch.take_back()  # the snapshot has the user's breakpoints

        with native.module().InterruptsHeld():
            try:
                store = open_store()
                request = SaveRequest(
                    None, f"auto: {reason}", None, False, parameters.file_limit_bytes(), kind="auto"
                )
                done = save(store, request)
                self._saved_here = True
                self._problem = ""
                if self._clock is not None:
                    self._clock.begin_anew()
                self.trail.append(Kept(done.name, done.created, done.file_bytes))
                show(told_of(done))
                self.trim()
            except (CkptError, gdb.error, native.error_type()) as error:
                if getattr(error, "kind", "") == "interrupted":
                    raise KeyboardInterrupt from None
                if self._clock is not None:
                    self._clock.begin_anew()
                self._tell(one_line(str(error)))

    def _tell(self, problem: str) -> None:
        # Once: every few seconds the same line helps nobody.
        if problem != self._problem:
            self._problem = problem
            show(f"ckpt auto: {problem}")

    def trim(self) -> None:
        """Delete what the trail has too many of. Raises CkptError."""
        store = open_store()
        for each in surplus(self.trail, self.keep, self.limit_bytes):
            entry = store.find(each.name)
            # The user may have deleted it, or saved another one under its name.
            if entry and entry.record is not None and entry.record.created == each.created:
                store.delete([each.name])
            self.trail.remove(each)


_auto = _Auto()


def change(when: Sequence[str], keep: Optional[int], limit_bytes: Optional[int]) -> None:
    """`ckpt auto`: what is not None is changed. Raises CkptError."""
    schedule = changed(_auto.schedule, when)
    if keep is not None:
        _auto.keep = keep
    if limit_bytes is not None:
        _auto.limit_bytes = limit_bytes
    if schedule != _auto.schedule:
        _auto.apply(schedule)
    _auto.trim()


def told() -> List[str]:
    """What `ckpt auto` shows."""
    lines = []
    schedule = _auto.schedule
    if schedule.active:
        limit = f" of no more than {report.size(_auto.limit_bytes)}" if _auto.limit_bytes else ""
        lines.append(f"Saving {schedule.told()}.")
        lines.append(f"Of the trail the newest {_auto.keep}{limit} are kept.")
    else:
        lines.append("Nothing is saved by itself.")
    if _auto.trail:
        names = [each.name for each in _auto.trail]
        total = report.size(sum(each.file_bytes for each in _auto.trail))
        span = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        lines.append(f"The trail: {report.counted(len(names), 'snapshot')}, {total}: {span}")
    return lines


def at_catch() -> None:
    """For the first command of catchpoints."""
    _auto.at_signal()


def note_stepping() -> None:
    """For the hooks on stepping commands."""
    _auto.note_stepping()
