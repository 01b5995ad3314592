"""The state machine of `ckpt auto`, by its table."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from gdbext.debugger.autosave import TRANSITIONS, Action, Event, Machine, State, StopCount

END = (Action.DISARM, Action.HANDLERS_BACK)
LEAVE = (*END, Action.HOOK_BACK, Action.SIGSTOP_BACK)
KEEP = (Action.SHOW_FRAME, Action.KEEP_STOPPED)
TO_OWN_STOP = (Event.RUN, Event.SIGNAL, Event.OUR_SIGNAL)


def after(*events: Event) -> Machine:
    machine = Machine()
    for event in events:
        machine.on(event)
    return machine


@pytest.mark.parametrize(
    ("before", "event", "state", "actions"),
    [
        # The program goes on, and is stopped by the user.
        ((), Event.RUN, State.WATCHED, (Action.ARM,)),
        ((Event.RUN,), Event.RUN, State.WATCHED, (Action.ARM,)),
        ((Event.RUN,), Event.STOP, State.QUIET, END),
        ((Event.RUN,), Event.EXIT, State.QUIET, LEAVE),
        # It runs in the background.
        ((Event.RUN,), Event.PROMPT, State.QUIET, LEAVE),
        # A save of ours, and on.
        ((Event.RUN,), Event.SIGNAL, State.WATCHED, ()),
        ((Event.RUN, Event.SIGNAL), Event.OUR_SIGNAL, State.OURS, (Action.SILENCE,)),
        (TO_OWN_STOP, Event.COMMANDS, State.OURS, (Action.SAVE,)),
        (
            (*TO_OWN_STOP, Event.COMMANDS), Event.RESUME, State.RESUMED,
            (Action.STOP_HANDLERS_BACK, Action.HOOK_BACK, Action.ARM),
        ),
        ((*TO_OWN_STOP, Event.RESUME), Event.OUR_SIGNAL, State.OURS, (Action.SILENCE,)),
        ((*TO_OWN_STOP, Event.RESUME), Event.STOP, State.QUIET, END),
        # It becomes a stop of the user's.
        ((*TO_OWN_STOP, Event.COMMANDS), Event.STAY, State.QUIET, LEAVE),
        # Ctrl-C has ended the catchpoint's commands before the save, or after it.
        (TO_OWN_STOP, Event.PROMPT, State.OURS, (*LEAVE, *reversed(KEEP))),
        ((*TO_OWN_STOP, Event.RESUME), Event.PROMPT, State.RESUMED, (*LEAVE, *reversed(KEEP))),
        # The handlers could not be put away, and are called: no stop of ours any more.
        (TO_OWN_STOP, Event.STOP, State.QUIET, END),
        ((*TO_OWN_STOP, Event.STOP), Event.COMMANDS, State.QUIET, KEEP),
        # The condition has failed, before it knew whose the signal is.
        ((Event.RUN, Event.SIGNAL, Event.STOP), Event.COMMANDS, State.QUIET, KEEP),
        # The signal was overtaken by a stop of the user's.
        ((Event.RUN, Event.STOP, Event.SIGNAL), Event.LATE_SIGNAL, State.QUIET, (Action.DROP,)),
        ((Event.RUN, Event.SIGNAL), Event.LATE_SIGNAL, State.QUIET, (Action.DROP,)),
        # Stepping.
        ((), Event.STEP, State.STEPPING, ()),
        ((Event.STEP,), Event.RUN, State.STEPPING, ()),
        ((Event.STEP, Event.RUN), Event.OUR_SIGNAL, State.STEPPING, (Action.DROP,)),
        ((Event.STEP, Event.RUN), Event.LATE_SIGNAL, State.STEPPING, (Action.DROP,)),
        ((Event.STEP, Event.RUN), Event.STOP, State.QUIET, END),
        ((Event.STEP,), Event.PROMPT, State.QUIET, LEAVE),  # it has failed
        # Functions that GDB calls: at the prompt, and in a condition while the program is watched.
        ((Event.CALL,), Event.RUN, State.QUIET, ()),
        ((Event.CALL, Event.RETURN), Event.RUN, State.WATCHED, (Action.ARM,)),
        ((Event.RUN, Event.CALL), Event.RUN, State.WATCHED, ()),
        ((Event.RUN, Event.CALL), Event.OUR_SIGNAL, State.WATCHED, (Action.DROP,)),
        ((Event.RUN, Event.CALL, Event.OUR_SIGNAL), Event.RETURN, State.WATCHED, (Action.ARM,)),
        (
            (*TO_OWN_STOP, Event.RESUME, Event.CALL, Event.OUR_SIGNAL),
            Event.RETURN, State.RESUMED, (Action.ARM,),
        ),
        ((Event.RUN, Event.CALL), Event.RETURN, State.WATCHED, ()),
        ((Event.RUN, Event.CALL, Event.OUR_SIGNAL, Event.RETURN), Event.RETURN, State.WATCHED, ()),
        ((Event.RUN, Event.CALL, Event.OUR_SIGNAL, Event.STOP), Event.RETURN, State.QUIET, ()),
        ((Event.STEP, Event.CALL, Event.RETURN), Event.RUN, State.STEPPING, ()),
        # A SIGSTOP of another process: its stop is the user's, and the commands come after it.
        ((Event.RUN, Event.SIGNAL), Event.FOREIGN_SIGNAL, State.FOREIGN, ()),
        ((Event.RUN, Event.FOREIGN_SIGNAL), Event.STOP, State.FOREIGN, END),
        ((Event.FOREIGN_SIGNAL, Event.STOP), Event.COMMANDS, State.FOREIGN, (Action.SHOW_FOREIGN,)),
        ((Event.FOREIGN_SIGNAL, Event.STOP, Event.COMMANDS), Event.PROMPT, State.FOREIGN, LEAVE),
        (
            (Event.FOREIGN_SIGNAL, Event.STOP, Event.COMMANDS),
            Event.RUN, State.WATCHED, (Action.ARM,),
        ),
        ((Event.FOREIGN_SIGNAL, Event.STOP), Event.SIGNAL, State.QUIET, ()),
        ((Event.STEP, Event.RUN), Event.FOREIGN_SIGNAL, State.FOREIGN, ()),
    ],
)  # fmt: skip
def test_transitions(
    before: Sequence[Event], event: Event, state: State, actions: tuple[Action, ...]
) -> None:
    machine = after(*before)
    assert (machine.on(event), machine.state) == (actions, state)


def test_every_event_has_a_row_for_every_state() -> None:
    assert {*TRANSITIONS} == {*Event} - {Event.CALL, Event.RETURN}
    assert all({*row} == {*State} for row in TRANSITIONS.values())


@pytest.mark.parametrize("state", State)
def test_what_is_put_away_is_given_back(state: State) -> None:
    """At the end of a run, whatever was under way; and nothing is sent any more."""
    for event in (Event.EXIT, Event.PROMPT, Event.STAY):
        assert TRANSITIONS[event][state][1][: len(LEAVE)] == LEAVE
    assert TRANSITIONS[Event.STOP][state][1] == END


@pytest.mark.parametrize("event", TRANSITIONS)
def test_a_stop_is_ours_only_by_our_signal(event: Event) -> None:
    for state, (to, _) in TRANSITIONS[event].items():
        assert to is not State.OURS or state is State.OURS or event is Event.OUR_SIGNAL


@pytest.mark.parametrize(
    ("before", "may"),
    [
        ((), True),
        ((Event.STEP,), False),
        ((Event.CALL,), False),
        ((Event.CALL, Event.RETURN), True),
        ((Event.STEP, Event.CALL, Event.RETURN), False),
        ((Event.STEP, Event.STOP), True),
    ],
)
def test_what_may_be_watched(before: Sequence[Event], may: bool) -> None:
    assert after(*before).may_watch == may


def test_every_second_stop() -> None:
    count = StopCount()
    seen = []
    for _ in range(4):
        count.gone_on()
        count.stopped()
        seen.append(count.due(2))
        count.shown()
        assert count.due(2) is None  # another prompt at the same stop
    assert seen == [None, 2, None, 4]


def test_a_stop_that_is_saved_already_counts() -> None:
    count = StopCount()
    count.stopped()
    count.saved()
    assert count.due(1) is None
    count.shown()
    count.gone_on()
    count.stopped()
    assert count.due(1) == 2


def test_stops_are_not_counted_while_nobody_wants_them() -> None:
    count = StopCount()
    count.stopped()
    assert count.due(None) is None
    assert count.due(3) is None
    assert count.due(2) == 2
    count.begin_anew()
    assert count.due(1) == 1
