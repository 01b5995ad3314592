"""What one end-to-end test stands on: its directory, its store, its tag,
the programs it starts, and its teardown.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pexpect
import processes
from gdbsession import REPOSITORY, TIMEOUT_S, GdbSession, plain, user_switch
from dapclient import DapSession
from miclient import MiSession
from pipedgdb import PipedGdb
from support import measured
from support.processes import everybody

BUILD = Path(os.environ.get("CKPT_BUILD", REPOSITORY / "build"))
SOURCES = REPOSITORY / "tests" / "programs" / "e2e"
# nobody: an ordinary user that every system has.
ORDINARY_USER = 65534


def line_of(source: Path, marker: str) -> int:
    """The number of the one line of `source` that holds `marker`;
    test programs mark the lines tests stop at.
    """
    lines = [
        number for number, text in enumerate(source.read_text().splitlines(), 1) if marker in text
    ]
    assert len(lines) == 1, f"{source}: {marker!r} stands on lines {lines}"
    return lines[0]


@dataclass(frozen=True)
class Saved:
    """The line `ckpt save` printed, taken apart, and what stood below it."""

    name: str
    size: str
    seconds: float
    threads: int
    stop: str
    report: str

    @property
    def bytes(self) -> float:
        """The size as printed, in bytes, so exact to about a tenth of the printed unit."""
        number, unit = self.size.split()
        return (
            float(number)
            * {"B": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[unit]
        )


@dataclass(frozen=True)
class Restored:
    """What `ckpt restore` printed, taken apart. `frame` is all that followed the
    notes: GDB's stop location.
    """

    name: str
    pid: int
    threads: int
    ids: str
    notes: tuple[str, ...]
    frame: str
    text: str


def save(gdb: GdbSession, arguments: str = "", timeout_s: float = TIMEOUT_S) -> Saved:
    """`ckpt save ARGUMENTS`, which must succeed."""
    printed = gdb.execute(f"ckpt save {arguments}".rstrip(), timeout_s)
    match = re.search(
        r'^Saved "(?P<name>[^"]+)": (?P<size>[\d.]+ \w+) in (?P<seconds>[\d.]+) s, '
        r"(?P<threads>\d+) threads?, "
        r"stopped (?:in|at|by) (?P<stop>.*)$",
        printed,
        re.MULTILINE,
    )
    assert match, f"ckpt save {arguments} printed:\n{printed}\n{gdb.report()}"
    return Saved(
        match["name"],
        match["size"],
        float(match["seconds"]),
        int(match["threads"]),
        match["stop"],
        printed[match.end() :].strip("\n"),
    )


def restore(gdb: GdbSession, arguments: str = "", timeout_s: float = TIMEOUT_S) -> Restored:
    """`ckpt restore ARGUMENTS`, which must succeed."""
    printed = gdb.execute(f"ckpt restore {arguments}".rstrip(), timeout_s)
    match = re.search(
        r'^Restored "(?P<name>[^"]+)", saved (?P<date>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d): '
        r"process (?P<pid>\d+), "
        r"(?P<threads>\d+) threads? \((?P<ids>ids kept|new ids)\), in \d+\.\d\d s$",
        printed,
        re.MULTILINE,
    )
    assert match, f"ckpt restore {arguments} printed:\n{printed}\n{gdb.report()}"
    notes = tuple(line for line in printed.splitlines() if line.startswith("note: "))
    rest = [
        line
        for line in printed[match.end() :].splitlines()
        if line and not line.startswith("note: ")
    ]
    return Restored(
        match["name"],
        int(match["pid"]),
        int(match["threads"]),
        match["ids"],
        notes,
        "\n".join(rest),
        printed,
    )


def refuse(gdb: GdbSession, command: str, pattern: str, timeout_s: float = TIMEOUT_S) -> str:
    """`command` must fail with exactly one line,
    which starts with the command's name and matches `pattern`.
    """
    printed = gdb.execute(command, timeout_s)
    prefix = " ".join(command.split()[:2]) + ": "
    lines = [line for line in printed.splitlines() if line.strip()]
    assert (
        len(lines) == 1
    ), f"{command}: one clear line was expected, not:\n{printed}\n{gdb.report()}"
    assert lines[0].startswith(prefix), f"{command}: does not start with {prefix!r}: {lines[0]}"
    assert re.search(
        pattern, lines[0], re.IGNORECASE
    ), f"{command}: does not match {pattern!r}: {lines[0]}"
    assert "Traceback" not in printed and "Error occurred in Python" not in printed
    return lines[0]


class Program:
    """A program the test started itself, on a terminal of its own: what `gdb -p` attaches to."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: dict[str, str],
        directory: Path,
        user: int | None,
    ) -> None:
        self.child = pexpect.spawn(
            arguments[0],
            list(arguments[1:]),
            env=environment,
            cwd=str(directory),
            timeout=TIMEOUT_S,
            encoding="utf-8",
            echo=False,
            preexec_fn=user_switch(user),
        )
        self.child.delaybeforesend = None
        self.pid: int = self.child.pid

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait for `pattern` in the program's output."""
        try:
            self.child.expect(pattern)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            state = processes.describe(self.pid)
            raise AssertionError(
                f"no {pattern!r} from the program: {self.child.before!r}\n{state}"
            ) from error
        match = self.child.match
        assert isinstance(match, re.Match)
        return match

    def finish(self) -> tuple[str, int]:
        """Wait for its end: the rest of its output, and its exit status (or minus
        the signal that ended it).
        """
        try:
            self.child.expect(pexpect.EOF)
        except pexpect.TIMEOUT as error:
            raise AssertionError(
                f"the program does not end\n{processes.describe(self.pid)}"
            ) from error
        text = plain(self.child.before)
        self.child.close()
        status = (
            self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus
        )
        return text, status

    def close(self) -> None:
        """SIGKILL and reap. Twice is harmless."""
        if not self.child.closed:
            if self.child.isalive():
                processes.kill_now(self.pid)
                self.child.wait()
            self.child.close()


