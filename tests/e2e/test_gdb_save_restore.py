"""The main job: save in one GDB, quit, restore in another, any number of times,
and everything is as it was.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import processes
import pytest
from gdbsession import GdbSession
from scene import ORDINARY_USER, SOURCES, Scene, line_of, restore, save
from steps import (
    CLOCK_NANOSLEEP,
    FUTEX,
    NANOSLEEP,
    POLL,
    READ,
    View,
    assert_same,
    attach_to_work,
    continue_to_end,
    run_to_work,
    run_until_blocked,
    saved_output,
    view,
)

ROOT = os.getuid() == 0


def test_save_quit_restore_three_times(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=3)
    before = view(gdb)
    saved = save(gdb, "before-crash -m 'queue is already corrupt here'")
    assert saved.name == "before-crash"
    assert saved.threads == 4
    line = line_of(SOURCES / "e2e_threads.cpp", "work starts")
    assert saved.stop == f"work at e2e_threads.cpp:{line}"
    assert_same(view(gdb), before)
    expected = continue_to_end(gdb, 7)
    assert expected[-1] == "PASS"
    gdb.quit()
    assert not scene.processes()
    for _ in range(3):
        again = scene.gdb()
        restored = restore(again, "before-crash")
        assert restored.name == "before-crash"
        assert restored.threads == 4
        assert restored.pid == again.inferior_pid
        assert_same(view(again), before)
        assert continue_to_end(again, 7) == expected
        again.quit()
        assert not scene.processes()


def test_thread_local_variables_print_in_each_thread(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=3)
    save(gdb, "locals")
    gdb.quit()
    again = scene.gdb()
    restore(again, "locals")
    secret = int(again.value("nonce"))
    for number, local in ((1, 1000), (2, 1), (3, 2), (4, 3)):
        again.execute(f"thread {number}")
        assert again.value("tls_number") == str(local)
        offset = 0 if number == 1 else number - 1
        assert int(again.value("tls_secret")) == (secret + offset) % 2**64
    again.quit()


def test_threads_come_back_in_order_when_numbers_have_gaps(scene: Scene) -> None:
    """Threads that ended leave gaps in GDB's numbers,
    which a new GDB closes: the order is what stays.
    """
    gdb = scene.gdb("--args", scene.program("e2e_async"))
    gdb.execute("break compute if number == 1001")
    gdb.start("run")
    gdb.expect("READY")
    gdb.type_line("go")
    gdb.wait_prompt()
    threads = gdb.thread_list()
    numbers = [number for number, _, _ in threads]
    assert numbers != list(range(1, len(numbers) + 1)), "no thread ended before the stop"
    backtrace = gdb.execute("bt")
    save(gdb, "gaps")
    gdb.execute("delete")
    expected = continue_to_end(gdb, 9)
    gdb.quit()
    again = scene.gdb()
    restore(again, "gaps")
    now = again.thread_list()
    assert [number for number, _, _ in now] == list(range(1, len(threads) + 1))
    assert [rest for _, *rest in now] == [rest for _, *rest in threads]
    assert again.execute("bt") == backtrace
    again.execute("delete")
    assert continue_to_end(again, 9) == expected
    again.quit()


def test_at_the_very_first_instruction(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "2")
    assert "Program stopped" in gdb.execute("starti")
    where = gdb.execute("info symbol $pc")
    save(gdb, "first")
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()
    again = scene.gdb()
    restore(again, "first")
    assert again.execute("info symbol $pc") == where
    again.execute("set breakpoint pending on")
    again.execute("break work if step == 2")
    assert "work (step=2)" in again.execute("continue")
    assert len(again.thread_list()) == 3
    again.execute("delete")
    assert continue_to_end(again, 7)[-1] == "PASS"
    again.quit()


def test_the_restore_prints_the_stop_as_gdb_does(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "here")
    gdb.quit()
    line = line_of(SOURCES / "e2e_threads.cpp", "work starts")
    restored = restore(scene.gdb(), "here")
    frame, source = restored.frame.splitlines()
    assert frame.endswith(f"e2e_threads.cpp:{line}") and "work (step=3) at " in frame
    assert source.startswith(f"{line}\t") and "work starts" in source


def test_without_a_name_the_newest_is_restored(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "zebra")
    gdb.execute("next")
    save(gdb, "ant")
    gdb.quit()
    assert restore(scene.gdb(), "").name == "ant"


def test_selected_thread_and_frame_come_back(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=3)
    gdb.execute("thread 3")
    while "worker_waits" not in gdb.execute("frame"):
        assert "Initial frame" not in gdb.execute("up")
    frame = gdb.execute("frame")
    save(gdb, "elsewhere")
    gdb.quit()
    again = scene.gdb()
    restored = restore(again, "elsewhere")
    assert "worker_waits" in restored.frame
    assert again.execute("frame") == frame
    assert again.python("gdb.selected_thread().num") == "3"
    assert again.value("self->number") == "2"


def test_stepping_goes_on_after_a_restore(scene: Scene) -> None:
    source = SOURCES / "e2e_threads.cpp"
    gdb = run_to_work(scene, threads=1)
    gdb.execute("next")
    assert gdb.execute("next").startswith(str(line_of(source, "work writes watched")))
    before = view(gdb)
    save(gdb, "stepped")
    gdb.quit()
    again = scene.gdb()
    restore(again, "stepped")
    assert_same(view(again), before)
    assert again.execute("next").startswith(str(line_of(source, "work ends")))
    assert "work (step=3)" in again.execute("up 0")
    assert "Value returned is" in again.execute("finish")
    again.execute("break 'work'")
    assert "work (step=4)" in again.execute("continue")
    assert "step=4" in again.execute("step 0") or again.value("step") == "4"
    again.execute("delete")
    assert continue_to_end(again, 7)[-1] == "PASS"
    again.quit()


def test_save_after_a_restore_and_so_on(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=1, step=1)
    secret = gdb.value("/x nonce")
    save(gdb, "first")
    gdb.quit()
    name = "first"
    for step in (2, 3, 4):
        again = scene.gdb()
        restore(again, f"{name} -no-session")
        again.execute("break work")
        assert f"work (step={step})" in again.execute("continue")
        name = f"step-{step}"
        save(again, name)
        again.quit()
    last = scene.gdb()
    restore(last, name)
    assert last.value("/x nonce") == secret
    last.execute("delete")
    assert continue_to_end(last, 7)[-1] == "PASS"
    last.quit()


def test_inside_a_shared_library(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=1)
    gdb.execute("break write")
    assert "libc" in gdb.execute("continue") + gdb.execute("info symbol $pc")
    before = view(gdb)
    save(gdb, "in-libc")
    gdb.execute("delete")
    expected = continue_to_end(gdb, 7)
    gdb.quit()
    again = scene.gdb()
    restore(again, "in-libc")
    assert_same(view(again), before)
    again.execute("delete")
    assert continue_to_end(again, 7) == expected
    again.quit()


def test_a_small_program_takes_less_than_two_mib(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=3)
    saved = save(gdb, "small")
    found = (scene.store / "snapshots" / "small.ckpt").stat()
    assert found.st_size < 2 << 20
    # What it takes on disk: holes stand for zero pages.
    assert saved.bytes == pytest.approx(found.st_blocks * 512, rel=0.1)


# -- blocked in a system call ----------------------------------------------------------------------


CALLS = {
    "read": (READ,),
    "poll": (POLL,),
    "sleep": (NANOSLEEP, CLOCK_NANOSLEEP),
    "futex": (FUTEX,),
    "pipe": (READ,),
}


# These the kernel restarts from a note of its own, which an image cannot hold (restart_syscall(2)):
# rax says another kind of restart after the restore.
RESTART_BLOCK = ("poll", "sleep")


def without_rax(seen: View) -> View:
    """A view without the register that holds how an interrupted system call is to be restarted."""
    return replace(seen, registers=re.sub(r"^rax .*$", "", seen.registers, flags=re.MULTILINE))


def finish_blocking(gdb: GdbSession, mode: str, text: str) -> None:
    """Let e2e_blocking go on, type `text` if it reads, and see it satisfied."""
    gdb.start("continue")
    if mode != "sleep":
        gdb.type_line(text)
        gdb.expect(f"line {text}\r")
    printed = gdb.wait_prompt()
    assert "PASS" in printed and "exited with code 03" in printed, gdb.report()


@pytest.mark.parametrize("mode", CALLS)
def test_interrupted_system_calls_restart(scene: Scene, mode: str) -> None:
    gdb = run_until_blocked(scene, mode, calls=CALLS[mode])
    before = view(gdb, thread_locals="")
    save(gdb, "blocked")
    assert_same(view(gdb, thread_locals=""), before)
    finish_blocking(gdb, mode, "in the first")
    gdb.quit()
    again = scene.gdb()
    restore(again, "blocked")
    after = view(again, thread_locals="")
    if mode in RESTART_BLOCK:
        before, after = without_rax(before), without_rax(after)
    assert_same(after, before)
    finish_blocking(again, mode, "in the second")
    again.quit()


# -- the matrix ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    link: str
    threads: int
    aslr: bool
    who: str  # the user, and which ids the restore gets

    def __str__(self) -> str:
        aslr = "aslr" if self.aslr else "no-aslr"
        return f"{self.link or 'pie'}-{self.threads + 1}-threads-{aslr}-{self.who}"


# An ordinary user never gets the saved ids, so user and ids are one factor of three levels.
LINKS = ("", "nopie", "static")
WHO = ("root-saved", "root-virtual", "user-virtual")
MATRIX = (
    Row("", 0, False, "root-saved"),
    Row("", 3, True, "root-virtual"),
    Row("", 3, True, "user-virtual"),
    Row("nopie", 3, True, "root-saved"),
    Row("nopie", 0, False, "root-virtual"),
    Row("nopie", 3, False, "user-virtual"),
    Row("static", 3, False, "root-saved"),
    Row("static", 3, True, "root-virtual"),
    Row("static", 0, True, "user-virtual"),
)


def test_the_matrix_is_pairwise() -> None:
    levels = {"link": LINKS, "threads": (0, 3), "aslr": (False, True), "who": WHO}
    for (one, ones), (two, twos) in itertools.combinations(levels.items(), 2):
        wanted = set(itertools.product(ones, twos))
        have = {(getattr(row, one), getattr(row, two)) for row in MATRIX}
        assert have == wanted, f"{one} x {two}: {wanted - have} missing"


@pytest.mark.parametrize("row", MATRIX, ids=str)
def test_matrix(make_scene: Callable[..., Scene], row: Row) -> None:
    if row.who.startswith("root") and not ROOT:
        pytest.skip("only root can have the saved ids, or take them away")
    scene = make_scene(ORDINARY_USER if ROOT and row.who.startswith("user") else None)
    if row.aslr:
        gdb, program = attach_to_work(scene, row.threads, row.link)
        pid = program.pid
        before = view(gdb)
        assert save(gdb, "moment").threads == row.threads + 1
        assert_same(view(gdb), before)
        gdb.execute("detach")
        text, status = program.finish()
        assert status == 7
        expected = saved_output(text)
        # The program printed its first two steps before it was saved.
        expected = expected[expected.index("step 3 total 12") :]
    else:
        gdb = run_to_work(scene, row.threads, row.link)
        pid = gdb.inferior_pid
        before = view(gdb)
        assert save(gdb, "moment").threads == row.threads + 1
        assert_same(view(gdb), before)
        expected = continue_to_end(gdb, 7)
    gdb.quit()
    decoys = [processes.Decoy(pid)] if row.who == "root-virtual" else []
    try:
        for _ in range(2):
            again = scene.gdb()
            restored = restore(again, "moment")
            assert restored.ids == ("ids kept" if row.who == "root-saved" else "new ids")
            assert (restored.pid == pid) == (row.who == "root-saved")
            assert_same(view(again), before)
            assert continue_to_end(again, 7) == expected
            again.quit()
    finally:
        for decoy in decoys:
            decoy.close()
