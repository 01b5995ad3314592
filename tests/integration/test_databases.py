"""A database in the midst of a transaction, restored again and again:
it commits, and the user's files stay as they were.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from support import probes
from support.checkpoint import Workshop, notes
from support.oracle import fingerprint
from support.processes import Running

# The cache is too small for the transaction: a part of it is in the file already, and what was
# there is in the journal. At the end sqlite removes the journal or cuts it off, by name or by its
# descriptor.
PROGRAM = """
import os, sqlite3, sys
path, mode = sys.argv[1:]
connection = sqlite3.connect(path, isolation_level=None)
connection.execute(f"pragma journal_mode={mode}")
connection.execute("pragma cache_size=10")
connection.execute("create table numbers(value, text)")
connection.executemany("insert into numbers values(?, ?)", [(i, "x" * 50) for i in range(2000)])
connection.execute("begin immediate")
connection.execute("update numbers set value = value + 1")
connection.executemany("insert into numbers values(?, ?)", [(i, "y" * 50) for i in range(2000)])
print("READY 0", flush=True)
sys.stdin.readline()
connection.execute("commit")
assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
connection.close()
again = sqlite3.connect(path)
print("COMMITTED", \
*again.execute("select count(*), sum(value) from numbers").fetchone(), flush=True)
again.close()
"""
# 1 to 2000, and 0 to 1999.
COMMITTED = f"COMMITTED 4000 {2000 * 2001 // 2 + 1999 * 2000 // 2}"
ROLLED_BACK = (2000, 1999 * 2000 // 2)
pytestmark = pytest.mark.usefixtures("overlays")
MODES = ["delete", "truncate", "persist", "wal"]


@pytest.fixture
def overlays() -> None:
    """By name the databases find their journals, which private copies have none of."""
    probes.need_overlays()


def _in_transaction(workshop: Workshop, mode: str) -> tuple[Running, Path]:
    place = workshop.directory / "data"
    place.mkdir()
    database = place / "numbers.db"
    running = workshop.start(["/usr/bin/python3", "-c", PROGRAM, database, mode])
    running.ready()
    return running, database


def _files(database: Path) -> dict[str, object]:
    return {path.name: fingerprint(path) for path in database.parent.iterdir()}


def _commits(workshop: Workshop, image: Path, *options: str) -> list[str]:
    restart = workshop.restart(image, *options)
    restart.send()
    result = restart.finish()
    assert result.status == 0 and COMMITTED in result.output, f"{result}"
    return notes(result)


@pytest.mark.thorough
@pytest.mark.parametrize("mode", MODES)
def test_beside_the_original(workshop: Workshop, mode: str) -> None:
    original, database = _in_transaction(workshop, mode)
    saved = workshop.save(original.pid)
    before = _files(database)
    for _ in range(5):
        said = _commits(workshop, saved.image)
        assert any(
            f"process {original.pid}, which was saved, still runs" in line for line in said
        ), said
        assert _files(database) == before
    original.send()
    result = original.finish()
    assert COMMITTED in result.output, f"{result}"


@pytest.mark.parametrize("mode", MODES)
def test_in_a_sandbox(workshop: Workshop, mode: str) -> None:
    """The original is gone, and has left its transaction as it was: whoever comes rolls it back."""
    original, database = _in_transaction(workshop, mode)
    saved = workshop.save(original.pid)
    original.kill()
    before = _files(database)
    for _ in range(5):
        said = _commits(workshop, saved.image, "--files", "sandbox")
        assert any("in a sandbox over" in line for line in said), said
        assert _files(database) == before
    connection = sqlite3.connect(database)
    assert connection.execute("select count(*), sum(value) from numbers").fetchone() == ROLLED_BACK
    connection.close()


@pytest.mark.thorough
@pytest.mark.parametrize("mode", MODES)
def test_after_the_original_has_committed(workshop: Workshop, mode: str) -> None:
    """Its files are not what they were; the restored program finds what it had."""
    original, database = _in_transaction(workshop, mode)
    saved = workshop.save(original.pid)
    original.send()
    assert COMMITTED in original.finish().output
    before = _files(database)
    for _ in range(5):
        _commits(workshop, saved.image)
        assert _files(database) == before
