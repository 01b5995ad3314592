"""A terminal of the program becomes GDB's terminal: typing, Ctrl-C, job control and saved modes."""

from __future__ import annotations

import os
import signal

import processes
from scene import Scene, restore, save
from steps import READ, run_until_blocked
from support.processes import children_of


def test_typing_interrupting_and_job_control(scene: Scene) -> None:
    gdb = run_until_blocked(scene, scene.program("e2e_terminal"), "cooked")
    save(gdb, "cooked")
    gdb.quit()
    for _ in range(2):
        again = scene.gdb()
        restore(again, "cooked")
        again.start("continue")
        again.type_line("typed after the restore")
        again.expect("line <typed after the restore>")
        again.expect("foreground yes")
        assert "SIGINT" in again.interrupt()
        again.start("continue")
        again.type_line("and again")
        again.expect("line <and again>")
        again.expect("foreground yes")
        again.type("\x1a")
        assert "SIGTSTP" in again.wait_prompt()
        again.start("signal 0")
        again.type_line("q")
        assert "exited with code 04" in again.wait_prompt()
        # GDB's own line editing is as it was.
        assert again.execute("echo fine\\n") == "fine"
        again.quit()


def test_backspace_works_in_a_restored_cooked_terminal(scene: Scene) -> None:
    gdb = run_until_blocked(scene, scene.program("e2e_terminal"), "cooked")
    save(gdb, "cooked")
    gdb.quit()
    again = scene.gdb()
    restore(again, "cooked")
    again.start("continue")
    again.type_line("wrongx\x7f")
    again.expect("line <wrong>")
    again.type_line("q")
    assert "exited with code 04" in again.wait_prompt()
    again.quit()


def test_a_saved_raw_mode_comes_back(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_terminal"), "raw")
    gdb.start("run")
    gdb.expect("RAW")
    child = [pid for pid in scene.processes() if processes.parent_of(pid) == gdb.child.pid]
    processes.wait_in_syscall(child[0], READ)
    # Ctrl-C is only a key to this program, so the signal comes from outside.
    os.kill(child[0], signal.SIGINT)
    assert "SIGINT" in gdb.wait_prompt()
    save(gdb, "raw")
    gdb.start("continue")
    processes.wait_in_syscall(child[0], READ)
    gdb.type("\x03q")
    gdb.expect("key 03")
    assert "exited with code 04" in gdb.wait_prompt()
    gdb.quit()

    for _ in range(2):
        again = scene.gdb()
        restore(again, "raw")
        assert again.execute("echo prompt still edits\\n") == "prompt still edits"
        pid = again.inferior_pid
        again.start("continue")
        # Until then the terminal is GDB's.
        processes.wait_in_syscall(pid, READ)
        again.type("\x03")
        again.expect("key 03")
        again.type("a")
        again.expect("key 61")
        again.type("q")
        printed = again.wait_prompt()
        assert "PASS" in printed and "exited with code 04" in printed
        again.quit()


def test_ctrl_c_while_gdb_lets_the_program_go(scene: Scene) -> None:
    """It must not end as an exception in one of our handlers of events."""
    gdb = run_until_blocked(scene, scene.program("e2e_terminal"), "cooked")
    gdb.execute("python import gdbext.native")
    gdb.execute("python armed = []")
    gdb.execute('python ctrl_c = lambda event: exec("raise KeyboardInterrupt") if armed else None')
    # GDB calls them in this order: ours come after it.
    gdb.execute("python gdb.events.cont.connect(gdbext.native.core.keeping_interrupts(ctrl_c))")
    save(gdb, "once")
    for command in ("continue", "ckpt restore once", "continue", "continue"):
        gdb.execute(f"python armed[:] = {['yes'] if command == 'continue' else []}")
        printed = gdb.execute(command)
        assert "Exception" not in printed
        assert ("SIGINT" in printed) == (command == "continue")
    gdb.execute("python armed.clear()")
    gdb.start("continue")
    gdb.type_line("q")
    assert "exited with code 04" in gdb.wait_prompt()
    gdb.quit()


def test_a_program_attached_on_its_own_terminal_comes_to_gdbs(scene: Scene) -> None:
    program = scene.spawn(scene.program("e2e_terminal"), "cooked")
    program.expect("READY")
    processes.wait_in_syscall(program.pid, READ)
    gdb = scene.gdb("-p", str(program.pid))
    save(gdb, "attached")
    gdb.quit()
    program.close()
    again = scene.gdb()
    restore(again, "attached")
    again.start("continue")
    again.type_line("hello")
    again.expect("line <hello>")
    again.expect("foreground yes")
    assert "SIGINT" in again.interrupt()
    again.start("continue")
    again.type_line("q")
    assert "exited with code 04" in again.wait_prompt()
    again.quit()


def test_a_daemon_leads_its_session_again(scene: Scene) -> None:
    """Without a terminal of its own: Ctrl-C is GDB's to pass on, and what is typed can be read."""
    starter = scene.spawn("/usr/bin/setsid", "-w", scene.program("e2e_terminal"), "cooked")
    starter.expect("READY")
    (daemon,) = children_of(starter.pid)
    processes.wait_in_syscall(daemon, READ)
    gdb = scene.gdb("-p", str(daemon))
    assert "session" not in save(gdb, "daemon").report
    assert "killed" in gdb.execute("kill")
    gdb.quit()
    starter.finish()
    again = scene.gdb()
    for _ in range(2):
        restored = restore(again, "daemon")
        assert os.getsid(restored.pid) == restored.pid == os.getpgid(restored.pid)
        again.start("continue")
        again.type_line("hello")
        again.expect("line <hello>")
        assert "SIGINT" in again.interrupt()
        assert "session" not in save(again, "-force daemon").report
    again.quit()
    processes.wait_gone(restored.pid)


def test_the_same_session_again_and_again(scene: Scene) -> None:
    """Going back in the session that saved: each restore takes the terminal over
    from the one it replaces.
    """
    gdb = run_until_blocked(scene, "read")
    save(gdb, "again")
    for text in ("one", "two", "three"):
        restore(gdb, "again")
        gdb.start("continue")
        gdb.type_line(text)
        gdb.expect(f"line {text}\r")
        assert "exited with code 03" in gdb.wait_prompt()
    gdb.quit()


def test_a_detached_terminal_leaves_gdb_usable(scene: Scene) -> None:
    gdb = run_until_blocked(scene, "read")
    save(gdb, "moment")
    gdb.quit()
    again = scene.gdb()
    restored = restore(again, "moment")
    again.execute("detach")
    assert again.execute("echo here\\n") == "here"
    processes.kill_now(restored.pid)
    again.quit()


def test_window_of_another_size(scene: Scene) -> None:
    """Restored in a larger window: the program's SIGWINCH handler runs once."""
    gdb = scene.gdb(scene.program("window_size"))
    gdb.start("run")
    nonce = gdb.expect(r"READY ([0-9a-f]{16})")[1]
    assert "SIGINT" in gdb.interrupt()
    save(gdb, "moment")
    gdb.quit()
    for rows, signals in ((50, 0), (31, 1)):
        again = scene.gdb(rows=rows)
        restore(again, "moment")
        again.execute("handle SIGINT nopass noprint nostop")
        again.start("continue")
        if signals:
            again.expect("resized to 31 rows, 200 columns")
        again.type_line("go")
        again.expect(rf"signals: {signals}\.")
        assert f"PASS {nonce}" in again.wait_prompt()
        again.quit()
