"""`import gdbext` in scripts that GDB runs: saving, restoring, events,
and what is deferred to after a stop.
"""

from __future__ import annotations

import re

from gdbsession import REPOSITORY, GdbSession
from scene import Scene
from steps import continue_to_end, run_to_work
from support.measured import python_path

LOOP = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

unsigned nonce;
volatile int rounds;

void round_done(int number) {
  rounds = number;
}

int main(void) {
  if (getrandom(&nonce, sizeof nonce, 0) != sizeof nonce) return 99;
  for (int number = 1; number <= 20; number++) round_done(number);
  printf("nonce %08x rounds %d\\n", nonce, rounds);
  fflush(stdout);
  return 7;
}
"""


def source(scene: Scene, gdb: GdbSession, text: str, name: str = "script.py") -> str:
    """What sourcing a script prints."""
    printed = gdb.execute(f"source {scene.write(name, text)}")
    assert "Traceback" not in printed and "Error" not in printed, gdb.report()
    return printed


def names(gdb: GdbSession) -> list[str]:
    """The names of all snapshots, by the API."""
    return gdb.python("' '.join(e.name for e in __import__('gdbext').snapshots())").split()


def test_a_script_saves_and_restores(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    printed = source(
        scene,
        gdb,
        """
import gdb, gdbext
saved = gdbext.save(message="by a script")
print(saved.name, saved.path, saved.threads, saved.stop)
gdb.execute("next")
gdb.execute("next")
print("counter", int(gdb.parse_and_eval("counter")))
restored = gdbext.restore(saved.name)
print(restored.name == saved.name, restored.pid == gdb.selected_inferior().pid, \
restored.record.message)
print("counter", int(gdb.parse_and_eval("counter")))
print([e.record.message for e in gdbext.snapshots()])
""",
    )
    path = scene.store / "snapshots" / "e2e_threads-1.ckpt"
    assert path.exists()
    assert f"e2e_threads-1 {path} 3 work (step=3)" in printed
    assert re.search(
        r"counter 12\n(.*\n)*True True by a script\ncounter 6\n\['by a script'\]", printed
    ), printed
    # Nobody asked, and nothing but the script's own words was printed.
    assert "Saved" not in printed and "Restored" not in printed and "Kill" not in printed
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_what_fails_is_one_class_of_errors(scene: Scene) -> None:
    gdb = scene.gdb(scene.program("e2e_threads"))
    script = """
import gdbext
def attempt(function, *arguments, **options):
    try:
        print("done", function(*arguments, **options))
    except gdbext.CkptError as error:
        print("refused:", error)
attempt(gdbext.save)
attempt(gdbext.restore, "nosuch")
attempt(gdbext.restore, "nosuch", files="sometimes")
attempt(gdbext.restore, __file__)
try:
    gdbext.nosuch
except AttributeError as error:
    print("AttributeError:", error)
"""
    printed = gdb.execute(f"source {scene.write('fails.py', script)}")
    lines = printed.splitlines()
    assert lines[0] == "refused: there is no program being debugged"
    assert lines[1].startswith('refused: there is no snapshot or file "nosuch"')
    assert (
        lines[2] == "refused: files is one of auto, real, sandbox, private, strict, not 'sometimes'"
    )
    assert lines[3].startswith("refused: ") and "fails.py" in lines[3]
    assert "no attribute 'nosuch'" in lines[4]
    assert len(lines) == 5, printed
    gdb.quit()


STOPPER = """
import gdb, gdbext
class Stopper(gdb.Breakpoint):
    seen = []
    def stop(self):
        step = int(gdb.parse_and_eval("step"))
        if step in WHEN:
            self.seen.append(gdbext.ASKED)
            print("in stop:", self.seen[-1])
            return True
        return False
