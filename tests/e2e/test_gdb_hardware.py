"""Watchpoints and breakpoints of the hardware, on machines where the debug registers stop the
program and on those where they do not: a preloaded library makes them what they are under some
hypervisors.
"""

from __future__ import annotations

import re

import pytest
from gdbsession import GdbSession
from scene import Scene, restore, save
from steps import continue_to_end, run_to_work
from support import probes

SAYS = "do not fire on this machine: "


@pytest.fixture
def dead(scene: Scene) -> Scene:
    """A scene in whose GDBs the debug registers stop nothing."""
    scene.environment["LD_PRELOAD"] = scene.program("dead_debug_registers.so")
    return scene


def kinds(gdb: GdbSession) -> list[str]:
    """The type of each of GDB's breakpoints."""
    return re.findall(r"^\d+ +(.+?) +keep y", gdb.execute("info breakpoints"), re.MULTILINE)


def test_the_library_makes_them_dead(dead: Scene) -> None:
    """What a user of GDB sees there: nothing."""
    gdb = run_to_work(dead, step=2)
    assert "Hardware watchpoint 2" in gdb.execute("watch watched")
    gdb.execute("hbreak say_nonce")
    gdb.execute("delete 1")
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_a_save_says_what_does_not_work(dead: Scene) -> None:
    gdb = run_to_work(dead, step=2)
    gdb.execute("watch watched")
    gdb.execute("rwatch counter")
    gdb.execute("hbreak say_nonce")
    gdb.execute("watch tls_number")
    gdb.execute("disable 5")
    saved = save(gdb, "one")
    assert saved.report == (
        f"note: hardware watchpoints and breakpoints {SAYS}watchpoint 2 never stops the program "
        '("set can-use-hw-watchpoints 0", then "enable 2", for a software watchpoint); '
        "watchpoint 3 never stops the program (software watchpoints cannot see reads: delete it); "
        'breakpoint 4 never stops the program (use "break")'
    )
    # And so it is.
    gdb.execute("delete 3")
    gdb.execute("set can-use-hw-watchpoints 0")
    gdb.execute("enable 2")
    assert "New value = 102" in gdb.execute("continue")
    gdb.quit()


def test_a_restore_makes_software_watchpoints(dead: Scene) -> None:
    gdb = run_to_work(dead, step=2)
    gdb.execute("watch watched")
    gdb.execute("rwatch counter")
    gdb.execute("hbreak say_nonce")
    save(gdb, "one")
    note = (
        f"note: hardware watchpoints and breakpoints {SAYS}watchpoint 2 is now a software "
        "watchpoint (can-use-hw-watchpoints is 0); "
        "watchpoint 3 did not come back, since software watchpoints cannot see reads; "
        'breakpoint 4 never stops the program (use "break")'
    )
    software = ["breakpoint", "watchpoint", "hw breakpoint"]
    # In the session that has them...
    assert kinds(gdb) == ["breakpoint", "hw watchpoint", "read watchpoint", "hw breakpoint"]
    assert restore(gdb, "one").notes == (note,)
    assert kinds(gdb) == software
    stopped = gdb.execute("continue")
    assert "Old value = 101" in stopped and "New value = 102" in stopped
    gdb.quit()
    # ... and in a new one.
    again = dead.gdb()
    assert restore(again, "one").notes == (note,)
    assert kinds(again) == software
    stopped = again.execute("continue")
    assert "Old value = 101" in stopped and "New value = 102" in stopped
    # When libraries are loaded GDB chooses anew.
    again.execute("nosharedlibrary")
    again.execute("sharedlibrary")
    assert kinds(again) == software
    # They are what they are to be already.
    assert restore(again, "one").notes == (
        "note: watchpoint 3 (rwatch counter) could not be made again: "
        "Can't set read/access watchpoint when hardware watchpoints are disabled",
        f'note: hardware breakpoints {SAYS}breakpoint 4 never stops the program (use "break")',
    )
    assert kinds(again) == software
    again.quit()


def test_a_watched_local_becomes_a_software_one(dead: Scene) -> None:
    gdb = run_to_work(dead, step=2)
    gdb.execute("watch step")
    gdb.execute("delete 1")
    save(gdb, "local")
    gdb.quit()
    again = dead.gdb()
    restore(again, "local")
    assert kinds(again) == ["watchpoint"]
    assert "program has left the block" in again.execute("continue"), again.report()
    again.quit()


def test_info_says_what_a_restore_will_do(dead: Scene) -> None:
    gdb = run_to_work(dead, step=2)
    gdb.execute("watch watched")
    gdb.execute("thbreak say_nonce")
    save(gdb, "one")
    gdb.quit()
    again = dead.gdb()
    last = again.execute("ckpt info one").splitlines()[-1]
    assert last == (
        f"note: hardware watchpoints and breakpoints {SAYS}watchpoint 2 will come back as a "
        "software watchpoint; "
        "breakpoint 3 will never stop the program"
    )
    again.execute("set can-use-hw-watchpoints 0")
    assert (
        again.execute("ckpt info one").splitlines()[-1]
        == f"note: hardware breakpoints {SAYS}breakpoint 3 will never stop the program"
    )
    again.quit()


def test_nothing_is_tried_unless_it_matters(dead: Scene) -> None:
    gdb = run_to_work(dead, step=2)
    gdb.execute("set can-use-hw-watchpoints 0")
    gdb.execute("watch watched")
    gdb.execute("python import gdbext._native as n; tried = []; real = n.debug_registers")
    gdb.execute("python n.debug_registers = lambda: tried.append(1) or real()")
    assert save(gdb, "one").report == ""
    assert restore(gdb, "one").notes == ()
    assert gdb.python("tried") == "[]"
    # Once is enough.
    gdb.execute("hbreak say_nonce")
    assert SAYS in save(gdb, "two").report and SAYS in save(gdb, "three").report
    assert gdb.python("tried") == "[1]"
    gdb.quit()


def test_on_this_machine(scene: Scene) -> None:
    """Whichever kind it is."""
    gdb = run_to_work(scene, step=2)
    gdb.execute("watch watched")
    works = probes.hardware_watchpoints()
    assert (SAYS in save(gdb, "one").report) != works
    gdb.quit()
    again = scene.gdb()
    assert (SAYS in restore(again, "one").text) != works
    assert kinds(again) == ["breakpoint", "hw watchpoint" if works else "watchpoint"]
    stopped = again.execute("continue")
    assert "Old value = 101" in stopped and "New value = 102" in stopped
    again.quit()
