"""What cannot be done is one clear line, and leaves the inferior unharmed,
no partial file and no process.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import processes
import pytest
from gdbsession import REPOSITORY, TIMEOUT_S, GdbSession, user_switch
from scene import ORDINARY_USER, SOURCES, Scene, line_of, refuse, restore, save
from steps import READ, assert_same, continue_to_end, run_to_work, run_until_blocked, view
from support import probes
from support.measured import python_path

ROOT = os.getuid() == 0
STUB = Path(__file__).with_name("stub.py")


def snapshots(scene: Scene) -> list[str]:
    """The snapshots' file names in the store."""
    directory = scene.store / "snapshots"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_no_inferior(scene: Scene) -> None:
    gdb = scene.gdb()
    refuse(gdb, "ckpt save one", "no (process|program|inferior)|not being run")
    gdb.execute(f"file {scene.program('e2e_threads')}")
    refuse(gdb, "ckpt save one", "no (process|program|inferior)|not being run")
    assert snapshots(scene) == []
    gdb.quit()


def test_an_inferior_that_ended(scene: Scene) -> None:
    gdb = run_to_work(scene)
    continue_to_end(gdb, 7)
    refuse(gdb, "ckpt save one", "no (process|program|inferior)|not being run")
    gdb.quit()


def test_running_threads_in_non_stop(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "2")
    gdb.execute("set non-stop on")
    gdb.execute("break work")
    gdb.start("run")
    gdb.expect(r"hit Breakpoint 1")
    gdb.wait_prompt()
    gdb.execute("thread 1")
    # Only the main thread stands at the breakpoint, the others wait in a futex, running.
    assert "(running)" in gdb.execute("info threads")
    refuse(gdb, "ckpt save one", "running")
    assert snapshots(scene) == [] and scene.partial_files() == []
    gdb.execute("delete")
    gdb.start("continue")
    gdb.expect("PASS")
    gdb.expect("exited with code 07")
    gdb.quit()


def test_a_stop_at_a_system_call(scene: Scene) -> None:
    gdb = run_to_work(scene)
    gdb.execute("catch syscall write")
    assert "call to" in gdb.execute("continue")
    refuse(gdb, "ckpt save one", "system call")
    assert snapshots(scene) == [] and scene.partial_files() == []
    # On its way out the call is done, and nothing stands in the way.
    assert "returned from" in gdb.execute("continue")
    before = view(gdb)
    save(gdb, "one")
    assert view(gdb) == before
    gdb.execute("delete")
    expected = continue_to_end(gdb, 7)
    assert expected[0] == "step 4 total 20" and expected[-1] == "PASS"
    gdb.quit()
    again = scene.gdb()
    restore(again, "one -no-session")
    assert_same(view(again), before)
    assert continue_to_end(again, 7) == expected
    again.quit()


@pytest.mark.parametrize("kind", ["fork", "vfork"])
def test_a_stop_at_a_fork(scene: Scene, kind: str) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_fork"), kind)
    gdb.execute(f"catch {kind}")
    assert f"{kind}ed process" in gdb.execute("run")
    refuse(gdb, "ckpt save one", "fork")
    assert snapshots(scene) == [] and scene.partial_files() == []
    gdb.execute("delete")
    assert continue_to_end(gdb, 10)[-1] == "PASS"
    gdb.quit()


