"""In GDB, a snapshot of another kernel: symbols and backtraces by the vdso that the program
knows, calls by this kernel's.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gdbsession import GdbSession
from scene import Scene, restore, save
from support.forge import Forgery
from support.other_kernel import KERNEL, PROXIED, Foreign, mark, ruin

VDSO_NAMES = ("clock_gettime", "__vdso_clock_gettime")


def _stopped_in_the_vdso(scene: Scene, steps: int) -> GdbSession:
    """At the first instruction of a call, or some instructions on."""
    gdb = scene.gdb("--args", scene.program("vdso"), "calls")
    gdb.execute("break main")
    gdb.execute("run")
    gdb.execute("delete")
    gdb.execute("break *__vdso_clock_gettime")
    assert "Breakpoint 2" in gdb.execute("continue")
    if steps:
        gdb.execute(f"stepi {steps}")
    return gdb


def _to_the_end(gdb: GdbSession) -> None:
    gdb.execute("delete")
    gdb.start("continue")
    gdb.expect("READY")
    gdb.type_line("")
    gdb.expect("PASS")
    gdb.wait_prompt()
    gdb.quit()


def _backtrace(gdb: GdbSession) -> list[str]:
    """Functions, innermost first. Those of the vdso have two names."""
    return re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?(\S+)", gdb.execute("backtrace"), re.MULTILINE)


@pytest.mark.parametrize("steps", [0, 1, 6])
def test_a_stop_in_the_vdso(scene: Scene, steps: int) -> None:
    """A save does not move the thread that the user has stopped; a restore goes on, and so does a
    snapshot of what was restored.
    """
    gdb = _stopped_in_the_vdso(scene, steps)
    here = gdb.execute("info registers")
    callers = _backtrace(gdb)
    assert callers[0] in VDSO_NAMES and callers[-1] == "main"
    save(gdb, "one")
    assert gdb.execute("info registers") == here
    gdb.quit()
    snapshots = scene.store / "snapshots"
    forged = Foreign(snapshots / "one.ckpt", snapshots / "other.ckpt", ruin)

    again = scene.gdb()
    assert f"of Linux {KERNEL}: after a restore here it calls this kernel's" in again.execute(
        "ckpt info other"
    )
    restored = restore(again, "other")
    assert any(PROXIED in note for note in restored.notes)
    # At the entry it is where it was; later the call has been finished for it.
    assert _backtrace(again) == callers[1 if steps else 0 :]
    save(again, "second")
    forged.check_saved_again(Forgery(snapshots / "second.ckpt"))
    again.execute("delete")
    again.execute("break *__vdso_clock_gettime")
    again.execute("continue")
    stopped = _backtrace(again)
    assert stopped[0] in VDSO_NAMES and stopped[-1] == "main"
    again.execute("delete")
    again.execute("finish")
    assert _backtrace(again) == stopped[1:]
    _to_the_end(again)


def test_a_fault_in_the_vdso(scene: Scene) -> None:
    """The save does not step the thread on; the program's handler gets the signal
    here, and after the restore.
    """
    gdb = scene.gdb("--args", scene.program("vdso"), "fault")
    assert "SIGSEGV" in gdb.execute("run")
    callers = _backtrace(gdb)
    assert callers[0] in VDSO_NAMES and callers[-1] == "main"
    save(gdb, "one")
    _to_the_end(gdb)
    snapshots = scene.store / "snapshots"
    Foreign(snapshots / "one.ckpt", snapshots / "other.ckpt", mark)
    again = scene.gdb()
    restore(again, "other")
    assert _backtrace(again) == callers
    _to_the_end(again)


def test_a_place_within_a_jump(scene: Scene) -> None:
    """When it is not known where the call ends, the thread goes on in a copy of the function."""
    gdb = _stopped_in_the_vdso(scene, 1)
    save(gdb, "one")
    gdb.quit()
    snapshots: Path = scene.store / "snapshots"
    forged = Foreign(snapshots / "one.ckpt", snapshots / "other.ckpt", mark)
    for thread in forged.process["threads"]:
        thread.pop("beyond_vdso", None)
    forged.write(snapshots / "other.ckpt")
    again = scene.gdb()
    restore(again, "other")
    assert int(again.value("/x $pc"), 16) < forged.mapping("[vdso]")["start"]
    save(again, "second")
    now = Forgery(snapshots / "second.ckpt").process["threads"][0]["registers"]
    assert now["rip"] == forged.process["threads"][0]["registers"]["rip"]
    _to_the_end(again)
