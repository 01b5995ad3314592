"""Saves and restores that cannot work: one clear line, the program unharmed,
no partial file, no process left.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import oracle, probes
from support.checkpoint import Saved, Workshop, passed
from support.processes import (
    Running,
    as_root,
    children_of,
    exists,
    read_text,
    system_call_of,
    wait_until,
)

NOBODY = 65534
root_only = pytest.mark.skipif(not as_root(), reason="needs root")


def _one_line(saved: Saved, *, status: int = 1) -> str:
    """The save failed with this status and one line on stderr, and left no file. The line."""
    assert saved.result.status == status, f"{saved.result}"
    assert not saved.result.output, f"{saved.result}"
    lines = saved.result.errors.splitlines()
    assert len(lines) == 1 and lines[0].startswith("ckpt-save: "), f"{saved.result}"
    assert not saved.image.exists()
    return lines[0]


def _leftovers(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir() if p.name not in ("store",))


def _unharmed(running: Running, before: oracle.Look, dump: Path) -> None:
    """It is as it was, untraced, and goes on to its PASS."""
    oracle.wait_asleep(running.pid)
    changed = oracle.differences(before, oracle.look(running.pid, dump))
    assert not changed, "the failed save changed the program:\n" + "\n".join(changed)
    running.send()
    passed(running.finish(), running.nonce)


def _victim(workshop: Workshop, threads: str = "4") -> tuple[Running, oracle.Look]:
    running = workshop.start_program("threads", threads)
    oracle.wait_asleep(running.pid)
    return running, oracle.look(running.pid, workshop.register_dump)


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["x"], ["x", "y"], ["1", "f", "g"], ["--nonsense", "1", "f"],
        ["--file-limit", "x", "1", "f"],
    ],
)  # fmt: skip
def test_save_usage(workshop: Workshop, arguments: list[str]) -> None:
    result = workshop.start([workshop.build / "bin" / "ckpt-save", *arguments]).finish()
    assert result.status == 2 and result.errors and not result.output, f"{result}"


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--nonsense", "f"], ["--ids", "mine", "f"], ["--files", "x", "f"], ["a", "b"],
        ["--park", "f"],
    ],
)  # fmt: skip
def test_restart_usage(workshop: Workshop, arguments: list[str]) -> None:
    result = workshop.start([workshop.build / "bin" / "ckpt-restart", *arguments]).finish()
    assert result.status == 125 and result.errors and not result.output, f"{result}"


@pytest.mark.parametrize("tool", ["ckpt-save", "ckpt-restart"])
@pytest.mark.parametrize("arguments", [["--nonsense"], ["--nonsense=3"], ["1", "--nonsense", "f"]])
def test_an_unknown_option_is_named(workshop: Workshop, tool: str, arguments: list[str]) -> None:
    result = workshop.start([workshop.build / "bin" / tool, *arguments]).finish()
    assert "unknown option --nonsense" in result.errors, f"{result}"


def test_a_store_in_use_is_not_collected(workshop: Workshop) -> None:
    """A save and a restart wait for a collection of the store's garbage that is under way,
    and hold off the next one.
    """
    running = workshop.start_program("threads", "2")
    saved = workshop.save(running.pid)
    running.send()
    passed(running.finish(), running.nonce)
    directory = os.open(workshop.store, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        other = workshop.start_program("threads", "2")
        image = workshop.new_image()
        tools = [
            workshop.start(workshop.save_command(other.pid, image)),
            workshop.start(workshop.restart_command(saved.image)),
        ]
        for tool in tools:
            wait_until(
                lambda tool=tool: _waits_for_lock(tool.pid),  # type: ignore[misc]
                f"{tool} waits for the store",
            )
        assert not image.exists()
        fcntl.flock(directory, fcntl.LOCK_UN)
        assert tools[0].finish().status == 0 and image.exists()
        tools[1].send()
        passed(tools[1].finish(), running.nonce)
    finally:
        os.close(directory)


def test_a_moved_snapshot_is_known_again_once_it_was_restored(workshop: Workshop) -> None:
    """And so are its files kept, although the place that the store was
    told of at the save is empty.
    """
    running = workshop.start_program("threads", "2")
    saved = workshop.save(running.pid)
    running.send()
    passed(running.finish(), running.nonce)
    moved = saved.image.rename(workshop.directory / "moved.ckpt")
    for _ in range(2):
        again = workshop.restart(moved)
        again.send()
        passed(again.finish(), running.nonce)
        leads_to = {link.name: link.readlink() for link in (workshop.store / "external").iterdir()}
        assert sorted(leads_to.values()) == sorted([saved.image, moved]), leads_to


def _waits_for_lock(pid: int) -> bool:
    call = system_call_of(pid, pid)
    return call is not None and call[0] == 73  # flock


@pytest.mark.parametrize("tool", ["ckpt-save", "ckpt-restart"])
def test_help_and_version(workshop: Workshop, tool: str) -> None:
    result = workshop.start([workshop.build / "bin" / tool, "--help"]).finish()
    assert result.status == 0 and "--store" in result.output and not result.errors, f"{result}"
    result = workshop.start([workshop.build / "bin" / tool, "--version"]).finish()
    assert result.status == 0 and re.search(r"\d+\.\d+", result.output), f"{result}"


# --- whom one cannot save -------------------------------------------------------------------------


def test_no_such_process(workshop: Workshop) -> None:
    ended = workshop.start(["/bin/true"])
    ended.finish()
    assert str(ended.pid) in _one_line(workshop.try_save(ended.pid))


@pytest.mark.parametrize("pid", [0, -1, 4194305])
def test_impossible_pids(workshop: Workshop, pid: int) -> None:
    saved = workshop.try_save(pid)
    assert (
        saved.result.status in (1, 2) and saved.result.errors and not saved.image.exists()
    ), f"{saved.result}"


def test_itself(workshop: Workshop) -> None:
    script = f'exec "{workshop.build}/bin/ckpt-save" $$ "{workshop.directory}/self.ckpt"'
    result = workshop.start(["/bin/sh", "-c", script]).finish()
    assert result.status == 1 and len(result.errors.splitlines()) == 1, f"{result}"
    assert not (workshop.directory / "self.ckpt").exists()


@root_only
def test_kernel_thread(workshop: Workshop) -> None:
    _one_line(workshop.try_save(2))


def test_zombie(workshop: Workshop) -> None:
    original = workshop.start_program("kernel_objects", "zombie")
    zombies = [
        int(p) for p in os.listdir("/proc")
        if p.isdigit() and _parent_and_state(int(p)) == (original.pid, "Z")
    ]  # fmt: skip
    assert len(zombies) == 1
    _one_line(workshop.try_save(zombies[0]))
    original.send()
    passed(original.finish(), original.nonce)


def _parent_and_state(pid: int) -> tuple[int, str]:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, ""
    return int(words[1]), words[0]


@pytest.fixture
def public(build_dir: Path) -> Iterator[Path]:
    """A directory with the tools in it that any user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="ckpt-public-"))
    directory.chmod(0o755)
    for tool in ("ckpt-save", "ckpt-restart"):
        shutil.copy(build_dir / "bin" / tool, directory / tool)
    for name in ("seccomp_filter", "threads", "exit_status"):
        shutil.copy(build_dir / "tests" / "programs" / name, directory / name)
    (directory / "work").mkdir()
    (directory / "work").chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def _save_as(workshop: Workshop, public: Path, pid: int, user: int | None) -> Saved:
    image = public / "work" / "out.ckpt"
    environment = {"CKPT_DIR": str(public / "work" / f"store-{user}")}
    running = workshop.start(
        [public / "ckpt-save", str(pid), image],
        user=user,
        directory=public / "work",
        environment=environment,
    )
    return Saved(image, running.finish(), [])


