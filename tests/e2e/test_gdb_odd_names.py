"""Names of any bytes, through GDB: what GDB prints of them is no UTF-8, and has line breaks where GDB has none."""

from __future__ import annotations

import re

import pytest
from scene import Scene, restore, save

NAMES = {
    "no-utf8": b"\xff\xc3(\xed\xb3\xbfx",
    "lines": b"a\nb\r\n\rx",
    "escapes": b"\x1b[31m\x7f\x07x",
    "quotes": b"'\"$HOME `date`\\x",
    "all": bytes(byte for byte in range(1, 256) if byte != ord("/")) [:200] + b"x",
}


def text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("kind", NAMES)
def test_names_come_back(scene: Scene, kind: str) -> None:
    """An argument, a variable, the program's directory, file and thread have such names, and where GDB can start it, the
    program itself.
    """
    name = text(NAMES[kind])
    program = scene.copy_of("odd_names")
    if kind in ("no-utf8", "escapes"):
        home = scene.directory / f"in {name}"
        home.mkdir()
        program = program.rename(home / f"named {name}")
    gdb = scene.gdb("--args", str(program), name, extra={"NAME": name})
    gdb.execute("break named")
    assert "Breakpoint 1, " in gdb.execute("run")
    arguments, environment = gdb.execute("show args"), gdb.execute("show environment NAME")
    saved = save(gdb, "odd")
    assert saved.report == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", gdb.execute("ckpt info odd"))
    gdb.quit()
    for _ in range(2):
        again = scene.gdb()
        restored = restore(again, "odd")
        assert not [note for note in restored.notes if "could not" in note], restored.text
        assert again.execute("show args") == arguments
        assert again.execute("show environment NAME") == environment
        # A second one is as good.
        save(again, "odd -force")
        again.execute("delete")
        again.start("continue")
        again.type_line("go")
        assert "PASS" in again.wait_prompt(), again.report()
        again.quit()
