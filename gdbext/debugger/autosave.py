"""The state machine of `ckpt auto`: its states, events and actions, and the count of stops.

session/auto.py raises the events and performs the actions, and describes how a program is stopped
unnoticed.
"""

from __future__ import annotations

import enum
from typing import Dict, Optional, Tuple


@enum.unique
class State(enum.Enum):
    """What the program and GDB are doing, as far as `ckpt auto` must know."""

    QUIET = "the program stands, or it runs and nothing is sent to it"
    STEPPING = "a command has begun that an interruption would end"
    WATCHED = "the program runs, and is sent the signal when it is time"
    OURS = "GDB stops for our signal: the catchpoint's commands are run next"
    RESUMED = "it is saved: what is left of the catchpoint's commands lets it go on"
    FOREIGN = "GDB stops at our catchpoint for a SIGSTOP that is not ours"


@enum.unique
class Event(enum.Enum):
    """What happens in GDB."""

    STEP = "a command that an interruption would end is about to begin"
    CALL = "GDB begins to call a function of the program"
    RETURN = "that has returned"
    RUN = "GDB lets the program go on"
    SIGNAL = "GDB has seen a SIGSTOP; whose it is will be one of the next three"
    OUR_SIGNAL = "it is ours"
    LATE_SIGNAL = "it is ours, and nothing is to be sent any more"
    CALL_SIGNAL = "it is ours, and GDB calls a function of the program"
    FOREIGN_SIGNAL = "another process has sent it"
    COMMANDS = "the catchpoint's first command is run"
    RESUME = "the save is done, and there is no other reason to stay stopped"
    STAY = "the program stays stopped, as at any other stop"
    STOP = "the handlers of the stop event are called"
    EXIT = "the program has ended, or GDB has let it go"
    PROMPT = "GDB is about to ask for a command"


@enum.unique
class Action(enum.Enum):
    """What session/auto.py does, in GDB or with the clock that sends the signal."""

    ARM = "have the signal sent when it is time"
    DISARM = "have it sent no more"
    SILENCE = "put the user's handlers and hook-stop away"
    HANDLERS_BACK = "give the handlers back"
    STOP_HANDLERS_BACK = "give those of the stop event back"
    HOOK_BACK = "give hook-stop back"
    DROP = "have GDB ignore the SIGSTOP that it is looking at"
    SIGSTOP_BACK = "have GDB treat SIGSTOP as before"
    SAVE = "save; RESUME or STAY follows"
    SHOW_FOREIGN = "do what GDB does for a SIGSTOP without a catchpoint"
    SHOW_FRAME = "show where the program is"
    KEEP_STOPPED = "keep the signal from the program; STAY follows"


_Row = Dict[State, Tuple[State, Tuple[Action, ...]]]

# Handlers of the stop event must not run GDB commands (session/firstcommand.py): what needs one is
# done at the next prompt.
_END = (Action.DISARM, Action.HANDLERS_BACK)
_LEAVE = (*_END, Action.HOOK_BACK, Action.SIGSTOP_BACK)


def _row(to: Optional[State], *actions: Action) -> _Row:
    """A row with the same step for all states. `to`: the next state, None for the same."""
    return {state: (to or state, actions) for state in State}


