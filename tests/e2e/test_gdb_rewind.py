"""`ckpt rewind` and the commands in a recording: position, goto, timeline, last, find."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from gdbsession import GdbSession, user_switch
from recorded import record_walked
from scene import BUILD, Scene, refuse
from support.processes import wait_gone

WHERE = r"event (\d+) of (\d+) \(([\d.]+ %|the end|the begin)\), thread (\d+)"


def _rewind(scene: Scene, *arguments: str, at: str = "") -> GdbSession:
    record_walked(scene, *arguments)
    gdb = scene.gdb()
    shown = gdb.execute(f"ckpt rewind bug.rec{at and ' -at ' + at}")
    assert shown.startswith("Rewound bug.rec: event "), shown
    return gdb


def _event(shown: str) -> int:
    found = re.search(WHERE, shown)
    assert found, shown
    return int(found[1])


def _servers(scene: Scene, gdb: GdbSession) -> list[int]:
    return [pid for pid in scene.processes() if pid != gdb.child.pid]


def test_a_crash_is_shown_and_walked_back(anybody: Scene) -> None:
    record_walked(anybody)
    gdb = anybody.gdb()
    timeout = gdb.execute("show remotetimeout")
    sysroot = gdb.execute("show sysroot")
    shown = gdb.execute("ckpt rewind bug.rec")
    first, frame = shown.splitlines()[:2]
    program = re.escape(anybody.program("walked"))
    assert re.fullmatch(
        rf"Rewound bug\.rec: {WHERE}, program {program}; received SIGSEGV", first
    ), shown
    assert re.search(r"^#0 .* in crash \(\) at .*walked\.c:", frame)
    assert "the end" in gdb.execute("ckpt position")
    total = int(gdb.value("total"))
    gdb.execute("break add")
    assert "add (k=7)" in gdb.execute("reverse-continue")
    assert int(gdb.value("total")) == total - 70
    gdb.execute("kill")
    assert not gdb.inferior_pid
    assert gdb.execute("show remotetimeout") == timeout
    assert gdb.execute("show sysroot") == sysroot
    refuse(gdb, "ckpt position", "no recording is being debugged")


def test_going_to_positions(scene: Scene) -> None:
    gdb = _rewind(scene, at="begin")
    shown = gdb.execute("ckpt position")
    found = re.search(WHERE, shown)
    assert found and found[1] == "0" and found[3] == "the begin"
    last = int(found[2])
    assert _event(gdb.execute(f"ckpt goto {last // 2}")) == last // 2
    assert _event(gdb.execute("ckpt goto -3")) == last // 2 - 3
    assert _event(gdb.execute("ckpt goto +2")) == last // 2 - 1
    assert _event(gdb.execute("ckpt goto 25%")) == round(last / 4)
    end = gdb.execute("ckpt goto end")
    assert "crash ()" in end and "the end" in end
    total = gdb.value("total")
    assert "the begin" in gdb.execute("ckpt goto -100000")
    assert "the end" in gdb.execute("ckpt goto +100000")
    assert gdb.value("total") == total
    assert "the begin" in gdb.execute("ckpt goto begin")
    for wrong in ("nowhere", "101%", "+", "1.5", str(last + 1)):
        refuse(gdb, f"ckpt goto {wrong}", "POSITION is begin, end|there is no event")
    assert gdb.complete("ckpt goto ") == ["begin", "end"]


def test_a_position_is_shown_without_a_stop_of_its_own(scene: Scene) -> None:
    gdb = _rewind(scene)
    gdb.execute("display total")
    gdb.execute("break add")
    shown = gdb.execute("ckpt goto begin")
    assert "stopped" not in shown and "Breakpoint" not in shown
    assert "already hit" not in gdb.execute("info breakpoints")
    shown = gdb.execute("ckpt goto end")
    assert re.search(r"^1: total = 280", shown, re.MULTILINE)
    assert shown.count("crash ()") == 1


def test_the_timeline(scene: Scene) -> None:
    gdb = _rewind(scene)
    gdb.execute("set width 80")
    lines = gdb.execute("ckpt timeline").splitlines()
    assert re.fullmatch(r"\[[.o]*!.*X\]", lines[0]) and len(lines[0]) == 79
    assert lines[1].endswith("^") and "the end" in lines[1]
    text = "\n".join(lines)
    assert re.search(r"signal: SIGUSR1$", text, re.MULTILINE)
    assert re.search(r"^> +\d+ +\d+ +you are here$", text, re.MULTILINE)
    assert "end: killed by SIGSEGV" in text
    gdb.execute("ckpt goto begin")
    lines = gdb.execute("ckpt timeline").splitlines()
    assert lines[1].startswith(" ^ event 0 of ")
    gdb.execute("set width 0")
    table = json.loads(gdb.execute("ckpt timeline -json"))
    assert table["event"] == 0 and table["signal"] is None
    assert {mark["kind"] for mark in table["marks"]} == {"signal", "output", "exit"}
    position = json.loads(gdb.execute("ckpt position -json"))
    assert position["program"] == scene.program("walked")


def test_threads_in_a_timeline(scene: Scene) -> None:
    gdb = _rewind(scene, "threads")
    shown = gdb.execute("ckpt timeline")
    assert shown.count("thread: started") == 2 and shown.count("thread: ended") == 2
    assert "end: exited with status 3" in shown


def test_a_condition_is_found(scene: Scene) -> None:
    gdb = _rewind(scene)
    shown = gdb.execute('ckpt find "total >= 100"')
    assert re.search(r"first true at event \d+", shown), shown
    first = _event(shown)
    assert int(gdb.value("total")) >= 100
    gdb.execute(f"ckpt goto {first - 1}")
    assert int(gdb.value("total")) < 100
    refuse(gdb, "ckpt find nosuch", 'No symbol "nosuch"')
    assert _event(gdb.execute("ckpt position")) == first - 1


def test_what_is_not_found_leaves_the_position(scene: Scene) -> None:
    gdb = _rewind(scene, at="begin")
    gdb.execute("tbreak add if k == 3")
    gdb.execute("continue")
    gdb.execute("next")
    gdb.execute("up")
    before = gdb.execute("info registers"), gdb.execute("ckpt position"), gdb.execute("frame")
    assert "is not true" in gdb.execute('ckpt find "total > 100000"')
    after = gdb.execute("info registers"), gdb.execute("ckpt position"), gdb.execute("frame")
    assert before == after
    gdb.execute("reverse-next")
    assert gdb.value("k") == "3"


def test_the_last_write(anybody: Scene) -> None:
    gdb = _rewind(anybody)
    gdb.execute("break add")
    gdb.execute("watch total")
    for old, new, k in ((210, 280, 7), (150, 210, 6)):
        shown = gdb.execute("ckpt last total")
        assert re.search(rf"^Last write of total: {WHERE}$", shown, re.MULTILINE), shown
        assert f"Old value = {old}\nNew value = {new}\n" in shown
        assert f"add (k={k}) at " in shown and "total += sum;" in shown
        assert int(gdb.value("total")) == old
    gdb.execute("disable")
    gdb.execute("stepi")
    assert int(gdb.value("total")) == 210
    assert "Old value = 0\nNew value = 30\n" in gdb.execute("ckpt last table[3]")
    assert gdb.value("table[3]") == "0"
    refuse(gdb, "ckpt last 5", "5 is not in memory")
    refuse(gdb, "ckpt last $rip", "is not in memory")
    refuse(gdb, "ckpt last nosuch", 'No symbol "nosuch"')


def test_what_was_never_written_leaves_the_position(scene: Scene) -> None:
    gdb = _rewind(scene, at="begin")
    gdb.execute("tbreak add if k == 3")
    gdb.execute("continue")
    gdb.execute("next")
    before = gdb.execute("info registers"), gdb.execute("ckpt position")
    refuse(gdb, "ckpt last handled", "handled is not written before this in the recording")
    assert (gdb.execute("info registers"), gdb.execute("ckpt position")) == before
    gdb.execute("reverse-next")
    assert gdb.value("k") == "3"


def test_a_watchpoint_holds_after_a_leap(scene: Scene) -> None:
    gdb = _rewind(scene)
    gdb.execute("watch total")
    gdb.execute("ckpt goto begin")
    shown = gdb.execute("continue")
    assert "Old value = 0\nNew value = 10\n" in shown, shown
    gdb.execute("ckpt goto end")
    shown = gdb.execute("reverse-continue")
    assert "Old value = 280\nNew value = 210\n" in shown, shown


@pytest.mark.parametrize("way", ["kill", "detach", "disconnect", "ckpt rewind bug.rec"])
def test_nothing_is_left_of_a_recording(anybody: Scene, way: str) -> None:
    gdb = _rewind(anybody)
    gdb.execute("set confirm on")
    running = _servers(anybody, gdb)
    assert running
    if way == "kill":
        gdb.start(way)
        gdb.expect(r"\(y or n\) ")
        gdb.type_line("y")
        gdb.wait_prompt()
    else:
        assert "(y or n)" not in gdb.execute(way)
    for pid in running:
        wait_gone(pid)
    gdb.execute("set confirm off")
    gdb.quit()
    assert not anybody.processes()


def test_a_refusal_leaves_everything_as_it_was(anybody: Scene) -> None:
    good = record_walked(anybody)
    damaged = bytearray(good.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    (anybody.directory / "damaged.rec").write_bytes(damaged)
    os.mkfifo(anybody.directory / "fifo.rec")
    anybody.write("text.rec", "no recording\n")
    unreadable = anybody.write("unreadable.rec", "")
    unreadable.chmod(0)
    gdb = anybody.gdb(anybody.program("walked"))
    gdb.execute("break fill")
    gdb.execute("run")
    pid = gdb.inferior_pid
    refuse(gdb, "ckpt rewind missing.rec", "missing.rec: No such file or directory")
    refuse(gdb, "ckpt rewind text.rec", "text.rec: it is no recording")
    refuse(gdb, "ckpt rewind fifo.rec", "fifo.rec: it is no recording")
    refuse(gdb, "ckpt rewind damaged.rec", "damaged.rec: ")
    refuse(gdb, "ckpt rewind unreadable.rec", "unreadable.rec: ")
    refuse(gdb, "ckpt rewind .", "it is no recording")
    refuse(gdb, "ckpt rewind bug.rec -at 100000", "there is no event 100000")
    refuse(gdb, "ckpt rewind bug.rec -at nowhere", "-at is begin, end or the number of an event")
    refuse(gdb, "ckpt rewind", "FILE is missing")
    assert gdb.inferior_pid == pid
    assert sorted(anybody.processes()) == sorted([gdb.child.pid, pid])
    assert "fill (k=1)" in gdb.execute("continue")


def test_a_changed_program_is_refused(scene: Scene) -> None:
    program = scene.copy_of("walked")
    file = scene.directory / "bug.rec"
    subprocess.run(
        [BUILD / "bin" / "ckpt-record", "-o", file, program], capture_output=True, check=False
    )
    os.utime(program, (1, 1))
    gdb = scene.gdb()
    refuse(gdb, "ckpt rewind bug.rec", "walked")
    assert gdb.python("gdb.current_progspace().filename") == "None"
    assert not _servers(scene, gdb)


def test_the_present_program_is_ended_after_a_question(scene: Scene) -> None:
    record_walked(scene)
    gdb = scene.gdb(scene.program("walked"))
    gdb.execute("break fill")
    gdb.execute("run")
    pid = gdb.inferior_pid
    gdb.execute("set confirm on")
    for answer in ("n", "y"):
        gdb.start("ckpt rewind bug.rec")
        gdb.expect(r"Kill the program being debugged\? \(y or n\) ")
        gdb.type_line(answer)
        shown = gdb.wait_prompt()
        if answer == "n":
            assert "ckpt rewind: not confirmed: the program is as it was" in shown
            assert gdb.inferior_pid == pid
    assert "Rewound bug.rec: " in shown
    wait_gone(pid)
    assert "fill (k=7)" in gdb.execute("reverse-continue")


def test_a_file_of_any_name(scene: Scene) -> None:
    name = "a b $(touch made) 'c' \"d\" \u00e9.rec"
    record_walked(scene, name=name)
    gdb = scene.gdb()
    word = "".join(c if c.isalnum() or c in "./\u00e9" else "\\" + c for c in name)
    assert "received SIGSEGV" in gdb.execute(f"ckpt rewind {word}")
    assert not (scene.directory / "made").exists()
    assert json.loads(gdb.execute("ckpt position -json"))["file"] == str(scene.directory / name)


def test_file_names_are_completed(scene: Scene) -> None:
    record_walked(scene, name="first.rec")
    gdb = scene.gdb()
    assert gdb.complete("ckpt rewind fir") == ["ckpt rewind first.rec"]


def test_another_program_is_loaded_for_its_recording(scene: Scene) -> None:
    record_walked(scene)
    gdb = scene.gdb(scene.program("compute"))
    gdb.execute("ckpt rewind bug.rec")
    assert gdb.python("gdb.current_progspace().filename") == scene.program("walked")
    assert " in crash " in gdb.execute("backtrace 1")


def test_snapshots_and_a_recording(scene: Scene) -> None:
    gdb = scene.gdb(scene.program("walked"))
    gdb.execute("break fill")
    gdb.execute("run")
    gdb.execute("ckpt save before")
    gdb.execute("kill")
    record_walked(scene)
    gdb.execute("ckpt rewind bug.rec")
    running = _servers(scene, gdb)
    refuse(gdb, "ckpt save now", "this is a recording, which is on disk already")
    refuse(gdb, "ckpt back", "a recording has no snapshots to go to")
    refuse(gdb, "ckpt diff before", "this is a recording")
    refuse(gdb, "ckpt threads", "recording|remote")
    assert "before" in gdb.execute("ckpt list")
    gdb.execute("set confirm on")
    gdb.start("ckpt restore before")
    gdb.expect(r"Kill the program being debugged\? \(y or n\) ")
    gdb.type_line("y")
    assert 'Restored "before"' in gdb.wait_prompt()
    for pid in running:
        wait_gone(pid)
    gdb.execute("set confirm off")
    assert "fill (k=1)" in gdb.execute("continue")
    gdb.execute("ckpt rewind bug.rec")
    assert "the end" in gdb.execute("ckpt position")


def test_a_front_end_sees_a_recording(scene: Scene) -> None:
    record_walked(scene)
    mi = scene.mi()
    mi.execute('-interpreter-exec console "ckpt rewind bug.rec"')
    stop = next(record for record in mi.records if record.name == "stopped")
    assert stop.fields["frame"]["func"] == "crash"
    table = mi.execute("-ckpt-position")
    assert table["at-end"] == "true" and table["signal"] == "SIGSEGV"
    stop = mi.run('-interpreter-exec console "ckpt last total"')
    assert stop.fields["frame"]["func"] == "add"
    marks = mi.execute("-ckpt-timeline")["marks"]
    assert {mark["kind"] for mark in marks} == {"signal", "output", "exit"}
    stop = mi.run("-exec-continue --reverse")
    assert stop.fields["signal-name"] == "SIGUSR1"


HOT = """
#include <stdlib.h>
static volatile int total;
static volatile long spun;  // on the page of `total`
int main(void) {
  total = 5;
  for (long i = 0; i < 500000000; ++i) spun += i;
  abort();
}
"""


def test_an_interruption_leaves_the_position(anybody: Scene) -> None:
    program = anybody.compile(HOT, "hot")
    subprocess.run(
        [BUILD / "bin" / "ckpt-record", "-o", anybody.directory / "hot.rec", program],
        capture_output=True,
        preexec_fn=user_switch(anybody.user),
        check=False,
    )
    gdb = anybody.gdb()
    # "Quit" is GDB's own: the command had not begun yet.
    gdb.start("ckpt rewind hot.rec")
    assert re.search("ckpt rewind: interrupted|Quit", gdb.interrupt())
    refuse(gdb, "ckpt position", "no recording is being debugged")
    assert gdb.python("gdb.current_progspace().filename") == "None"
    assert not _servers(anybody, gdb)
    assert "received SIGABRT" in gdb.execute("ckpt rewind hot.rec")
    before = gdb.execute("info registers"), gdb.execute("ckpt position")
    gdb.start("ckpt last total")
    assert re.search("ckpt last: interrupted|Quit", gdb.interrupt())
    assert (gdb.execute("info registers"), gdb.execute("ckpt position")) == before
    assert gdb.value("total") == "5"
