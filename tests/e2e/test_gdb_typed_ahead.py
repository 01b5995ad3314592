"""What was typed for the program before the save, and not read by it, on GDB's own terminal."""

from __future__ import annotations

import pytest
from scene import Scene, restore, save
from support.probes import may_type

READER = """
#include <stdio.h>
#include <unistd.h>

static void say(const char *name) {
  char line[100];
  ssize_t length = read(0, line, sizeof line);
  printf("%s got %.*s.\\n", name, length > 0 ? (int)length - 1 : 0, line);
  fflush(stdout);
}

void work(void) {}

int main(void) {
  printf("READY\\n");
  fflush(stdout);
  say("first");
  work();
  say("second");
  work();
  say("third");
  return 7;
}
"""

SAVING = "commands 1\nsilent\nckpt save one\ncontinue\nend"


def saved_with_more_typed(scene: Scene) -> str:
    """Saved by the commands of a breakpoint, with a line typed and not read. What GDB printed."""
    gdb = scene.gdb(str(scene.compile(READER, "reader")))
    gdb.execute("tbreak work")
    gdb.execute(SAVING)
    gdb.start("run")
    gdb.expect("READY\r\n")
    gdb.type("one\ntwo\n")
    gdb.expect(r"first got one\.\r\n")
    # It is left to the program that goes on.
    gdb.expect(r"second got two\.\r\n")
    gdb.type_line("three")
    printed = gdb.wait_prompt()
    assert "third got three." in printed and "exited with code 07" in printed
    gdb.quit()
    return gdb.transcript


@pytest.mark.skipif(not may_type(), reason="dev.tty.legacy_tiocsti is 0")
def test_it_is_typed_when_the_program_goes_on(scene: Scene) -> None:
    assert "typed" not in saved_with_more_typed(scene)
    gdb = scene.gdb()
    restore(gdb, "one")
    gdb.execute("delete")
    # Not for GDB, though the program stops before it has read it,
    # and something is typed for GDB as well.
    gdb.type("next\nprint 6*7\n")
    gdb.expect(r"\$1 = 42\r\n")
    gdb.wait_prompt()
    assert (
        "Undefined command" not in gdb.transcript and "second got" not in gdb.transcript
    ), gdb.report()
    save(gdb, "again")
    gdb.start("continue")
    gdb.expect(r"second got two\.\r\n")
    gdb.type_line("three")
    assert "third got three." in gdb.wait_prompt()
    # From what was saved at the prompt, when it was still to be given to the program.
    restore(gdb, "again")
    gdb.start("continue")
    gdb.expect(r"second got two\.\r\n")
    gdb.type_line("three")
    assert "third got three." in gdb.wait_prompt()
    # A program that ends without having read it leaves nothing to GDB.
    restore(gdb, "again")
    assert "SIGKILL" in gdb.execute("signal SIGKILL")
    assert "Undefined command" not in gdb.execute("print 6*7")
    # Nor is it for a program that gets other input.
    (scene.directory / "other").write_text("2\n3\n")
    restore(gdb, "again -stdin other")
    printed = gdb.execute("continue")
    assert "second got 2" in printed and "exited with code 07" in printed
    gdb.quit()


@pytest.mark.skipif(not may_type(), reason="dev.tty.legacy_tiocsti is 0")
def test_commands_of_a_breakpoint_meanwhile(scene: Scene) -> None:
    """They run when GDB runs them, and what they say is seen."""
    saved_with_more_typed(scene)
    gdb = scene.gdb()
    restore(gdb, "one")
    gdb.execute("delete")
    gdb.execute("break say")
    gdb.execute("commands\nsilent\nprint 6*7\nnosuchcommand\nend")
    printed = gdb.execute("continue")
    assert "$1 = 42" in printed and 'Undefined command: "nosuchcommand"' in printed, printed
    gdb.execute("commands\nsilent\ncontinue\nend")
    gdb.start("continue")
    gdb.expect(r"second got two\.\r\n")
    gdb.type_line("three")
    assert "third got three." in gdb.wait_prompt()
    gdb.quit()


def test_what_is_typed_for_gdb_is_not_kept(scene: Scene) -> None:
    gdb = scene.gdb(str(scene.compile(READER, "reader")))
    gdb.execute("break work")
    gdb.start("run")
    gdb.expect("READY\r\n")
    gdb.type_line("one")
    gdb.wait_prompt()
    gdb.type("ckpt save one\nprint 6*7\n")
    gdb.expect(r"\$1 = 42\r\n")
    gdb.wait_prompt()
    restore(gdb, "one")
    gdb.start("continue")
    gdb.type_line("typed now")
    gdb.expect(r"second got typed now\.\r\n")
    gdb.wait_prompt()
    gdb.quit()
