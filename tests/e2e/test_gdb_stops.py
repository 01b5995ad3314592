"""What a user has for stops (`hook-stop`, displays, Python handlers, as gef, pwndbg and dashboards
do) after a restore: each once, when everything is as it will be.
"""

from __future__ import annotations

import re

from scene import Scene, restore, save
from steps import run_to_work

SCRIPT = """
import gdb
def on_stop(event):
    points = [each.number for each in getattr(event, "breakpoints", ())]
    place = gdb.selected_frame().name()
    print("handler:", type(event).__name__, points, getattr(event, "stop_signal", None), place,
          "counter", int(gdb.parse_and_eval("counter")), \
"threads", len(gdb.selected_inferior().threads()))
gdb.events.stop.connect(on_stop)
"""
HOOK = """
define hook-stop
  printf "hook: counter %d\\n", counter
end
"""


def told(text: str) -> list[str]:
    """The lines that hooks, handlers and displays print, and where a restore says what it did."""
    wanted = ("hook: ", "handler: ", "1: counter", "Restored ", "Error while")
    return [line.split(",")[0] for line in text.splitlines() if line.startswith(wanted)]


def test_each_is_run_once_on_the_final_state(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    save(gdb, "here")
    gdb.execute(f"source {scene.write('handlers.py', SCRIPT)}")
    gdb.execute(f"source {scene.write('hook.gdb', HOOK)}")
    gdb.execute("display counter")
    stepped = gdb.execute("next 2")
    # The order is GDB's own.
    assert told(stepped) == [
        "hook: counter 12",
        "1: counter = 12",
        "handler: StopEvent [] None work counter 12 threads 3",
    ], gdb.report()
    expected = [
        'Restored "here"',
        "hook: counter 6",
        "1: counter = 6",
        "handler: BreakpointEvent [1] None work counter 6 threads 3",
    ]
    assert told(restore(gdb, "here").text) == expected, gdb.report()
    # By a script that prints nothing of its own:
    # nothing is shown, but those that listen hear of it.
    script = scene.write("restores.py", "import gdbext\ngdbext.restore('here')\n")
    assert told(gdb.execute(f"source {script}")) == [expected[1], expected[3]], gdb.report()
    # They are still there.
    assert told(gdb.execute("next 2")) == told(stepped), gdb.report()
    gdb.quit()


def test_the_event_is_that_of_the_save(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_signals"), "segv")
    assert "SIGSEGV" in gdb.execute("run")
    save(gdb, "fault")
    gdb.execute(
        "python gdb.events.stop.connect(lambda e: print('event:', type(e).__name__, e.stop_signal))"
    )
    assert restore(gdb, "fault").text.count("event: SignalEvent SIGSEGV") == 1, gdb.report()
    gdb.quit()


def test_one_that_restores_is_not_called_for_it(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "here")
    script = """
import gdb, gdbext
seen = []
def back(event):
    seen.append(int(gdb.parse_and_eval("counter")))
    print("back from", seen)
    gdbext.restore("here")
gdb.events.stop.connect(back)
gdb.events.stop.connect(lambda event: print("other sees", int(gdb.parse_and_eval("counter"))))
"""
    gdb.execute(f"source {scene.write('back.py', script)}")
    printed = gdb.execute("next 2")
    assert printed.count("back from [12]") == 1 and "back from [12," not in printed, gdb.report()
    # Once for the restore, once for the stop that the restore came of.
    assert printed.count("other sees 6") == 2, gdb.report()
    assert gdb.value("counter") == "6"
    gdb.quit()


def test_a_hook_that_fails_and_one_that_goes_on(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "here")
    gdb.execute(
        "source "
        f"{scene.write('fails.gdb', 'define hook-stop'+chr(10)+'print nosuch'+chr(10)+'end')}"
    )
    restored = restore(gdb, "here")
    assert told(restored.text) == [
        'Restored "here"',
        "Error while running hook_stop:",
    ], gdb.report()
    # The program goes on in the hook, once: what is shown then is where it is.
    hook = (
        "define hook-stop\nif counter == 6 && $_thread == 1 && $once == 0\nset $once = 1\nfinish\n"
        "end\nend\n"
    )
    gdb.execute(f"source {scene.write('finishes.gdb', 'set $once = 0' + chr(10) + hook)}")
    gone_on = restore(gdb, "here")
    assert gone_on.frame.count(" at ") == 1 and re.match(
        r"(0x\w+ in )?main ", gone_on.frame
    ), gdb.report()
    gdb.quit()
