"""Parsers of GDB's output, on what GDB 13.1 prints and on what nobody prints."""

from __future__ import annotations

from typing import Optional, Tuple

import pytest
from gdbext.debugger import gdbtext
from hypothesis import given
from hypothesis import strategies as st

SIGNALS = """Signal        Stop\tPrint\tPass to program\tDescription

SIGHUP        Yes\tYes\tYes\t\tHangup
SIGINT        Yes\tYes\tNo\t\tInterrupt
SIGALRM       No\tNo\tYes\t\tAlarm clock
SIG34         Yes\tYes\tYes\t\tReal-time event 34
EXC_BAD_ACCESS Yes\tYes\tYes\t\tCould not access memory

Use the "handle" command to change these tables.
"""


def test_signals() -> None:
    found = gdbtext.signals(SIGNALS)
    assert list(found) == ["SIGHUP", "SIGINT", "SIGALRM", "SIG34", "EXC_BAD_ACCESS"]
    assert found["SIGINT"] == gdbtext.SignalHandling("SIGINT", True, True, False)
    assert found["SIGALRM"] == gdbtext.SignalHandling("SIGALRM", False, False, True)
    assert gdbtext.signals("") == {}


TERMINAL = """Inferior's terminal status (currently saved by GDB):
File descriptor flags = O_RDWR
Process group = 7606
c_iflag = 0x500, c_oflag = 0x5,
c_cflag = 0xbf, c_lflag = 0x8a3b
c_cc: 0x3 0x1c 0x7f 0x15 0x0\x20
"""


def test_terminal() -> None:
    assert gdbtext.terminal(TERMINAL) == {
        "iflag": 0x500,
        "oflag": 5,
        "cflag": 0xBF,
        "lflag": 0x8A3B,
        "cc": [3, 0x1C, 0x7F, 0x15, 0],
    }
    assert gdbtext.terminal("This GDB does not control a terminal.\n") is None
    assert gdbtext.terminal("No saved terminal information.\n") is None
    assert gdbtext.terminal(TERMINAL.replace("c_cc", "c_dd")) is None


def test_displays() -> None:
    text = """Auto-display expressions now in effect:
Num Enb Expression
1:   n  n (cannot be evaluated in the current context)
2:   y  /x g
12:   y  i > 0 ? a : b
13:   y  /1bi $pc
"""
    assert gdbtext.displays(text) == (
        gdbtext.Display(1, False, "", "n"),
        gdbtext.Display(2, True, "/x", "g"),
        gdbtext.Display(12, True, "", "i > 0 ? a : b"),
        gdbtext.Display(13, True, "/1bi", "$pc"),
    )
    assert gdbtext.displays("There are no auto-display expressions now.\n") == ()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ('The current source language is "auto; currently c++".\n', "c++"),
        (
            (
                'The current source language is "pascal".\n'
                "Warning: the current language does not match this frame.\n"
            ),
            "pascal",
        ),
        ("", ""),
    ],
)
def test_language(text: str, language: str) -> None:
    assert gdbtext.language(text) == language


def test_environment() -> None:
    text = "HOME=/root\nFUNC=() { echo x\nA=1\n}\nCOLOUR=dark green\nEMPTY=\nEQ=a=b\n"
    known = [("HOME", "/root"), ("FUNC", "another\nvalue"), ("FUNC", "() { echo x\nA=1\n}")]
    assert gdbtext.environment(text, known) == {
        "HOME": "/root",
        "FUNC": "() { echo x\nA=1\n}",
        "COLOUR": "dark green",
        "EMPTY": "",
        "EQ": "a=b",
    }


def test_environment_with_bytes_that_end_lines_elsewhere() -> None:
    text = "CR=a\rb\r\nFF=a\x0cb\x1c\u2028\nBYTE=\udcff\nnot this=1\nODD%%=1\n"
    assert gdbtext.environment(text, [("ODD%%", "1")]) == {
        "CR": "a\rb\r",
        "FF": "a\x0cb\x1c\u2028",
        "BYTE": "\udcff",
        "ODD%%": "1",
    }


