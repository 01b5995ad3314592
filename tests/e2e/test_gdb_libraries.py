"""Libraries and symbols come back by themselves, also when the files have changed or gone since."""

from __future__ import annotations

import os
from pathlib import Path

from gdbsession import GdbSession
from scene import SOURCES, Scene, restore, save
from steps import continue_to_end, run_to_work

FIRST = """
static volatile int first_calls;
int first_value(int x)
{
  first_calls++;
  return x * 100 + first_calls;
}
"""
SECOND = "int second_value(int x)\n{\n  return x * 1000;\n}\n"


def run_with_libraries(scene: Scene) -> tuple[GdbSession, Path, Path]:
    """e2e_libraries stopped between its two libraries: the first is loaded, the second is not."""
    first = scene.compile(FIRST, "first.so", "-shared", "-fPIC")
    second = scene.compile(SECOND, "second.so", "-shared", "-fPIC")
    gdb = scene.gdb("--args", scene.program("e2e_libraries"), str(first), str(second))
    gdb.execute("break between")
    assert "between ()" in gdb.execute("run"), gdb.report()
    return gdb, first, second


def test_a_library_from_dlopen_has_its_symbols(scene: Scene) -> None:
    gdb, first, _ = run_with_libraries(scene)
    libraries = gdb.execute("info sharedlibrary")
    assert str(first) in libraries
    save(gdb, "dlopen")
    expected = continue_to_end(gdb, 6)
    gdb.quit()
    again = scene.gdb()
    restore(again, "dlopen")
    # After an attach GDB lists them in the order of the link map.
    assert sorted(again.execute("info sharedlibrary").splitlines()) == sorted(
        libraries.splitlines()
    )
    assert again.value("first_calls") == "1"
    again.execute("break first_value")
    assert "first_value (x=2) at" in again.execute("continue")
    assert continue_to_end(again, 6) == expected
    again.quit()


def test_a_library_loaded_after_the_restore_gets_its_symbols(scene: Scene) -> None:
    gdb, _, second = run_with_libraries(scene)
    gdb.execute("set breakpoint pending on")
    gdb.execute("break second_value")
    assert "<PENDING>" in gdb.execute("info breakpoints")
    save(gdb, "pending")
    gdb.quit()
    again = scene.gdb()
    restore(again, "pending")
    assert str(second) not in again.execute("info sharedlibrary")
    assert "second_value (x=3) at" in again.execute("continue")
    assert str(second) in again.execute("info sharedlibrary")
    assert continue_to_end(again, 6)[-1] == "PASS"
    again.quit()


def test_add_symbol_file_comes_back(scene: Scene) -> None:
    gdb = run_to_work(scene)
    obj = scene.compile(
        "int only_in_this_file = 4711;\nint extra(void)\n{\n  return 1;\n}\n", "extra.o", "-c"
    )
    assert "add symbol table" in gdb.execute(f"add-symbol-file {obj} 0x5550000")
    where = gdb.execute("info line extra")
    assert "extra.c" in where
    save(gdb, "symbols")
    gdb.quit()
    again = scene.gdb()
    restore(again, "symbols")
    assert again.execute("info line extra") == where
    # A second restore does not add it twice.
    restore(again, "symbols")
    assert again.execute("info line extra") == where
    again.quit()


def test_a_deleted_library_comes_from_the_snapshot(scene: Scene) -> None:
    gdb, first, _ = run_with_libraries(scene)
    save(gdb, "deleted")
    expected = continue_to_end(gdb, 6)
    gdb.quit()
    first.unlink()
    for _ in range(2):
        again = scene.gdb()
        restored = restore(again, "deleted")
        assert any(str(first) in note for note in restored.notes), restored.text
        assert again.value("first_calls") == "1"
        again.execute("break first_value")
        assert "first_value (x=2) at" in again.execute("continue")
        again.execute("delete")
        assert continue_to_end(again, 6) == expected
        again.quit()
        assert not first.exists()


