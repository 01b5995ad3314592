"""Fixtures of the tests of replays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.replay import ROOT, Lab

sys.path.insert(0, str(ROOT))


@pytest.fixture
def lab(build_dir: Path, tmp_path: Path) -> Lab:
    """The test's directory, with a store."""
    return Lab(build_dir, tmp_path)
