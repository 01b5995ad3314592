"""A plain core file is what tools that know nothing of us expect of one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gdbext import Snapshot
from gdbext.errors import CkptError
from gdbext.offline.export import export
from support import oracle
from support.offline import Scene

VARIANTS = pytest.mark.parametrize("variant", ["", ".nopie", ".static"])


def run(*words: str | Path) -> str:
    done = subprocess.run(
        [str(w) for w in words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def exported(made: Scene) -> Path:
    core = made.workshop.directory / "core.file"
    with Snapshot.open(made.save()) as snapshot:
        done = export(snapshot, core)
        assert done.missing == ()
        assert done.disk_bytes == core.stat().st_blocks * 512
    assert core.stat().st_mode & 0o777 == 0o600
    return core


def gdb(program: Path, core: Path, *commands: str) -> str:
    words: list[str | Path] = ["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off"]
    for command in commands:
        words += ["-ex", command]
    return run(*words, program, core)


@VARIANTS
def test_gdb_opens_it(scene: Callable[..., Scene], variant: str) -> None:
    """Where the store is gone: threads, backtraces, and memory that stood in no image."""
    made = scene(variant)
    oracle.wait_asleep(made.pid)
    core = exported(made)
    program = made.workshop.program("offline", variant)
    shutil.rmtree(made.workshop.store)
    words = made.data.read_bytes()[:4]
    made.data.unlink()
    shown = gdb(
        program, core, "info threads", "thread apply all bt", "print queue", "print hidden",
        f"x/4xb {made.file:#x}", f"x/2i {made.function:#x}", f"x/s {made.edge + 4096 - 13:#x}",
        f"x/2gx {made.big + 2 * 4096:#x}", "info proc mappings",
    )  # fmt: skip
    assert len(re.findall(r"LWP \d+", shown.partition("Thread ")[0])) >= 2, shown
    assert "in main (argc=2" in shown and "in keeper (argument=" in shown
    assert 'length = 3, label = "the queue"' in shown
    assert "= 1234605616436508552" in shown
    assert "\t".join(f"0x{byte:02x}" for byte in words) in shown
    assert "add_hidden" in shown and "at the edge!" in shown
    assert "0x0000000000000000\t0x0000000000000000" in shown  # never written, and zero
    assert str(made.data) in shown  # the program's names, not the store's
    assert "Cannot access" not in shown and "warning" not in shown.lower(), shown


def frames(text: str) -> list[str]:
    """The functions of all backtraces, in the order of the threads' numbers or as printed."""
    return re.findall(
        r"(?:in |`| )(main|keeper|wait_line|read|pause|__libc_start_main[\w@]*|start_thread)\b",
        text,
    )


def test_elfutils_opens_it(scene: Callable[..., Scene]) -> None:
    made = scene()
    oracle.wait_asleep(made.pid)
    core = exported(made)
    shown = run("eu-stack", f"--core={core}", f"--executable={made.workshop.program('offline')}")
    assert len(re.findall(r"^TID \d+:", shown, re.MULTILINE)) == 2, shown
    assert re.search(r"#\d+ +0x[0-9a-f]+ main\b", shown) and re.search(
        r"#\d+ +0x[0-9a-f]+ keeper\b", shown
    ), shown
    notes = run("eu-readelf", "-n", core)
    assert notes.count("PRSTATUS") == 2 and "CKPT" not in notes and str(made.data) in notes
    run("eu-readelf", "-l", "-h", core)


def test_the_same_backtraces_in_gdb_and_lldb(scene: Callable[..., Scene]) -> None:
    if shutil.which("lldb") is None:
        pytest.skip("lldb is not installed")
    made = scene()
    oracle.wait_asleep(made.pid)
    core = exported(made)
    program = made.workshop.program("offline")
    in_lldb = run("lldb", "-b", "-o", "thread backtrace all", "-c", core, program)
    in_gdb = gdb(program, core, "set backtrace past-main on", "thread apply all -ascending bt")
    for function in ("main", "keeper"):
        assert re.search(rf"frame #\d+: 0x[0-9a-f]+ offline`{function}\b", in_lldb), in_lldb

    def stack_of(pattern: str, text: str) -> list[int]:
        """The addresses in the program's own code, thread by thread."""
        return [int(found, 16) for found in re.findall(pattern, text)]

    with Snapshot.open("one") as snapshot:
        own = [m for m in snapshot.maps if m.path == str(program) and "x" in m.prot]

    def inside(address: int) -> bool:
        return any(m.start <= address < m.end for m in own)

    lldb_frames = [a for a in stack_of(r"frame #\d+: (0x[0-9a-f]+)", in_lldb) if inside(a)]
    gdb_frames = [a for a in stack_of(r"#\d+ +(0x[0-9a-f]+) in", in_gdb) if inside(a)]
    assert lldb_frames == gdb_frames and len(gdb_frames) >= 3, (in_lldb, in_gdb)


def test_a_file_whose_content_is_gone_is_named(scene: Callable[..., Scene]) -> None:
    made = scene()
    image = made.save()
    made.running.kill()
    (made.workshop.store / "objects").rename(made.workshop.store / "away")
    made.data.write_bytes(b"other")
    core = made.workshop.directory / "core.file"
    with Snapshot.open(image) as snapshot:
        done = export(snapshot, core)
    assert done.missing == (str(made.data),)
    shown = gdb(made.workshop.program("offline"), core, "bt", "print queue.length")
    assert "in main" in shown and "= 3" in shown


def test_nothing_half_done(scene: Callable[..., Scene]) -> None:
    made = scene()
    image = made.save()
    core = made.workshop.directory / "core.file"
    core.write_bytes(b"mine")
    before = sorted(os.listdir(made.workshop.directory))
    with Snapshot.open(image) as snapshot:
        with pytest.raises(CkptError, match="exists already"):
            export(snapshot, core)
        with pytest.raises(CkptError, match="is a directory"):
            export(snapshot, made.workshop.directory, force=True)
        with pytest.raises(CkptError, match="No such file"):
            export(snapshot, made.workshop.directory / "none" / "core.file")
        page = snapshot.read(made.big, 4096)
    data = bytearray(image.read_bytes())
    data[data.find(page)] ^= 1
    wrong = made.workshop.directory / "wrong.ckpt"
    wrong.write_bytes(data)
    with Snapshot.open(wrong) as snapshot, pytest.raises(CkptError, match="damaged"):
        export(snapshot, core, force=True)
    assert core.read_bytes() == b"mine"
    assert sorted(os.listdir(made.workshop.directory)) == sorted([*before, "wrong.ckpt"])
    with Snapshot.open(image) as snapshot:
        export(snapshot, core, force=True)
    assert core.read_bytes()[:4] == b"\x7fELF"
    assert sorted(os.listdir(made.workshop.directory)) == sorted([*before, "wrong.ckpt"])
