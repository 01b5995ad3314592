"""What the tests of replays share: a directory with snapshots made in GDB,
the program `ckpt`, and pytest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.measured import python_path

ROOT = Path(__file__).resolve().parents[2]


class Lab:
    """The test's directory with a store, the program `ledger` and its
    files, and snapshots of it.
    """

    def __init__(self, build: Path, directory: Path) -> None:
        self.build = build
        self.directory = directory
        self.store = directory / "store"
        self.home = directory / "home"
        self.home.mkdir()
        self.work = directory / "work"
        self.work.mkdir()
        # Whoever reads it in a replay is found out.
        (self.home / ".gdbinit").write_text('print "the user\'s gdbinit"\nset $from_gdbinit = 1\n')
        (self.work / "numbers").write_text("1\n2\n3\n4\n")
        (self.work / "input").write_text("10\n20\n")
        self.environment = {
            **os.environ, "CKPT_DIR": str(self.store), "HOME": str(self.home),
            "CKPT_BUILD_DIR": str(build), "TMPDIR": str(directory),
        }  # fmt: skip

    def program(self, name: str = "ledger") -> Path:
        path = self.build / "tests" / "programs" / name
        assert path.exists(), f"{path} is missing: build the project"
        return path

    def compiled(self, name: str, *changes: tuple[str, str]) -> Path:
        """Another build of `ledger`, with changes of its source."""
        text = (ROOT / "tests/programs/replay/ledger.c").read_text()
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        source = self.work / f"{name}-source" / "ledger.c"
        source.parent.mkdir()
        source.write_text(text)
        program = self.work / name
        subprocess.run(
            ["gcc", "-g", "-O0", "-w", "-D_GNU_SOURCE", "-pthread", "-o", program, source],
            check=True,
        )
        return program

    def gdb(
        self, *commands: str, status: int | None = 0, environment: Mapping[str, str] | None = None
    ) -> str:
        """GDB with our commands, in batch mode; what it printed."""
        words = ["gdb", "-nx", "-q", "-batch", "-x", str(ROOT / "gdbext/load.py")]
        for command in commands:
            words += ["-ex", command]
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=self.work, env={**self.environment, **(environment or {})}, timeout=90,
            check=False,
        )  # fmt: skip
        assert status is None or done.returncode == status, done.stdout
        return done.stdout

    def save(
        self,
        name: str = "one",
        *,
        at: str | None = "enter if entry->value == 3",
        arguments: str = "numbers < input",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """A snapshot of `ledger`, stopped at a place or where it dies."""
        stop = [f"break {at}"] if at else []
        # No descriptors of the tests' own in it.
        run = f"run {arguments} > /dev/null 2>&1"
        program = self.program()
        printed = self.gdb(
            f"file {program}", *stop, "handle SIGUSR1 nostop noprint", run,
            f"ckpt save {name} -force", "kill", environment=environment,
        )  # fmt: skip
        assert f'Saved "{name}"' in printed, printed

    def ckpt(
        self, *words: str | Path, status: int = 0, environment: Mapping[str, str] | None = None
    ) -> str:
        """`ckpt WORDS...`: what it prints on standard output and error."""
        done = subprocess.run(
            [self.build / "bin" / "ckpt", *map(str, words)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.work,
            env={**self.environment, **(environment or {})}, timeout=110, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def pytest(self, text: str, *words: str, status: int = 0) -> str:
        """Run a test file with the plugin; what pytest printed."""
        (self.work / "test_it.py").write_text(text)
        done = subprocess.run(
            self.pytest_command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, cwd=self.work,
            env={**self.environment, "PYTHONPATH": python_path(ROOT)}, timeout=110, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
        return done.stdout

    def pytest_command(self, *words: str) -> Sequence[str]:
        plugin = ("-p", "gdbext.pytest_plugin", "-p", "no:cacheprovider")
        return [sys.executable, "-m", "pytest", *plugin, "-q", *words, "test_it.py"]


def recorded(lab: Lab, *words: str, name: str = "one") -> Path:
    """Record an expectation; where it is."""
    printed = lab.ckpt("replay", name, *words, "--update")
    match = re.search(r"recorded in (\S+):", printed)
    assert match, printed
    return lab.work / match.group(1)
