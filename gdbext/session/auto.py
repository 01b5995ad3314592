"""`ckpt auto`: saving without being asked.

At fatal signals the save is made in the handler of the stop event, so before the prompt, or before
the commands of a `catch signal`; every N stops, right before the prompt.

Every so many seconds the program has to be stopped, unnoticed:

    1. One of our threads sends one thread of the program a SIGSTOP. It does nothing else: GDB may
       only be used from its main thread. It is native: a Ctrl-C at any moment, also while a lock is
       being taken, must leave it whole.
    2. GDB sees the signal, and our catchpoint for it. Its condition, one of our functions,
       is where we are told first: it disconnects the user's handlers and hooks for what follows.
    3. The catchpoint's commands are GDB's own way of going on silently: `silent`, then the save,
       then `signal 0`, which continues and does not deliver the SIGSTOP.

A stop ends `step`, `finish` and their like for good. So while one of them runs nothing is sent;
that is known from our hooks on these commands. The signal may have been sent just before: then the
condition says no, and has GDB drop the signal, upon which it goes on with what it was doing. The
same happens to a signal that was overtaken by a stop that the user asked for.

debugger/autosave.py is the state machine that decides what is done at which of these events, and
autostop.py has the catchpoint, the hooks, and what is put away.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

import gdb

from .. import native
from ..debugger.autosave import Action, Event, Machine, State, StopCount
from ..debugger.trail import KEEP, Kept, Schedule, changed, surplus
from ..errors import CkptError, one_line
from ..text import report
from . import autostop, inferior, open_store, parameters, positions, settings, show
from .firstcommand import FirstCommand
from .saving import SaveRequest, save, told_of

# Those whose default action is to end the program with a core dump.
FATAL = frozenset(
    "SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGSEGV SIGXCPU SIGXFSZ SIGSYS".split()
)

_AT_CATCH = "python __import__('gdbext.session.auto').session.auto.at_catch()"


class _Trail:
    """The snapshots that this session has saved without being asked."""

    def __init__(self) -> None:
        self.keep = KEEP
        self.limit_bytes: Optional[int] = None
        self.kept: List[Kept] = []
        self._problem = ""

    def save(self, reason: str, saved: Callable[[], None]) -> None:
        """Save, call `saved`, tell in one line, and keep the trail within its bounds. Raises
        KeyboardInterrupt only: what else fails is told.
        """
        try:
            store = open_store()
            limit = parameters.file_limit_bytes()
            request = SaveRequest(None, f"auto: {reason}", None, False, limit, kind="auto")
            done = save(store, request)
            saved()
            self.forget_problem()
            self.kept.append(Kept(done.name, done.created, done.file_bytes))
            show(told_of(done))
            self.trim()
        except (CkptError, gdb.error, native.core.NativeError) as error:
            if getattr(error, "kind", "") == "interrupted":
                raise KeyboardInterrupt from None
            self.tell(one_line(str(error)))

    def tell(self, problem: str) -> None:
        """Print what has failed, once: the same line every few seconds is of no use."""
        if problem != self._problem:
            self._problem = problem
            show(f"ckpt auto: {problem}")

    def forget_problem(self) -> None:
        """Print the next problem even if it is the same."""
        self._problem = ""

    def trim(self) -> None:
        """Delete what the trail has too many of. Raises CkptError."""
        store = open_store()
        for each in surplus(self.kept, self.keep, self.limit_bytes):
            entry = store.find(each.name)
            # The user may have deleted it, or saved another one under its name.
            if entry and entry.record is not None and entry.record.created == each.created:
                store.delete([each.name])
            self.kept.remove(each)


class _Auto:
    """Raises the events of the state machine, and performs its actions."""

    def __init__(self) -> None:
        self.schedule = Schedule()
        self.trail = _Trail()
        self._machine = Machine()
        self._stops = StopCount()
        self._clock: Any = None  # native.StopClock, while there is something to do for it
        self._trap = autostop.Trap(self.is_ours_to_stop, self.at_own_stop)
        self._silence = autostop.Silence()
        self._dropping = autostop.Dropping()
        self._at_catch = FirstCommand(_AT_CATCH)
        self._connected: List[Tuple[Any, Callable[..., None]]] = []
        self._hits: Dict[int, int] = {}  # of watchpoints, when the program went on
        self._received = ""  # the signal that the program was last stopped by
        self._perform: Dict[Action, Callable[[], object]] = {
            Action.ARM: self._arm,
            Action.DISARM: self._disarm,
            Action.SILENCE: self._silence.begin,
            Action.HANDLERS_BACK: self._silence.give_handlers_back,
            Action.STOP_HANDLERS_BACK: self._silence.give_stop_handlers_back,
            Action.HOOK_BACK: self._silence.give_hook_back,
            Action.DROP: self._dropping.begin,
            Action.SIGSTOP_BACK: self._dropping.end,
            Action.SAVE: self._save_at_own_stop,
            Action.SHOW_FOREIGN: autostop.show_foreign,
            Action.SHOW_FRAME: lambda: gdb.execute("frame"),
            Action.KEEP_STOPPED: self._stay,
        }

    # -- switching ---------------------------------------------------------------------------------

    def apply(self, schedule: Schedule) -> None:
        """Make the schedule the one that is followed. Raises CkptError and gdb.error."""
        if schedule.every_s and gdb.parameter("non-stop"):
            raise CkptError('non-stop mode is on: "set non-stop off" first')
        if schedule.every_stops != self.schedule.every_stops:
            self._stops.begin_anew()
        if schedule.every_s != self.schedule.every_s:
            self._clock = None
        self.schedule = schedule
        self.trail.forget_problem()
        if schedule.active and not self._connected:
            self._connect()
        if schedule.every_s:
            if self._clock is None:
                self._clock = native.core.StopClock(schedule.every_s)
            self._trap.keep_up()
        else:
            self._trap.remove()
        if not schedule.active:
            for registry, handler in self._connected:
                registry.disconnect(handler)
            self._connected = []

    def _connect(self) -> None:
        known: Any = gdb.events
        pairs: List[Tuple[Any, Callable[..., None]]] = [
            (known.stop, self._on_stop),
            (known.cont, native.core.uninterrupted(self._on_cont)),
            (known.exited, self._on_exited),
            (known.before_prompt, native.core.uninterrupted(self._on_prompt)),
            (known.inferior_call, self._on_call),
        ]
        if hasattr(known, "gdb_exiting"):
            pairs.append((known.gdb_exiting, self._on_exiting))
        for registry, handler in pairs:
            registry.connect(handler)
        self._connected = pairs

    # -- what happens in the session ---------------------------------------------------------------

    def _on(self, event: Event) -> None:
        self._do(self._machine.on(event))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._perform[action]()

    def note_stepping(self) -> None:
        """A command begins that an interruption would end."""
        self._on(Event.STEP)

    def _on_call(self, event: Any) -> None:
        begins = type(event).__name__ == "InferiorCallPreEvent"
        self._on(Event.CALL if begins else Event.RETURN)

    def _on_cont(self, event: Any) -> None:
        self._stops.gone_on()
        self._dropping.end()
        if self.schedule.on_signal and not self._machine.calling:
            self._at_catch.give_to(
                point
                for point in gdb.breakpoints()
                if point.type == gdb.BP_CATCHPOINT and not self._trap.is_catchpoint(point)
            )
        if self._clock is None or not self._machine.may_watch:
            return
        target = gdb.selected_inferior()
        kind = getattr(getattr(target, "connection", None), "type", "native")
        if gdb.selected_thread() is None or not target.pid or kind != "native":
            return
        self._trap.keep_up()
        self._on(Event.RUN)

    def _on_stop(self, event: Any) -> None:
        self._on(Event.STOP)
        self._stops.stopped()
        self._received = getattr(event, "stop_signal", "")
        if not self._at_catch.take_back():
            self.at_signal()

    def at_signal(self) -> None:
        """The program has stopped, and GDB is not in the middle of a command of the user."""
        received, self._received = self._received, ""
        if self.schedule.on_signal and received in FATAL:
            try:
                self._save(received)
            except KeyboardInterrupt:
                self.trail.tell("interrupted")

    def _on_exited(self, event: Any) -> None:
        actions = self._machine.on(Event.EXIT)
        self._at_catch.take_back()
        self._do(actions)
        target = getattr(event, "inferior", None)
        if self._clock is not None and self._clock.on_its_way:
            self._clock.seen()
            if target is not None and not hasattr(event, "exit_code"):
                # Detached, perhaps: GDB has let it have the signal that it had not shown yet.
                try:
                    os.kill(int(target.pid), signal.SIGCONT)
                except OSError:
                    pass  # it was killed

    def _on_prompt(self) -> None:
        try:
            self._on(Event.PROMPT)
            if self.schedule.every_s:
                self._trap.keep_up()
            due = self._stops.due(self.schedule.every_stops)
            if due is not None:
                self._save(f"stop {due}")
        except gdb.error as error:
            self.trail.tell(one_line(str(error)))
        except KeyboardInterrupt:
            self.trail.tell("interrupted")
        self._stops.shown()

    def _on_exiting(self, event: Any) -> None:
        if self._clock is not None:
            if self._clock.on_its_way:
                # GDB is about to detach, and would let the program have it.
                settings.quietly("handle SIGSTOP nopass")
            self._clock = None

    # -- our own stop ------------------------------------------------------------------------------

    def is_ours_to_stop(self) -> bool:
        """Called when GDB has seen a SIGSTOP, before it decides what to do."""
        self._on(Event.SIGNAL)
        if not autostop.is_sent_by_us():
            self._on(Event.FOREIGN_SIGNAL)
            return True
        in_time = False
        if self._clock is not None:
            self._clock.seen()
            in_time = self._clock.disarm()
        actions = self._machine.on(Event.OUR_SIGNAL if in_time else Event.LATE_SIGNAL)
        self._do(actions)
        return Action.DROP not in actions

    def at_own_stop(self) -> None:
        """The first command of the catchpoint. A Ctrl-C waits meanwhile."""
        autostop.stay_stopped()
        if self._clock is not None or self._machine.state is State.FOREIGN:
            self._on(Event.COMMANDS)

    def _arm(self) -> None:
        self._stops.gone_on()
        self._hits = autostop.watch_hits()
        pid = int(gdb.selected_inferior().pid)
        self._clock.arm(pid, inferior.thread_tid(gdb.selected_thread()))

    def _disarm(self) -> None:
        if self._clock is not None:
            self._clock.disarm()

    def _save_at_own_stop(self) -> None:
        core = native.core
        if core.take_interrupt():
            self._present("interrupted")
            return
        # Every stop looks at software watchpoints, so this may be one for the user as well.
        shared = autostop.watch_hits() != self._hits
        try:
            target = gdb.selected_inferior()
            tids = [inferior.thread_tid(thread) for thread in target.threads()]
            self._save(f"every {self.schedule.every_s:g} s")
            if not shared:
                core.undo_interruptions(int(target.pid), tids)
            interrupted = core.take_interrupt()
        except KeyboardInterrupt:
            interrupted = True
        except native.core.NativeError as error:
            self._present(one_line(str(error)))
            return
        if interrupted:
            self._present("interrupted")
        elif shared:
            self._stay()
        else:
            positions.left()
            self._on(Event.RESUME)
            autostop.go_on_without_signal()

    def _present(self, problem: str) -> None:
        """Show the user why the program is stopped here."""
        show(f"ckpt auto: {problem}")
        gdb.execute("frame")
        self._stay()

    def _stay(self) -> None:
        """Make our stop one that the user asked for: `continue` must not deliver our signal."""
        autostop.stay_stopped()
        settings.quietly("queue-signal 0")
        self._on(Event.STAY)

    def _save(self, reason: str) -> None:
        """Save, and tell. Raises KeyboardInterrupt only."""
        self._at_catch.take_back()  # the snapshot has the user's breakpoints
        with native.core.InterruptsHeld():
            self.trail.save(reason, self._saved)
            # After a failure, too: the next attempt is due when the next save would be.
            self._begin_anew()

    def _saved(self) -> None:
        self._stops.saved()
        self._begin_anew()

    def _begin_anew(self) -> None:
        if self._clock is not None:
            self._clock.begin_anew()


_auto = _Auto()


def change(when: Sequence[str], keep: Optional[int], limit_bytes: Optional[int]) -> None:
    """`ckpt auto`: what is not None is changed. Raises CkptError."""
    schedule = changed(_auto.schedule, when)
    if keep is not None:
        _auto.trail.keep = keep
    if limit_bytes is not None:
        _auto.trail.limit_bytes = limit_bytes
    if schedule != _auto.schedule:
        _auto.apply(schedule)
    _auto.trail.trim()


def status_lines() -> List[str]:
    """What `ckpt auto` shows."""
    lines = []
    schedule, trail = _auto.schedule, _auto.trail
    if schedule.active:
        limit = f" of no more than {report.size(trail.limit_bytes)}" if trail.limit_bytes else ""
        lines.append(f"Saving {schedule.describe()}.")
        lines.append(f"Of the trail the newest {trail.keep}{limit} are kept.")
    else:
        lines.append("Nothing is saved by itself.")
    if trail.kept:
        names = [each.name for each in trail.kept]
        total = report.size(sum(each.file_bytes for each in trail.kept))
        span = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        lines.append(f"The trail: {report.counted(len(names), 'snapshot')}, {total}: {span}")
    return lines


def at_catch() -> None:
    """For the first command of catchpoints."""
    _auto.at_signal()


def note_stepping() -> None:
    """For the hooks on stepping commands."""
    _auto.note_stepping()
