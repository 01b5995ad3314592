"""Fixtures of the attacks."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.attack import SEED, TIMES, Ordinary
from support.checkpoint import Workshop
from support.processes import as_root

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture
def workshop(
    build_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workshop]:
    """The test's directory, store and processes; the package finds what was built."""
    made = Workshop(build_dir, tmp_path)
    monkeypatch.setenv("CKPT_BUILD_DIR", str(build_dir))
    monkeypatch.setenv("CKPT_DIR", str(made.store))
    yield made
    made.close()


# Users of whom there is nothing else.
_strangers = itertools.count((1 << 20) + 1000 * os.getpid())


@pytest.fixture
def ordinary(workshop: Workshop) -> Iterator[Ordinary]:
    """One's own where one is no other. Root makes one that this user may enter,
    with the programs that are tested.
    """
    if not as_root():
        yield Ordinary(workshop, None)
        return
    with tempfile.TemporaryDirectory(prefix="ckpt-public-") as name:
        place = Path(name)
        place.chmod(0o755)
        for directory in (place / "bin", place / "tests" / "programs"):
            directory.mkdir(parents=True)
        for program in (
            "bin/ckpt-save",
            "bin/ckpt-restart",
            "tests/programs/storm",
            "tests/programs/large",
        ):
            shutil.copy(workshop.build / program, place / program)
        work = place / "work"
        work.mkdir()
        user = next(_strangers)
        os.chown(work, user, user)
        made = Workshop(place, work)
        yield Ordinary(made, user)
        made.close()


@pytest.fixture
def times() -> Callable[[int], int]:
    """How many of an attack are made, of which the other tests make so many."""
    return lambda few: few * TIMES


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The moments of this test: the same ones each time."""
    return random.Random(f"{SEED} {request.node.name}")
