"""libckpt.so: a program that saves itself on a signal, and sees nothing of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import Way, Workshop, notes, passed, restored_pid
from support.processes import Running, children_of

# A preloaded library is the dynamic linker's; a static program has none.
VARIANTS = pytest.mark.parametrize("variant", ["", ".nopie"])


def start(workshop: Workshop, build: Path, *words: str, way: Way = Way(), **variables: str) -> Running:
    """The program with nothing in its environment but what is needed."""
    kept = {"CKPT_TEST_RUN": os.environ["CKPT_TEST_RUN"], "CKPT_DIR": str(workshop.store)}
    kept["CKPT_TEST_THREADS"] = str(way.threads)
    environment = {**kept, "LD_PRELOAD": str(build / "lib" / "libckpt.so"), **variables}
    running = workshop.start(
        ["env", "-i", *(f"{k}={v}" for k, v in environment.items()), workshop.program("self_save", way.variant), *words],
        way=way,
    )
    running.ready()
    return running


def saved(workshop: Workshop, running: Running, number: int = signal.SIGUSR2, pid: int = 0) -> Path:
    """Have it save itself; the snapshot."""
    before = len(running.errors())
    os.kill(pid or running.pid, number)
    line = running.first_error_line() if before == 0 else ""
    if before:
        running.send("more")
        running.expect("MORE")
    match = re.match(r"Saved (/.*\.ckpt): .* threads?$", line)
    assert match, running.transcript()
    return Path(match[1])


def lost(errors: str) -> list[str]:
    """The lines of the report, without those about the pipes to the test."""
    lines = [line for line in errors.splitlines() if line.startswith("  ")]
    return [line for line in lines if not re.match(r"  changed: fd [012]: pipe:", line)]


@VARIANTS
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("ids", ["auto", "virtual"])
def test_it_saves_itself(workshop: Workshop, build_dir: Path, variant: str, threads: int, ids: str) -> None:
    """It goes on, and so does what is restored, which can save itself again."""
    way = Way(variant, threads, ids=ids)
    original = start(workshop, build_dir, way=way)
    image = saved(workshop, original)
    assert image == workshop.store / "snapshots" / f"self_save{variant}-1.ckpt"
    oracle.wait_asleep(original.pid)
    assert children_of(original.pid) == []
    original.send()
    result = original.finish()
    passed(result, original.nonce)
    assert lost(result.errors) == [], result

    for number in (2, 3):
        restart = workshop.restart(image, "--ids", ids)
        pid = restored_pid(restart)
        os.kill(pid, signal.SIGUSR2)
        line = restart.first_error_line()
        image = workshop.store / "snapshots" / f"self_save{variant}-{number}.ckpt"
        assert line.startswith(f"Saved {image}: "), restart.transcript()
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert lost(result.errors) == [], result


def test_several_at_once_get_names_of_their_own(workshop: Workshop, build_dir: Path) -> None:
    programs = [start(workshop, build_dir) for _ in range(4)]
    for program in programs:
        os.kill(program.pid, signal.SIGUSR2)
    images = {program.first_error_line().split(":")[0] for program in programs}
    assert len(images) == 4 and all(Path(image.removeprefix("Saved ")).exists() for image in images), images
    for program in programs:
        program.send()
        passed(program.finish(), program.nonce)


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "10"])
def test_another_signal(workshop: Workshop, build_dir: Path, name: str) -> None:
    program = start(workshop, build_dir, "sigaction", "0", CKPT_SIGNAL=name)
    saved(workshop, program, signal.SIGUSR1)
    program.send()
    passed(program.finish(), program.nonce)


def test_a_real_time_signal(workshop: Workshop, build_dir: Path) -> None:
    program = start(workshop, build_dir, CKPT_SIGNAL="RTMIN+2")
    saved(workshop, program, signal.SIGRTMIN + 2)
    program.send()
    passed(program.finish(), program.nonce)


@pytest.mark.parametrize("name", ["KILL", "nonsense", "0", "65", "RTMIN+", "RTMIN+99", "12x"])
def test_what_is_no_signal(workshop: Workshop, build_dir: Path, name: str) -> None:
    program = start(workshop, build_dir, CKPT_SIGNAL=name)
    program.send()
    result = program.finish()
    passed(result, program.nonce)
    assert result.errors == f"libckpt: CKPT_SIGNAL is no signal that can be caught: {name}\n"


@pytest.mark.parametrize("how", ["sigaction", "signal", "sigset", "sigtimedwait", "signalfd"])
def test_a_program_that_uses_the_signal(workshop: Workshop, build_dir: Path, how: str) -> None:
    """It is told of, once, and the program gets its signal."""
    # A handler of sigset's does not restart calls, and read() would end.
    handled = how in ("sigaction", "signal")
    program = start(workshop, build_dir, how, *(["1"] if handled else []))
    if handled:
        os.kill(program.pid, signal.SIGUSR2)
    program.send()
    result = program.finish()
    passed(result, program.nonce)
    lines = result.errors.splitlines()
    assert len(lines) == 1 and lines[0].startswith("libckpt: the program itself uses SIGUSR2, "), result
    assert "CKPT_SIGNAL=NAME" in lines[0]
    assert not (workshop.store / "snapshots").exists()


@pytest.mark.parametrize("how", ["reset", "clearenv", "errno", "subreaper"])
def test_programs_that_do_something_special(workshop: Workshop, build_dir: Path, how: str) -> None:
    program = start(workshop, build_dir, how)
    image = saved(workshop, program)
    program.send()
    result = program.finish()
    passed(result, program.nonce)
    assert lost(result.errors) == [], result
    restart = workshop.restart(image)
    restart.send()
    result = restart.finish()
    passed(result, program.nonce)
    assert notes(result) == []


def test_started_with_nothing_else(workshop: Workshop, build_dir: Path) -> None:
    """An environment with LD_PRELOAD alone: the store is in the user's home directory, as the system knows it."""
    home = workshop.directory / "home"
    home.mkdir()
    passwd = workshop.directory / "passwd"
    # In a user namespace of one's own one is called root.
    passwd.write_text(f"root:x:0:0::{home}:/bin/sh\n")
    preload = f"LD_PRELOAD={build_dir / 'lib' / 'libckpt.so'}"
    program = workshop.start(
        [
            *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
            'mount --bind "$1" /etc/passwd && exec env -i "$2" "$3"',
            *("sh", passwd, preload, workshop.program("self_save")),
        ]
    )
    program.ready()
    image = saved(workshop, program)
    assert image == home / ".local" / "share" / "ckpt" / "snapshots" / "self_save-1.ckpt"
    assert image.exists()
    program.send()
    passed(program.finish(), program.nonce)


def test_a_save_that_fails_says_so(workshop: Workshop, build_dir: Path) -> None:
    """And leaves the program alone."""
    (workshop.directory / "file").write_text("")
    program = start(workshop, build_dir, CKPT_DIR=str(workshop.directory / "file" / "store"))
    os.kill(program.pid, signal.SIGUSR2)
    assert program.first_error_line().startswith("ckpt-save: ")
    program.send()
    passed(program.finish(), program.nonce)


def test_without_the_program_beside_it(workshop: Workshop, build_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "libckpt.so"
    copy.write_bytes((build_dir / "lib" / "libckpt.so").read_bytes())
    program = start(workshop, build_dir, LD_PRELOAD=str(copy))
    program.send()
    result = program.finish()
    passed(result, program.nonce)
    assert result.errors == "libckpt: ckpt-save is not where it belongs: this program cannot save itself\n"


def test_nothing_of_the_c_plus_plus_library(build_dir: Path) -> None:
    """It is loaded into programs that have none."""
    shown = subprocess.run(
        ["readelf", "-dW", build_dir / "lib" / "libckpt.so"], capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"NEEDED.*\[(.*)\]", shown) == ["libc.so.6"]
