#!/usr/bin/python3
"""Prints what share of lines and branches ran, in all and for the files with the smallest shares.

    report.py SUMMARY-OF-GCOVR REPORT-OF-COVERAGE.PY    (both JSON)
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHOWN = 20


@dataclasses.dataclass(frozen=True)
class File:
    """What there is in a file, and what of it ran."""

    name: str
    lines: int
    lines_run: int
    branches: int
    branches_run: int

    @property
    def share(self) -> float:
        """Of the lines."""
        return self.lines_run / self.lines


def native_files(summary: Any) -> Iterator[File]:
    """The files of a JSON summary of gcovr's."""
    for file in summary["files"]:
        yield File(
            file["filename"],
            file["line_total"],
            file["line_covered"],
            file["branch_total"],
            file["branch_covered"],
        )


def python_files(report: Any) -> Iterator[File]:
    """The files of a JSON report of coverage.py's."""
    for name, file in report["files"].items():
        of = file["summary"]
        yield File(
            name,
            of["num_statements"],
            of["covered_lines"],
            of["num_branches"],
            of["covered_branches"],
        )


def percent(part: int, whole: int) -> str:
    """A share, to one digit and never rounded up."""
    return f"{1000 * part // whole / 10:5.1f} %" if whole else "      -"


def show(kind: str, files: list[File]) -> None:
    """The total of one language, and its least covered files."""
    lines, run = sum(file.lines for file in files), sum(file.lines_run for file in files)
    branches = sum(file.branches for file in files)
    taken = sum(file.branches_run for file in files)
    print(
        f"{kind}: lines {percent(run, lines).strip()} ({run} of {lines}), "
        f"branches {percent(taken, branches).strip()} ({taken} of {branches})"
    )
    for file in sorted(files, key=lambda file: (file.share, file.name))[:SHOWN]:
        print(
            f"  {percent(file.lines_run, file.lines)} of lines, "
            f"{percent(file.branches_run, file.branches)} of branches: {file.name}"
        )


def main(native: str, python: str) -> None:
    """`native`, `python`: the two files of numbers."""
    for kind, path, read in (("C++", native, native_files), ("Python", python, python_files)):
        files = list(read(json.loads(Path(path).read_text())))
        show(kind, [file for file in files if file.lines])


if __name__ == "__main__":
    main(*sys.argv[1:])