def test_a_child_between_vfork_and_exec(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_fork"), "vfork")
    gdb.execute("set follow-fork-mode child")
    gdb.execute(f"break e2e_fork.cpp:{line_of(SOURCES / 'e2e_fork.cpp', 'execl(')}")
    assert "hit Breakpoint" in gdb.execute("run")
    refuse(gdb, "ckpt save one", "vfork|shares its memory|shared")
    assert snapshots(scene) == [] and scene.partial_files() == []
    gdb.execute("delete")
    gdb.execute("continue")
    gdb.quit()


SECCOMP = """
#include <stddef.h>
#include <stdio.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
void here(void) {}
int main(void)
{
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = { sizeof code / sizeof *code, code };
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || \
prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) return 1;
  here();
  if (write(1, "value PASS\\n", 11) != 11) return 2;
  syscall(SYS_exit_group, 14);
}
"""


def test_under_a_seccomp_filter_without_privilege(user_scene: Scene) -> None:
    scene = user_scene
    program = scene.compile(SECCOMP, "filtered")
    gdb = scene.gdb(str(program))
    gdb.execute("break here")
    assert "here ()" in gdb.execute("run")
    refuse(gdb, "ckpt save one", "seccomp")
    assert snapshots(scene) == [] and scene.partial_files() == []
    assert "value PASS" in continue_to_end(gdb, 14)
    gdb.quit()


def test_a_32_bit_program(scene: Scene) -> None:
    probes.need_programs_of_32_bits()
    source = scene.write(
        "small.s",
        ".globl _start\n_start: nop\nnop\nmov $1, %eax\nmov $15, %ebx\nint $0x80\n",
    )
    obj, program = scene.directory / "small.o", scene.directory / "small"
    subprocess.run(["as", "--32", "-g", "-o", obj, source], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-o", program, obj], check=True)
    gdb = scene.gdb(str(program))
    assert "Program stopped" in gdb.execute("starti")
    refuse(gdb, "ckpt save one", "32-bit|i386")
    assert snapshots(scene) == [] and scene.partial_files() == []
    continue_to_end(gdb, 15)
    gdb.quit()


@pytest.mark.skipif(not ROOT, reason="only root may debug a set-uid program that got its privilege")
def test_a_set_uid_program(scene: Scene) -> None:
    program = scene.copy_of("e2e_threads")
    os.chown(program, ORDINARY_USER, ORDINARY_USER)
    program.chmod(0o4755)
    scene.directory.chmod(0o755)
    gdb = scene.gdb("--args", str(program), "0")
    gdb.execute("break work if step == 3")
    assert "work (step=3)" in gdb.execute("run")
    refuse(gdb, "ckpt save one", "set-?u?id|privilege|secure")
    assert snapshots(scene) == [] and scene.partial_files() == []
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_a_remote_target(scene: Scene) -> None:
    gdb = scene.gdb()
    gdb.execute(f"target remote | exec /usr/bin/python3 {STUB}")
    assert "Remote" in gdb.execute("info target") or "remote" in gdb.execute("info inferiors")
    refuse(gdb, "ckpt save one", "remote")
    assert snapshots(scene) == []
    gdb.execute("disconnect")
    gdb.quit()


def test_a_core_target(scene: Scene) -> None:
    gdb = run_to_work(scene)
    core = scene.directory / "core"
    assert "Saved corefile" in gdb.execute(f"gcore {core}")
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb(scene.program("e2e_threads"), str(core))
    assert "work (step=3)" in again.execute("bt")
    refuse(again, "ckpt save two", "core")
    assert snapshots(scene) == ["one.ckpt"]
    again.quit()


def test_a_record_target(scene: Scene) -> None:
    gdb = run_to_work(scene)
    assert gdb.execute("record full") == ""
    refuse(gdb, "ckpt save one", "record")
    assert snapshots(scene) == []
    gdb.execute("record stop")
    save(gdb, "one")
    gdb.execute("record full")
    refuse(gdb, "ckpt restore one", "record")
    gdb.execute("record stop")
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_checkpoints_of_gdbs_own(user_scene: Scene) -> None:
    """Restoring while GDB holds forks of its own would leave them without their parent."""
    gdb = run_to_work(user_scene)
    save(gdb, "one")
    printed = gdb.execute("checkpoint")
    if "fork returned" not in printed:
        pytest.skip(f"GDB cannot make a checkpoint here: {printed.splitlines()[-1]}")
    refuse(gdb, "ckpt restore one", "checkpoint")
    refuse(gdb, "ckpt save two", "checkpoint")
    gdb.execute("delete checkpoint 1")
    gdb.quit()


def test_a_store_of_somebody_else(make_scene: Callable[..., Scene]) -> None:
    if not ROOT:
        pytest.skip("only root can make directories of another user")
    scene = make_scene(ORDINARY_USER)
    scene.store.mkdir(mode=0o700)
    gdb = run_to_work(scene)
    refuse(gdb, "ckpt save one", re.escape(str(scene.store)))
    assert list(scene.store.iterdir()) == []
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_a_store_others_can_write_to(scene: Scene) -> None:
    scene.store.mkdir()
    scene.store.chmod(0o777)
    gdb = run_to_work(scene)
    refuse(gdb, "ckpt save one", "written|writable")
    assert list(scene.store.iterdir()) == []
    assert stat.S_IMODE(scene.store.stat().st_mode) == 0o777
    gdb.quit()


def test_an_unwritable_store(user_scene: Scene) -> None:
    scene = user_scene
    scene.store.mkdir(mode=0o700)
    scene.store.chmod(0o500)
    if scene.user is not None:
        os.chown(scene.store, scene.user, scene.user)
    gdb = run_to_work(scene)
    refuse(gdb, "ckpt save one", "denied|writ")
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()
    scene.store.chmod(0o700)


@pytest.mark.skipif(not ROOT, reason="only root can mount a small file system")
def test_a_full_disk(scene: Scene) -> None:
    scene.store.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=5m,mode=0700", "tmpfs", scene.store],
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.strip()}")
    try:
        gdb = scene.gdb("--args", scene.program("e2e_memory"), "16", "random")
        gdb.execute("break filled")
        gdb.execute("run")
        refuse(gdb, "ckpt save one", "no space")
        assert snapshots(scene) == [] and scene.partial_files() == []
        assert continue_to_end(gdb, 8)[-1] == "PASS"
        gdb.quit()
    finally:
        subprocess.run(["umount", "-l", scene.store], check=True)


def test_interrupting_a_save_of_several_gib(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_memory"), "3072", "random")
    gdb.execute("break filled")
    assert "filled ()" in gdb.execute("run", timeout_s=60)
    pid = gdb.inferior_pid
    gdb.start("ckpt save big")
    # The progress on the terminal says that it is under way, and how fast.
    gdb.expect(r"\d+(\.\d+)? [KMG]iB/s")
    gdb.type("\x03")
    printed = gdb.wait_prompt()
    assert "ckpt save: " in printed and "interrupted" in printed and "Saved" not in printed, printed
    assert snapshots(scene) == [] and scene.partial_files() == []
    assert gdb.inferior_pid == pid
    assert "filled ()" in gdb.execute("bt")
    assert continue_to_end(gdb, 8)[-1] == "PASS"
    gdb.quit()


@pytest.mark.slow
def test_interrupting_a_restore(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_memory"), "2048", "random")
    gdb.execute("break filled")
    assert "filled ()" in gdb.execute("run", timeout_s=60)
    secret = gdb.value("/x nonce")
    save(gdb, "big", timeout_s=60)
    gdb.quit()
    again = scene.gdb()
    again.start("ckpt restore big")
    again.expect(r"\d+(\.\d+)? [KMG]iB/s")
    again.type("\x03")
    printed = again.wait_prompt()
    assert (
        "ckpt restore: " in printed and "interrupted" in printed and "Restored" not in printed
    ), printed
    assert again.inferior_pid == 0
    processes.wait_until(
        lambda: scene.processes() == [again.child.pid], "no half-made program is left"
    )
    assert scene.partial_files() == []
    restore(again, "big", timeout_s=60)
    assert again.value("/x nonce") == secret
    assert continue_to_end(again, 8)[-1] == "PASS"
    again.quit()


def test_a_killed_inferior(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    pid = gdb.inferior_pid
    processes.kill_now(pid)
    processes.wait_until(lambda: processes.state_of(pid) in ("Z", "", "X"), "the inferior is dead")
    refuse(gdb, "ckpt save one", "killed|gone|ended|died|no such process|exited|dead")
    assert snapshots(scene) == [] and scene.partial_files() == []
    gdb.quit()


@pytest.mark.parametrize("damage", ["truncated", "corrupted", "foreign", "empty"])
def test_a_damaged_image_is_refused_before_anything_is_killed(scene: Scene, damage: str) -> None:
    gdb = run_to_work(scene)
    secret = int(gdb.value("nonce"))
    save(gdb, "good")
    good = scene.store / "snapshots" / "good.ckpt"
    data = bytearray(good.read_bytes())
    bad = scene.directory / "bad.ckpt"
    if damage == "truncated":
        data = data[: len(data) * 2 // 3]
    elif damage == "corrupted":
        # One bit of the program's memory.
        data[data.index(secret.to_bytes(8, "little"))] ^= 0x10
    elif damage == "foreign":
        data = bytearray(Path(scene.program("e2e_threads")).read_bytes())
    else:
        data = bytearray()
    bad.write_bytes(data)
    pid = gdb.inferior_pid
    before = view(gdb)
    refuse(gdb, f"ckpt restore {bad}", "bad.ckpt")
    assert gdb.inferior_pid == pid
    assert view(gdb) == before
    gdb.quit()
    again = scene.gdb()
    refuse(again, f"ckpt restore {bad}", "bad.ckpt")
    assert scene.processes() == [again.child.pid]
    # One bad image must not take the list away from the good ones.
    shutil.copy(bad, scene.store / "snapshots" / "bad.ckpt")
    os.chmod(scene.store / "snapshots" / "bad.ckpt", 0o600)
    names = [entry["name"] for entry in json.loads(again.execute("ckpt list -json"))]
    assert "good" in names
    restore(again, "good")
    again.quit()


def test_a_restore_asks_before_it_kills(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "one")
    pid = gdb.inferior_pid
    gdb.execute("set confirm on")
    gdb.start("ckpt restore one")
    gdb.expect(r"\(y or n\) ")
    gdb.type_line("n")
    printed = gdb.wait_prompt()
    assert "Restored" not in printed
    assert gdb.inferior_pid == pid and "work (step=3)" in gdb.execute("bt")
    gdb.start("ckpt restore one")
    gdb.expect(r"\(y or n\) ")
    gdb.type_line("y")
    assert "Restored" in gdb.wait_prompt()
    gdb.execute("set confirm off")
    gdb.quit()


def test_an_attached_program_is_replaced_in_its_session(scene: Scene) -> None:
    program = scene.spawn(scene.program("e2e_blocking"), "read")
    program.expect("READY")
    processes.wait_in_syscall(program.pid, READ)
    gdb = scene.gdb("-p", str(program.pid))
    save(gdb, "attached")
    restore(gdb, "attached")
    # GDB kills what it replaces, an attached program too, as its question says.
    processes.wait_until(
        lambda: processes.state_of(program.pid) in ("Z", ""), "the old program is dead"
    )
    gdb.quit()


def fault_names(gdb: GdbSession) -> list[str]:
    """The native module's named fault points."""
    names = gdb.execute(
        "python import json, gdbext._native as n; print(json.dumps(n.fault_names()))"
    )
    return list(json.loads(names))


def test_every_fault_point_undoes_everything(scene: Scene) -> None:
    """Each named fault, armed one by one: the save or the restore fails in one line
    and leaves all as it was.
    """
    gdb = run_to_work(scene, threads=2)
    save(gdb, "good")
    before = view(gdb)
    # Under GDB nobody lets the program go. What the check of a save finds is no failure of it.
    names = [name for name in fault_names(gdb) if name not in ("restore-release", "save-check")]
    assert names
    fired = set()
    for name in names:
        # A store of its own, so that it has no object yet that could be left out.
        store = scene.directory / name
        gdb.execute(f"set ckpt directory {store}")
        gdb.execute(f"python import gdbext._native as n; n.fault_arm({name!r})")
        printed = gdb.execute("ckpt save broken")
        gdb.execute("python n.fault_arm(None)")
        if "Saved" not in printed:
            fired.add(name)
            assert printed.startswith("ckpt save: ") and len(printed.splitlines()) == 1, printed
            assert scene.partial_files(store) == [] and list(store.glob("snapshots/*")) == [], name
        assert view(gdb) == before, name
    gdb.quit()
    assert not scene.processes()
    for name in sorted(set(names) - fired):
        again = scene.gdb(extra={"CKPT_FAULT": name})
        printed = again.execute("ckpt restore good")
        if "Restored" not in printed:
            fired.add(name)
            assert "ckpt restore: " in printed and "Traceback" not in printed, printed
            assert again.inferior_pid == 0, name
            assert scene.processes() == [again.child.pid], name
        again.quit()
        processes.wait_until(
            lambda: not scene.processes(), f"nothing is left after the fault {name}"
        )
        assert scene.partial_files() == [], name
    again = scene.gdb()
    restore(again, "good")
    assert view(again) == before
    assert continue_to_end(again, 7)[-1] == "PASS"
    again.quit()
    assert fired == set(names), f"never fired: {sorted(set(names) - fired)}"


# Python for GDB: a Ctrl-C when it unwinds the frame whose turn it is.
CTRL_C = """import gdb.unwinder
class CtrlC(gdb.unwinder.Unwinder):
    left = 0
    def __call__(self, frame):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return None
ctrl_c = CtrlC('ctrl-c')
gdb.unwinder.register_unwinder(None, ctrl_c)"""


def test_a_ctrl_c_while_gdb_unwinds_a_frame(scene: Scene) -> None:
    """GDB keeps such a frame as the last one, and died of that when it showed an inlined function
    (as libc's `read` is one).
    """
    gdb = run_until_blocked(scene, "read")
    gdb.execute(f"python exec({CTRL_C!r})")
    before = gdb.execute("bt")
    assert "main" in before
    interrupted = 0
    for turn in range(1, 20):
        gdb.execute("maintenance flush register-cache")
        gdb.execute(f"python ctrl_c.left = {turn}")
        printed = gdb.execute(f"ckpt save turn{turn}")
        if "Saved" in printed:
            break
        assert "ckpt save: interrupted" in printed, gdb.report()
        assert gdb.execute("bt") == before
        interrupted += 1
    assert interrupted > 0 and "Saved" in printed
    gdb.quit()


def test_nothing_is_there_yet(scene: Scene) -> None:
    gdb = scene.gdb()
    assert gdb.execute("ckpt gc") == f"There is no store {scene.store}."
    refuse(gdb, "ckpt verify nosuch", 'no snapshot or file "?nosuch')
    assert not scene.store.exists()
    gdb.quit()


SOURCE_US = f"source {REPOSITORY}/gdbext/load.py"


def batch(scene: Scene, *commands: str, **environment: str) -> str:
    """What a GDB without a terminal prints for these commands."""
    words = ["gdb", "-nx", "-q", "-batch", *(word for each in commands for word in ("-ex", each))]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, cwd=scene.directory, env={**scene.environment, **environment},
        preexec_fn=user_switch(scene.user), timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    return done.stdout


def test_the_answer_is_yes_where_nobody_can_be_asked(scene: Scene) -> None:
    """As GDB itself answers."""
    gdb = run_to_work(scene)
    save(gdb, "s1")
    gdb.quit()
    printed = batch(scene, SOURCE_US, "set confirm on", "ckpt delete s*")
    asked, done = printed.splitlines()
    assert asked == 'Delete "s1"? (y or n) [answered Y; input not from terminal]'
    assert done.startswith('Deleted "s1"')


def test_the_native_module_cannot_be_loaded(scene: Scene) -> None:
    """One line, and GDB goes on without the commands; who imports it gets an error."""
    module = scene.directory / "gdbext" / f"_native{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    module.parent.mkdir()
    module.write_bytes(b"no module")
    said = f"ckpt: {module} cannot be loaded by GDB's Python 3."
    nowhere = {"CKPT_BUILD_DIR": str(scene.directory)}
    printed = batch(scene, SOURCE_US, "ckpt list", **nowhere)
    first, second = printed.splitlines()
    assert first.startswith(said) and second.startswith('Undefined command: "ckpt"')
    nowhere["PYTHONPATH"] = python_path(REPOSITORY)
    printed = batch(scene, "python import gdbext.load", **nowhere)
    assert f"GdbError: {said}" in printed


def test_a_name_that_cannot_be_given(scene: Scene) -> None:
    """The snapshot keeps the one that it has; nor does a remark get to what is no snapshot."""
    gdb = run_to_work(scene)
    save(gdb, "one -m mine")
    listed = gdb.execute("ckpt list")
    # No snapshot, and yet in the way.
    (scene.store / "snapshots" / "two.ckpt").symlink_to("nowhere")
    refuse(gdb, "ckpt rename one two", 'already a snapshot "two"')
    (scene.directory / "text.ckpt").write_text("not a snapshot")
    refuse(gdb, "ckpt note ./text.ckpt words", "text.ckpt")
    (scene.store / "snapshots" / "two.ckpt").unlink()
    assert gdb.execute("ckpt list") == listed
    assert restore(gdb, "one").name == "one"
    gdb.quit()
