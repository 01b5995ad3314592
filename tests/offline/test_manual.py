"""The manual pages: without a fault that groff sees,
and with every option that the programs have.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "man").glob("*.[1-8]"))


def test_the_pages_are_formatted() -> None:
    assert [page.name for page in PAGES] == [
        "ckpt-record.1",
        "ckpt-replay-server.1",
        "ckpt-replay.1",
        "ckpt-restart.1",
        "ckpt-save.1",
        "ckpt.1",
        "gdb-ckpt.7",
    ]
    for page in PAGES:
        shown = subprocess.run(
            ["groff", "-man", "-ww", "-Tascii", "-P-bcou", page],
            capture_output=True,
            text=True,
            check=True,
            errors="replace",
        )
        assert shown.stderr == ""
        assert "NAME" in shown.stdout and "SEE ALSO" in shown.stdout


@pytest.mark.parametrize(
    "program",
    ["ckpt", "ckpt-save", "ckpt-restart", "ckpt-record", "ckpt-replay", "ckpt-replay-server"],
)
def test_every_option_is_described(build_dir: Path, program: str) -> None:
    page = (ROOT / "man" / f"{program}.1").read_text().replace("\\-", "-")

    def words_of(*arguments: str) -> set[str]:
        command: list[str | Path] = [build_dir / "bin" / program, *arguments, "--help"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))

    expected = words_of()
    if program == "ckpt":
        shown = subprocess.run(
            [build_dir / "bin" / program, "--help"], capture_output=True, text=True, check=True
        ).stdout
        verbs = re.findall(r"^    ([a-z]+)(?:  |$)", shown, re.MULTILINE)
        assert "save" in verbs and "completion" in verbs
        for verb in verbs:
            assert (
                re.search(rf'^\.B[IR]* "?{verb}[" ]', page + " ", re.MULTILINE)
                or f"\n.B {verb}\n" in page
            ), verb
            expected |= words_of(verb)
    assert {option for option in expected if not re.search(rf"{option}(?![\w-])", page)} == set()