def test_not_permitted(workshop: Workshop, public: Path) -> None:
    """An ordinary user, another's process."""
    if as_root():
        running, before = _victim(workshop)
        line = _one_line(_save_as(workshop, public, running.pid, NOBODY))
        assert re.search("permi|another user", line, re.IGNORECASE), line
        _unharmed(running, before, workshop.register_dump)
    else:
        _one_line(_save_as(workshop, public, 1, None))


@root_only
def test_root_saves_anothers_process(workshop: Workshop, public: Path) -> None:
    running = workshop.start([public / "threads", "4"], user=NOBODY, directory=public)
    running.ready()
    saved = workshop.try_save(running.pid)
    running.send()
    passed(running.finish(), running.nonce)
    if saved.result.status == 0:
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        # With its user, or not at all.
        if result.status == 0:
            passed(result, running.nonce)
        else:
            assert result.status == 125, f"{result}"


_PTRACE_SEIZE = 0x4206


def test_traced_by_another(workshop: Workshop) -> None:
    running, _ = _victim(workshop, "1")
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(_PTRACE_SEIZE, running.pid, None, None) == 0, os.strerror(ctypes.get_errno())
    line = _one_line(workshop.try_save(running.pid))
    assert re.search("trac|debug", line), line
    running.send()
    passed(running.finish(), running.nonce)


