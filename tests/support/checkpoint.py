"""ckpt-save and ckpt-restart as the tests use them, and the round trip that most tests are."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from . import oracle
from .processes import (
    Result,
    Running,
    as_root,
    children_of,
    describe_family,
    read_text,
    threads_of,
    wait_until,
)
from .system_v import remove_objects_last_used_by

VARIANTS = ("", ".nopie", ".static")


@dataclasses.dataclass(frozen=True)
class Way:
    """One point of the matrix: how a program is built and run, and which ids it gets back."""

    variant: str = ""
    threads: int = 1
    randomised: bool = True
    ids: str = "auto"

    def __str__(self) -> str:
        aslr = "aslr" if self.randomised else "fixed"
        return f"{self.variant.lstrip('.') or 'pie'}-{self.threads}t-{aslr}-{self.ids}"


# Chosen ids are the kernel's to grant, and it grants them to the privileged.
IDS = ("virtual", "saved") if as_root() else ("virtual",)


def full(
    variants: Sequence[str] = VARIANTS,
    threads: Sequence[int] = (1, 4),
    ids: Sequence[str] = (*IDS, "auto"),
) -> list[Way]:
    """Every combination."""
    return [Way(*point) for point in itertools.product(variants, threads, (True, False), ids)]


def pairwise(variants: Sequence[str] = VARIANTS, threads: Sequence[int] = (1, 4)) -> list[Way]:
    """Few combinations in which every pair of two choices occurs:
    most defects need no more than two.
    """
    points = list(itertools.product(variants, threads, (True, False), (*IDS, "auto")))
    positions = list(itertools.combinations(range(4), 2))
    missing = {(i, j, p[i], p[j]) for p in points for i, j in positions}
    chosen = []
    while missing:
        best = max(points, key=lambda p: sum((i, j, p[i], p[j]) in missing for i, j in positions))
        chosen.append(Way(*best))
        missing -= {(i, j, best[i], best[j]) for i, j in positions}
    return chosen


@dataclasses.dataclass(frozen=True)
class Saved:
    """What `ckpt-save` said."""

    image: Path
    result: Result
    fidelity: list[str]

    @property
    def first_line(self) -> str:
        """The line `Saved FILE: ...`."""
        return self.result.output.splitlines()[0]


class Workshop:
    """The test's own directory and store, its processes, and the tools under test."""

    def __init__(self, build: Path, directory: Path) -> None:
        self.build = build
        self.directory = directory
        self.store = directory / "store"
        self.programs = build / "tests" / "programs"
        self.environment = {"CKPT_DIR": str(self.store), "TMPDIR": str(directory)}
        self._running: list[Running] = []
        self._numbers = itertools.count(1)

    # --- programs

    def program(self, name: str, variant: str = "") -> Path:
        """The path of a test program; AssertionError when it was not built."""
        path = self.programs / f"{name}{variant}"
        assert path.exists(), f"{path} is missing: build the target test-programs"
        return path

    @property
    def register_dump(self) -> Path:
        """The oracle's helper."""
        return self.program("register_dump")

    def keep(self, running: Running) -> Running:
        """End it with the test."""
        self._running.append(running)
        return running

    def start(
        self, arguments: Sequence[str | Path], *, way: Way | None = None, **options: Any
    ) -> Running:
        """Start any program in the test's directory; it ends with the test."""
        environment = dict(self.environment)
        if way:
            environment["CKPT_TEST_THREADS"] = str(way.threads)
            options.setdefault("randomised", way.randomised)
        environment.update(options.pop("environment", {}))
        options.setdefault("directory", self.directory)
        return self.keep(Running(arguments, environment=environment, **options))

    def start_program(
        self, name: str, *arguments: str | Path, way: Way | None = None, **options: Any
    ) -> Running:
        """Start a test program and wait for its READY;
        skips the test when the program says SKIP.
        """
        running = self.start(
            [self.program(name, way.variant if way else ""), *arguments], way=way, **options
        )
        try:
            running.ready()
        except AssertionError:
            skip_if_said(running)
            raise
        return running

    # --- tools

    def new_image(self) -> Path:
        """A path for another snapshot."""
        return self.directory / f"snapshot-{next(self._numbers)}.ckpt"

    def save_command(self, pid: int, image: Path, *options: str | Path) -> list[str | Path]:
        """The command line of a save."""
        return [self.build / "bin" / "ckpt-save", *options, str(pid), image]

    def try_save(
        self, pid: int, image: Path | None = None, *options: str | Path, **more: Any
    ) -> Saved:
        """Save, whatever comes of it."""
        image = image or self.new_image()
        result = self.start(self.save_command(pid, image, *options), **more).finish(timeout_s=90)
        lines = [line.strip() for line in result.output.splitlines()[1:]]
        return Saved(image, result, [line for line in lines if line])

    def save(self, pid: int, image: Path | None = None, *options: str | Path, **more: Any) -> Saved:
        """Save, which must succeed and say nothing on stderr."""
        saved = self.try_save(pid, image, *options, **more)
        assert saved.result.status == 0, f"ckpt-save: {saved.result}"
        assert not saved.result.errors, f"ckpt-save: {saved.result}"
        assert saved.image.exists()
        assert saved.first_line.startswith(f"Saved {saved.image}: "), saved.result.output
        return saved

    def restart_command(self, image: Path, *options: str | Path) -> list[str | Path]:
        """The command line of a restart."""
        return [self.build / "bin" / "ckpt-restart", *options, image]

    def restart(self, image: Path, *options: str | Path, **more: Any) -> Running:
        """Start a restart."""
        return self.start(self.restart_command(image, *options), **more)

    def restart_as(
        self, ids: str, tids: Sequence[int], image: Path, *options: str | Path
    ) -> Running:
        """Start a restart with the ids asked for. The saved ones, `tids`, may be taken by a process
        of somebody else between our look and the restart's: then it says so, and is started again.
        """
        if ids != "saved":
            return self.restart(image, "--ids", ids, *options)
        deadline = monotonic() + 100
        while monotonic() < deadline:
            wait_ids_free(tids)
            restart = self.restart(image, "--ids", "saved", *options)

            def decided(restart: Running = restart) -> bool:
                # It has executed the program, and let it go: the ids are its.
                return restart.poll() is not None or any(
                    not is_restart(pid) and "TracerPid:\t0\n" in read_text(f"/proc/{pid}/status")
                    for pid in children_of(restart.pid)
                )

            wait_until(
                decided,
                lambda restart=restart: (  # type: ignore[misc]
                    f"a restart\n{describe_family(restart.pid)}"
                ),
            )
            if restart.poll() != 125 or "another process has it" not in restart.finish().errors:
                return restart
        raise AssertionError(f"the ids {list(tids)} were taken every time")

    def refused(self, image: Path, *options: str | Path, **more: Any) -> str:
        """A restart that must fail before anything runs:
        status 125, one line on stderr, no process. The line.
        """
        restart = self.restart(image, *options, **more)
        result = restart.finish()
        assert result.status == 125, f"{result}"
        assert not result.output, f"{result}"
        lines = [
            line
            for line in result.errors.splitlines()
            if not line.startswith("ckpt-restart: note: ")
        ]
        assert len(lines) == 1 and lines[0].startswith("ckpt-restart: "), f"{result}"
        return lines[0]

    def close(self) -> None:
        """End all that still runs, and remove what only the ended ones used."""
        pids = set()
        for running in reversed(self._running):
            children = children_of(running.pid) if running.poll() is None else []
            pids.update([running.pid, *children])
            for child in children:
                try:
                    os.kill(child, 9)
                except ProcessLookupError:
                    pass
            running.kill()
        remove_objects_last_used_by(pids)


