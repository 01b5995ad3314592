"""The debugger's own state comes back with the program:
breakpoints, watchpoints, displays, arguments, environment.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gdbsession import GdbSession
from scene import BUILD, SOURCES, Scene, line_of, refuse, restore, save
from steps import continue_to_end, run_to_work, without_ids

SOURCE = SOURCES / "e2e_threads.cpp"


def execute_block(gdb: GdbSession, lines: Sequence[str]) -> str:
    """A command that takes several lines, such as `commands`, up to its `end`."""
    return gdb.execute("\n".join([*lines, "end"]))


def breakpoints(gdb: GdbSession) -> list[str]:
    """`info breakpoints` without its heading and without how often each was hit:
    that is the run's, not the user's.
    """
    lines = gdb.execute("info breakpoints").splitlines()
    return [line for line in lines if not line.startswith("Num ") and "already hit" not in line]


def without_numbers(lines: Sequence[str]) -> list[str]:
    """Breakpoint lines without the numbers, for sessions that number them anew."""
    return [re.sub(r"^\d+ +", "", line) for line in lines]


def test_every_kind_of_breakpoint_comes_back(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=1)
    gdb.execute("set breakpoint pending on")
    line = line_of(SOURCE, "work writes watched")
    gdb.execute(f"break {SOURCE.name}:{line} if counter > 6")
    gdb.execute("ignore 2 1")
    execute_block(gdb, ["commands 2", "silent", 'printf "hit at %d\\n", step'])
    gdb.execute("tbreak say_nonce")
    gdb.execute("break not_yet_loaded")
    gdb.execute("break worker_waits")
    gdb.execute("disable 5")
    gdb.execute("hbreak main")
    saved_list = breakpoints(gdb)
    assert len([text for text in saved_list if re.match(r"\d+ ", text)]) == 6
    save(gdb, "breakpoints")
    assert breakpoints(gdb) == saved_list
    gdb.quit()

    again = scene.gdb()
    restore(again, "breakpoints")
    assert breakpoints(again) == saved_list
    # Breakpoint 2 lets one hit pass (step 3), and its commands run at the next (step
    # 4); 1 wants step 3 only.
    assert again.execute("continue").endswith("hit at 4")
    # The temporary one is gone after its hit, at the end of the loop.
    again.execute("delete 2")
    assert "Temporary breakpoint" in again.execute("continue")
    assert "say_nonce" not in "\n".join(breakpoints(again))
    again.execute("delete")
    assert continue_to_end(again, 7)[-1] == "PASS"
    again.quit()


LIBRARY = "int total;\nvoid part(int n) {\n  total += n;\n}\n"
HOST = """
#include <dlfcn.h>
#include <stdlib.h>
static void load(const char *name) {
  void (*part)(int) = (void (*)(int))dlsym(dlopen(name, RTLD_NOW), "part");
  for (int n = 0; n < 9; n++) part(n);
}
int main(int argc, char **argv) { load(argv[argc - 1]); return 0; }
"""


def test_the_condition_of_a_pending_breakpoint_comes_back(scene: Scene) -> None:
    library = scene.compile(LIBRARY, "part.so", "-shared", "-fPIC")
    gdb = scene.gdb("--args", str(scene.compile(HOST, "host")), str(library))
    gdb.execute("set breakpoint pending on")
    gdb.execute("break load")
    gdb.execute("break part.c:3 if n == 7")
    gdb.execute("run")
    save(gdb, "pending")
    expected = breakpoints(gdb)
    # Here the breakpoint is in its place meanwhile, and known by its condition.
    assert "part (n=7)" in gdb.execute("continue")
    restore(gdb, "pending")
    assert len(breakpoints(gdb)) == 3, gdb.report()
    assert "part (n=7)" in gdb.execute("continue")
    gdb.quit()
    again = scene.gdb()
    restore(again, "pending")
    assert (
        again.python("[(b.location, b.condition, b.pending) for b in gdb.breakpoints()][1]")
        == "('part.c:3', 'n == 7', True)"
    )
    # Of one that was typed with its condition GDB 13 shows both as its place.
    place, condition = breakpoints(again)[1:]
    assert condition == "\tstop only if n == 7" and expected[1:] in (
        [f"{place} if n == 7"],
        [place, condition],
    )
    assert "part (n=7)" in again.execute("continue")
    again.execute("kill")
    again.quit()


def test_other_inferiors_are_named(scene: Scene) -> None:
    gdb = run_to_work(scene)
    plain = save(gdb, "alone").report
    assert "inferior" not in plain
    gdb.execute(f"add-inferior -exec {scene.program('e2e_blocking')}")
    assert "inferior" not in save(gdb, "not-running").report
    gdb.execute("inferior 2")
    gdb.execute("starti")
    pid = gdb.inferior_pid
    gdb.execute("inferior 1")
    line = (
        f"note: inferior 2: program: process {pid} ({scene.program('e2e_blocking')}) "
        "is not part of the snapshot"
    )
    assert line in save(gdb, "both").report
    assert line in gdb.execute("ckpt info both")
    gdb.quit()


def test_a_restore_makes_no_duplicates(watching_scene: Scene) -> None:
    gdb = run_to_work(watching_scene)
    gdb.execute("watch watched")
    gdb.execute("display counter")
    gdb.execute("tbreak say_nonce")
    expected = breakpoints(gdb)
    displays = gdb.execute("info display")
    save(gdb, "twice")
    # In the session that saved, which has them all already...
    for _ in range(2):
        restore(gdb, "twice")
        assert breakpoints(gdb) == expected
        assert gdb.execute("info display") == displays
    gdb.quit()
    # ... and in a session that got them from the first restore.
    again = watching_scene.gdb()
    restore(again, "twice")
    restore(again, "twice")
    assert breakpoints(again) == expected
    assert again.execute("info display") == displays
    again.quit()


def test_breakpoints_the_session_has_already_are_kept(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "one")
    gdb.quit()
    again = scene.gdb(scene.program("e2e_threads"))
    again.execute("break say_nonce")
    again.execute("break work if step == 3")
    restore(again, "one")
    text = "\n".join(breakpoints(again))
    assert text.count("say_nonce") == 1
    assert text.count("stop only if step == 3") == 1
    assert "say_nonce" in again.execute("continue")
    again.quit()


def test_the_first_change_after_the_restore_is_caught(watching_scene: Scene) -> None:
    gdb = run_to_work(watching_scene, step=2)
    gdb.execute("watch watched")
    save(gdb, "watched")
    gdb.quit()
    again = watching_scene.gdb()
    restore(again, "watched")
    stopped = again.execute("continue")
    assert "Old value = 101" in stopped and "New value = 102" in stopped
    # The same in the session that has the watchpoint already, with the value of a later moment.
    restore(again, "watched")
    stopped = again.execute("continue")
    assert "Old value = 101" in stopped and "New value = 102" in stopped
    assert "New value = 103" in again.execute("continue") or "work (step=3)" in again.execute("bt")
    again.quit()


def test_a_software_watchpoint_is_caught_too(scene: Scene) -> None:
    gdb = run_to_work(scene, step=2)
    gdb.execute("set can-use-hw-watchpoints 0")
    gdb.execute("watch watched")
    save(gdb, "watched")
    gdb.quit()
    again = scene.gdb()
    again.execute("set can-use-hw-watchpoints 0")
    restore(again, "watched")
    stopped = again.execute("continue")
    assert "Old value = 101" in stopped and "New value = 102" in stopped
    again.quit()


def test_a_watchpoint_of_an_address_comes_back(watching_scene: Scene) -> None:
    gdb = run_to_work(watching_scene, step=2)
    gdb.execute("watch -location counter")
    save(gdb, "location")
    gdb.quit()
    again = watching_scene.gdb()
    restore(again, "location")
    stopped = again.execute("continue")
    assert "Old value = 2" in stopped and "New value = 6" in stopped
    again.quit()


def test_displays_come_back_and_show(scene: Scene) -> None:
    gdb = run_to_work(scene)
    gdb.execute("display/x counter")
    gdb.execute("display step")
    gdb.execute("undisplay 1")
    gdb.execute("display/i $pc")
    displays = gdb.execute("info display")
    save(gdb, "displays")
    gdb.quit()
    again = scene.gdb()
    restore(again, "displays")
    shown = [line.split(":", 1)[1] for line in displays.splitlines() if re.match(r"\d+:", line)]
    now = again.execute("info display")
    assert [line.split(":", 1)[1] for line in now.splitlines() if re.match(r"\d+:", line)] == shown
    assert "step = 3" in again.execute("next")
    again.quit()


def test_arguments_and_environment_come_back(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "2")
    gdb.execute("set environment COLOUR dark green")
    gdb.execute("unset environment LANG")
    gdb.execute("break work if step == 3")
    gdb.execute("run")
    arguments = gdb.execute("show args")
    save(gdb, "surroundings")
    gdb.quit()
    again = scene.gdb()
    restore(again, "surroundings")
    assert again.execute("show args") == arguments
    assert "COLOUR = dark green" in again.execute("show environment COLOUR")
    assert "not defined" in again.execute("show environment LANG")
    # And so `run` starts the program as before.
    assert "work (step=3)" in again.execute("run")
    assert again.value("(int) arrived") == "2"
    again.quit()


def test_arguments_of_several_lines_come_back(scene: Scene) -> None:
    """As those of `python3 -c`."""
    words = ["a\nshell false", '100%s "q"', "back\\n", "c\rd", "\n"]
    program = scene.compile(
        "void work(void) {}\nint main(void) { work(); return 0; }\n", "takes_anything"
    )
    gdb = scene.gdb("--args", str(program), *words)
    gdb.execute("break work")
    gdb.execute("run")
    save(gdb, "lines")
    gdb.quit()
    again = scene.gdb()
    restore(again, "lines")
    assert "work ()" in again.execute("run")
    cmdline = Path(f"/proc/{again.inferior_pid}/cmdline").read_bytes()
    assert [word.decode() for word in cmdline.split(b"\0")[1:-1]] == words
    again.execute("kill")
    again.quit()


def test_what_is_set_less_often_comes_back(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=1)
    gdb.execute(f"set cwd {scene.directory}")
    gdb.execute("set substitute-path /built/here /found/there")
    gdb.execute(f"directory {scene.directory}")
    gdb.execute("display counter")
    gdb.execute("disable display 1")
    gdb.execute("break worker_waits thread 2")
    gdb.execute("catch throw std::.*")
    gdb.execute("tcatch fork")
    save(gdb, "settings")
    settings = ("cwd", "substitute-path", "directories")
    before = [gdb.execute(f"show {name}") for name in settings]
    displays, listed = gdb.execute("info display"), breakpoints(gdb)
    assert any("thread 2" in line for line in listed) and "std::" in "".join(listed)
    gdb.quit()
    again = scene.gdb()
    restore(again, "settings")
    assert [again.execute(f"show {name}") for name in settings] == before
    assert again.execute("info display") == displays
    assert breakpoints(again) == listed
    again.quit()


def test_a_symbol_file_that_is_gone_is_named(scene: Scene) -> None:
    symbols = scene.copy_of("e2e_threads")
    gdb = run_to_work(scene)
    gdb.execute(f"add-symbol-file {symbols} 0x10000000")
    save(gdb, "symbols")
    gdb.quit()
    symbols.unlink()
    again = scene.gdb()
    restored = restore(again, "symbols")
    assert restored.notes == (
        f"note: the symbol file {symbols} is gone: its symbols are not loaded",
    )
    again.quit()


def test_symbols_of_another_file_come_back(scene: Scene) -> None:
    symbols = scene.copy_of("e2e_threads")
    bare = scene.directory / "bare"
    subprocess.run(["strip", "-o", bare, symbols], check=True)
    gdb = scene.gdb()
    gdb.execute(f"exec-file {bare}")
    gdb.execute(f"symbol-file {symbols}")
    gdb.execute("break work if step == 3")
    gdb.execute("set args 0")
    gdb.execute("run")
    save(gdb, "apart")
    gdb.quit()
    again = scene.gdb()
    restored = restore(again, "apart")
    assert not restored.notes and "work (step=3)" in restored.frame
    again.quit()
    os.utime(symbols, (2**32, 2**32))
    assert symbols_noted(scene) == f"{symbols} is newer than the snapshot"
    symbols.unlink()
    assert symbols_noted(scene) == f"{symbols} is gone"


def symbols_noted(scene: Scene) -> str:
    """Why the symbols of "apart" are the executable's."""
    gdb = scene.gdb()
    gdb.execute("set non-stop on")
    refuse(gdb, "ckpt restore apart", "non-stop mode is on")
    gdb.execute("set non-stop off")
    # And what the session had that needs them.
    (note,) = [each for each in restore(gdb, "apart").notes if "symbols" in each]
    gdb.quit()
    found = re.fullmatch("note: the symbol file (.*): symbols come from the executable", note)
    assert found, note
    return found[1]


