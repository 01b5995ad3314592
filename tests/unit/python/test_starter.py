"""How a replay of another build of a program starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from support import measured

STARTER = Path(__file__).resolve().parents[3] / "gdbext" / "regression" / "starter.py"
# What it was started with, and what it finds.
PROGRAM = """#!/bin/sh
cat /proc/$$/cmdline | tr '\\0' '|'
echo; echo "$NOVELTY,$HOME"; pwd; cat; grep SigIgn /proc/$$/status
echo complaint >&2
"""


def test_it_becomes_the_program_as_the_list_says(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = tmp_path / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (tmp_path / "input").write_text("its input\n")
    for name in ("output", "errors"):
        (tmp_path / name).touch()
    plan = {
        "argv": ["another name", "an argument", ""],
        "environ": {"NOVELTY": "yes", "PATH": os.environ["PATH"]},
        "cwd": str(home),
        "streams": {
            str(number): str(tmp_path / name)
            for number, name in enumerate(("input", "output", "errors"))
        },
    }
    (tmp_path / "list").write_text(json.dumps(plan))
    # The path is GDB's, and may be relative to GDB's directory.
    done = subprocess.run(
        [sys.executable, *measured.isolated(), STARTER, "list", "program"],
        cwd=tmp_path, capture_output=True, stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"", b"")
    # The kernel puts the interpreter and the path in place of the first word of a script.
    words, variables, where, text, ignored = (tmp_path / "output").read_text().splitlines()
    assert words == f"/bin/sh|{program}|an argument||"
    assert variables == "yes,"
    assert where == str(home)
    assert text == "its input"
    assert not int(ignored.split()[1], 16) & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))
    assert (tmp_path / "errors").read_text() == "complaint\n"


def test_what_the_list_leaves_out_stays(tmp_path: Path) -> None:
    plan = {"argv": [], "environ": {}, "cwd": str(tmp_path), "streams": {}}
    (tmp_path / "list").write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, *measured.isolated(), STARTER, tmp_path / "list", "/bin/cat"],
        input=b"ours", capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == b"ours"
