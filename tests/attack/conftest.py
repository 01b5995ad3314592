"""Fixtures of the attacks."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.attack import SEED, TIMES
from support.checkpoint import Workshop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

@pytest.fixture
def workshop(build_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """The test's directory, store and processes; the package finds what was built."""
    made = Workshop(build_dir, tmp_path)
    monkeypatch.setenv("CKPT_BUILD_DIR", str(build_dir))
    monkeypatch.setenv("CKPT_DIR", str(made.store))
    yield made
    made.close()


@pytest.fixture
def times() -> Callable[[int], int]:
    """How many of an attack are made, of which the other tests make so many."""
    return lambda few: few * TIMES


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The moments of this test: the same ones each time."""
    return random.Random(f"{SEED} {request.node.name}")
