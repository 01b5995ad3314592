"""libckpt.so: a program that saves itself on a signal, and sees nothing of it."""

from __future__ import annotations

import os
import re
import signal
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import Way, Workshop, compile_c, notes, passed, restored_pid
from support.processes import Running, children_of, wait_until

# A preloaded library is the dynamic linker's; a static program has none.
VARIANTS = pytest.mark.parametrize("variant", ["", ".nopie"])


def start(
    workshop: Workshop,
    build: Path,
    *words: str,
    way: Way = Way(),
    program: Sequence[str | Path] = (),
    ready: bool = True,
    **variables: str,
) -> Running:
    """The program, self_save if no other is named,
    with nothing in its environment but what is needed.
    """
    program = program or [workshop.program("self_save", way.variant)]
    kept = {"CKPT_TEST_RUN": os.environ["CKPT_TEST_RUN"], "CKPT_DIR": str(workshop.store)}
    kept["CKPT_TEST_THREADS"] = str(way.threads)
    environment = {**kept, "LD_PRELOAD": str(build / "lib" / "libckpt.so"), **variables}
    running = workshop.start(
        ["env", "-i", *(f"{k}={v}" for k, v in environment.items()), *program, *words],
        way=way,
    )
    if ready:
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
def test_it_saves_itself(
    workshop: Workshop, build_dir: Path, variant: str, threads: int, ids: str
) -> None:
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
    assert len(images) == 4 and all(
        Path(image.removeprefix("Saved ")).exists() for image in images
    ), images
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
    assert len(lines) == 1 and lines[0].startswith(
        "libckpt: the program itself uses SIGUSR2, "
    ), result
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
    """An environment with LD_PRELOAD alone: the store is in the user's home
    directory, as the system knows it.
    """
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
    assert (
        result.errors
        == "libckpt: ckpt-save is not where it belongs: this program cannot save itself\n"
    )


# --- programs of all kinds: the library begins before any other is ready,
# and with whatever is there


def library(build: Path) -> Path:
    return build / "lib" / "libckpt.so"


def compiled(workshop: Workshop, name: str, *command: str) -> Path:
    """self_save, built in another way."""
    program = workshop.directory / name
    sources = Path(__file__).parents[1] / "programs"
    words: list[str | Path] = [
        *command, "-g", "-w", "-D_GNU_SOURCE", "-I", sources, sources / "preload" / "self_save.c",
        "-o", program,
    ]  # fmt: skip
    subprocess.run(words, check=True)
    return program


