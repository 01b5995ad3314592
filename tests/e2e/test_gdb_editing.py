"""`ckpt restore -set EXPR=VALUE -env NAME=VALUE -stdin FILE`: the past, edited."""

from __future__ import annotations

import pytest
from gdbsession import GdbSession
from scene import Scene, refuse, restore, save

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct point { int x; double y; };
struct point origin = {1, 2.5};
char name[16] = "before";
char tail[4] = "end";
const char *kept = "literal";
int numbers[3] = {1, 2, 3};
static int calls;

int twice(int n) { calls++; return 2 * n; }

static void work(int limit) {
  int local = limit + 1;
  printf("work\\n");  // here
  char line[64] = "nothing";
  if (!fgets(line, sizeof line, stdin)) strcpy(line, "end of file\\n");
  printf("local %d limit %d x %d y %g name %s tail %s calls %d numbers %d %d env %s line %s", \
local, limit, origin.x,
         origin.y, name, tail, calls, numbers[0], numbers[2], \
getenv("EDITED") ? getenv("EDITED") : "(none)", line);
}

int main(int argc, char **argv) {
  int outer = argc;
  work(10);
  printf("outer %d\\n", outer);
  return 0;
}
"""
HERE = "edited.c:" + str(
    next(n for n, text in enumerate(SOURCE.splitlines(), 1) if "// here" in text)
)


def saved(scene: Scene, *flags: str) -> None:
    """A snapshot "past" of the program in work(), with its second line of code behind it."""
    gdb = scene.gdb(str(scene.compile(SOURCE, "edited", *flags)))
    gdb.execute(f"break {HERE}")
    gdb.execute("run")
    gdb.execute("next")
    save(gdb, "past")
    gdb.execute("delete")
    gdb.quit()


def finish(gdb: GdbSession, typed: str = "typed") -> str:
    """Let the program run to its end; what it printed."""
    gdb.execute("delete")
    gdb.start("continue")
    if typed:
        gdb.type_line(typed)
    return gdb.wait_prompt()


def test_set_env_and_stdin(scene: Scene) -> None:
    saved(scene)
    lines = scene.write("input", "from a file\n")
    gdb = scene.gdb()
    done = restore(
        gdb,
        "past -set local=77 -set 'origin.y = 2 * limit' -set 'name=\"after all\"' "
        "-set tail[0]='\"E\"[0]' "
        f"-set numbers={{7,8,9}} -env EDITED=yes -env 'EDITED=a b' -stdin {lines}",
    )
    assert done.frame.startswith("#0  work (limit=10)")
    assert gdb.value("local") == "77" and gdb.value("kept").endswith('"literal"')
    printed = finish(gdb, "")
    assert (
        "local 77 limit 10 x 1 y 20 name after all tail End calls 0 numbers 7 9 env a b line "
        "from a file"
    ) in printed
    assert "outer 1" in printed
    # The snapshot is what it was.
    restore(gdb, "past")
    assert (
        "local 11 limit 10 x 1 y 2.5 name before tail end calls 0 numbers 1 3 env (none) line typed"
        in finish(gdb)
    )
    gdb.quit()


@pytest.mark.parametrize("flags", [(), ("-static",), ("-no-pie",)])
def test_env_reaches_getenv(scene: Scene, flags: tuple[str, ...]) -> None:
    saved(scene, *flags)
    gdb = scene.gdb()
    restore(gdb, "past -env EDITED=seen -env HOME=")
    assert "env seen line typed" in finish(gdb)
    gdb.quit()


def test_in_the_saved_frame(scene: Scene) -> None:
    """It was not the innermost one."""
    gdb = scene.gdb(str(scene.compile(SOURCE, "edited")))
    gdb.execute(f"break {HERE}")
    gdb.execute("run")
    gdb.execute("up")
    save(gdb, "up")
    gdb.quit()
    gdb = scene.gdb()
    assert restore(gdb, "up -set outer=5 -set origin.x=6").frame.startswith("#1 ")
    printed = finish(gdb)
    assert "x 6" in printed and "outer 5" in printed
    refuse(gdb, "ckpt restore up -set local=1", 'No symbol "local"')
    gdb.quit()


def test_a_register(scene: Scene) -> None:
    saved(scene)
    gdb = scene.gdb()
    restore(gdb, "past -set $r15=0x1234")
    assert gdb.value("/x $r15") == "0x1234"
    assert "outer 1" in finish(gdb)
    gdb.quit()


@pytest.mark.parametrize(
    "option, pattern",
    [
        ("-set nosuch=1", 'nosuch=1: No symbol "nosuch" in current context'),
        ("-set local=nosuch", 'No symbol "nosuch"'),
        ("-set local=", "EXPR=VALUE"),
        ("-set local", "EXPR=VALUE"),
        ("-set local==1", "EXPR=VALUE"),
        ("-set 5=1", "not an lvalue|lvalue"),
        ("-set 'local=twice(2)'", "only be done by calling a function of the program"),
        ("-set 'kept=\"other\"'", "only be done by calling a function of the program"),
        ("-set 'tail=\"too long\"'", "9 bytes do not fit into 4"),
        ("-set 'local='", "EXPR=VALUE"),
        ("-set *(int*)0=1", "memory at address 0x0"),
        ("-set local=1 -set nosuch=2", "nosuch"),
        ("-env EDITED", "NAME=VALUE"),
        ("-env =1", "NAME=VALUE"),
    ],
)
def test_what_cannot_be_set(scene: Scene, option: str, pattern: str) -> None:
    """An error in one line, and no process is left."""
    saved(scene)
    gdb = scene.gdb()
    refuse(gdb, f"ckpt restore past {option}", pattern)
    assert gdb.inferior_pid == 0
    assert (
        gdb.execute("show may-call-functions")
        == "Permission to call functions in the program is on."
    )
    assert len(scene.processes()) == 1  # GDB
    restore(gdb, "past")
    assert "local 11" in finish(gdb)
    gdb.quit()


def test_in_a_script(scene: Scene) -> None:
    saved(scene)
    gdb = scene.gdb()
    gdb.execute("python import gdbext")
    gdb.execute(
        'python gdbext.restore("past", set={"local": 5, "name": \'"new"\'}, env={"EDITED": '
        '"by a script"})'
    )
    printed = finish(gdb)
    assert "local 5 " in printed and "name new " in printed and "env by a script line" in printed
    text = gdb.execute(
        'python\ntry:\n  gdbext.restore("past", set={"nosuch": 5})\n'
        'except gdbext.CkptError as error:\n  print("refused:", error)\nend'
    )
    assert 'refused: -set nosuch=5: No symbol "nosuch"' in text, text
    assert "NAME=VALUE" in gdb.execute(
        'python\ntry:\n  gdbext.restore("past", env={"": 5})\nexcept gdbext.CkptError as error:\n'
        '  print("refused:", error)\nend'
    )
    gdb.quit()


def test_the_options_are_completed_and_helped(scene: Scene) -> None:
    gdb = scene.gdb()
    text = gdb.execute("help ckpt restore")
    assert "-set EXPR=VALUE" in text and "-env NAME=VALUE" in text
    assert gdb.complete("ckpt restore -en") == ["ckpt restore -env"]
    gdb.quit()