def test_a_rebuilt_library_comes_from_the_snapshot(scene: Scene) -> None:
    gdb, first, _ = run_with_libraries(scene)
    save(gdb, "rebuilt")
    expected = continue_to_end(gdb, 6)
    gdb.quit()
    scene.compile(
        "int before_it;\n" + FIRST.replace("* 100", "* 7"), "first.so", "-shared", "-fPIC"
    )
    inode = first.stat().st_ino
    again = scene.gdb()
    restored = restore(again, "rebuilt")
    assert any(str(first) in note for note in restored.notes), restored.text
    again.execute("break first_value")
    assert "first_value (x=2)" in again.execute("continue")
    assert continue_to_end(again, 6) == expected
    again.quit()
    assert first.stat().st_ino == inode


PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
const char *message = "as it was built";
static unsigned long nonce;
int stage(int n)
{
  return n + NUMBER;
}
int main(void)
{
  FILE *f = fopen("/dev/urandom", "r");
  if (!f || fread(&nonce, sizeof nonce, 1, f) != 1) return 1;
  fclose(f);
  int got = stage(1);
  printf("value %s %d\\nnonce %lx\\n", message, got, nonce);
  return 12;
}
"""


def test_a_rebuilt_executable_comes_from_the_snapshot(scene: Scene) -> None:
    program = scene.compile(PROGRAM, "prog", "-DNUMBER=5")
    gdb = scene.gdb(str(program))
    gdb.execute("break stage")
    assert "stage (n=1)" in gdb.execute("run")
    backtrace = gdb.execute("bt")
    save(gdb, "old-build")
    expected = continue_to_end(gdb, 12)
    gdb.quit()
    # More code before `stage`, so that old addresses mean something else in the new file.
    changed = PROGRAM.replace("as it was built", "NEW").replace(
        "int stage", "int added(int n) { return n ? n * added(n - 1) : 1; }\nint stage"
    )
    scene.compile(changed, "prog", "-DNUMBER=77")
    files: list[list[str]] = [[], [str(program)]]
    for arguments in files:
        again = scene.gdb(*arguments)
        restored = restore(again, "old-build")
        assert any(str(program) in note for note in restored.notes), restored.text
        assert again.execute("bt") == backtrace
        assert '"as it was built"' in again.value("message")
        assert continue_to_end(again, 12) == expected
        again.quit()


def test_a_deleted_executable_comes_from_the_snapshot(scene: Scene) -> None:
    program = scene.copy_of("e2e_threads")
    gdb = scene.gdb("--args", str(program), "2")
    gdb.execute("break work if step == 3")
    gdb.execute("run")
    backtrace = gdb.execute("bt")
    save(gdb, "gone")
    expected = continue_to_end(gdb, 7)
    gdb.quit()
    program.unlink()
    again = scene.gdb()
    restored = restore(again, "gone")
    assert any(str(program) in note for note in restored.notes), restored.text
    assert again.execute("bt") == backtrace
    assert continue_to_end(again, 7) == expected
    again.quit()
    assert not program.exists()


def test_a_source_file_newer_than_the_snapshot_is_told(scene: Scene) -> None:
    program = scene.compile(PROGRAM, "prog", "-DNUMBER=5")
    gdb = scene.gdb(str(program))
    gdb.execute("break stage")
    gdb.execute("run")
    save(gdb, "sources")
    gdb.quit()
    again = scene.gdb()
    assert not [note for note in restore(again, "sources").notes if "prog.c" in note]
    again.quit()
    source = scene.directory / "prog.c"
    stat = source.stat()
    # An hour ahead: file systems round times, and this must not depend on how fast the test runs.
    os.utime(source, (stat.st_atime, stat.st_mtime + 3600))
    again = scene.gdb()
    restored = restore(again, "sources")
    assert [note for note in restored.notes if "prog.c" in note and "newer" in note], restored.text
    again.quit()


def test_a_restored_session_needs_no_file_command(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=1)
    files = gdb.execute("info inferiors")
    save(gdb, "no-file")
    gdb.quit()
    again = scene.gdb()
    restore(again, "no-file")
    executable = os.path.realpath(scene.program("e2e_threads"))
    assert executable in again.execute("info inferiors")
    assert executable in files
    assert str(SOURCES / "e2e_threads.cpp") in again.execute("info source")
    again.quit()
