"""Programs in other languages than C: GDB reads expressions in the language of the selected frame,
and what we ask it must work in each, and what the user has asked must come back as it was meant.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from gdbsession import REPOSITORY, GdbSession
from scene import Scene, restore, save

ROOT = os.getuid() == 0
SOURCES = REPOSITORY / "tests" / "programs" / "languages"


class Subject(NamedTuple):
    """A program that adds 2, 4, 6... in work(step), and how its language says what the test wants
    to know.

    `compiler` with `words` makes PROGRAM of SOURCE. The expressions: `step` a local, `total` and
    its text when the program is saved, `whole` what holds it and grows, and `doubled` the local
    that `assigned` changes.
    """

    name: str
    compiler: str
    words: tuple[str, ...]
    where: str
    step: str
    total: str
    whole: str
    threads: int | None = 1
    source: str = "subject"
    last: str = ""  # called when all is done, where a program must not be let end under GDB


SUBJECTS = (
    Subject(
        "rust", "rustc", ("-g", "-o", "PROGRAM", "SOURCE"),
        "subject::work", "step", "ledger.total", "*ledger", 5,
    ),
    Subject(
        "go", "go", ("build", "-gcflags", "-N -l", "-o", "PROGRAM", "SOURCE"),
        "main.work", "step", "book.total", "*book", None, last="main.last",
    ),
    Subject(
        "fortran", "gfortran", ("-g", "-o", "PROGRAM", "SOURCE"),
        "work", "step", "total", "entries",
    ),
    Subject(
        "ada", "gnatmake", ("-q", "-g", "-o", "PROGRAM", "SOURCE"),
        "subject.work", "step", "book.total", "book", 2,
    ),
    Subject(
        "pascal", "fpc", ("-g", "-gw2", "-v0", "-oPROGRAM", "SOURCE"),
        "subject.pas:16", "step", "book^.total", "book^",
    ),
    Subject(
        "d", "gdc", ("-g", "-o", "PROGRAM", "SOURCE"),
        "subject.work", "step", "step", "twice", 2,
    ),
    Subject(
        "asm", "gcc", ("-g", "-nostdlib", "-static", "-o", "PROGRAM", "SOURCE"),
        "work", "$rdi", "*(long *) &total", "*(long *) &total",
    ),
)  # fmt: skip
SUFFIXES = {
    "rust": "rs", "go": "go", "fortran": "f90", "ada": "adb", "pascal": "pas", "d": "d", "asm": "s",
}  # fmt: skip


@pytest.fixture(scope="module")
def build() -> Iterator[Callable[[Subject], str]]:
    """Compiles a subject once, where any user may run it."""
    with tempfile.TemporaryDirectory(prefix="ckpt-languages-") as name:
        directory = Path(name)
        directory.chmod(0o755)

        def made(subject: Subject) -> str:
            compiler = shutil.which(subject.compiler)
            if compiler is None:
                pytest.skip(f"no compiler for {subject.name}: {subject.compiler} is not on PATH")
            source = directory / f"{subject.source}.{SUFFIXES[subject.name]}"
            program = directory / f"{subject.source}_in_{subject.name}"
            if not program.exists():
                shutil.copy(SOURCES / source.name, source)
                words = {"PROGRAM": str(program), "SOURCE": str(source)}
                placeholder = re.compile("|".join(words))
                command = [
                    placeholder.sub(lambda each: words[each[0]], word) for word in subject.words
                ]
                done = subprocess.run(
                    [compiler, *command],
                    cwd=directory,
                    env={**os.environ, "GOCACHE": str(directory / "go")},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stdout + done.stderr
            return str(program)

        yield made


@pytest.fixture(autouse=True)
def no_index_cache(scene: Scene) -> None:
    """GDB reads the symbols of these languages itself, as it does for users:
    it does so differently for some.
    """
    scene.index_cache = False


def stack(gdb: GdbSession) -> str:
    """The backtrace as far as the caller. What is further out depends on whether GDB
    has learned what main is.
    """
    return gdb.execute("bt 2").replace("\n(More stack frames follow...)", "")


def lines_of_the_program(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("nonce", "step"))]


def to_the_end(gdb: GdbSession, subject: Subject) -> list[str]:
    """What the program prints still. When one of its threads makes another while it ends, as Go's
    runtime does, GDB 16 says "Couldn't get registers: No such process." and may hang, also of a
    program that never was in a snapshot.
    """
    if subject.last:
        gdb.execute(f"break {subject.last}")
    printed = gdb.execute("continue")
    assert (f"{subject.last} (" if subject.last else "exited") in printed, gdb.report()
    if subject.last:
        gdb.execute("kill")
    return lines_of_the_program(printed)


@pytest.mark.parametrize("subject", SUBJECTS, ids=[subject.name for subject in SUBJECTS])
def test_save_and_restore_three_times(
    scene: Scene, build: Callable[[Subject], str], subject: Subject
) -> None:
    gdb = scene.gdb(build(subject))
    # The runtime of D stops threads by these for its collector.
    gdb.execute("handle SIGUSR1 SIGUSR2 nostop noprint pass")
    gdb.execute(f"break {subject.where}")
    gdb.execute("run")
    gdb.execute("continue")
    assert f"currently {subject.name}" in gdb.execute("show language")
    gdb.execute(f"display {subject.total}")
    gdb.execute(f"watch {subject.total}")
    before, step, total = stack(gdb), gdb.value(subject.step), gdb.value(subject.total)
    whole = gdb.value(subject.whole)
    watched = "watchpoint" in gdb.execute("info breakpoints")
    saved = save(gdb, "here")
    assert subject.threads in (None, saved.threads)
    assert (stack(gdb), gdb.value(subject.step), gdb.value(subject.total)) == (before, step, total)
    gdb.execute("delete")
    gdb.execute("finish")
    save(gdb, "later")
    expected = to_the_end(gdb, subject)
    gdb.quit()
    # Each language begins with another mode.
    ids = itertools.cycle(("saved", "virtual") if ROOT else ("virtual",))
    for _ in range(SUBJECTS.index(subject) % 2):
        next(ids)
    for turn, mode in zip(range(3), ids):
        again = scene.gdb()
        restored = restore(again, f"here -ids {mode}")
        assert not [
            note for note in restored.notes if "could not" in note or "incomplete" in note
        ], restored.text
        assert f"1: {subject.total} = {total}" in restored.frame
        assert (stack(again), again.value(subject.step), again.value(subject.total)) == (
            before,
            step,
            total,
        )
        assert again.value(subject.whole) == whole
        assert f"currently {subject.name}" in again.execute("show language")
        points = again.execute("info breakpoints")
        assert ("watchpoint" in points) == watched and "breakpoint already hit" not in points
        again.execute("delete")
        if turn == 0:
            assert re.search(r"^\d+\s", again.execute("next"), re.MULTILINE)
            assert "Run till exit" in again.execute("finish")
        assert to_the_end(again, subject) == expected
        again.quit()


def test_go_signals_its_threads_by_the_ids_that_they_have(
    scene: Scene, build: Callable[[Subject], str]
) -> None:
    gdb = scene.gdb(build(SUBJECTS[1]._replace(source="spinning")))
    gdb.execute("break main.collected if times == 0")
    gdb.execute("run")
    save(gdb, "0")
    # Each but the first is of a program that was itself restored.
    for number, mode in enumerate(
        ("virtual", "saved", "virtual", "saved") if ROOT else ("virtual",) * 2
    ):
        restore(gdb, f"{number} -ids {mode}")
        save(gdb, f"{number + 1}")
        gdb.execute("delete")
        assert "collected 3" in gdb.execute("continue"), gdb.report()
    gdb.quit()


@pytest.mark.parametrize("subject", SUBJECTS[:5], ids=[subject.name for subject in SUBJECTS[:5]])
def test_snapshots_without_a_process(
    scene: Scene, build: Callable[[Subject], str], subject: Subject
) -> None:
    gdb = scene.gdb(build(subject))
    gdb.execute(f"break {subject.where}")
    gdb.execute("run")
    seen = []
    for name in ("one", "two"):
        save(gdb, name)
        seen.append((gdb.value(subject.step), gdb.value(subject.total), stack(gdb)))
        gdb.execute("continue")
    gdb.execute("kill")
    gdb.quit()
    gdb = scene.gdb()
    printed = gdb.execute(f"ckpt print '{subject.step}' one two")
    assert re.search(rf"^one .*  {seen[0][0]}$", printed, re.MULTILINE), printed
    assert re.search(rf"^two .*  {seen[1][0]}$", printed, re.MULTILINE), printed
    if subject.threads is not None:  # Go's own threads do as they like meanwhile
        changed = gdb.execute("ckpt diff one two", timeout_s=60)
        moved = rf"^  {subject.step} .*: {seen[0][0]} -> {seen[1][0]}$"
        assert re.search(moved, changed, re.MULTILINE | re.IGNORECASE), changed
    changed = gdb.execute(f"ckpt diff one two -- '{subject.total}'", timeout_s=60)
    assert f"{subject.total}: {seen[0][1]} -> {seen[1][1]}" in changed
    gdb.execute("ckpt inspect two")
    assert (gdb.value(subject.step), gdb.value(subject.total), stack(gdb)) == seen[1]
    gdb.quit()


# Each with an expression for the first element of the program's array, and one that assigns to it.
# Not Rust, in which GDB finds no global of C in a program that it has attached to.
SETTINGS = {
    "ada": ("cells(0)", "cells(0) := 5"),
    "asm": ("cells[0]", "cells[0] = 5"),
    "c": ("cells[0]", "cells[0] = 5"),
    "c++": ("cells[0]", "cells[0] = 5"),
    "d": ("cells[0]", "cells[0] = 5"),
    "fortran": ("cells(0)", "cells(0) = 5"),
    "go": ("cells[0]", "cells[0] = 5"),
    "minimal": ("cells[0]", "cells[0] = 5"),
    "modula-2": ("cells[0]", "cells[0] := 5"),
    "objective-c": ("cells[0]", "cells[0] = 5"),
    "opencl": ("cells[0]", "cells[0] = 5"),
    "pascal": ("cells[0]", "cells[0] := 5"),
}

CELLS = """
#include <stdio.h>
int cells[3] = {11, 12, 13};
void reached(int step) { cells[1] += step; }
int main(void)
{
  for (int step = 1; step <= 3; step++) {
    reached(step);
    printf("step %d %d %d\\n", step, cells[0], cells[1]);
  }
  return 0;
}
"""


def test_a_c_program_while_another_language_is_set(scene: Scene) -> None:
    gdb = scene.gdb(str(scene.compile(CELLS, "cells")))
    gdb.execute("break reached")
    gdb.execute("run")
    for language, (element, _) in SETTINGS.items():
        gdb.execute(f"set language {language}")
        gdb.execute(f"display {element}")
        gdb.execute(f"watch {element}")
        save(gdb, language)
        gdb.execute("undisplay")
        gdb.execute("delete $bpnum")
    gdb.quit()
    # Each restore finds the language of the one before.
    again = scene.gdb()
    for language, (element, assignment) in SETTINGS.items():
        restored = restore(again, f"{language} -set '{assignment}'")
        assert f"{element} = 5" in restored.frame, (language, restored.text)
        assert f'"{language}"' in again.execute("show language")
        assert f" {element}" in again.execute("info breakpoints"), (language, again.report())
        again.execute("delete")
        assert "step 3 5 18" in again.execute("continue"), again.report()
        if language == "pascal":
            again.execute("undisplay")  # GDB 13 dies of one with a subscript when libraries go
        # With displays that the session has: GDB looks at none while the program is parked.
        restored = restore(again, language)
        assert f"{element} = 11" in restored.frame, (language, restored.text)
        again.execute("undisplay")
        again.execute("delete")
    again.quit()
