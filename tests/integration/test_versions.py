"""Snapshots in earlier versions of the format restore as those of the present one do."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.checkpoint import Workshop, passed
from support.forge import Forgery

# What the versions differ in: descriptions that several numbers share or that lead to others, and
# memory that several mappings show.
SUBJECTS = [
    ("threads", "3"),
    ("shared_anonymous", "twice"),
    ("shared_anonymous", "partial"),
    ("sysv_shm",),
    ("fd_unix", "passed_own"),
    ("fd_epoll", "many"),
    ("fd_files", "memfd_two_mappings"),
    ("fd_rings", "idle"),
]


def _passes(workshop: Workshop, image: Path, nonce: str) -> None:
    restart = workshop.restart(image)
    restart.send()
    passed(restart.finish(), nonce)


@pytest.mark.parametrize("arguments", SUBJECTS, ids=lambda arguments: "-".join(arguments))
def test_version_1(workshop: Workshop, arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    original = workshop.start_program(name, *rest)
    saved = workshop.save(original.pid)
    original.kill()
    image = Forgery(saved.image).write(workshop.new_image(), version=1)
    _passes(workshop, image, original.nonce)
    _passes(workshop, saved.image, original.nonce)


def test_renamed_version_1(workshop: Workshop) -> None:
    """A snapshot whose name is changed is written in the present version."""
    original = workshop.start_program("fd_unix", "passed_own")
    saved = workshop.save(original.pid)
    original.kill()
    place = workshop.store / "snapshots" / "old.ckpt"
    forgery = Forgery(saved.image)
    forgery.write(place, version=1)
    renamed = workshop.start(
        [workshop.build / "bin" / "ckpt", "rename", "old", "new", "--store", workshop.store]
    ).finish()
    assert renamed.status == 0, f"{renamed}"
    image = workshop.store / "snapshots" / "new.ckpt"
    again = Forgery(image)
    assert again.record["name"] == "new" and again.record["format"] == 2
    assert again.process == forgery.process and again.shared == forgery.shared
    _passes(workshop, image, original.nonce)
