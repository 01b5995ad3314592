"""README.md and the tutorial, typed word for word:
by an ordinary user, in a new home directory with a built checkout.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from scene import BUILD, Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROMPT = r"<=<(?P<status>\d+)>\$ $"
GDB_PROMPT = r"\(gdb\) $"
# The tutorial's defect is a race, and shows in some runs only: this one is asked again.
BY_LUCK = "ckpt replay books --program broken/queued"
NO_LUCK = "the recorded failure does not occur: exited with status 0"
# Of a load that ends well in spite of the defect, seen as often as one is patient.
MOST_RUNS = 40


def blocks(document: Path, first: str = "", last: str = "") -> Iterator[list[str]]:
    """The lines of the code blocks from the heading `first` to the heading `last`."""
    section = document.read_text()
    section = section[section.index(f"\n{first}\n") :] if first else section
    section = section[: section.index(f"\n{last}\n")] if last else section
    for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        lines = body.splitlines()
        # In a block for the shell every line is typed.
        yield [f"$ {line}" for line in lines] if kind == "sh" else lines if kind == "text" else []


class Reader:
    """Somebody who types what a document shows, and reads what is printed."""

    def __init__(self, scene: Scene, document: Path) -> None:
        home = scene.directory / "home"
        checkout = home / "gdb-ckpt"
        checkout.mkdir()
        root = document.parent if document.name == "README.md" else document.parent.parent
        for entry in root.iterdir():
            if not entry.name.startswith((".", "build")):
                (checkout / entry.name).symlink_to(entry)
        (checkout / "build").symlink_to(BUILD)
        self.home = home
        self.shown: list[str] = []
        shell = [
            "env", "-u", "CKPT_DIR", f"--chdir={home}", "PS1=<=<$?>$ ", "/bin/bash", "--norc",
            "--noprofile",
        ]  # fmt: skip
        self.child = scene.spawn(*shell, "--noediting").child
        self.child.setwinsize(2000, 500)
        self.in_gdb = False
        self._wait()

    def _wait(self) -> str:
        """Until a prompt; what was printed."""
        which = self.child.expect([PROMPT, GDB_PROMPT, r"\(y or n\) $"], timeout=240)
        printed = str(self.child.before).replace("\r", "")
        self.shown.append(printed)
        if which == 2:
            self.child.sendline("y")
            return printed + self._wait()
        self.in_gdb = which == 1
        return printed

    def transcript(self) -> str:
        return "".join(self.shown)

    def type(self, line: str, unless: str = "") -> str:
        """One line, at the prompt that is there. A command of the shell must
        succeed, unless it prints that.
        """
        self.child.sendline(line)
        printed = self._wait()
        if not self.in_gdb and not (unless and unless in printed):
            match = self.child.match
            assert (
                isinstance(match, re.Match) and match["status"] == "0"
            ), f"{line}\n{self.transcript()}"
        return printed

    def leave_gdb(self) -> None:
        """To the shell, if it is not there already."""
        if self.in_gdb:
            self.type("quit")

    def follow(self, lines: list[str]) -> None:
        """A code block. What `cat` shows of a file that is not there yet is
        what the reader has written.
        """
        for number, line in enumerate(lines):
            if line.startswith("$ "):
                self.leave_gdb()
                if line.startswith("$ cat "):
                    self._write(line[6:], lines[number + 1 :])
                self._replay_until_it_fails() if line[2:] == BY_LUCK else self.type(line[2:])
            elif line.startswith("(gdb) "):
                assert self.in_gdb, f"{line}: there is no GDB\n{self.transcript()}"
                printed = self.type(line[6:])
                assert "Undefined" not in printed and "Traceback" not in printed, self.transcript()
                if line.startswith("(gdb) run "):
                    self._run_until_it_fails(printed)

    def _write(self, name: str, rest: list[str]) -> None:
        end = next((number for number, line in enumerate(rest) if line.startswith("$ ")), len(rest))
        path = Path(os.readlink(f"/proc/{self.child.pid}/cwd")) / name
        if not path.exists():
            path.write_text("\n".join(rest[:end]) + "\n")

    def _replay_until_it_fails(self) -> None:
        for _ in range(MOST_RUNS):
            if NO_LUCK not in self.type(BY_LUCK, unless=NO_LUCK):
                return
        raise AssertionError(f"it went well {MOST_RUNS} times\n{self.transcript()[-5000:]}")

    def _run_until_it_fails(self, printed: str) -> None:
        for _ in range(MOST_RUNS):
            if "exited normally" not in printed:
                return
            printed = self.type("run")
        raise AssertionError(f"it went well {MOST_RUNS} times\n{self.transcript()[-5000:]}")


def test_the_readme(user_scene: Scene, project_root: Path) -> None:
    reader = Reader(user_scene, project_root / "README.md")
    for lines in blocks(project_root / "README.md", "## On your own program", "### As a core file"):
        if any("cmake" in line for line in lines):
            continue  # it is built
        if any(line.startswith("$ ckpt-save ") for line in lines):
            # Any process, the text says. It ends by itself.
            reader.leave_gdb()
            reader.type("./jobs >/dev/null &")
            lines = [re.sub(r"^\$ ckpt-save \d+", "$ ckpt-save $!", line) for line in lines]
        reader.follow(lines)
    shown = reader.transcript()
    for expected in (
        'Saved "before-report"',
        'Restored "before-report"',
        "Saved half.ckpt",
        "job 10 done",
    ):
        assert expected in shown, shown
    assert (reader.home / ".local/share/ckpt/snapshots/before-report.ckpt").exists()
    reader.type("wait")


def test_the_tutorial(user_scene: Scene, project_root: Path) -> None:
    reader = Reader(user_scene, project_root / "docs" / "tutorial.md")
    for lines in blocks(project_root / "docs" / "tutorial.md"):
        reader.follow(lines)
    shown = reader.transcript()
    for expected in (
        "queue_audit: Assertion `queue->credit [+] held == queue->limit' failed",
        'Saved "queued-auto-1"',
        "Wrote books.bundle",
        'Imported "books"',
        r"audits: \d+",
        "housekeeping <- signal 6",
        'Restored "books"',
        "<- knows nothing of the above",
        "books: as recorded in look.expect",
        "broken/queued: the recorded failure occurs again",
        "fixed/queued: the recorded failure does not occur",
        "2 passed",
    ):
        assert re.search(expected, shown), f"{expected}\n{shown}"