_START_32 = """
.globl _start
_start:
    movl $4, %eax; movl $1, %ebx; movl $ready, %ecx; movl $8, %edx; int $0x80
    movl $3, %eax; movl $0, %ebx; movl $buffer, %ecx; movl $1, %edx; int $0x80
    movl $4, %eax; movl $1, %ebx; movl $passed, %ecx; movl $7, %edx; int $0x80
    movl $1, %eax; movl $0, %ebx; int $0x80
.data
ready: .ascii "READY x\\n"
passed: .ascii "PASS x\\n"
buffer: .byte 0
"""


def test_32_bit_program(workshop: Workshop) -> None:
    """Assembled by hand: a 32-bit C library is not everywhere."""
    probes.need_programs_of_32_bits()
    obj, program = workshop.directory / "thirty-two.o", workshop.directory / "thirty-two"
    subprocess.run(["as", "--32", "-o", obj, "-"], input=_START_32, text=True, check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-o", program, obj], check=True)
    running = workshop.start([program])
    running.ready()
    oracle.wait_asleep(running.pid)
    line = _one_line(workshop.try_save(running.pid))
    assert "32" in line, line
    running.send()
    passed(running.finish(), "x")


@pytest.mark.thorough
def test_between_vfork_and_exec(workshop: Workshop) -> None:
    """Neither the child nor the parent, who share memory and one of whom
    is held up in the kernel.
    """
    running = workshop.start([workshop.program("vfork_window")])
    child = int(running.expect("CHILD "))
    running.ready()
    wait_until(lambda: oracle.all_asleep(child), "the child sleeps")
    for pid in (child, running.pid):
        line = _one_line(workshop.try_save(pid))
        assert re.search("fork|share", line), line
    running.send()
    passed(running.finish(), running.nonce)


@pytest.mark.parametrize("strict", [False, True], ids=["filter", "strict"])
@pytest.mark.parametrize(
    "user", [pytest.param(NOBODY, marks=root_only, id="nobody"), pytest.param(None, id="self")]
)
def test_seccomp(workshop: Workshop, public: Path, user: int | None, strict: bool) -> None:
    """Without privilege a filter cannot be suspended: refused by name.
    With privilege, saved or refused; never killed.
    """
    running = workshop.start(
        [public / "seccomp_filter", *(["strict"] if strict else [])],
        user=user,
        directory=public / "work",
    )
    running.ready()
    running.expect("FILTERED")
    oracle.wait_asleep(running.pid)
    saved = _save_as(workshop, public, running.pid, user)
    if user is not None or not as_root() or saved.result.status:
        assert "seccomp" in _one_line(saved), f"{saved.result}"
    else:
        assert "seccomp" not in saved.result.output, f"{saved.result}"
        restart = workshop.restart(saved.image)
        restart.send()
        passed(restart.finish(), running.nonce)
    assert exists(running.pid)
    running.send()
    passed(running.finish(), running.nonce)


# --- where one cannot write -----------------------------------------------------------------------


def test_file_exists(workshop: Workshop) -> None:
    running, before = _victim(workshop)
    precious = workshop.directory / "precious"
    precious.write_bytes(b"of the user's")
    saved = workshop.try_save(running.pid, precious)
    assert saved.result.status == 1 and "precious" in saved.result.errors, f"{saved.result}"
    assert precious.read_bytes() == b"of the user's"
    workshop.save(running.pid, precious, "--force")
    assert precious.read_bytes()[:4] == b"\x7fELF"
    _unharmed(running, before, workshop.register_dump)


def test_force_keeps_the_old_file_when_it_fails(workshop: Workshop) -> None:
    running, before = _victim(workshop)
    saved = workshop.save(running.pid)
    content = saved.image.read_bytes()
    again = workshop.try_save(
        running.pid, saved.image, "--force", environment={"CKPT_FAULT": "save-publish"}
    )
    assert again.result.status == 1, f"{again.result}"
    assert saved.image.read_bytes() == content
    _unharmed(running, before, workshop.register_dump)


def test_no_such_directory(workshop: Workshop) -> None:
    running, before = _victim(workshop)
    assert "nowhere" in _one_line(
        workshop.try_save(running.pid, workshop.directory / "nowhere" / "x.ckpt")
    )
    _unharmed(running, before, workshop.register_dump)


def test_file_is_a_directory(workshop: Workshop) -> None:
    running, before = _victim(workshop)
    target = workshop.directory / "target"
    target.mkdir()
    for options in ((), ("--force",)):
        saved = workshop.try_save(running.pid, target, *options)
        assert (
            saved.result.status == 1 and len(saved.result.errors.splitlines()) == 1
        ), f"{saved.result}"
        assert target.is_dir() and not list(target.iterdir())
    _unharmed(running, before, workshop.register_dump)


@pytest.mark.skipif(as_root(), reason="root may write anywhere")
def test_unwritable_directory(workshop: Workshop) -> None:
    running, before = _victim(workshop)
    locked = workshop.directory / "locked"
    locked.mkdir(0o500)
    _one_line(workshop.try_save(running.pid, locked / "x.ckpt"))
    _unharmed(running, before, workshop.register_dump)


@pytest.mark.parametrize("limit_bytes", [0, 4096, 20000, 100000])
def test_file_size_limit(workshop: Workshop, limit_bytes: int) -> None:
    """A full disk without a file system of one's own:
    the kernel also sends SIGXFSZ, which kills who does not expect it.
    """
    running = workshop.start_program("memory_digest")
    oracle.wait_asleep(running.pid)
    before = oracle.look(running.pid, workshop.register_dump)
    image = workshop.new_image()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))  # noqa: E731
    _one_line(workshop.try_save(running.pid, image, before_exec=limit))
    assert not [p for p in _leftovers(workshop.directory)], _leftovers(workshop.directory)
    assert (
        not list((workshop.store / "snapshots").glob("*"))
        if (workshop.store / "snapshots").exists()
        else True
    )
    _unharmed(running, before, workshop.register_dump)
    workshop_temporary = [
        p for p in workshop.store.rglob("*") if p.is_file() and p.stat().st_size == limit_bytes
    ]
    assert not workshop_temporary, f"partial files in the store: {workshop_temporary}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "none", place], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@root_only
