"""GDB on ckpt-replay-server: its own commands, forwards and backwards over a recording."""

from __future__ import annotations

import re

from gdbsession import GdbSession
from recorded import record_walked
from scene import BUILD, Scene
from support.processes import wait_gone

SERVER = BUILD / "bin" / "ckpt-replay-server"


def _rewind(scene: Scene, *arguments: str, at: str = "begin") -> GdbSession:
    file = record_walked(scene, *arguments)
    gdb = scene.gdb(scene.program("walked"), load=False)
    gdb.execute("set remotetimeout 1000")
    gdb.execute(f"target remote | {SERVER} --at {at} {file}")
    return gdb


def _thread(gdb: GdbSession) -> int:
    return int(gdb.python("gdb.selected_thread().ptid[1] or gdb.selected_thread().ptid[2]"))


def test_a_crash_is_walked_back_to_the_write(anybody: Scene) -> None:
    gdb = _rewind(anybody, at="end")
    assert " in crash " in gdb.execute("backtrace 1")
    libraries = gdb.execute("info sharedlibrary")
    assert "/libc.so.6" in libraries and "target:" not in libraries
    total = int(gdb.value("total"))
    gdb.execute("break add")
    assert "add (k=7)" in gdb.execute("reverse-continue")
    assert int(gdb.value("total")) == total - 70
    assert "fill (k=7)" in gdb.execute("reverse-finish")
    gdb.execute("delete")
    assert "SIGUSR1" in gdb.execute("reverse-continue")
    assert "No more reverse-execution history" in gdb.execute("reverse-continue")
    assert "SIGUSR1" in gdb.execute("continue")
    assert "SIGSEGV" in gdb.execute("continue")
    assert int(gdb.value("total")) == total


def test_lines_forwards_and_backwards(scene: Scene) -> None:
    gdb = _rewind(scene)
    gdb.execute("tbreak fill")
    gdb.execute("continue")
    lines = [gdb.execute("frame")]
    for _ in range(5):
        gdb.execute("next")
        lines.append(gdb.execute("frame"))
    for expected in reversed(lines[:-1]):
        gdb.execute("reverse-next")
        assert gdb.execute("frame") == expected
    gdb.execute("tbreak add")
    gdb.execute("continue")
    assert "fill (k=0)" in gdb.execute("reverse-step")
    assert "add (k=0)" in gdb.execute("step")


def test_reverse_next_passes_calls_and_a_signal(scene: Scene) -> None:
    gdb = _rewind(scene)
    gdb.execute("handle SIGUSR1 nostop noprint pass")
    gdb.execute("tbreak fill if k == 6")
    gdb.execute("continue")
    assert gdb.value("handled") == "10"
    assert "main" in gdb.execute("reverse-finish")
    for _ in range(4):
        shown = gdb.execute("reverse-next")
    assert re.search(r"\bfill \(k\)|\bfor \(|printf|fflush", shown)
    assert gdb.value("k") in ("5", "6")
    gdb.execute("tbreak on_signal")
    assert "on_signal (signal=10)" in gdb.execute("reverse-continue")
    assert gdb.value("handled") == "0"


def test_conditional_breakpoints_in_both_directions(scene: Scene) -> None:
    gdb = _rewind(scene)
    gdb.execute("handle SIGUSR1 nostop noprint pass")
    gdb.execute("break add if k == 3")
    assert "add (k=3)" in gdb.execute("continue")
    gdb.execute("continue")
    assert "add (k=3)" in gdb.execute("reverse-continue")


def test_threads_and_the_exit(scene: Scene) -> None:
    gdb = _rewind(scene, "threads")
    gdb.execute("break work")
    gdb.execute("continue")
    first = _thread(gdb)
    gdb.execute("continue")
    assert _thread(gdb) != first
    gdb.execute("reverse-continue")
    assert _thread(gdb) == first
    gdb.execute("delete")
    assert "No more reverse-execution history" in gdb.execute("continue")
    assert "exited with code 03" in gdb.execute("continue")


def test_the_past_is_not_changed(scene: Scene) -> None:
    gdb = _rewind(scene, at="end")
    total = gdb.value("total")
    gdb.execute("set variable total = 5")
    gdb.execute("maintenance flush dcache")
    assert gdb.value("total") == "5"
    assert "history stays as it was recorded" in gdb.execute("reverse-stepi")
    assert gdb.value("total") == total


def test_functions_are_called_in_a_copy(scene: Scene) -> None:
    gdb = _rewind(scene)
    gdb.execute("break add if k == 3")
    gdb.execute("handle SIGUSR1 nostop noprint pass")
    gdb.execute("continue")
    total = int(gdb.value("total"))
    here = gdb.execute("info registers")
    assert gdb.value("add(4)") == "40"
    assert int(gdb.value("total")) == total + 40
    assert "from the copy" in gdb.execute('print puts("from the copy"), fflush(stdout)')
    assert gdb.execute("info registers") == here
    gdb.execute("delete")
    gdb.execute("next")
    assert int(gdb.value("total")) == total
    # A call that ends the program, and one that crashes: only the copy does.
    gdb.execute("set unwindonsignal on")
    assert "SIGSYS" in gdb.execute("print (void) exit(3)")
    assert "SIGSEGV" in gdb.execute("print crash()")
    assert "SIGSEGV" in gdb.execute("continue")
    assert " in crash " in gdb.execute("backtrace 1")


def test_names_and_variables_of_threads(scene: Scene) -> None:
    gdb = _rewind(scene, "threads")
    gdb.execute("break work")
    seen = set()
    names: set[str] = set()
    for _ in range(2):
        gdb.execute("continue")
        gdb.execute("next")
        seen.add((gdb.value("*(int*)argument"), gdb.value("own")))
        gdb.execute("next")
        names |= set(re.findall(r'"([^"]+)"', gdb.execute("info threads")))
    assert seen == {("1", "1"), ("100", "100")}
    assert names == {"walked", "one", "a<hundred>"}


def test_a_killed_gdb_leaves_nothing(scene: Scene) -> None:
    gdb = _rewind(scene, at="end")
    gdb.execute("reverse-stepi")
    running = [pid for pid in scene.processes() if pid != gdb.child.pid]
    assert len(running) >= 3
    gdb.kill_gdb()
    for pid in running:
        wait_gone(pid)
