"""The image itself: a core file for GDB without our commands,
and a program for `ckpt-restart`, under GDB or not.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import processes
from scene import BUILD, Scene, save
from steps import READ, attach_to_work, run_to_work, saved_output, view

RESTART = str(BUILD / "bin" / "ckpt-restart")
SAVE = str(BUILD / "bin" / "ckpt-save")
# Not $pkru: GDB 13 looks for it in the wrong place of a living process on AMD's processors.
EXTENDED = ("$ymm0.v4_int64", "$ymm7.v4_int64", "$mxcsr")


def image_of(scene: Scene, name: str) -> Path:
    """Where the store keeps the snapshot."""
    return scene.store / "snapshots" / f"{name}.ckpt"


def without_targets(text: str) -> str:
    """A `thread apply all bt` with the target ids of a live process taken out."""
    return re.sub(r"^Thread (\d+) \(.*\):$", r"Thread \1:", text, flags=re.MULTILINE)


def stacks(text: str) -> list[str]:
    """Each thread's stack as text, without numbers, sorted:
    a core numbers threads by the order of its notes.
    """
    parts = re.split(r"^Thread \d+:$", without_targets(text), flags=re.MULTILINE)
    return sorted(part.strip() for part in parts if part.strip())


def test_gdb_opens_the_image_as_a_core(scene: Scene) -> None:
    gdb, program = attach_to_work(scene, threads=3)
    before = view(gdb)
    counter = gdb.value("counter")
    # In places that depend on the processor; void where it has none.
    extended = [gdb.value(name) for name in EXTENDED]
    save(gdb, "core")
    gdb.execute("kill")
    gdb.quit()
    program.close()
    core = scene.gdb(scene.program("e2e_threads"), str(image_of(scene, "core")), load=False)
    assert core.execute("bt") == before.backtrace
    assert stacks(core.execute("thread apply all bt")) == stacks(before.every_stack)
    assert core.value("/x nonce") == before.nonce
    assert core.value("counter") == counter
    for name in ("rip", "rsp", "rbp", "eflags"):
        assert core.execute(f"info registers {name}") in before.registers
    assert [core.value(name) for name in EXTENDED] == extended
    # GDB 13 says things of the size of the registers, in cores from most new processors.
    assert ".reg-xstate" not in core.transcript
    core.quit()


def test_the_image_opens_after_a_rebuild(scene: Scene) -> None:
    source = """
const char *const message = "the old message";
volatile int sink;
void stop_here(void) { sink = 1; }
int main(void) { stop_here(); return sink + message[0] - message[0]; }
"""
    program = scene.compile(source, "prog")
    gdb = scene.gdb(str(program))
    gdb.execute("break stop_here")
    gdb.execute("run")
    backtrace = gdb.execute("bt")
    save(gdb, "old")
    gdb.quit()
    # Same layout, other read-only data: what GDB shows must come from the
    # snapshot, not from the new file.
    scene.compile(source.replace("the old message", "the NEW message"), "prog")
    core = scene.gdb(str(program), str(image_of(scene, "old")), load=False)
    assert core.execute("bt") == backtrace
    assert '"the old message"' in core.value("message")
    core.quit()


def test_the_image_opens_in_its_own_session_too(scene: Scene) -> None:
    """`core FILE` and `ckpt restore` do not get into each other's way."""
    gdb = run_to_work(scene, threads=1)
    before = gdb.execute("bt")
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb(scene.program("e2e_threads"), str(image_of(scene, "one")))
    assert again.execute("bt") == before
    assert "Restored" in again.execute("ckpt restore one")
    assert again.execute("bt") == before
    assert again.inferior_pid in scene.processes()
    again.quit()


def test_ckpt_restart_under_gdb(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    secret = gdb.value("/x nonce")
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb("--args", RESTART, str(image_of(scene, "one")), load=False)
    printed = again.execute("run")
    lines = saved_output(printed)
    assert lines[0] == "step 3 total 12" and lines[-1] == "PASS", again.report()
    assert [int(line.split()[1], 16) for line in lines if line.startswith("nonce")] == [
        int(secret, 16)
    ]
    assert "exited with code 07]" in printed
    again.quit()


def test_ckpt_restart_alone_on_a_terminal(scene: Scene) -> None:
    program = scene.spawn(scene.program("e2e_terminal"), "cooked")
    program.expect("READY")
    processes.wait_in_syscall(program.pid, READ)
    gdb = scene.gdb("-p", str(program.pid))
    save(gdb, "one")
    gdb.quit()
    program.close()
    alone = scene.spawn(RESTART, str(image_of(scene, "one")))
    alone.child.sendline("typed")
    alone.expect("line <typed>")
    alone.expect("foreground yes")
    alone.child.sendline("q")
    text, status = alone.finish()
    assert "PASS" in text
    assert status == 4


def test_a_ckpt_save_is_restored_in_gdb(scene: Scene) -> None:
    program = scene.spawn(scene.program("e2e_threads"), "2", "wait")
    program.expect("READY")
    processes.wait_in_syscall(program.pid, READ)
    image = scene.directory / "outside.ckpt"
    saver = scene.spawn(SAVE, str(program.pid), str(image))
    text, status = saver.finish()
    assert status == 0 and text.startswith(f"Saved {image}: "), text
    assert "3 threads" in text
    program.child.sendline("x")
    expected, status = program.finish()
    assert status == 7
    gdb = scene.gdb()
    assert "Restored" in gdb.execute(f"ckpt restore {image}")
    assert "read" in gdb.execute("bt")
    gdb.start("continue")
    gdb.type_line("x")
    printed = gdb.wait_prompt()
    assert saved_output(printed)[-7:] == saved_output(expected)[-7:]
    assert "exited with code 07" in printed
    gdb.quit()


def test_what_saved_itself_is_restored_in_gdb(scene: Scene) -> None:
    preload = {"LD_PRELOAD": str(BUILD / "lib" / "libckpt.so")}
    program = scene.spawn(scene.program("e2e_threads"), "2", "wait", extra=preload)
    program.expect("READY")
    processes.wait_in_syscall(program.pid, READ)
    os.kill(program.pid, signal.SIGUSR2)
    program.expect(rf"Saved {scene.store}/snapshots/e2e_threads-1.ckpt: .* 3 threads")
    program.child.sendline("x")
    expected, status = program.finish()
    assert status == 7
    gdb = scene.gdb()
    assert "Restored" in gdb.execute("ckpt restore e2e_threads-1")
    assert "libckpt.so" in gdb.execute("info sharedlibrary")
    gdb.start("continue")
    gdb.type_line("x")
    printed = gdb.wait_prompt()
    assert saved_output(printed)[-7:] == saved_output(expected)[-7:]
    assert "exited with code 07" in printed
    gdb.quit()


def test_the_image_needs_nothing_but_its_store(scene: Scene) -> None:
    program = scene.copy_of("e2e_threads")
    gdb = scene.gdb("--args", str(program), "1")
    gdb.execute("break work if step == 3")
    gdb.execute("run")
    save(gdb, "one")
    gdb.quit()
    program.unlink()
    moved = scene.directory / "moved-store"
    shutil.move(scene.store, moved)
    scene.environment["CKPT_DIR"] = str(moved)
    alone = scene.spawn(RESTART, str(moved / "snapshots" / "one.ckpt"))
    text, status = alone.finish()
    assert status == 7, text
    assert "PASS" in text