def test_full_disk(workshop: Workshop, small_disk: Path) -> None:
    running = workshop.start_program("memory_digest")
    oracle.wait_asleep(running.pid)
    before = oracle.look(running.pid, workshop.register_dump)
    line = _one_line(workshop.try_save(running.pid, small_disk / "x.ckpt"))
    assert "space" in line, line
    assert not list(small_disk.iterdir())
    # The store on it: executables and libraries do not fit.
    line = _one_line(workshop.try_save(running.pid, None, "--store", small_disk / "store"))
    assert "space" in line, line
    # What fitted does not stay either.
    assert not [path for path in (small_disk / "store").rglob("*") if not path.is_dir()]
    _unharmed(running, before, workshop.register_dump)


@root_only
def test_foreign_store(workshop: Workshop) -> None:
    running, before = _victim(workshop)
    workshop.store.mkdir(0o700)
    os.chown(workshop.store, NOBODY, NOBODY)
    assert str(workshop.store) in _one_line(workshop.try_save(running.pid))
    _unharmed(running, before, workshop.register_dump)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_writable_store(workshop: Workshop, mode: int) -> None:
    running, before = _victim(workshop)
    workshop.store.mkdir()
    workshop.store.chmod(mode)
    assert str(workshop.store) in _one_line(workshop.try_save(running.pid))
    _unharmed(running, before, workshop.register_dump)


