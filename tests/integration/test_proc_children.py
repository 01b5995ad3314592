"""Children that live at a save: in a restored program they have been
killed, which the save says.
"""

from __future__ import annotations

import re
import subprocess

import pytest
from support.checkpoint import Way, Workshop, generations, pairwise, round_trip

CASES = """
    plain many handler blocked signalfd ignored nocldwait group usr1 unhandled silent beside stopped
    waiting pidfd
""".split()
WAYS = [pytest.param(way, id=str(way)) for way in pairwise(threads=(1, 4))]


def test_the_list_is_complete(workshop: Workshop) -> None:
    listed = subprocess.run(
        [workshop.program("proc_children"), "--list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == CASES


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_children(workshop: Workshop, name: str, way: Way) -> None:
    saved = round_trip(workshop, "proc_children", name, way=way, restores=3, watch=False)
    named = [line for line in saved.fidelity if "child" in line]
    child = (
        r"changed: child [-\d, ]+(?: and \d+ more)?: child process: "
        r"proc_children\S* is no part of .* comes back as killed"
    )
    for line in named:
        assert re.match(child, line), line
    assert 0 < len(named) < 3, saved.result.output


@pytest.mark.parametrize("name", ["handler", "many", "group", "waiting", "pidfd"])
def test_generations(workshop: Workshop, name: str) -> None:
    """Saved, restored with new ids, saved again, restored with new ids:
    the program knows the first ones.
    """
    generations(workshop, "proc_children", name)