@given(st.binary())
def test_bytes_survive_as_text(data: bytes) -> None:
    assert gdbtext.raw(gdbtext.of_raw(data)) == data
    assert gdbtext.is_odd(gdbtext.of_raw(data)) == (not _is_utf8(data))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def test_substitutions() -> None:
    text = (
        "List of all source path substitution rules:\n  `/build' -> `/home/me/src'.\n"
        "  `a b' -> `c'.\n"
    )
    assert gdbtext.substitutions(text) == (("/build", "/home/me/src"), ("a b", "c"))
    assert gdbtext.substitutions("List of all source path substitution rules:\n") == ()


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            'Argument list to give program being debugged when it is started is "A "b c"".\n',
            'A "b c"',
        ),
        ('Argument list to give program being debugged when it is started is "".\n', ""),
        (
            'Current working directory that will be used when starting the inferior is "/tmp".\n',
            "/tmp",
        ),
        (
            (
                "You have not set the inferior's current working directory.\n"
                "The inferior will inherit GDB's cwd.\n"
            ),
            "",
        ),
    ],
)
def test_quoted_value(text: str, expected: str) -> None:
    assert gdbtext.quoted_value(text) == expected


def test_sections() -> None:
    text = """Exec file: `/tmp/t', file type elf64-x86-64.
 [0]      0x555555554350->0x55555555436c at 0x00000350: .interp ALLOC LOAD READONLY \
DATA HAS_CONTENTS
 [27]     0x00000000->0x00000027 at 0x00003030: .comment READONLY HAS_CONTENTS
Object file: `/tmp/a b.o', file type elf64-x86-64.
 [1]      0x10000->0x10010 at 0x00000040: .text ALLOC LOAD READONLY CODE HAS_CONTENTS
"""
    assert gdbtext.sections(text) == {
        "/tmp/t": (gdbtext.Section(".interp", 0x555555554350),),
        "/tmp/a b.o": (gdbtext.Section(".text", 0x10000),),
    }


def test_shared_libraries() -> None:
    text = """From                To                  Syms Read   Shared Object Library
0x00007ffff7fcb060  0x00007ffff7ff0111  Yes         /lib64/ld-linux-x86-64.so.2
0x00007ffff7c9d1d0  0x00007ffff7d995be  Yes (*)     /lib/x86_64-linux-gnu/libstdc++.so.6
                                        No          /opt/my libs/libgone.so
(*): Shared library is missing debugging information.
"""
    assert gdbtext.shared_libraries(text) == (
        gdbtext.SharedLibrary("/lib64/ld-linux-x86-64.so.2", 0x7FFFF7FCB060, 0x7FFFF7FF0111, True),
        gdbtext.SharedLibrary(
            "/lib/x86_64-linux-gnu/libstdc++.so.6", 0x7FFFF7C9D1D0, 0x7FFFF7D995BE, True
        ),
        gdbtext.SharedLibrary("/opt/my libs/libgone.so", None, None, False),
    )
    assert gdbtext.shared_libraries("No shared libraries loaded at this time.\n") == ()


MAINT_BREAKPOINTS = """Num     Type             Disp Enb Address            What
1       breakpoint       keep y   0x0000555555555197 in inner at t.c:8 inf 1
-4      longjmp master   keep n   0x00007ffff7e0eda0 <__libc_siglongjmp> inf 1
-4.1                          y-  0x00007ffff7e0eda0 <__libc_siglongjmp> inf 1
-5      watchpoint scope del  y   0x0000555555555226 <main+94> inf 1
-5.1                          y   0x0000555555555226 <main+94> inf 1
\tstop only in stack frame at 0x00007fffffffe680
6       hw watchpoint    keep y                      loc inf 1
7       hw watchpoint    keep y                      total inf 1
8       breakpoint       keep y   0x0000555555555197 in inner at t.c:8 inf 1
\tstop only in stack frame at 0x00007fffffffe000
9       acc watchpoint   keep y                      g inf 1
-6      watchpoint scope del  y   0x00007ffff7dfa24a <__libc_start_call_main+122> inf 1
\tstop only in stack frame at 0x00007fffffffe720
10      read watchpoint  keep y                      x inf 1
"""


def test_watchpoint_frames() -> None:
    assert gdbtext.watchpoint_frames(MAINT_BREAKPOINTS) == {6: 0x7FFFFFFFE680, 10: 0x7FFFFFFFE720}
    assert gdbtext.watchpoint_frames("No breakpoints or watchpoints.\n") == {}


@pytest.mark.parametrize(
    "text, address",
    [
        (
            "Stack level 1, frame at 0x7fffffffe470:\n rip = 0x5\n called by frame at 0x1\n",
            0x7FFFFFFFE470,
        ),
        ("No stack.\n", None),
    ],
)
def test_frame_address(text: str, address: Optional[int]) -> None:
    assert gdbtext.frame_address(text) == address


