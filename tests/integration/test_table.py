"""Kinds of state against the states that they can be in: a cell for which there is no test shows.

A cell names what tests it: subjects of a self-checking program, which go on after a save and are
then restored three times from one image, or a test that changes something in between. Where a kind
cannot be in a state, the cell says why.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass

import pytest

TIMER = ("armed", "expired unread", "disarmed", "overrun", "absolute", "past")
SOCKET = (
    "unbound", "bound", "listening", "connecting", "connected", "shut for receiving",
    "shut for sending", "closed peer", "silent peer", "not accepted yet", "with data",
    "with descriptors", "corked", "closed sender", "error unread", "urgent",
)  # fmt: skip
FILE = (
    "unchanged", "grown", "truncated", "overwritten", "replaced", "unlinked", "linked elsewhere",
    "renamed", "huge", "sparse", "leased", "locked", "without a name",
)  # fmt: skip
MEMORY = (
    "private", "shared", "guarded", "sealed", "droppable", "growing", "huge", "unlinked file",
    "shared with others",
)  # fmt: skip
CHILD = ("running", "ended", "killed", "core dumped", "stopped", "waited for")


@dataclass(frozen=True)
class Cell:
    """Tested by a function of a module here, in the list of whose cases `case` is."""

    module: str
    test: str
    case: str = ""
    cases: str = ""  # the name of that list in the module


@dataclass(frozen=True)
class Never:
    """A kind that is not in that state."""

    why: str


def subject(program: str, name: str) -> Cell:
    return Cell("test_descriptors", "test_restored", f"{program} {name}", "ALL")


def timer(name: str) -> Cell:
    return Cell("test_proc_timers", "test_timers", name, "CASES")


def missing(name: str) -> Cell:
    return Cell(
        "test_descriptors_outside", "test_what_does_not_come_back_is_named", name, "MISSING"
    )


def unread(name: str) -> Cell:
    return Cell("test_descriptors_outside", "test_errors_are_left_to_the_program", name, "ERRORS")


def child(name: str) -> Cell:
    return Cell("test_proc_children", "test_children", name, "CASES")


def zombie(name: str) -> Cell:
    return Cell("test_proc_zombies", "test_zombies", name, "CASES")


def changed(name: str) -> Cell:
    return Cell("test_files", "test_changed", name, "CHANGES")


def state(test: str) -> Cell:
    return Cell("test_state", test)


SILENT = Cell("test_silent_peers", "test_nothing_comes_and_everything_goes")
ONE_SIGNAL = Never("its signal has no count")
RELATIVE = Never("setitimer(2) takes spans of time alone")
NO_CONNECTION = Never("it has no connections")
NO_RIGHTS = Never("only local sockets pass descriptors")
NO_CORK = Never("no option of that kind")
KEPT_NAME = Never("a stream has no sender's names")

TABLE: dict[str, dict[str, Cell | Never]] = {
    "timerfd": {
        "armed": subject("fd_events", "timerfd_relative"),
        "expired unread": subject("fd_events", "timerfd_expired"),
        "disarmed": subject("fd_events", "timerfd_disarmed"),
        "overrun": subject("fd_events", "timerfd_expired_interval"),
        "absolute": subject("fd_events", "timerfd_absolute"),
        "past": subject("fd_events", "timerfd_past"),
    },
    "timer_create": {
        "armed": timer("clocks"),
        "expired unread": timer("expired"),
        "disarmed": timer("disarmed"),
        "overrun": timer("overrun"),
        "absolute": timer("absolute"),
        "past": timer("past"),
    },
    "setitimer": {
        "armed": timer("itimer_real"),
        "expired unread": timer("itimer_expired"),
        "disarmed": timer("no_timer"),
        "overrun": ONE_SIGNAL,
        "absolute": RELATIVE,
        "past": RELATIVE,
    },
    "TCP socket": {
        "unbound": subject("fd_inet", "unbound"),
        "bound": subject("fd_inet", "bound"),
        "listening": subject("fd_inet", "listening"),
        "connecting": missing("connecting"),
        "connected": subject("fd_inet", "connection"),
        "shut for receiving": subject("fd_inet", "shut_receiving"),
        "shut for sending": subject("fd_inet", "half_closed"),
        "closed peer": missing("closed_peer"),
        "silent peer": SILENT,
        "not accepted yet": subject("fd_inet", "waiting"),
        "with data": subject("fd_inet", "large_connection"),
        "with descriptors": NO_RIGHTS,
        "corked": subject("fd_inet", "corked"),
        "closed sender": KEPT_NAME,
        "error unread": unread("reset_with_data"),
        "urgent": subject("fd_inet", "urgent"),
    },
    "UDP socket": {
        "unbound": subject("fd_inet", "udp_unbound"),
        "bound": subject("fd_inet", "udp"),
        "listening": NO_CONNECTION,
        "connecting": NO_CONNECTION,
        "connected": subject("fd_inet", "udp_options"),
        "shut for receiving": subject("fd_inet", "udp_shut"),
        "shut for sending": subject("fd_inet", "udp_shut_for_sending"),
        "closed peer": NO_CONNECTION,
        "silent peer": NO_CONNECTION,
        "not accepted yet": NO_CONNECTION,
        "with data": subject("fd_inet", "udp"),
        "with descriptors": NO_RIGHTS,
        "corked": missing("corked"),
        "closed sender": subject("fd_inet", "udp_closed_sender"),
        "error unread": unread("udp_refused"),
        "urgent": Never("a datagram is not urgent"),
    },
    "local socket": {
        "unbound": subject("fd_unix", "unconnected"),
        "bound": subject("fd_unix", "named_datagrams"),
        "listening": subject("fd_unix", "listening_path"),
        "connecting": Never("connect(2) waits for room, and then is done"),
        "connected": subject("fd_unix", "stream"),
        "shut for receiving": subject("fd_unix", "half_closed"),
        "shut for sending": subject("fd_unix", "half_closed"),
        "closed peer": subject("fd_unix", "other_end_closed"),
        "silent peer": SILENT,
        "not accepted yet": subject("fd_unix", "waiting"),
        "with data": subject("fd_unix", "large_stream"),
        "with descriptors": subject("fd_unix", "passed_pipe"),
        "corked": NO_CORK,
        "closed sender": subject("fd_unix", "closed_sender"),
        "error unread": unread("local_reset"),
        "urgent": missing("urgent_local"),
    },
    "file": {
        "unchanged": Cell("test_files", "test_unchanged"),
        "grown": changed("append"),
        "truncated": changed("truncate"),
        "overwritten": changed("overwrite_in_secret"),
        "replaced": changed("replace"),
        "unlinked": changed("delete"),
        "linked elsewhere": subject("fd_files", "linked"),
        "renamed": Cell("test_files", "test_file_moved"),
        "huge": Cell("test_files", "test_large_file_that_the_program_writes_to"),
        "sparse": subject("fd_files", "sparse"),
        "leased": subject("fd_files", "write_lease"),
        "locked": subject("fd_files", "posix_lock"),
        "without a name": subject("fd_files", "nameless"),
    },
    "memory": {
        "private": state("test_memory"),
        "shared": state("test_shared_anonymous"),
        "guarded": state("test_guards"),
        "sealed": state("test_guards"),
        "droppable": state("test_droppable_memory"),
        "growing": state("test_guards"),
        "huge": Cell("test_huge_pages", "test_restored"),
        "unlinked file": Cell("test_files", "test_files_without_a_name"),
        "shared with others": Cell("test_sharers", "test_shared_with_a_child"),
    },
    "child": {
        "running": child("plain"),
        "ended": zombie("codes"),
        "killed": zombie("killed"),
        "core dumped": Cell("test_proc_zombies", "test_after_a_core_dump"),
        "stopped": child("stopped"),
        "waited for": child("waiting"),
    },
}
STATES = {
    "timerfd": TIMER, "timer_create": TIMER, "setitimer": TIMER, "TCP socket": SOCKET,
    "UDP socket": SOCKET, "local socket": SOCKET, "file": FILE, "memory": MEMORY, "child": CHILD,
}  # fmt: skip


def _name(case: object) -> str:
    """What a case is called in the table."""
    if isinstance(case, tuple):
        return " ".join(case)
    return str(getattr(case, "__name__", case)).strip("_")


@pytest.mark.parametrize("kind", STATES)
def test_every_cell_has_a_test(kind: str) -> None:
    cells = TABLE[kind]
    assert set(cells) == set(STATES[kind])
    for state_, cell in cells.items():
        if isinstance(cell, Never):
            assert cell.why
            continue
        module = importlib.import_module(cell.module)
        test = getattr(module, cell.test, None)
        assert inspect.isfunction(test), f"{kind}, {state_}: no {cell.module}.{cell.test}"
        if cell.cases:
            assert cell.case in map(
                _name, getattr(module, cell.cases)
            ), f"{kind}, {state_}: no case {cell.case}"
