"""Recordings of a test program, for the tests that debug them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gdbsession import user_switch
from scene import BUILD, Scene


def record_walked(scene: Scene, *arguments: str, name: str = "bug.rec") -> Path:
    """Record the test program `walked` as the scene's user; its recording."""
    file = scene.directory / name
    subprocess.run(
        [BUILD / "bin" / "ckpt-record", "-o", file, scene.program("walked"), *arguments],
        env=scene.environment,
        cwd=scene.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        preexec_fn=user_switch(scene.user),
        check=False,
    )
    return file
