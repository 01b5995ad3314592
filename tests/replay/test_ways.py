"""`ckpt replay` of programs built, saved and restored in different ways."""

from __future__ import annotations

import re
import subprocess

import pytest
from support.processes import read_text, wait_until
from support.replay import Lab, recorded


@pytest.mark.parametrize("variant", ["", ".nopie", ".static"])
@pytest.mark.parametrize("ids", ["auto", "virtual"])
def test_ways_to_build_and_to_restore(lab: Lab, variant: str, ids: str) -> None:
    """Whatever the addresses, and whichever ids it gets."""
    program = lab.program(f"ledger{variant}")
    (lab.work / "look.gdb").write_text(
        "print &total\nprint total\ninfo threads\nbacktrace\ninfo symbol enter\n"
    )
    printed = lab.gdb(
        f"file {program}",
        "break enter if entry->value == 3",
        "run numbers < input",
        "ckpt save one",
        "kill",
    )
    assert 'Saved "one"' in printed, printed
    text = recorded(lab, "--script", "look.gdb").read_text()
    assert "(long *) <address> <total>" in text and not re.search(
        r"0x[0-9a-f]{5}|\d{4}\)", text
    ), text
    if ids == "virtual":
        lab.gdb("ckpt restore one -ids virtual", "ckpt save one -force", "kill")
    for _ in range(3):
        lab.ckpt("replay", "one", "--script", "look.gdb")
    lab.ckpt("replay", "one", "--update")
    assert "occurs again" in lab.ckpt("replay", "one", "--program", str(program))


def test_saved_without_gdb(lab: Lab) -> None:
    """By `ckpt save`, while it waited for input, in the C library."""
    program = lab.program()
    running = subprocess.Popen(
        [program, "numbers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=lab.work, env=lab.environment, text=True,
    )  # fmt: skip
    try:
        # Before it asks for its input it has read the numbers.
        numbers = f"/proc/{running.pid}/fdinfo/3"
        wait_until(lambda: read_text(numbers).startswith("pos:\t8\n"), "the numbers are read")
        lab.ckpt("save", str(running.pid), "one")
        output, _ = running.communicate("10\n", timeout=30)
    finally:
        running.kill()
        running.communicate()
    assert "input: 10, total 20" in output
    text = recorded(lab).read_text()
    assert (
        "    file: 4, total 10\n" in text and "input" not in text and "exited with status 0" in text
    )
    (lab.work / "more").write_text("10\n")
    assert "+ input: 10, total 20" in lab.ckpt("replay", "one", "--stdin", "more", status=1)
