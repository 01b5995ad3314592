"""Names of any bytes, through GDB: what GDB prints of them is no UTF-8,
and has line breaks where GDB has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from gdbsession import GdbSession
from hypothesis import HealthCheck, given, settings
from scene import Scene
from support.odd_names import NAMES as ANY_NAME
from support.odd_names import SNAPSHOTS

NAMES = {
    "no-utf8": b"\xff\xc3(\xed\xb3\xbfx",
    "lines": b"a\nb\r\n\rx",
    "escapes": b"\x1b[31m\x7f\x07x",
    "blanks": b" \t x",
    "blanks-no-utf8": b" \xffx",
    "quotes": b"'\"$HOME `date`\\x",
    "all": bytes(byte for byte in range(1, 256) if byte != ord("/"))[:200] + b"x",
}


def text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def sourced(scene: Scene, gdb: GdbSession, command: str, snapshot: str) -> str:
    """What COMMAND "SNAPSHOT" prints, read from a script:
    on a terminal some characters are keys.
    """
    quoted = snapshot.replace("\\", "\\\\").replace('"', '\\"')
    script = scene.write("command.gdb", f'{command} "{quoted}"\n')
    return gdb.execute(f"source {script}")


def blanks_are_dropped(gdb: GdbSession, name: str) -> bool:
    """Whether this GDB has no way to set a variable to `name` without dropping the
    blanks that it begins with.
    """
    if not name.startswith((" ", "\t")):
        return False
    encoded = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") == name
    return not encoded or gdb.execute("python print(hasattr(gdb.Inferior, 'set_env'))") == "False"


def they_come_back(scene: Scene, name: str, snapshot: str, *, program_too: bool) -> None:
    """An argument, a variable, the program's directory, file and thread are called `name`."""
    program = scene.copy_of("odd_names")
    if program_too:
        home = scene.directory / f"in {name}"
        home.mkdir()
        program = program.rename(home / f"named {name}")
    gdb = scene.gdb("--args", str(program), name, extra={"NAME": name})
    gdb.execute("break named")
    assert "Breakpoint 1, " in gdb.execute("run")
    arguments, environment = gdb.execute("show args"), gdb.execute("show environment NAME")
    printed = sourced(scene, gdb, "ckpt save", snapshot)
    assert printed.startswith(f'Saved "{snapshot}": ') and "\n" not in printed, printed
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", sourced(scene, gdb, "ckpt info", snapshot))
    gdb.quit()
    for turn in range(2):
        again = scene.gdb()
        printed = sourced(scene, again, "ckpt restore", snapshot)
        assert f'Restored "{snapshot}", ' in printed, printed
        assert again.execute("show args") == arguments
        lost = []
        if turn == 0 and blanks_are_dropped(again, name):
            lost = ["the environment variable NAME could not be restored"]
            environment = re.sub(r"^(NAME = )[ \t]+", r"\1", environment)
        assert re.findall(r"^note: (.*could not.*): ", printed, re.MULTILINE) == lost, printed
        assert again.execute("show environment NAME") == environment
        # A second one is as good.
        assert f'Saved "{snapshot}": ' in sourced(scene, again, "ckpt save -force", snapshot)
        again.execute("delete")
        again.start("continue")
        again.type_line("go")
        assert "PASS" in again.wait_prompt(), again.report()
        again.quit()


@pytest.mark.parametrize("kind", NAMES)
def test_names_come_back(scene: Scene, kind: str) -> None:
    # Where GDB can start it, the program itself is called so, too.
    they_come_back(scene, text(NAMES[kind]), "odd", program_too=kind in ("no-utf8", "escapes"))


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=ANY_NAME, snapshot=SNAPSHOTS)
def test_any_names_come_back(make_scene: Callable[[], Scene], name: bytes, snapshot: str) -> None:
    they_come_back(make_scene(), text(name), snapshot, program_too=False)