stopper = Stopper("work")
"""


def stopper(when: str, asked: str) -> str:
    """A script with a breakpoint that asks for something in its `stop` method."""
    return STOPPER.replace("WHEN", when).replace("ASKED", asked)


def test_a_save_in_stop_is_made_when_the_program_has_stopped(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "3")
    source(scene, gdb, stopper("(2, 4)", "save(f'step-{step}')"))
    printed = gdb.execute("run")
    assert "in stop: <gdbext.Deferred save: to come>" in printed
    assert "work (step=2)" in printed
    assert names(gdb) == ["step-2"]
    assert gdb.python("stopper.seen[0], stopper.seen[0].result.stop").startswith(
        "<gdbext.Deferred save: done> work (step=2)"
    )
    gdb.execute("continue")
    assert names(gdb) == ["step-2", "step-4"]
    gdb.execute("delete")
    gdb.execute("ckpt restore step-2 -no-session")
    assert gdb.value("counter") == "2"
    assert "work (step=2)" in gdb.execute("bt")
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_a_failed_save_in_stop_is_told(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "0")
    source(scene, gdb, stopper("(2, 4)", "save('taken')"))
    gdb.execute("run")
    printed = gdb.execute("continue")
    assert (
        'ckpt: the deferred save failed: there is already a snapshot "taken"; -force replaces it'
        in printed.splitlines()
    )
    assert (
        gdb.python("stopper.seen[1].error")
        == 'there is already a snapshot "taken"; -force replaces it'
    )
    gdb.execute("delete")
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_a_save_asked_for_before_the_end_is_told(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "0")
    source(scene, gdb, stopper("(5,)", "save()").replace("return True", "return False"))
    printed = gdb.execute("run")
    assert "ckpt: the deferred save failed: the program ended before it stopped" in printed
    assert "exited with code 07" in printed
    assert names(gdb) == []
    gdb.quit()


def test_a_restore_in_stop_goes_back(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2, step=2)
    gdb.execute("ckpt save early")
    gdb.execute("delete")
    source(scene, gdb, stopper("(4,)", "restore('early', session=False)"))
    for _ in range(3):
        printed = gdb.execute("continue")
        assert "in stop: <gdbext.Deferred restore: to come>" in printed
        assert 'Restored "early"' in printed and "#0  work (step=2)" in printed
        assert gdb.value("counter") == "2"
        assert [number for number, _, _ in gdb.thread_list()] == [1, 2, 3]
    gdb.execute("delete")
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_breakpoint_commands_leave_a_trail(scene: Scene) -> None:
    program = scene.compile(LOOP, "loop")
    gdb = scene.gdb(str(program))
    gdb.execute("break round_done")
    gdb.execute("commands\nsilent\nckpt save\ncontinue\nend")
    printed = gdb.execute("run", 60)
    assert [line.split('"')[1] for line in printed.splitlines() if line.startswith("Saved ")] == [
        f"loop-{number}" for number in range(1, 21)
    ]
    nonce = re.search(r"nonce (\w+) rounds 20", printed)
    assert nonce and "exited with code 07" in printed
    for number in (1, 7, 20):
        gdb.execute(f"ckpt restore loop-{number} -no-session")
        assert gdb.value("number") == str(number)
        gdb.execute("delete")
        assert f"nonce {nonce[1]} rounds 20" in gdb.execute("continue")
    gdb.quit()


def test_commands_of_a_breakpoint_of_python_leave_a_trail(scene: Scene) -> None:
    program = scene.compile(LOOP, "loop")
    gdb = scene.gdb(str(program))
    source(
        scene,
        gdb,
        """
import gdb, gdbext
class Every(gdb.Breakpoint):
    def stop(self):
        number = int(gdb.parse_and_eval("number"))
        if number % 5:
            return False
        gdbext.save(f"round-{number}")
        return True
every = Every("round_done")
every.silent = True
every.commands = "continue"
""",
    )
    printed = gdb.execute("run", 60)
    assert "rounds 20" in printed and "exited with code 07" in printed
    assert names(gdb) == ["round-5", "round-10", "round-15", "round-20"]
    gdb.quit()


def without_hits(listed: str) -> list[str]:
    """`info breakpoints` without addresses, which relocation changes,
    and how often each was hit.
    """
    lines = [re.sub(r"0x[0-9a-f]+ +", "", line) for line in listed.splitlines()[1:]]
    return [line for line in lines if "already hit" not in line]


def test_commands_are_as_they_were_after_a_save_in_stop(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "1")
    source(scene, gdb, stopper("(2, 4)", "save(f'step-{step}')"))
    gdb.execute(
        "commands 1\npython print('commands of', stopper.seen[-1].result.name)\nprint step\nend"
    )
    gdb.execute("tbreak say_nonce")
    gdb.execute("commands 2\nsilent\nif step == 1\necho no\\n\nend\nend")
    gdb.execute("break work if step == 2")
    gdb.execute("commands 3\nprint 1000 + step\nend")
    listed = gdb.execute("info breakpoints")
    printed = gdb.execute("run").splitlines()
    # The save comes before the commands of all breakpoints that were hit.
    assert printed[-3:] == ["commands of step-2", "$1 = 2", "$2 = 1002"]
    assert without_hits(gdb.execute("info breakpoints")) == without_hits(listed)
    assert gdb.execute("continue").splitlines()[-2:] == ["commands of step-4", "$3 = 4"]
    assert names(gdb) == ["step-2", "step-4"]
    gdb.quit()


def test_events_come_for_commands_and_functions(scene: Scene) -> None:
    gdb = run_to_work(scene)
    source(
        scene,
        gdb,
        """