class Scene:
    """One test's directory, store and processes.
    `user`: the uid everything of the test runs as (None: our own).
    """

    def __init__(self, user: int | None = None) -> None:
        self.user = user
        self.tag = secrets.token_hex(12)
        self._before = everybody()
        # Not pytest's own tmp_path: an ordinary user cannot get through root's directories.
        self.directory = Path(tempfile.mkdtemp(prefix="ckpt-e2e-"))
        self.store = self.directory / "store"
        # What each GDB of the test is told first.
        self.settings: list[str] = []
        # GDB indexes libc's debug information once, not in each session: half of an attach's time.
        self.index_cache = user is None
        self._sessions: list[GdbSession | PipedGdb] = []
        self._programs: list[Program] = []
        home = self.directory / "home"
        home.mkdir()
        self.environment = {
            "CKPT_DIR": str(self.store),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SHELL": "/bin/sh",
            "TERM": "dumb",
            processes.TAG_VARIABLE: self.tag,
        }
        for name in ("CKPT_TEST_RUN", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.environment[name] = os.environ[name]
        self.environment.update(measured.variables())
        if "CKPT_BUILD" in os.environ:
            # The package finds a build other than its checkout's by this.
            self.environment["CKPT_BUILD_DIR"] = str(BUILD)
        if user is not None:
            os.chown(self.directory, user, user)
            os.chown(home, user, user)

    def program(self, name: str, variant: str = "") -> str:
        """The path of a built test program; `variant` is "" (PIE), "nopie" or "static"."""
        path = BUILD / "tests" / "programs" / (f"{name}.{variant}" if variant else name)
        assert path.exists(), f"{path} is not built: cmake --build build --target test-programs"
        return str(path)

    def copy_of(self, name: str, variant: str = "") -> Path:
        """A copy of a built program in the test's directory,
        for tests that rebuild or delete it.
        """
        target = self.directory / name
        shutil.copy(self.program(name, variant), target)
        self._give(target)
        return target

    def compile(self, source: str, output: str, *flags: str, language: str = "c") -> Path:
        """Compile `source` (the text of a C or C++ file) to DIRECTORY/`output`;
        the source stays beside it.
        """
        suffix = {"c": ".c", "c++": ".cpp"}[language]
        path = self.directory / (Path(output).name.split(".")[0] + suffix)
        path.write_text(source)
        self._give(path)
        compiler = {"c": "gcc", "c++": "g++"}[language]
        target = self.directory / output
        # To a new file that then takes the name: a running copy of the old one keeps
        # its inode, as with `make`.
        built = self.directory / f"{output}.new"
        subprocess.run([compiler, "-g", "-O0", *flags, "-o", str(built), str(path)], check=True)
        built.replace(target)
        self._give(target)
        return target

    def _give(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user, self.user)

    def write(self, name: str, text: str) -> Path:
        """A file in the test's directory."""
        path = self.directory / name
        path.write_text(text)
        self._give(path)
        return path

    def gdb(
        self,
        *arguments: str,
        load: bool = True,
        extra: dict[str, str] | None = None,
        **options: int,
    ) -> GdbSession:
        """A new GDB on a new terminal; `extra` adds to its environment."""
        settings = [*self.settings]
        if self.index_cache:
            place = BUILD if os.access(BUILD, os.W_OK) else Path(tempfile.gettempdir())
            settings += [
                f"set index-cache directory {place / 'gdb-index-cache'}",
                "set index-cache enabled on",
            ]
        session = GdbSession(
            [*(word for setting in settings for word in ("-iex", setting)), *arguments],
            environment={**self.environment, **(extra or {})},
            directory=self.directory,
            load=load,
            user=self.user,
            **options,
        )
        self._sessions.append(session)
        return session

    def mi(self, *arguments: str, interpreter: str = "mi3") -> MiSession:
        """A new GDB that talks GDB/MI."""
        session = MiSession(
            arguments,
            environment=self.environment,
            directory=self.directory,
            user=self.user,
            interpreter=interpreter,
        )
        self._sessions.append(session)
        return session

    def dap(self, *arguments: str) -> DapSession:
        """A new GDB that is a debug adapter."""
        session = DapSession(
            arguments, environment=self.environment, directory=self.directory, user=self.user
        )
        self._sessions.append(session)
        return session

    def spawn(self, *arguments: str, extra: dict[str, str] | None = None) -> Program:
        """Start a program on a terminal of its own, outside any GDB."""
        program = Program(
            arguments, {**self.environment, **(extra or {})}, self.directory, self.user
        )
        self._programs.append(program)
        return program

    def processes(self) -> list[int]:
        """Every live process of this test."""
        return processes.tagged(self.tag, self._before)

    def partial_files(self, store: Path | None = None) -> list[str]:
        """Files in a store (the scene's own by default) that neither a finished snapshot nor the
        store's own bookkeeping accounts for.
        """
        store = store or self.store
        found = []
        for path in store.rglob("*"):
            inside = path.relative_to(store).parts
            if path.is_dir() or inside[0] in ("objects", "index", "external"):
                continue
            if inside[0] == "snapshots" and path.suffix == ".ckpt":
                continue
            found.append(str(Path(*inside)))
        return sorted(found)

    @property
    def transcripts(self) -> list[str]:
        """What stood on each terminal, for the report of a failed test."""
        return [session.transcript for session in self._sessions]

    def close(self, grace_s: float = 20.0) -> list[str]:
        """End everything and describe each process that is left `grace_s` after its owner's end."""
        for session in self._sessions:
            session.close()
        for program in self._programs:
            program.close()
        try:
            processes.wait_until(
                lambda: not self.processes(), "every process of the test has ended", grace_s
            )
            left = []
        except AssertionError:
            left = [processes.describe(pid) for pid in self.processes()]
            for pid in self.processes():
                processes.kill_now(pid)
        shutil.rmtree(self.directory, ignore_errors=True)
        return left
