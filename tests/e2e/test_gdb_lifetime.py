"""After a restore `quit`, `kill`, `run` and `detach` behave as after `run`,
and hooks see no half-made program.
"""

from __future__ import annotations

import os
import subprocess

import processes
from gdbsession import REPOSITORY
from scene import Scene, restore, save
from steps import READ, assert_same, continue_to_end, run_to_work, run_until_blocked, view


def test_quit_ends_the_restored_program(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb()
    restored = restore(again, "one")
    assert len(scene.processes()) >= 2
    again.quit()
    processes.wait_gone(restored.pid)
    processes.wait_until(lambda: not scene.processes(), "nothing of the test is left")


def test_kill_ends_it_and_gdb_goes_on(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb()
    for _ in range(2):
        restored = restore(again, "one")
        assert f"[Inferior 1 (process {restored.pid}) killed]" in again.execute("kill")
        assert "not being run" in again.execute("continue")
        processes.wait_until(lambda: scene.processes() == [again.child.pid], "only GDB is left")
    again.quit()


def test_run_starts_the_program_afresh(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=1)
    secret = gdb.value("/x nonce")
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb()
    restored = restore(again, "one")
    assert again.value("/x nonce") == secret
    assert "work (step=3)" in again.execute("run")
    processes.wait_until(
        lambda: restored.pid not in scene.processes() or again.inferior_pid == restored.pid,
        "the restored program is gone",
    )
    assert again.value("/x nonce") != secret
    again.execute("delete")
    assert continue_to_end(again, 7)[-1] == "PASS"
    # And back to the snapshot.
    restore(again, "one")
    assert again.value("/x nonce") == secret
    again.quit()


def test_a_detached_program_lives_on(scene: Scene) -> None:
    gdb = run_until_blocked(scene, "read")
    secret = gdb.value("/x nonce")
    save(gdb, "one")
    gdb.quit()
    fifo, output = scene.directory / "fifo", scene.directory / "output"
    os.mkfifo(fifo)
    # Open for both, so that nobody has to wait for the other end to be opened.
    writer = os.open(fifo, os.O_RDWR)
    again = scene.gdb()
    restored = restore(again, f"one -stdin {fifo} -stdout {output}")
    assert "detached" in again.execute("detach")
    again.quit()
    processes.wait_in_syscall(restored.pid, READ)
    assert "TracerPid:\t0" in processes.read_text(f"/proc/{restored.pid}/status")
    os.write(writer, b"after gdb\n")
    processes.wait_gone(restored.pid)
    os.close(writer)
    lines = output.read_text().splitlines()
    assert lines[0] == "line after gdb"
    assert int(lines[1].split()[1], 16) == int(secret, 16)
    assert lines[2] == "PASS"


def test_a_killed_gdb_takes_a_stopped_program_along(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb()
    restore(again, "one")
    again.kill_gdb()
    processes.wait_until(lambda: not scene.processes(), "the program and its helper have ended")


def test_a_killed_gdb_takes_a_running_program_along(scene: Scene) -> None:
    gdb = run_until_blocked(scene, "futex", calls=(202,))
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb()
    restored = restore(again, "one")
    again.start("continue")
    processes.wait_until(
        lambda: processes.state_of(restored.pid) == "S", "the program runs and waits"
    )
    again.kill_gdb()
    processes.wait_until(lambda: not scene.processes(), "the program and its helper have ended")


def test_the_end_of_the_program_leaves_nothing(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=1)
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb()
    restore(again, "one")
    continue_to_end(again, 7)
    processes.wait_until(
        lambda: scene.processes() == [again.child.pid], "the helper ended with the program"
    )
    assert scene.partial_files() == []
    again.quit()


def test_hooks_see_no_parked_program(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb()
    again.execute("define hook-stop\necho HOOK-STOP\\n\nend")
    again.execute("python gdb.events.stop.connect(lambda event: print('PYTHON-STOP'))")
    again.execute("python gdb.events.cont.connect(lambda event: print('PYTHON-CONT'))")
    # Of all the stops of a restore they see the last one, the program's own.
    restored = restore(again, "one")
    for word, times in (("HOOK-STOP", 1), ("PYTHON-STOP", 1), ("PYTHON-CONT", 0)):
        assert restored.text.count(word) == times, restored.text
    stopped = again.execute("next")
    for word in ("HOOK-STOP", "PYTHON-STOP", "PYTHON-CONT"):
        assert word in stopped, stopped
    again.quit()


def test_gdb_without_a_terminal(scene: Scene) -> None:
    """In scripts and CI: `gdb -batch`, its streams files and pipes."""
    gdb = run_to_work(scene, threads=2)
    backtrace = gdb.execute("bt")
    save(gdb, "one")
    gdb.quit()
    script = scene.write("script.gdb", "ckpt restore one\nbt\ndelete\ncontinue\n")
    load = REPOSITORY / "gdbext" / "load.py"
    done = subprocess.run(
        [
            "gdb", "-nx", "-q", "-batch", "-iex", "set width 0", "-iex", f"source {load}",
            "-x", script,
        ],
        env=scene.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert 'Restored "one"' in done.stdout
    assert backtrace in done.stdout
    assert "PASS\n" in done.stdout and "exited with code 07]" in done.stdout
    assert not scene.processes()


def test_a_batch_session_that_just_ends_takes_the_program_along(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    save(gdb, "one")
    gdb.quit()
    load = REPOSITORY / "gdbext" / "load.py"
    done = subprocess.run(
        ["gdb", "-nx", "-q", "-batch", "-iex", f"source {load}", "-ex", "ckpt restore one"],
        env=scene.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Restored" in done.stdout, done
    processes.wait_until(lambda: not scene.processes(), "the program and its helper have ended")


def test_two_sessions_restore_the_same_snapshot_at_once(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    secret = gdb.value("/x nonce")
    save(gdb, "one")
    gdb.quit()
    first, second = scene.gdb(), scene.gdb()
    a, b = restore(first, "one"), restore(second, "one")
    assert a.pid != b.pid and b.ids == "new ids"
    assert first.value("/x nonce") == second.value("/x nonce") == secret
    assert continue_to_end(second, 7) == continue_to_end(first, 7)
    first.quit()
    second.quit()


def test_settings_of_the_user_are_as_before(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "one -m here")
    gdb.quit()
    again = scene.gdb()
    settings = (
        "confirm",
        "pagination",
        "height",
        "width",
        "non-stop",
        "follow-fork-mode",
        "exec-file-mismatch",
        "auto-solib-add",
        "breakpoint pending",
        "print thread-events",
        "print inferior-events",
        "stop-on-solib-events",
        "sysroot",
    )
    before = [again.execute(f"show {name}") for name in settings]
    restore(again, "one")
    assert [again.execute(f"show {name}") for name in settings] == before
    again.quit()


def test_a_snapshot_that_is_replaced_during_its_restore(scene: Scene) -> None:
    """By another GDB's `ckpt save -force`, say, when it has been checked:
    all of what comes back is of the one that was.
    """
    gdb = run_to_work(scene, threads=2)
    save(gdb, "first")
    first = view(gdb)
    gdb.execute("kill")
    gdb.quit()
    gdb = run_to_work(scene, threads=3, step=5)
    save(gdb, "second")
    gdb.execute("kill")
    gdb.quit()
    hook = scene.write(
        "hook.py",
        "import os, gdbext\n"
        "def replace(about):\n"
        "    os.replace(about.path.with_name('second.ckpt'), about.path)\n"
        "gdbext.events.before_restore.connect(replace)\n",
    )
    again = scene.gdb()
    again.execute(f"source {hook}")
    restore(again, "first")
    assert not (scene.store / "snapshots/second.ckpt").exists()
    assert_same(view(again), first)
    assert continue_to_end(again, 7)[-1] == "PASS"