import gdb, gdbext
def before_save(event):
    gdb.execute("set var watched = 4711")
    print("before_save", event.name, event.path.name, event.pid == gdb.selected_inferior().pid)
def after_save(saved):
    print("after_save", saved.name, saved.path.exists())
def before_restore(event):
    print("before_restore", event.name, event.pid == gdb.selected_inferior().pid)
def after_restore(restored):
    print("after_restore", restored.name, int(gdb.parse_and_eval("watched")))
handlers = (before_save, after_save, before_restore, after_restore)
for handler in handlers:
    getattr(gdbext.events, handler.__name__).connect(handler)
""",
    )
    printed = gdb.execute("ckpt save one").splitlines()
    assert printed[0] == "before_save one one.ckpt True"
    assert printed[1] == "after_save one True"
    assert printed[2].startswith('Saved "one"')
    gdb.execute("set var watched = 1")
    printed = gdb.execute("ckpt restore one").splitlines()
    assert printed[0] == "before_restore one True"
    # What the handler changed was saved.
    assert "after_restore one 4711" in printed
    # A save that fails is not told of as one; nor is what is refused before it begins.
    assert "after_save" not in gdb.execute("ckpt save one")
    for name in ("before_save", "after_save", "before_restore", "after_restore"):
        gdb.execute(f"python gdbext.events.{name}.disconnect({name})")
    assert gdb.execute("ckpt save two").startswith("Saved")
    gdb.execute("kill")
    gdb.quit()


def test_a_handler_that_fails_breaks_nothing(scene: Scene) -> None:
    gdb = run_to_work(scene)
    source(
        scene,
        gdb,
        """
import gdbext
def wrong(event):
    raise ValueError("on purpose")
for name in ("before_save", "after_save", "before_restore", "after_restore"):
    getattr(gdbext.events, name).connect(wrong)
""",
    )
    told = "ckpt: a handler of {} failed: ValueError: on purpose"
    printed = gdb.execute("ckpt save one").splitlines()
    assert printed[:2] == [told.format("before_save"), told.format("after_save")]
    assert printed[2].startswith('Saved "one"')
    printed = gdb.execute("ckpt restore one").splitlines()
    assert told.format("before_restore") in printed and told.format("after_restore") in printed
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_a_handler_that_lets_the_program_go_on(scene: Scene) -> None:
    gdb = run_to_work(scene)
    source(
        scene,
        gdb,
        """
import gdb, gdbext
def gone(event):
    gdb.execute("kill")
gdbext.events.before_save.connect(gone)
""",
    )
    assert (
        gdb.execute("ckpt save one").splitlines()[-1]
        == "ckpt save: there is no program being debugged"
    )
    assert names(gdb) == []
    gdb.quit()


PLUGIN = """
import gdb
class Device:
    def before_save(self, session):
        print("let go of", session.name, session.path.name, \
session.pid == gdb.selected_inferior().pid)
        gdb.execute("set var watched = -1")
    def after_restore(self, session):
        print("take hold of", session.name, session.pid == gdb.selected_inferior().pid)
        gdb.execute("set var watched = 4711")
class Half:
    def after_restore(self, session):
        raise RuntimeError("no such device")
