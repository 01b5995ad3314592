"""Records of GDB/MI: which are passed on in the middle of a restore, and our own."""

from __future__ import annotations

from typing import Any

import pytest

from gdbext.debugger import mi


@pytest.mark.parametrize(
    "line, outlasts",
    [
        ('=thread-created,id="1",group-id="i1"', True),
        ('=library-loaded,id="/lib/libc.so.6"', True),
        ('=breakpoint-modified,bkpt={number="1"}', True),
        ('&"warning: no symbols\\n"', True),
        ('@"text of a target"', True),
        ("what the program printed", True),
        ('*stopped,reason="signal-received"', False),
        ('*running,thread-id="all"', False),
        ("^running", False),
        ("17^running", False),
        ('^error,msg="-thread-select: USAGE: threadnum."', False),
        ('+download,section=".text"', False),
        ('~"[Switching to Thread 1]\\n"', False),
        ("(gdb) ", False),
    ],
)
def test_outlasts_restore(line: str, outlasts: bool) -> None:
    assert mi.outlasts_restore(line.encode() + b"\n") is outlasts


def test_notices_of_change() -> None:
    assert mi.is_notice_of_change(b'=cmd-param-changed,param="confirm",value="off"\n')
    assert mi.is_notice_of_change(b'=breakpoint-modified,bkpt={number="1"}\n')
    assert not mi.is_notice_of_change(b'=breakpoint-created,bkpt={number="1"}\n')
    assert not mi.is_notice_of_change(b'~"=cmd-param-changed,"\n')


def test_the_place_of_a_program_is_never_empty() -> None:
    lines = [b'=thread-group-exited,id="i1"\n', b'=thread-group-started,id="i1",pid="7"\n']
    assert mi.replacement(lines, 2, 99) == [
        b'=thread-group-added,id="i2"\n',
        b'=thread-group-started,id="i2",pid="99"\n',
        *lines,
        b'=thread-group-exited,id="i2"\n',
        b'=thread-group-removed,id="i2"\n',
    ]


def test_what_is_left_of_work_aside() -> None:
    first = [
        b'=thread-group-added,id="i2"\n',
        b'~"[Switching to inferior 2]\\n"\n',
        b'=breakpoint-modified,bkpt={number="1"}\n',
        b'=thread-created,id="3",group-id="i2"\n',
        b'=library-loaded,id="/lib/libc.so.6",thread-group="i2"\n',
        b'=thread-selected,id="3"\n',
    ]
    end = [b'=thread-group-removed,id="i2"\n']
    warning = [b'&"warning: no symbols\\n"\n']
    assert mi.aside([*first, *warning, *end]) == warning
    assert mi.aside(first) == [first[0], first[2], first[3], first[4]]


INFO = '^done,threads=[{{id="1",target-id="Thread 1",name="a",{frame}state="stopped"{core}}}]\n'
FRAME = 'frame={level="0",addr="0x1",func="f",args=[{name="s",value="\\"}{core=\\\\"}],line="5"},'


@pytest.mark.parametrize(
    "frame, core, expected",
    [
        (
            FRAME, ',core="3"',
            '*stopped,reason="breakpoint-hit",bkptno="1",'
            'frame={addr="0x1",func="f",args=[{name="s",value="\\"}{core=\\\\"}],line="5"},'
            'thread-id="1",stopped-threads="all",core="3"\n',
        ),
        (
            "", "",
            '*stopped,reason="breakpoint-hit",bkptno="1",thread-id="1",stopped-threads="all"\n',
        ),
    ],
)  # fmt: skip
def test_stopped(frame: str, core: str, expected: str) -> None:
    described = INFO.format(frame=frame, core=core)
    reason = {"reason": "breakpoint-hit", "bkptno": 1}
    assert mi.stopped(reason, described, 1).decode() == expected


def test_stopped_without_a_reason_and_with_tables() -> None:
    assert mi.stopped({}, "", 2) == b'*stopped,thread-id="2",stopped-threads="all"\n'
    line = mi.stopped({"wpt": {"number": 2, "exp": 'a["x"]\n\x01'}}, "", 1)
    assert line.startswith(b'*stopped,wpt={number="2",exp="a[\\"x\\"]\\n\\001"},')


@pytest.mark.parametrize(
    "value, expected",
    [
        ({"a_b": 1, "gone": None}, {"a-b": "1"}),
        ([True, False, None, 1.5, 2.0, "x"], ["true", "false", "1.5", "2", "x"]),
        ({"a": ({"b": []},)}, {"a": [{"b": []}]}),
    ],
)
def test_result(value: Any, expected: Any) -> None:
    assert mi.result(value) == expected
