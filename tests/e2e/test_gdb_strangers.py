"""Snapshots that somebody else has made: nothing of their session is evaluated or run,
unless the user asks for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from gdbsession import GdbSession
from scene import Scene, restore, save
from steps import continue_to_end, run_to_work
from support.forge import Forgery

# A function of GDB's that tells when it is evaluated, wherever that is.
_CANARY = """
import gdb

class Canary(gdb.Function):
    def invoke(self, *_):
        gdb.write('RAN\\n')
        return 1

Canary('_canary')
"""


def with_canary(scene: Scene) -> GdbSession:
    gdb = scene.gdb()
    gdb.execute(f"source {scene.write('canary.py', _CANARY)}")
    return gdb


@pytest.fixture
def strange(scene: Scene) -> Path:
    """A snapshot whose session has been changed since this user has saved it,
    in each way that GDB evaluates.
    """
    gdb = run_to_work(scene)
    gdb.execute("tbreak say_nonce")
    gdb.execute("display counter")
    gdb.execute("set language c")
    save(gdb, "mine")
    gdb.quit()
    forged = Forgery(scene.store / "snapshots/mine.ckpt")
    session = forged.record["session"]
    first = {**session["breakpoints"][0], "condition": ""}
    session["breakpoints"] = [
        {**first, "number": 1, "commands": "python print('RAN')\n"},
        {**first, "number": 2, "spec": "worker_waits", "condition": "$_canary()"},
        {**first, "number": 3, "command": "watch", "spec": "counter + $_canary()"},
        {**first, "number": 4, "command": "dprintf", "spec": 'work,"%d\\n",$_canary()'},
        {**first, "number": 5, "spec": "*(long)main + $_canary()"},
        {**first, "number": 6, "command": "catch", "spec": "fork if $_canary()"},
        {**first, "number": 7, "command": "tbreak", "spec": "say_nonce"},
    ]
    session["displays"].append({"enabled": True, "format": "", "expression": "$_canary()"})
    session["symbol_files"] = [{"path": "/bin/true", "sections": [[".text", 4096]]}]
    session["args"] = "of a stranger"
    return forged.write(scene.directory / "strange.ckpt")


def test_nothing_of_a_strangers_session_is_evaluated(scene: Scene, strange: Path) -> None:
    gdb = with_canary(scene)
    told = gdb.execute(f"ckpt info {strange}")
    restored = restore(gdb, str(strange))
    assert restored.notes[:6] == (
        (
            "note: the session was not saved here: "
            "what GDB would evaluate or run of it is left out (-trust takes it)"
        ),
        "note: left out: 4 breakpoints: 3 (watch counter + $_canary()); "
        '4 (dprintf work,"%d\\n",$_canary()); '
        "5 (break *(long)main + $_canary()); and 1 more",
        "note: left out: 1 breakpoint's condition: 2 (break worker_waits): $_canary()",
        "note: left out: 1 breakpoint's commands: 1 (break work): python print('RAN')",
        "note: left out: 2 displays: counter; $_canary()",
        "note: left out: 1 symbol file: /bin/true",
    )
    for line in restored.notes[1:6]:
        assert line in told
    assert "a restore with -trust takes it" in told
    points = gdb.execute("info breakpoints")
    for function in ("work(int)", "worker_waits(", "say_nonce()"):
        assert f"in {function}" in points
    assert "watchpoint" not in points and "stop only if" not in points and "python" not in points
    assert gdb.execute("info display") == "There are no auto-display expressions now."
    assert "of a stranger" in gdb.execute("show args")
    gdb.execute("delete")
    assert "RAN" not in restored.text.splitlines() and "PASS" in continue_to_end(gdb, 7)
    gdb.quit()


def test_all_of_it_is_taken_when_asked_for(scene: Scene, strange: Path) -> None:
    gdb = with_canary(scene)
    restored = restore(gdb, f"{strange} -trust")
    assert "RAN" in restored.text and not any("left out" in note for note in restored.notes)
    points = gdb.execute("info breakpoints")
    assert (
        "stop only if $_canary()" in points
        and "python print('RAN')" in points
        and "dprintf" in points
    )
    assert "$_canary()" in gdb.execute("info display")
    gdb.execute("kill")
    gdb.quit()


def test_it_can_be_asked_for_afterwards(scene: Scene, strange: Path) -> None:
    """Who has seen what was left out and then asks for it gets it,
    for the breakpoints that are there by now, too.
    """
    gdb = with_canary(scene)
    restore(gdb, str(strange))
    restore(gdb, f"{strange} -trust")
    points = gdb.execute("info breakpoints")
    assert (
        "stop only if $_canary()" in points
        and "python print('RAN')" in points
        and "dprintf" in points
    )
    assert points.count("in worker_waits(") == 1
    gdb.execute("kill")
    gdb.quit()


def test_scripts_ask_for_it_as_well(scene: Scene, strange: Path) -> None:
    gdb = with_canary(scene)
    gdb.execute(f"python done = __import__('gdbext').restore({str(strange)!r})")
    assert "left out: 2 displays" in gdb.execute("python print(*done.notes)")
    assert gdb.execute("info display") == "There are no auto-display expressions now."
    gdb.execute(f"python __import__('gdbext').restore({str(strange)!r}, trust=True)")
    assert "$_canary()" in gdb.execute("info display")
    gdb.execute("kill")
    gdb.quit()


def test_looking_evaluates_nothing(scene: Scene, strange: Path) -> None:
    gdb = with_canary(scene)
    printed = [
        gdb.execute(command)
        for command in (
            f"ckpt inspect {strange}", f"ckpt print counter {strange}", f"ckpt diff mine {strange}",
            f"ckpt info {strange} -json", f"ckpt verify {strange}", "info symbol 4096",
        )
    ]  # fmt: skip
    assert "work" in printed[0] and not any("RAN\n" in text for text in printed)
    assert "/bin/true" not in gdb.execute("maintenance info sections -all-objects")
    gdb.quit()


def test_what_came_in_a_bundle_is_a_strangers(scene: Scene) -> None:
    """Also when the session is one of this user's, who may have been sent it back."""
    gdb = run_to_work(scene)
    gdb.execute("display counter")
    save(gdb, "mine")
    gdb.execute("ckpt bundle mine mine.bundle")
    gdb.execute("ckpt import mine.bundle -name sent")
    gdb.execute("ckpt rename sent renamed")
    gdb.execute("kill")
    gdb.quit()
    gdb = scene.gdb()
    assert any("left out: 1 display: counter" in note for note in restore(gdb, "renamed").notes)
    assert gdb.execute("info display") == "There are no auto-display expressions now."
    assert not restore(gdb, "mine").notes
    assert "counter" in gdb.execute("info display")
    # Who saves under its name has saved it.
    save(gdb, "renamed -force")
    assert not restore(gdb, "renamed").notes
    gdb.execute("kill")
    gdb.quit()


def test_a_copy_is_as_good_as_the_snapshot(scene: Scene) -> None:
    """The session is known by what it is, not by where it is;
    renaming and remarks change nothing either.
    """
    gdb = run_to_work(scene)
    gdb.execute("display counter")
    save(gdb, "mine")
    gdb.execute("ckpt note mine some remark")
    gdb.execute("ckpt rename mine other")
    gdb.quit()
    copy = scene.directory / "copy.ckpt"
    copy.write_bytes((scene.store / "snapshots/other.ckpt").read_bytes())
    gdb = scene.gdb()
    for target in ("other", str(copy)):
        assert not restore(gdb, target).notes
        assert "counter" in gdb.execute("info display")
    gdb.execute("kill")
    gdb.quit()