TRANSITIONS: Dict[Event, _Row] = {
    Event.STEP: _row(State.STEPPING),
    Event.RUN: {
        **_row(State.WATCHED, Action.ARM),
        State.STEPPING: (State.STEPPING, ()),
    },
    Event.SIGNAL: {
        **_row(None),
        State.FOREIGN: (State.QUIET, ()),
    },
    Event.OUR_SIGNAL: {
        **_row(State.OURS, Action.SILENCE),
        State.STEPPING: (State.STEPPING, (Action.DROP,)),
    },
    Event.LATE_SIGNAL: {
        **_row(None, Action.DROP),
        State.WATCHED: (State.QUIET, (Action.DROP,)),
    },
    Event.CALL_SIGNAL: _row(None, Action.DROP),
    Event.FOREIGN_SIGNAL: _row(State.FOREIGN),
    Event.COMMANDS: {
        # The condition has failed: GDB stops then, and whose the signal is was not learned.
        **_row(None, Action.SHOW_FRAME, Action.KEEP_STOPPED),
        State.OURS: (State.OURS, (Action.SAVE,)),
        State.FOREIGN: (State.FOREIGN, (Action.SHOW_FOREIGN,)),
    },
    Event.RESUME: _row(State.RESUMED, Action.STOP_HANDLERS_BACK, Action.HOOK_BACK, Action.ARM),
    Event.STAY: _row(State.QUIET, *_LEAVE),
    Event.STOP: {
        **_row(State.QUIET, *_END),
        # The catchpoint's commands are still to come.
        State.FOREIGN: (State.FOREIGN, _END),
    },
    Event.EXIT: _row(State.QUIET, *_LEAVE),
    # It also comes while the program runs in the background, when it is not to be interrupted.
    Event.PROMPT: {
        **_row(State.QUIET, *_LEAVE),
        # Ctrl-C has ended the catchpoint's commands.
        **{
            state: (state, (*_LEAVE, Action.KEEP_STOPPED, Action.SHOW_FRAME))
            for state in (State.OURS, State.RESUMED)
        },
        State.FOREIGN: (State.FOREIGN, _LEAVE),
    },
}

# What an event means while GDB calls a function, which can happen in each state.
_IN_CALL: Dict[Event, Optional[Event]] = {
    Event.RUN: None,
    Event.OUR_SIGNAL: Event.CALL_SIGNAL,
}


class Machine:
    """The current state, and whether GDB calls a function of the program."""

    def __init__(self) -> None:
        self.state = State.QUIET
        self._calling = False
        self._missed = False  # a signal that came in a call

    @property
    def calling(self) -> bool:
        """Whether GDB calls a function of the program."""
        return self._calling

    @property
    def may_watch(self) -> bool:
        """Whether a program that goes on now may be interrupted."""
        return not self._calling and self.state is not State.STEPPING

    def on(self, event: Event) -> Tuple[Action, ...]:
        """Change the state for an event and return the actions, in order. The state changes before
        they are performed, so that one which a Ctrl-C ends is not performed twice.
        """
        if event in (Event.CALL, Event.RETURN):
            self._calling = event is Event.CALL
            return self._missed_signal() if event is Event.RETURN else ()
        meant = _IN_CALL.get(event, event) if self._calling else event
        if meant is None:
            return ()
        self._missed = self._missed or meant is Event.CALL_SIGNAL
        self.state, actions = TRANSITIONS[meant][self.state]
        return actions

    def _missed_signal(self) -> Tuple[Action, ...]:
        """A function that a breakpoint's condition calls has returned: GDB lets the program go on
        without saying so, and what came meanwhile is to be sent again.
        """
        missed, self._missed = self._missed, False
        return (Action.ARM,) if missed and self.state in (State.WATCHED, State.RESUMED) else ()


class StopCount:
    """Counts the stops that come to a prompt, and tells which of them are to be saved."""

    def __init__(self) -> None:
        self._count = 0
        self._stopped = False
        self._saved = False

    def begin_anew(self) -> None:
        """Count from the next stop on."""
        self._count = 0

    def stopped(self) -> None:
        """The program has stopped, and the user will see it."""
        self._stopped = True

    def saved(self) -> None:
        """It was saved where it is."""
        self._saved = True

    def gone_on(self) -> None:
        """It is no longer where it was."""
        self._saved = False

    def due(self, every: Optional[int]) -> Optional[int]:
        """At a prompt: the number of the stop, if it is to be saved."""
        if not self._stopped or not every:
            return None
        self._count += 1
        return None if self._count % every or self._saved else self._count

    def shown(self) -> None:
        """The prompt is there: the next one needs another stop."""
        self._stopped = False