def test_no_session_leaves_it_all_out(scene: Scene) -> None:
    gdb = run_to_work(scene)
    gdb.execute("display counter")
    gdb.execute("watch watched")
    save(gdb, "bare")
    gdb.quit()
    again = scene.gdb()
    again.execute("set args untouched")
    restore(again, "bare -no-session")
    assert again.execute("info breakpoints").startswith("No breakpoints")
    assert again.execute("info display") == "There are no auto-display expressions now."
    assert "untouched" in again.execute("show args")
    assert continue_to_end(again, 7)[-1] == "PASS"
    again.quit()


def test_inserted_breakpoints_do_not_get_into_the_image(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=1)
    code = gdb.execute("x/16xb work")
    gdb.execute("set breakpoint always-inserted on")
    gdb.execute("break worker_waits")
    gdb.execute("break say_nonce")
    image = scene.directory / "inserted.ckpt"
    save(gdb, f"inserted -o {image}")
    gdb.quit()
    # GDB shows its own idea of inserted breakpoints; a session without any shows the memory itself.
    again = scene.gdb()
    restore(again, f"{image} -no-session")
    assert again.execute("x/16xb work") == code
    assert continue_to_end(again, 7)[-1] == "PASS"
    again.quit()
    # Without GDB an int3 that leaked would end the program by SIGTRAP.
    alone = subprocess.run(
        [BUILD / "bin" / "ckpt-restart", image],
        env=scene.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert alone.returncode == 7, alone
    assert alone.stdout.endswith("PASS\n")


def test_saving_leaves_inserted_breakpoints_working(scene: Scene) -> None:
    gdb = run_to_work(scene)
    gdb.execute("set breakpoint always-inserted on")
    gdb.execute("break say_nonce")
    save(gdb, "still")
    assert "say_nonce" in gdb.execute("continue")
    gdb.quit()


def test_what_would_run_a_shell_is_not_made_again(scene: Scene) -> None:
    # Before GDB 14 there is no such function; whatever has its name will do.
    scene.write(
        "shell.py",
        "import gdb\n\nclass Shell(gdb.Function):\n    def invoke(self, command):\n"
        "        gdb.write('RAN\\n')\n        return 0\n\nShell('_shell')\n",
    )
    gdb = run_to_work(scene)
    gdb.execute("source shell.py")
    gdb.execute('display $_shell("date")')
    gdb.execute('break work if $_shell("date") == 1')
    gdb.execute("display step")
    save(gdb, "shell")
    gdb.quit()
    again = scene.gdb()
    again.execute("source shell.py")
    restored = restore(again, "shell")
    assert "RAN" not in restored.text
    assert sorted(note for note in restored.notes if "runs a shell" in note) == [
        "note: breakpoint 2 (break work) runs a shell: it was not made again",
        'note: display $_shell("date") runs a shell: it was not made again',
    ]
    assert "step" in again.execute("info display")
    again.quit()


def libraries_open(gdb: GdbSession) -> dict[str, str]:
    """Where GDB has the files of the libraries in its own memory."""
    rows = [line.split() for line in gdb.execute("maintenance info bfds").splitlines()]
    return {row[2]: row[1] for row in rows if len(row) == 3 and ".so" in row[2]}


def test_a_restore_in_the_same_gdb_reads_no_symbols_again(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    # In the C library and in the dynamic linker.
    gdb.execute('break malloc if $_streq("never", "true")')
    gdb.execute("disable 2.1")
    before, threads = gdb.execute("info breakpoints"), gdb.execute("info threads")
    assert "2.1                         n" in before and "2.2                         y" in before
    files = libraries_open(gdb)
    assert len(files) > 1
    save(gdb, "here")
    for _ in range(3):
        gdb.execute("next")
        restore(gdb, "here")
        assert libraries_open(gdb) == files
        assert gdb.execute("info breakpoints") == before
        assert without_ids(gdb.execute("info threads")) == without_ids(threads)
        assert len(gdb.execute("info inferiors").splitlines()) == 2
    # A failing one leaves nothing of it either.
    assert "ckpt restore: " in gdb.execute("ckpt restore here -set nothing_such=1")
    assert len(gdb.execute("info inferiors").splitlines()) == 2
    restore(gdb, "here")
    gdb.execute("delete")
    assert "exited with code 07" in gdb.execute("continue")
    gdb.quit()
