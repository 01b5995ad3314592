"""A result as JUnit XML, which CI systems show."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ..publish import new_file

# What XML 1.0 cannot hold, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(
    path: Path, *, name: str, status: int, headline: str, details: str, output: str, seconds: float
) -> None:
    """Write one test case: `status` 0 passed, 1 failed, else could not be run. An existing file is
    replaced. Raises CkptError.
    """
    kind = {0: "", 1: "failure"}.get(status, "error")
    inner = ""
    if kind:
        inner = f"    <{kind} message={_attribute(headline)}>{_text(details)}</{kind}>\n"
    document = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<testsuite name="ckpt replay" tests="1" failures="{int(kind == "failure")}" '
        f'errors="{int(kind == "error")}" skipped="0" time="{seconds:.3f}">\n'
        f'  <testcase classname="ckpt.replay" name={_attribute(name)} time="{seconds:.3f}">\n'
        f"{inner}"
        f"    <system-out>{_text(output)}</system-out>\n"
        "  </testcase>\n"
        "</testsuite>\n"
    )
    with new_file(path, force=True, mode=0o644) as fd:
        with open(fd, "w", encoding="utf-8", closefd=False) as stream:
            stream.write(document)


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", text))


def _attribute(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", text), {"\n": "&#10;"})
