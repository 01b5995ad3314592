"""Fixtures of the integration tests: ckpt-save and ckpt-restart on small programs, without GDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.checkpoint import Workshop, passed


@pytest.fixture
def workshop(build_dir: Path, tmp_path: Path) -> Iterator[Workshop]:
    """The test's directory, store and processes;
    every process it started has ended when the test is over.
    """
    made = Workshop(build_dir, tmp_path)
    yield made
    made.close()


@pytest.fixture
def image(workshop: Workshop) -> tuple[Path, str]:
    """A good snapshot of four threads, and its nonce."""
    original = workshop.start_program("threads", "4")
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    return saved.image, original.nonce
