"""The harness itself, on plain gdb: when these fail, the others mean nothing."""

from __future__ import annotations

import os

import pexpect
import processes
import pytest
from gdbsession import plain
from scene import SOURCES, Scene, line_of

READ = 0


def test_a_command_gives_its_output_and_nothing_else(scene: Scene) -> None:
    gdb = scene.gdb(load=False)
    assert gdb.execute("echo one\\ntwo\\n") == "one\ntwo"
    assert gdb.value("6 * 7") == "42"
    gdb.quit()


def test_run_break_step_and_threads(scene: Scene) -> None:
    source = SOURCES / "e2e_threads.cpp"
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "3", load=False)
    gdb.execute("break work")
    assert "Breakpoint 1, work (step=1)" in gdb.execute("run")
    assert f"{line_of(source, 'work counts')}" in gdb.execute("next")
    threads = gdb.thread_list()
    assert [number for number, _, _ in threads] == [1, 2, 3, 4]
    assert threads[0][2] == "work"
    assert all(pointer for _, pointer, _ in threads)
    pid = gdb.inferior_pid
    assert pid in scene.processes()
    gdb.quit()
    processes.wait_gone(pid)


def test_typing_and_interrupting(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_blocking"), "read", load=False)
    gdb.start("run")
    gdb.expect("READY")
    assert "SIGINT" in gdb.interrupt()
    gdb.start("continue")
    gdb.type_line("hello")
    gdb.expect("line hello")
    assert "exited with code 03" in gdb.wait_prompt()
    gdb.quit()


def test_attaching_to_a_program_on_another_terminal(scene: Scene) -> None:
    program = scene.spawn(scene.program("e2e_blocking"), "read")
    program.expect("READY")
    processes.wait_in_syscall(program.pid, READ)
    gdb = scene.gdb("-p", str(program.pid), load=False)
    assert "read" in gdb.execute("bt")
    gdb.execute("detach")
    program.child.sendline("typed")
    text, status = program.finish()
    assert "line typed" in text
    assert "PASS" in text
    assert status == 3
    gdb.quit()


def test_completion_lists_candidates(scene: Scene) -> None:
    gdb = scene.gdb(load=False)
    assert gdb.complete("info sharedl") == ["info sharedlibrary"]
    candidates = gdb.complete("info s")
    assert "sharedlibrary" in candidates
    assert "source" in candidates
    assert gdb.complete("info nosuchthing") == []
    gdb.quit()


def test_a_time_out_shows_both_sides(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_blocking"), "read", load=False)
    gdb.start("run")
    gdb.expect("READY")
    with pytest.raises(AssertionError) as failure:
        gdb.expect("never printed", timeout_s=0.1)
    assert "READY" in str(failure.value)
    assert "e2e_blocking read" in str(failure.value)
    assert "syscall 0 " in str(failure.value)


def test_gdb_killed_leaves_the_teardown_nothing_to_find(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_blocking"), "read", load=False)
    gdb.start("run")
    gdb.expect("READY")
    gdb.kill_gdb()
    processes.wait_until(lambda: not scene.processes(), "the inferior died with gdb")


def test_a_process_left_behind_is_found() -> None:
    scene = Scene()
    child = pexpect.spawn("sh", ["-c", "echo READY; read x"], env=scene.environment)
    child.expect("READY")
    left = scene.close(grace_s=0.1)
    child.close(force=True)
    assert len(left) == 1
    assert f"process {child.pid}:" in left[0]


def test_overwritten_lines_are_seen_as_a_person_sees_them() -> None:
    assert plain("10%\r20%\r\x1b[Kdone\r\nnext\r\n") == "done\nnext\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may choose a pid (clone3 with set_tid)")
def test_a_decoy_holds_the_id_of_a_process_that_ended(scene: Scene) -> None:
    program = scene.spawn(scene.program("e2e_blocking"), "read")
    program.expect("READY")
    program.close()
    with processes.Decoy(program.pid) as decoy:
        assert decoy.pid == program.pid
        assert processes.parent_of(decoy.pid) == os.getpid()
    assert processes.state_of(program.pid) == ""


def test_an_ordinary_user_can_debug(user_scene: Scene) -> None:
    gdb = user_scene.gdb("--args", user_scene.program("e2e_threads"), "1", load=False)
    assert gdb.python("__import__('os').getuid()") != "0"
    gdb.execute("break work")
    assert "Breakpoint 1" in gdb.execute("run")
    gdb.quit()