"""


def test_plugins_are_told(scene: Scene) -> None:
    gdb = run_to_work(scene)
    source(
        scene,
        gdb,
        PLUGIN + "import gdbext\ndevice = gdbext.register(Device())\ngdbext.register(Half())\n",
    )
    printed = gdb.execute("ckpt save one").splitlines()
    assert printed[0] == "let go of one one.ckpt True" and printed[1].startswith('Saved "one"')
    gdb.execute("set var watched = 1")
    printed = gdb.execute("ckpt restore one").splitlines()
    assert "take hold of one True" in printed
    assert "ckpt: after_restore of the plug-in Half failed: RuntimeError: no such device" in printed
    assert gdb.value("watched") == "4711"
    gdb.execute("python gdbext.unregister(device)")
    gdb.execute("ckpt restore one")
    assert gdb.value("watched") == "-1"
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_plugins_that_are_installed(scene: Scene) -> None:
    place = scene.directory / "site"
    (place / "our_tools-1.0.dist-info").mkdir(parents=True)
    (place / "our_tools.py").write_text("print('imported')\n" + PLUGIN)
    (place / "our_tools-1.0.dist-info" / "METADATA").write_text("Name: our_tools\nVersion: 1.0\n")
    (place / "our_tools-1.0.dist-info" / "entry_points.txt").write_text(
        "[console_scripts]\nother = our_tools:nothing\n"
        "[gdbext.plugins]\ndevice = our_tools:Device\nmissing = our_tools:NoSuch\n"
    )
    gdb = scene.gdb(
        *("--args", scene.program("e2e_threads"), "0"), extra={"PYTHONPATH": python_path(place)}
    )
    gdb.execute("break work if step == 3")
    assert "imported" not in gdb.execute("run")
    assert "imported" not in gdb.execute("ckpt list")
    printed = gdb.execute("ckpt save one").splitlines()
    assert printed[0] == "imported"
    assert printed[1].startswith("ckpt: the plug-in missing failed: AttributeError: ")
    assert printed[2] == "let go of one one.ckpt True" and printed[3].startswith('Saved "one"')
    printed = gdb.execute("ckpt restore one").splitlines()
    assert "take hold of one True" in printed and "imported" not in printed
    gdb.execute("kill")
    gdb.quit()


def test_nothing_is_looked_for_before_a_save(scene: Scene) -> None:
    gdb = run_to_work(scene)
    modules = (
        "[n for n in __import__('sys').modules if n in ('gdbext.plugins', 'importlib.metadata')]"
    )
    assert gdb.python(modules) == "[]"
    save_line = gdb.execute("ckpt save one")
    assert save_line.startswith("Saved")
    assert gdb.python(modules) == "['gdbext.plugins']"
    gdb.execute("kill")
    gdb.quit()


def scripts_of_the_documentation() -> dict[str, str]:
    """The scripts in docs/scripting-gdb.md by their names."""
    text = (REPOSITORY / "docs" / "scripting-gdb.md").read_text()
    return dict(re.findall(r"<!-- script: (\S+) -->\n```python\n(.*?)```\n", text, re.DOTALL))


def jobs(scene: Scene) -> GdbSession:
    """The example program of the documentation, stopped at its second report."""
    text = (REPOSITORY / "docs" / "examples" / "jobs.c").read_text()
    gdb = scene.gdb(str(scene.compile(text, "jobs", "-pthread")))
    gdb.execute("break report if job == 2")
    assert "report (job=2)" in gdb.execute("run")
    return gdb


def test_the_scripts_of_the_documentation(scene: Scene) -> None:
    scripts = scripts_of_the_documentation()
    gdb = jobs(scene)
    gdb.execute("break report if job == 5")
    printed = source(scene, gdb, scripts.pop("twice.py"), "twice.py")
    assert printed.count("total is 55") == 2 and "back at total 5" in printed
    assert "refused: there is already" in printed
    source(scene, gdb, scripts.pop("log.py"), "log.py")
    assert "before-log: 0 findings]" in gdb.execute("ckpt save before-log")
    source(scene, gdb, scripts.pop("session_token.py"), "session_token.py")
    assert "is about to be saved as with-token" in gdb.execute("ckpt save with-token")
    gdb.execute("ckpt restore with-token")
    assert gdb.value("ticket") == "4711"
    gdb.execute("delete")
    assert source(scene, gdb, scripts.pop("trail.py"), "trail.py").startswith("Breakpoint ")
    printed = gdb.execute("continue", 60)
    assert re.findall(r"^saved (\S+)$", printed, re.MULTILINE) == [
        "total-14",
        "total-30",
        "total-91",
        "total-204",
    ]
    gdb.quit()
    assert not scripts, f"no test runs {', '.join(scripts)}"