def is_restart(pid: int) -> bool:
    """Whether `pid` still is the restart itself,
    or a fork of it that has not executed the program yet.
    """
    try:
        return os.readlink(f"/proc/{pid}/exe").partition(" ")[0].endswith("ckpt-restart")
    except OSError:
        return True


def wait_ids_free(tids: Iterable[int]) -> None:
    """Return when nobody has these ids. The kernel may have given them to somebody else on a busy
    machine: then the test waits for that one to end.
    """
    for tid in tids:
        wait_until(
            lambda tid=tid: not Path(f"/proc/{tid}").exists(),  # type: ignore[misc]
            f"the id {tid} is free",
            100,
        )


def skip_if_said(running: Running) -> None:
    """Skip the test with the program's own reason when it printed SKIP."""
    import pytest

    for line in running.transcript().splitlines():
        _, found, reason = line.partition("SKIP ")
        if found:
            pytest.skip(reason)


def restored_pid(restart: Running, like: oracle.Look | None = None) -> int:
    """The pid of the program that `restart` runs,
    once it has been let go and sleeps where it slept when it was saved.
    """
    found: list[int] = []

    def there() -> bool:
        if restart.poll() is not None:
            raise AssertionError(f"{restart}: ended early\n{restart.finish()}")
        for child in children_of(restart.pid):
            if not oracle.all_asleep(child):
                continue
            if like is not None:
                # Where it slept at the save is where it sleeps now; parked threads sleep elsewhere.
                if sorted(map(str, oracle.positions(child))) != sorted(
                    str(t.call) for t in like.threads
                ):
                    continue
            found[:] = [child]
            return True
        return False

    wait_until(
        there,
        lambda: (
            f"the restored program is let go\n{restart.transcript()}\n"
            f"{describe_family(restart.pid)}"
        ),
    )
    return found[0]