BREAK_LIST = """\
Num     Type           Disp Enb Address            What
1       breakpoint     keep y   0x00005555555551c5 in inner at t.c:7 thread 2
\tstop only if n==3
\tstop only in thread 2
2       dprintf        keep n   0x00005555555551d0 in work at a dir/t.c:8
\tignore next 3 hits
        printf "hi %d\\n", n
3       breakpoint     keep y   <MULTIPLE>        \x20
3.1                         y   0x0000555555555130 in f<int>(int) at u.cc:3
3.2                         n   0x0000555555555140 in f<char>(char) at u.cc:3
6       catchpoint     del  y                      syscall "write"\x20
\tcatchpoint already hit 1 time
7       dprintf        keep y   <PENDING>          nosuch.c:3,"hi %d\\n",1
8       catchpoint     keep y                      exception throw
\tmatching: foo.*
9       hw watchpoint  keep y                      total
"""


def test_listed_breakpoints() -> None:
    found = gdbtext.listed_breakpoints(BREAK_LIST)
    assert sorted(found) == [1, 2, 3, 6, 7, 8, 9]
    assert (found[1]["cond"], found[1]["thread"]) == ("n==3", 2)
    assert (found[2]["script"], found[2]["location"]) == (['printf "hi %d\\n", n'], "a dir/t.c:8")
    assert (found[2]["enabled"], found[2]["ignore"]) == ("n", 3)
    assert found[3]["location"] == "u.cc:3"
    assert (found[6]["disp"], found[6]["what"]) == ("del", 'syscall "write"')
    assert found[7]["what"] == 'nosuch.c:3,"hi %d\\n",1'
    assert found[8]["regexp"] == "foo.*"
    assert found[9]["type"] == "hw watchpoint"


@pytest.mark.parametrize(
    ("location", "what", "kept"),
    [
        ("plugin.c:5", "plugin.c:5", ("plugin.c:5", "")),
        ("plugin.c:5", "plugin.c:5 if total > 6", ("plugin.c:5", "total > 6")),
        ("plugin.c:5", "plugin.c:5 if(total > 6)", ("plugin.c:5", "(total > 6)")),
        ("iffy", "iffy", ("iffy", "")),
        ("work", "work thread 1 if x == 2", ("work thread 1 if x == 2", "")),
    ],
)
def test_conditions_of_pending_breakpoints(location: str, what: str, kept: Tuple[str, str]) -> None:
    assert gdbtext.pending_condition(location, what) == kept


def test_every_truncation_of_the_list_is_survived() -> None:
    assert gdbtext.listed_breakpoints("No breakpoints or watchpoints.\n") == {}
    for length in range(len(BREAK_LIST)):
        gdbtext.listed_breakpoints(BREAK_LIST[:length])


@pytest.mark.parametrize(
    "what, words",
    [
        ("fork", "fork"),
        ("fork, process 123 ", "fork"),
        ("exec", "exec"),
        ('syscall "write"', "syscall write"),
        ('syscalls "write, read"', "syscall write read"),
        ('syscall "<any syscall>"', "syscall"),
        ('signals "SIGUSR1 SIGUSR2"', "signal SIGUSR1 SIGUSR2"),
        ('signal "<standard signals>"', "signal"),
        ('signal "<any signal>"', "signal all"),
        ("load of library", "load"),
        ("unload of library matching foo.*", "unload foo.*"),
        ("exception throw", "throw"),
        ("all Ada exceptions", None),
        ("", None),
    ],
)
def test_catch_arguments(what: str, words: Optional[str]) -> None:
    assert gdbtext.catch_arguments(what) == words


@pytest.mark.parametrize(
    "command, expected",
    [
        ("gdb -q prog", ""),
        ("gdb -i=mi prog", "mi"),
        ("gdb --interpreter=mi2", "mi2"),
        ("gdb -q --interpreter mi3 prog", "mi3"),
        ("gdb -interp=mi", "mi"),
        ("gdb -i=tui", ""),
        ("gdb -i", ""),
        ("gdb -iex x", ""),
        ("gdb -ix file", ""),
        ("gdb --args prog -i=mi", ""),
        ("gdb", ""),
    ],
)
def test_machine_interface(command: str, expected: str) -> None:
    assert gdbtext.machine_interface(command.split()) == expected