def loader() -> str:
    """The dynamic linker of the system's programs."""
    shown = subprocess.run(
        ["readelf", "-lW", "/bin/true"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"interpreter: (.*)\]", shown)
    assert match, shown
    return match[1]


def libc() -> str:
    """The C library of the system's programs."""
    shown = subprocess.run(
        [loader(), "--list", "/bin/true"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"libc\.so\.6 => (\S+)", shown)
    assert match, shown
    return match[1]


def test_it_needs_nothing(build_dir: Path) -> None:
    """No library, and of the functions of others only the one that finds functions,
    when the program asks for one.
    """
    shown = subprocess.run(
        ["readelf", "-drW", "--dyn-syms", library(build_dir)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "(NEEDED)" not in shown and "IRELATIV" not in shown and "TPOFF" not in shown, shown
    undefined = [line.split()[4:] for line in shown.splitlines() if " UND " in line]
    assert undefined[1:] == [["WEAK", "DEFAULT", "UND", "dlsym"]], shown


@pytest.mark.parametrize("what", ["libc", "ld.so", "libc by ld.so"])
def test_a_library_as_the_program(build_dir: Path, what: str) -> None:
    """They print their version. The preloaded library is there before they are relocated."""
    command = {
        "libc": [libc()],
        "ld.so": [loader(), "--version"],
        "libc by ld.so": [loader(), libc()],
    }[what]
    plain = subprocess.run(
        command, env=dict[str, str](), capture_output=True, text=True, check=True
    )
    assert "version" in plain.stdout
    loaded = subprocess.run(
        command,
        env={"LD_PRELOAD": str(library(build_dir))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (loaded.returncode, loaded.stdout, loaded.stderr) == (0, plain.stdout, "")


def round_trip(workshop: Workshop, original: Running, changed: str = "") -> None:
    """It saves itself, goes on, and is restored.
    `changed` is what the one line of the report begins with.
    """
    image = saved(workshop, original)
    original.send()
    result = original.finish()
    passed(result, original.nonce)
    report = lost(result.errors)
    assert (
        report == []
        if not changed
        else len(report) == 1 and report[0].startswith(f"  changed: {changed}")
    ), result
    restart = workshop.restart(image)
    restart.send()
    passed(restart.finish(), original.nonce)


def test_run_by_the_dynamic_linker_without_an_environment(
    workshop: Workshop, build_dir: Path
) -> None:
    program = workshop.program("self_save")
    command: list[str | Path] = ["env", "-i", loader(), "--preload", library(build_dir), program]
    # Where the store is then is the business of another test.
    original = workshop.start(command)
    original.ready()
    assert Path(f"/proc/{original.pid}/environ").read_bytes() == b""
    original.send("more")
    original.expect("MORE")
    original.send()
    result = original.finish()
    passed(result, original.nonce)
    assert result.errors == ""
    round_trip(workshop, start(workshop, build_dir, program=[loader(), program]))


def test_another_c_library(workshop: Workshop, build_dir: Path) -> None:
    """musl: other functions, no versions of them, and constructors that get no arguments."""
    # The kernel's.
    headers = [
        "-idirafter", "/usr/include",
        "-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu",
    ]  # fmt: skip
    program = compiled(workshop, "self_save.musl", "musl-gcc", *headers)
    assert (
        "ld-musl"
        in subprocess.run(
            ["readelf", "-lW", program], capture_output=True, text=True, check=True
        ).stdout
    )
    original = start(workshop, build_dir, program=[program])
    round_trip(workshop, original)
    user = start(workshop, build_dir, "sigaction", "1", program=[program])
    os.kill(user.pid, signal.SIGUSR2)
    user.send()
    result = user.finish()
    passed(result, user.nonce)
    assert result.errors.startswith("libckpt: the program itself uses SIGUSR2, "), result


def test_a_static_program_has_nothing_of_it(workshop: Workshop, build_dir: Path) -> None:
    program = compiled(workshop, "self_save.static-pie", "gcc", "-static-pie")
    running = start(workshop, build_dir, program=[program])
    assert "libckpt" not in Path(f"/proc/{running.pid}/maps").read_text()
    os.kill(running.pid, signal.SIGUSR2)
    result = running.finish()
    assert (result.status, result.errors) == (-signal.SIGUSR2, "")


def test_a_set_user_id_program_has_nothing_of_it(workshop: Workshop, build_dir: Path) -> None:
    """The dynamic linker drops it. An ordinary user has only the system's own such programs."""
    environment = {"LD_PRELOAD": str(library(build_dir)), "PATH": os.environ["PATH"]}
    if os.geteuid() != 0:
        su = shutil.which("su")
        assert su and os.stat(su).st_mode & 0o4000, su
        shown = subprocess.run(
            [su, "--version"], env=environment, capture_output=True, text=True, check=True
        )
        assert (shown.stderr, shown.stdout[:3]) == ("", "su ")
        return
    if os.statvfs(workshop.directory).f_flag & os.ST_NOSUID:
        pytest.skip("the directory of the test is mounted nosuid")
    program = Path(shutil.copy("/bin/cat", workshop.directory))
    os.chown(program, 65534, 65534)
    program.chmod(0o4755)
    shown = subprocess.run(
        [program, "/proc/self/maps"], env=environment, capture_output=True, text=True, check=True
    )
    assert (shown.stderr, "libckpt" in shown.stdout) == ("", False)


def test_a_program_that_closes_all_descriptors(workshop: Workshop, build_dir: Path) -> None:
    """It has none that a line could go to, and ckpt-save has three of its own."""
    source = """
        #include <fcntl.h>
        #include <signal.h>
        #include <stdio.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
          if (argc != 2 || close_range(0, ~0u, 0)) return 2;
          int report = open(argv[1], O_WRONLY | O_APPEND);
          sigset_t set;
          sigemptyset(&set);
          sigaddset(&set, SIGUSR1);
          sigprocmask(SIG_BLOCK, &set, 0);
          if (report != 0 || dprintf(report, "READY\\n") < 0 || close(report)) return 3;
          int signal;
          sigwait(&set, &signal);
          return close(0) + close(1) + close(2) == -3 ? 42 : 4;
        }"""
    program = compile_c(source, workshop.directory / "closes", "-D_GNU_SOURCE")
    report = workshop.directory / "report"
    report.touch()
    original = start(workshop, build_dir, str(report), program=[program], ready=False)
    wait_until(lambda: report.read_text() == "READY\n", "READY in the report")
    image = workshop.store / "snapshots" / "closes-1.ckpt"
    os.kill(original.pid, signal.SIGUSR2)
    wait_until(image.exists, "a snapshot")
    os.kill(original.pid, signal.SIGUSR1)
    assert original.finish().status == 42
    restart = workshop.restart(image)
    os.kill(restored_pid(restart), signal.SIGUSR1)
    result = restart.finish()
    assert (result.status, result.output) == (42, ""), result