def passed(result: Result, nonce: str, *, status: int = 0) -> None:
    """The program ended well, with the nonce of the save."""
    assert result.status == status, f"{result}"
    assert result.output.splitlines()[-1:] == [f"PASS {nonce}"], f"{result}"


def notes(result: Result) -> list[str]:
    """The notes of a restart; whatever else is on stderr fails the test."""
    lines = result.errors.splitlines()
    assert all(line.startswith("ckpt-restart: note: ") for line in lines), f"{result}"
    return [line.removeprefix("ckpt-restart: note: ") for line in lines]


def round_trip(
    workshop: Workshop,
    name: str,
    *arguments: str | Path,
    way: Way = Way(),
    release: str = "line",
    watch: bool = True,
    registers: bool = True,
    restores: int = 2,
    restart_options: Sequence[str | Path] = (),
    save_options: Sequence[str | Path] = (),
    ignore: Iterable[str] = (),
    between: Callable[[Running], None] | None = None,
    environment: Mapping[str, str] | None = None,
    noted: str = "",
) -> Saved:
    """Save a program while it waits; it must not notice. Restore it several times; it must not
    notice either.

    `release`: "line", a line on stdin makes the program go on; "time", it goes on by itself.
    `watch`: compare what the oracle sees before and after the save, and after each restore.
    Programs that do not sleep cannot be watched. `registers`: let the oracle stop the threads to
    read registers. `between` is called when the original has ended, before the first restore.
    `noted`: a pattern for what a restore says.
    """
    original = workshop.start_program(
        name, *arguments, way=way, environment=dict(environment or {})
    )
    dump = workshop.register_dump if registers else None
    before: oracle.Look | None = None
    if watch:
        oracle.wait_asleep(original.pid)
        before = oracle.look(original.pid, dump)
    saved = workshop.save(original.pid, None, *save_options)
    tids = threads_of(original.pid)
    if before:
        oracle.wait_asleep(original.pid)
        changed = oracle.differences(before, oracle.look(original.pid, dump))
        assert not changed, "the save changed the program:\n" + "\n".join(changed)
    if release == "line":
        original.send()
    result = original.finish()
    passed(result, original.nonce)
    assert not result.errors, f"{result}"
    if between:
        between(original)

    for _ in range(restores):
        restart = workshop.restart_as(way.ids, tids, saved.image, *restart_options)
        if before:
            pid = restored_pid(restart, before)
            changed = oracle.differences(before, oracle.look(pid, dump), ignore=frozenset(ignore))
            assert not changed, "the restored program differs:\n" + "\n".join(changed)
            if way.ids == "saved":
                assert pid == original.pid, f"pid {pid} instead of {original.pid}"
        if release == "line":
            restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert re.fullmatch(noted, result.errors), f"{result}"
    return saved


def generations(workshop: Workshop, name: str, *arguments: str) -> None:
    """Saved, restored with new ids, saved again, restored with new ids: a program that knows the
    first ones goes on well in each.
    """
    running = [workshop.start_program(name, *arguments)]
    nonce = running[0].nonce
    pid = running[0].pid
    for _ in range(3):
        oracle.wait_asleep(pid)
        saved = workshop.save(pid)
        running.append(workshop.restart(saved.image, "--ids", "virtual"))
        pid = restored_pid(running[-1])
    for each in running:
        each.send()
        passed(each.finish(), nonce)


def record_of(build: Path, image: Path) -> dict[str, Any]:
    """What a snapshot says of itself, as the native module for GDB's Python reads it."""
    (module,) = sorted((build / "gdbext").glob("_native*.so"))
    script = (
        "import importlib.util as u, json, sys; "
        "s = u.spec_from_file_location('gdbext._native', sys.argv[1]); "
        "n = u.module_from_spec(s); s.loader.exec_module(n); "
        "print(json.dumps(n.describe(sys.argv[2]), default=str))"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script, module, image],
        check=True,
        capture_output=True,
        text=True,
    )
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def compile_c(source: str, output: Path, *options: str) -> Path:
    """Compile a C program that a test changes between save and restore."""
    subprocess.run(
        ["cc", "-x", "c", "-g", "-O0", "-", "-o", output, *options],
        input=source,
        text=True,
        check=True,
    )
    return output
