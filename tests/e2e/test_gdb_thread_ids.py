"""New ids, seen from GDB: the table of threads, commands about threads, two restores at once."""

from __future__ import annotations

import json
import os
import re

import pytest
from gdbsession import GdbSession
from scene import Scene, restore, save
from steps import continue_to_end, run_to_work

THREADS = 3
ROW = re.compile(r"^(\d+) +(\d+|-) +(\S*) +(0x[0-9a-f]+|-) +(\d+) +(\d+)$", re.MULTILINE)


def saved_here(scene: Scene) -> tuple[GdbSession, list[str], int]:
    """A program saved as "moment" and gone; its GDB, its further output, its pid."""
    gdb = run_to_work(scene, THREADS, "")
    pid = gdb.inferior_pid
    save(gdb, "moment")
    return gdb, continue_to_end(gdb, 7), pid


def restore_virtual(gdb: GdbSession, pid: int) -> int:
    gdb.execute("set ckpt ids virtual")
    restored = restore(gdb, "moment")
    assert restored.ids == "new ids" and restored.pid != pid
    return restored.pid


def test_threads_before_any_restore(scene: Scene) -> None:
    gdb = run_to_work(scene, THREADS, "")
    rows = ROW.findall(gdb.execute("ckpt threads"))
    assert len(rows) == THREADS + 1
    assert all(then == "-" and saved == kernel for _, then, _, _, saved, kernel in rows)
    gdb.execute("kill")
    assert "no program is being debugged" in gdb.execute("ckpt threads")


@pytest.mark.parametrize("link", ["", "static"])
def test_both_ids_of_every_thread(scene: Scene, link: str) -> None:
    gdb = run_to_work(scene, THREADS, link)
    before = [int(row[5]) for row in ROW.findall(gdb.execute("ckpt threads"))]
    save(gdb, "moment")
    gdb.execute("set confirm off")
    pid = restore_virtual(gdb, before[0])
    rows = ROW.findall(gdb.execute("ckpt threads"))
    assert [int(row[4]) for row in rows] == before, "the ids that the program remembers"
    assert sorted(int(row[5]) for row in rows) == sorted(map(int, os.listdir(f"/proc/{pid}/task")))
    assert (
        [row[0] for row in rows]
        == [row[1] for row in rows]
        == [str(n + 1) for n in range(THREADS + 1)]
    )
    table = json.loads(gdb.execute("ckpt threads -json"))
    assert [each["saved_id"] for each in table] == before and [each["then"] for each in table] == [
        1,
        2,
        3,
        4,
    ]
    # Saved again and restored: the program still remembers the first ones.
    save(gdb, "again")
    restore(gdb, "again")
    rows = ROW.findall(gdb.execute("ckpt threads"))
    assert [int(row[4]) for row in rows] == before and not {int(row[5]) for row in rows} & {
        pid,
        *before,
    }
    gdb.execute("kill")


def test_info_says_which_ids(scene: Scene) -> None:
    """What was saved, what the program remembers,
    and what the restore that is there now has got.
    """
    gdb = run_to_work(scene, THREADS, "")
    first = gdb.inferior_pid
    save(gdb, "moment")
    assert "Restored:" not in gdb.execute("ckpt info moment")
    gdb.execute("set confirm off")
    pid = restore_virtual(gdb, first)
    printed = gdb.execute("ckpt info moment")
    assert re.search(rf"^Restored: +inferior 1, process {pid} \(new ids\)$", printed, re.MULTILINE)
    assert f"LWP {first} " in printed and "remember" not in printed
    save(gdb, "again")
    printed = gdb.execute("ckpt info again")
    assert re.search(rf"^Process: +{pid} \(remembered as {first}\)$", printed, re.MULTILINE)
    assert f"LWP {pid} (remembered as {first}) " in printed and "Restored:" not in printed
    record = json.loads(gdb.execute("ckpt info again -json"))
    assert (
        record["restored"] == [] and [each["remembered"] for each in record["threads"]][0] == first
    )
    record = json.loads(gdb.execute("ckpt info moment -json"))
    assert record["restored"] == [{"inferior": 1, "pid": pid, "ids": "virtual"}]
    gdb.execute("kill")
    assert "Restored:" not in gdb.execute("ckpt info moment")