def test_store_is_a_file(workshop: Workshop) -> None:
    running, before = _victim(workshop)
    workshop.store.write_bytes(b"")
    assert str(workshop.store) in _one_line(workshop.try_save(running.pid))
    assert workshop.store.read_bytes() == b""
    _unharmed(running, before, workshop.register_dump)


# --- interrupted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_save(workshop: Workshop, number: signal.Signals) -> None:
    """Ctrl-C in the middle: no file, and the program goes on."""
    running = workshop.start_program("untouched", "random", "600")
    image = workshop.new_image()
    save = workshop.start(workshop.save_command(running.pid, image))

    def in_the_middle() -> bool:
        written = re.search(r"^wchar: (\d+)", read_text(f"/proc/{save.pid}/io"), re.MULTILINE)
        return save.poll() is not None or bool(written and int(written[1]) > 20 << 20)

    wait_until(in_the_middle, "the save is in the middle")
    assert save.poll() is None, f"{save.finish()}"
    os.kill(save.pid, number)
    result = save.finish()
    assert result.status == 1 and len(result.errors.splitlines()) == 1, f"{result}"
    assert not [p for p in workshop.directory.iterdir() if p.is_file()], _leftovers(
        workshop.directory
    )
    running.send()
    passed(running.finish(), running.nonce)


def test_killed_save(workshop: Workshop) -> None:
    """SIGKILL leaves no chance to tidy up, but the program must live."""
    for _ in range(10):
        running = workshop.start_program("threads", "4")
        save = workshop.start(workshop.save_command(running.pid, workshop.new_image()))
        wait_until(
            lambda: "TracerPid:\t0\n" not in Path(f"/proc/{running.pid}/status").read_text()
            or save.poll() is not None,
            "the save has begun",
        )
        save.kill()
        running.send()
        passed(running.finish(), running.nonce)


def test_killed_restart_leaves_no_program(workshop: Workshop) -> None:
    running, before = _victim(workshop)
    saved = workshop.save(running.pid)
    running.kill()
    for _ in range(10):
        restart = workshop.restart(saved.image)
        wait_until(
            lambda: bool(children_of(restart.pid)) or restart.poll() is not None,
            "the restart has begun",
        )
        pids = children_of(restart.pid)
        os.kill(restart.pid, signal.SIGTERM)
        restart.finish()
        wait_until(lambda: not any(exists(pid) for pid in pids), "no process is left")


# --- fault points ---------------------------------------------------------------------------------

SAVE_FAULTS = """
    save-begin save-map save-scratch save-threads save-process save-files save-objects save-memory
    save-record save-publish
""".split()
RESTORE_FAULTS = """
    restore-validate restore-exec restore-scratch restore-clear restore-map restore-fill
    restore-threads restore-descriptions restore-files restore-ids restore-park restore-finish
    restore-timers restore-landed restore-thread restore-release
""".split()


