"""Programs that were linked with musl: what another C library keeps of thread ids is found
and renewed as glibc's is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import Way, Workshop, passed, restored_pid
from support.processes import as_root, threads_of

PROGRAMS = Path(__file__).parents[1] / "programs"
LINKS = {".musl": (), ".musl-static": ("-static",)}
IDS = ("virtual", "saved") if as_root() else ("virtual",)
WAYS = [
    pytest.param(Way(variant, 1, True, ids), id=f"{variant.lstrip('.')}-{ids}")
    for variant in LINKS
    for ids in IDS
]

pytestmark = pytest.mark.skipif(
    shutil.which("musl-gcc") is None, reason="musl-gcc is not there (musl-tools)"
)


def compiled(workshop: Workshop, source: Path, variant: str) -> Path:
    """A test program, linked with musl."""
    program = workshop.directory / f"{source.stem}{variant}"
    # The kernel's.
    headers = [
        "-idirafter", "/usr/include",
        "-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu",
    ]  # fmt: skip
    subprocess.run(
        ["musl-gcc", "-g", "-pthread", *LINKS[variant], source, "-o", program, *headers], check=True
    )
    return program


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stripped", [False, True], ids=["symbols", "stripped"])
def test_ids(workshop: Workshop, way: Way, stripped: bool) -> None:
    """raise(), abort(), mutexes that know their owner and locked files;
    twice, the second time of a restored program.
    """
    program = compiled(workshop, PROGRAMS / "threads" / "thr_libc.c", way.variant)
    if stripped:
        subprocess.run(["strip", program], check=True)
    original = workshop.start([program])
    original.ready()
    oracle.wait_asleep(original.pid)
    look = oracle.look(original.pid, workshop.register_dump)
    tids = threads_of(original.pid)
    saved = workshop.save(original.pid)
    # A stripped static program has nothing by which the ids that it remembers could be translated.
    translated = not (stripped and "static" in way.variant)
    named = [line for line in saved.fidelity if "process: ids: " in line]
    assert len(named) == (not translated), saved.fidelity
    assert all(
        "it is statically linked with musl, without symbols: " in line for line in named
    ), saved.fidelity
    original.send()
    passed(original.finish(), original.nonce)
    first = workshop.restart_as(way.ids, tids, saved.image)
    again = workshop.save(restored_pid(first, look)).image
    first.send("ids" if translated else "new ids")
    passed(first.finish(), original.nonce)
    second = workshop.restart(again, "--ids", "virtual")
    second.send("ids" if translated else "new ids")
    passed(second.finish(), original.nonce)
