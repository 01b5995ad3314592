"""The debugger's state: through an image and back, and never trusted on the way back."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

import pytest
from gdbext.debugger.debugstate import (
    Breakpoint,
    DebugState,
    Display,
    Signal,
    Stop,
    SymbolFile,
    missing_breakpoints,
    runs_shell,
)
from gdbext.errors import RecordError

STATE = DebugState(
    args="-v 'two words'",
    cwd="/srv",
    symbol_file="/srv/server.debug",
    environment={"COLOUR": "dark green"},
    directories="/src:$cdir:$cwd",
    substitutions=(("/build", "/src"),),
    breakpoints=(
        Breakpoint(
            1, "break", "server.c:88", condition="n > 3", commands="silent\nbt\n", ignore_count=2
        ),
        Breakpoint(2, "watch", "total", tid=42, frame=1, address=0x7FFF0000),
        Breakpoint(3, "tcatch", "syscall write", enabled=False),
        Breakpoint(4, "break", "worker", thread=2, disabled_locations=(1, 3)),
    ),
    displays=(Display(True, "/x", "total"),),
    symbol_files=(SymbolFile("/tmp/extra.o", ((".text", 0x5550000),)),),
    signals=(Signal("SIGUSR1", False, False, True),),
    stop=Stop("breakpoint-hit", "", (1, 4)),
)


def test_round_trip_through_json() -> None:
    assert DebugState.of(json.loads(json.dumps(STATE.table()))) == STATE
    assert DebugState.of(DebugState().table()) == DebugState()
    lines = STATE._replace(args="-c 'one\n two\r\n'")
    assert DebugState.of(json.loads(json.dumps(lines.table()))) == lines


def test_a_snapshot_saved_without_gdb_has_none() -> None:
    assert DebugState.of({}) == DebugState()


def test_a_newer_format_is_named() -> None:
    with pytest.raises(RecordError, match="newer format.*-no-session"):
        DebugState.of({**STATE.table(), "format": 2})


def changed(**changes: Any) -> Dict[str, Any]:
    made: Dict[str, Any] = json.loads(json.dumps(STATE.table()))
    made.update(changes)
    return made


def point(**changes: Any) -> Dict[str, Any]:
    return changed(breakpoints=[{"number": 1, "command": "break", "spec": "main", **changes}])


@pytest.mark.parametrize(
    "table",
    [
        changed(format="1"),
        changed(args=1),
        changed(environment={"A": 1}),
        changed(substitutions=[["only one"]]),
        changed(substitutions=[["a", 1]]),
        changed(displays=[{"enabled": True}]),
        changed(signals=[{"name": "SIGUSR1", "stop": 1, "print": True, "passed": True}]),
        changed(symbol_files=[{"path": "/x", "sections": [[".text"]]}]),
        changed(symbol_files=[{"path": "/x", "sections": [[".text", "0x1"]]}]),
        changed(stop=[]),
        changed(stop={"reason": "a whim"}),
        changed(stop={"reason": "signal-received", "signal": "SIG\nINT"}),
        changed(stop={"reason": "breakpoint-hit", "breakpoints": ["1"]}),
        changed(substitutions="x"),
        changed(breakpoints=[{}]),
        point(number="1"),
        point(ignore_count=True),
        changed(args="x\0y"),
        changed(args_lines="x"),
        changed(args_lines=["x", 1]),
        changed(args_lines=["x", "\0"]),
        changed(environment={"A": "x\0y"}),
        # One line of a GDB command must stay one line, and a command must be one of ours.
        changed(displays=[{"enabled": True, "format": "", "expression": "x\nshell date"}]),
        point(spec="main\nshell date"),
        point(condition="1\nshell date"),
        point(command="shell"),
        point(command="break\nshell date"),
    ],
)
def test_damage_is_an_error(table: Dict[str, Any]) -> None:
    with pytest.raises(RecordError) as caught:
        DebugState.of(table)
    assert "\n" not in str(caught.value)


ODD = "a\nb\r\x1b[31m\udcff\udcc3( '\"$\\\x7f"


def test_values_and_paths_are_kept_whatever_is_in_them() -> None:
    state = STATE._replace(
        args=ODD,
        cwd=ODD,
        symbol_file=ODD,
        environment={"A": ODD},
        directories=ODD,
        substitutions=((ODD, ODD),),
        symbol_files=(SymbolFile(ODD, ((".text", 1),)),),
    )
    assert DebugState.of(json.loads(json.dumps(state.table()))) == state


@pytest.mark.parametrize(
    ("expression", "runs"),
    [
        ('$_shell("date")', True),
        ('total + $_SHELL ("date")', True),
        ("$_shell_exitcode", False),
        ("shell(1)", False),
    ],
)
def test_expressions_that_run_a_shell(expression: str, runs: bool) -> None:
    assert runs_shell(expression) == runs


def test_arguments_of_several_lines_as_they_were_kept_before() -> None:
    assert DebugState.of(changed(args="", args_lines=["a", "b"])).args == "a\nb"


def test_unknown_fields_of_a_breakpoint_are_passed_over() -> None:
    assert DebugState.of(point(future="x")).breakpoints == (Breakpoint(1, "break", "main"),)


def made(*rows: Tuple[str, str, str]) -> List[Breakpoint]:
    return [
        Breakpoint(number, command, spec, condition)
        for number, (command, spec, condition) in enumerate(rows, 1)
    ]


@pytest.mark.parametrize(
    "saved, present, missing",
    [
        (made(("break", "main", "")), [], [1]),
        (made(("break", "main", "")), made(("break", "main", "")), []),
        # The user has changed the condition since: it is still that breakpoint.
        (made(("break", "main", "")), made(("break", "main", "n == 1")), []),
        (made(("break", "main", "")), made(("tbreak", "main", "")), [1]),
        (made(("watch", "x", "")), made(("rwatch", "x", "")), [1]),
        # Two at one place: each present one stands for one saved one, its exact like first.
        (made(("break", "f", "a"), ("break", "f", "b")), made(("break", "f", "b")), [1]),
        (made(("break", "f", "a"), ("break", "f", "b")), made(("break", "f", "c")), [2]),
        (made(("break", "f", ""), ("break", "f", "")), made(("break", "f", "")), [2]),
        (made(("break", "f", "")), made(("break", "g", ""), ("break", "f", "")), []),
    ],
)
def test_missing_breakpoints(
    saved: List[Breakpoint], present: List[Breakpoint], missing: List[int]
) -> None:
    assert [each.number for each in missing_breakpoints(saved, present)] == missing


def test_a_watchpoint_of_an_address_is_known_by_it() -> None:
    saved = [Breakpoint(1, "watch", "-location *p", address=0x1000)]
    assert (
        missing_breakpoints(
            saved, [Breakpoint(5, "watch", "-location *(int *) 0x1000", address=0x1000)]
        )
        == []
    )
    assert (
        missing_breakpoints(saved, [Breakpoint(5, "watch", "-location *p", address=0x2000)])
        == saved
    )
    assert (
        missing_breakpoints(saved, [Breakpoint(5, "awatch", "-location *p", address=0x1000)])
        == saved
    )


def test_a_breakpoint_for_one_thread_is_another_one() -> None:
    saved = [Breakpoint(1, "break", "f", thread=2)]
    assert missing_breakpoints(saved, [Breakpoint(1, "break", "f")]) == saved
    assert missing_breakpoints(saved, [Breakpoint(1, "break", "f", thread=2)]) == []