def test_the_list_of_faults_is_complete(build_dir: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(build_dir)!r}); from gdbext import _native; "
        "print(*_native.fault_names())"
    )
    script = script.replace("from gdbext import _native", _import_native(build_dir))
    names = subprocess.run(
        ["/usr/bin/python3", "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert names == [*SAVE_FAULTS[:-1], "save-check", SAVE_FAULTS[-1], *RESTORE_FAULTS]


def _import_native(build_dir: Path) -> str:
    """Statement that loads the native module by its file: the package around it needs a GDB."""
    (module,) = sorted((build_dir / "gdbext").glob("_native*.so"))
    return (
        "import importlib.util as u; s = u.spec_from_file_location('gdbext._native', "
        f"{str(module)!r}); _native = u.module_from_spec(s); s.loader.exec_module(_native)"
    )


def test_a_snapshot_that_cannot_be_restored_says_so(workshop: Workshop) -> None:
    """It is checked as a restore would check it:
    what is found is said at the save, and by `ckpt info`.
    """
    running = workshop.start_program("threads", "4")
    oracle.wait_asleep(running.pid)
    before = oracle.look(running.pid, workshop.register_dump)
    saved = workshop.save(running.pid, environment={"CKPT_FAULT": "save-check"})
    (said,) = [line for line in saved.fidelity if " snapshot: " in line]
    assert (
        said.startswith("lost: snapshot: restore: it cannot be restored: ") and "save-check" in said
    ), said
    info = workshop.start([workshop.build / "bin" / "ckpt", "info", saved.image]).finish()
    assert info.status == 0 and said.removeprefix("lost: ") in info.output, f"{info}"
    assert not oracle.differences(before, oracle.look(running.pid, workshop.register_dump))
    running.send()
    passed(running.finish(), running.nonce)


@pytest.mark.parametrize("fault", SAVE_FAULTS)
@pytest.mark.parametrize("program", ["threads", "open_file", "pending_signals"])
def test_fault_in_save(workshop: Workshop, program: str, fault: str) -> None:
    data = workshop.directory / "data"
    data.write_bytes(os.urandom(4000))
    arguments = {"threads": ("4",), "open_file": ("read", str(data)), "pending_signals": ()}[
        program
    ]
    running = workshop.start_program(program, *arguments)
    oracle.wait_asleep(running.pid)
    before = oracle.look(running.pid, workshop.register_dump)
    line = _one_line(workshop.try_save(running.pid, environment={"CKPT_FAULT": fault}))
    assert fault in line, line
    assert _leftovers(workshop.directory) == ["data"]
    snapshots = workshop.store / "snapshots"
    assert not snapshots.exists() or not list(snapshots.iterdir())
    # And the next save works.
    saved = workshop.save(running.pid)
    _unharmed(running, before, workshop.register_dump)
    restart = workshop.restart(saved.image)
    restart.send()
    passed(restart.finish(), running.nonce)


@pytest.mark.parametrize("fault", RESTORE_FAULTS)
@pytest.mark.parametrize("ids", ["auto", "virtual"])
def test_fault_in_restore(workshop: Workshop, fault: str, ids: str) -> None:
    running, _ = _victim(workshop)
    saved = workshop.save(running.pid)
    running.kill()
    before = {p for p in workshop.directory.rglob("*")}
    line = workshop.refused(saved.image, "--ids", ids, environment={"CKPT_FAULT": fault})
    assert fault in line, line
    assert {p for p in workshop.directory.rglob("*")} == before
    restart = workshop.restart(saved.image, "--ids", ids)
    restart.send()
    passed(restart.finish(), running.nonce)


def test_unknown_fault(workshop: Workshop) -> None:
    """A misspelt name arms nothing by accident: whatever happens, it is not a crash."""
    running, before = _victim(workshop)
    saved = workshop.try_save(running.pid, environment={"CKPT_FAULT": "no-such-point"})
    assert saved.result.status in (0, 1)
    _unharmed(running, before, workshop.register_dump)