def test_commands_about_threads(scene: Scene) -> None:
    """info threads, thread apply, thread find, $_thread, TLS of each thread,
    a breakpoint for one thread.
    """
    gdb, _, pid = saved_here(scene)
    gdb.quit()
    again = scene.gdb()
    restore_virtual(again, pid)
    assert (
        len(re.findall(r"Thread 0x[0-9a-f]+ \(LWP \d+\)", again.execute("info threads")))
        == THREADS + 1
    )
    assert again.execute("thread apply all -q bt -3").count("worker_main") >= THREADS
    assert "Thread 2 has" in again.execute("thread find 2")
    assert again.execute("print $_thread").strip() == "$1 = 1"
    numbers = re.findall(r"= (\d+)", again.execute("thread apply all -q print tls_number"))
    assert sorted(map(int, numbers)) == [1, 2, 3, 1000]
    again.execute("delete")
    again.execute("break worker_main thread 1")
    again.execute("break work if step == 5")
    assert "step=5" in again.execute("continue")
    again.execute("delete")
    assert "exited with code 07" in again.execute("continue")


def test_two_at_once(scene: Scene) -> None:
    """Two GDBs restore one snapshot; both programs live at the same time and run to their ends."""
    gdb, expected, pid = saved_here(scene)
    gdb.quit()
    both = [scene.gdb() for _ in range(2)]
    pids = {restore_virtual(each, pid) for each in both}
    assert len(pids) == 2
    for each in both:
        assert continue_to_end(each, 7) == expected


def test_a_wrong_guess_of_the_order_of_numbers(scene: Scene) -> None:
    """GDB numbers attached threads in an order that is learned once:
    the restore that learns it keeps the numbers, too.
    """
    gdb = run_to_work(scene, THREADS, "")
    before = gdb.thread_list()
    save(gdb, "moment")
    gdb.execute("set confirm off")
    guess = "gdbext.session.numbering._newest_first"
    gdb.execute(
        "python import gdbext.session.numbering; "
        f"{guess} = not gdbext.session.numbering.newest_first()"
    )
    wrong = gdb.execute(f"python print({guess})").strip()
    for _ in range(2):
        pid = restore_virtual(gdb, gdb.inferior_pid)
        assert gdb.thread_list() == before
        assert gdb.execute(f"python print({guess})").strip() != wrong
        assert gdb.inferior_pid == pid and len(gdb.execute("info inferiors").splitlines()) == 2
    gdb.execute("kill")


def test_a_main_thread_that_has_ended(scene: Scene) -> None:
    """Saved when the main thread is gone: it ends again as soon as the restored program goes on."""
    line = scene.directory / "line"
    line.write_text("\n")
    gdb = scene.gdb(scene.program("zombie_leader"))
    gdb.execute("break wait_line")
    assert "hit Breakpoint 1, wait_line" in gdb.execute(f"run < {line}")
    save(gdb, "alone")
    assert "exited normally" in gdb.execute("continue")
    gdb.quit()
    for ids in ("auto", "virtual"):
        again = scene.gdb()
        again.execute(f"set ckpt ids {ids}")
        restored = restore(again, "alone")
        assert restored.frame.startswith("#0  wait_line"), restored.text
        assert any("main thread had ended" in note for note in restored.notes)
        assert "body" in again.execute("bt")
        again.execute("delete")
        ended = again.execute("continue")
        assert "PASS" in ended and "exited normally" in ended, ended
        again.quit()


@pytest.mark.parametrize("link", ["", "static"])
def test_types_tell_what_is_no_lock(scene: Scene, link: str) -> None:
    """Numbers that are a held lock field by field, in a variable that is none, are as they were."""
    line = scene.directory / "line"
    line.write_text("\n")
    gdb = scene.gdb(scene.program("thr_typed", link))
    gdb.execute("break wait_line")
    assert "hit Breakpoint 1, wait_line" in gdb.execute(f"run < {line}")
    pid = gdb.inferior_pid
    save(gdb, "moment")
    gdb.execute("set confirm off")
    restore_virtual(gdb, pid)
    printed = gdb.execute("continue")
    assert "PASS" in printed and "exited normally" in printed, printed
