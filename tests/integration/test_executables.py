"""Executables and libraries that were rebuilt, replaced or deleted:
the snapshot's own copies are used.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.checkpoint import Way, Workshop, compile_c, notes, passed
from support.oracle import fingerprint

_SOURCE = """
#include <stdio.h>
#include <unistd.h>
static const char text[] = "%s";
int main(void) {
  char line[64];
  printf("READY %%s\\n", text); fflush(stdout);
  if (!fgets(line, sizeof line, stdin)) return 2;
  printf("PASS %%s\\n", text);
  return 0;
}
"""


def _rebuild(path: Path) -> None:
    path.unlink()
    compile_c(
        _SOURCE.replace(
            "static const", "static int filler[5000] = {1}; int f(void) { return filler[0]; } const"
        )
        % "new",
        path,
    )


def _rebuild_in_place(path: Path) -> None:
    """As `cp` does: the same inode."""
    other = path.with_name("other")
    compile_c(_SOURCE % "new-in-place", other)
    path.write_bytes(other.read_bytes())


def _become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("change", [_rebuild, _rebuild_in_place, Path.unlink, _become_a_directory])
def test_executable_changed(
    workshop: Workshop, change: Callable[[Path], None], static: bool
) -> None:
    """The snapshot's own copy runs, and the user is told."""
    program = compile_c(
        _SOURCE % "old", workshop.directory / "program", *(["-static"] if static else [])
    )
    original = workshop.start([program])
    original.ready()
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), "old")
    change(program)
    theirs = None if program.is_dir() else fingerprint(program)
    for _ in range(3):
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        passed(result, "old")
        assert any(str(program) in note for note in notes(result)), f"{result}"
        assert theirs is None or fingerprint(program) == theirs


def test_executable_may_not_be_executed_any_more(workshop: Workshop) -> None:
    """The user is told, and can restore it when that is mended."""
    program = compile_c(_SOURCE % "old", workshop.directory / "program")
    original = workshop.start([program])
    original.ready()
    saved = workshop.save(original.pid)
    original.kill()
    program.chmod(0o600)
    refused = workshop.refused(saved.image)
    assert refused == f"ckpt-restart: execute {program}: Permission denied (EACCES)"
    program.chmod(0o700)
    restart = workshop.restart(saved.image)
    restart.send()
    passed(restart.finish(), "old")


@pytest.mark.parametrize("change", [Path.unlink, _rebuild])
def test_executable_changed_before_the_save(
    workshop: Workshop, change: Callable[[Path], None]
) -> None:
    """Deleted, or rebuilt while it runs: the snapshot keeps what runs, not what lies there now."""
    program = compile_c(_SOURCE % "old", workshop.directory / "program")
    original = workshop.start([program])
    original.ready()
    change(program)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), "old")
    restart = workshop.restart(saved.image)
    restart.send()
    passed(restart.finish(), "old")


def test_script_and_memfd_executables(workshop: Workshop) -> None:
    """An executable that never had a name: run from a memfd."""
    program = compile_c(_SOURCE % "memfd", workshop.directory / "program")
    fd = os.memfd_create("program")
    os.write(fd, program.read_bytes())
    original = workshop.start([f"/proc/self/fd/{fd}"], pass_fds=[fd])
    os.close(fd)
    original.ready()
    saved = workshop.try_save(original.pid)
    original.send()
    passed(original.finish(), "memfd")
    if saved.result.status == 0:
        restart = workshop.restart(saved.image)
        restart.send()
        passed(restart.finish(), "memfd")


@pytest.mark.parametrize("change", [None, "delete", "rebuild"])
@pytest.mark.parametrize("variant", ["", ".nopie"])
def test_dlopened_library(workshop: Workshop, variant: str, change: str | None) -> None:
    library, late = workshop.directory / "libplugin.so", workshop.directory / "liblate.so"
    for copy in (library, late):
        copy.write_bytes(workshop.program("plugin.so").read_bytes())
    original = workshop.start_program("plugin_host", library, late, way=Way(variant))
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    if change:
        library.unlink()
    if change == "rebuild":
        compile_c("int plugin_count(void) { return 77; }", library, "-shared", "-fPIC")
    for _ in range(2):
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert any(str(library) in note for note in notes(result)) == bool(change), f"{result}"


def test_the_c_library_was_upgraded(workshop: Workshop) -> None:
    """All libraries other than at the save, the loader included: none of the new ones is used."""
    home = workshop.directory / "libraries"
    home.mkdir()
    program = compile_c(_SOURCE % "old", workshop.directory / "program")
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    loader = ""
    for line in listed.splitlines():
        path = re.search(r"(/\S+) \(0x", line)
        if path:
            copy = home / Path(path[1]).name
            copy.write_bytes(Path(path[1]).read_bytes())
            copy.chmod(0o755)
            if copy.name.startswith("ld-linux"):
                loader = str(copy)
    program = compile_c(
        _SOURCE % "old", program, f"-Wl,--dynamic-linker={loader}", f"-Wl,-rpath,{home}"
    )
    original = workshop.start([program])
    original.ready()
    assert str(home) in Path(f"/proc/{original.pid}/maps").read_text()
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), "old")
    for copy in home.iterdir():
        content = bytearray(copy.read_bytes())
        copy.unlink()
        # Whoever uses these libraries notices; the loader is another file that works.
        copy.write_bytes(
            content + b"another" if str(copy) == loader else content[: len(content) // 2]
        )
        copy.chmod(0o755)
    restart = workshop.restart(saved.image)
    restart.send()
    result = restart.finish()
    passed(result, "old")
    assert any(loader in note for note in notes(result)), f"{result}"


def test_snapshot_without_its_store(workshop: Workshop) -> None:
    """Nothing changed on disk: whether the store is needed is the tool's affair,
    but it must not end in a crash.
    """
    original = workshop.start_program("exit_status", "0")
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    moved = workshop.store.with_name("elsewhere")
    workshop.store.rename(moved)
    restart = workshop.restart(saved.image)
    restart.send(may_have_ended=True)
    result = restart.finish()
    assert result.status in (0, 125), f"{result}"
    if result.status == 0:
        passed(result, original.nonce)
    restart = workshop.restart(saved.image, "--store", moved)
    restart.send()
    passed(restart.finish(), original.nonce)


def test_a_damaged_copy_is_not_run(workshop: Workshop) -> None:
    program = compile_c(_SOURCE % "old", workshop.directory / "program")
    original = workshop.start([program])
    original.ready()
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), "old")
    program.unlink()
    copies = [path for path in (workshop.store / "objects").rglob("program") if path.is_file()]
    assert len(copies) == 1
    content = bytearray(copies[0].read_bytes())
    content[len(content) // 2] ^= 0xFF
    copies[0].chmod(0o700)
    copies[0].write_bytes(content)
    workshop.refused(saved.image)


def test_contents_are_kept_once(workshop: Workshop) -> None:
    """Two snapshots of one program share its executable and libraries in the store."""
    original = workshop.start_program("exit_status", "0")
    workshop.save(original.pid)
    objects = workshop.store / "objects"
    before = sorted(path for path in objects.rglob("*") if path.is_file())
    assert any(path.name.startswith("libc") for path in before)
    workshop.save(original.pid)
    assert sorted(path for path in objects.rglob("*") if path.is_file()) == before
    for path in [workshop.store, *workshop.store.rglob("*")]:
        if not path.is_symlink():
            assert path.stat().st_mode & 0o077 == 0, f"{path}: {path.stat().st_mode:o}"
