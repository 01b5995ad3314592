"""The program whose snapshots the tests of snapshots as data look into."""

from __future__ import annotations

import os
from pathlib import Path

from .checkpoint import Workshop
from .processes import Running


class Scene:
    """The program `offline` with the addresses it printed, and snapshots of it."""

    def __init__(self, workshop: Workshop, variant: str = "") -> None:
        self.workshop = workshop
        self.data = workshop.directory / "data"
        if not self.data.exists():
            self.data.write_bytes(os.urandom(6000))
        program = workshop.program("offline", variant)
        self.running: Running = workshop.start(
            [program, self.data], environment={"OFFLINE_TEST": "a=b"}
        )
        words = self.running.expect("AT ").split()
        self.queue, self.hidden, self.function, self.edge, self.big, self.file = (
            int(word, 16) for word in words
        )
        self.running.ready()

    @property
    def pid(self) -> int:
        return self.running.pid

    def save(self, name: str = "one", *options: str) -> Path:
        """A snapshot in the store, while the program waits for a line."""
        (self.workshop.store / "snapshots").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.workshop.store.chmod(0o700)
        return self.workshop.save(
            self.pid, self.workshop.store / "snapshots" / f"{name}.ckpt", *options
        ).image

    def change(self) -> None:
        """Have the program change what it changes."""
        self.running.send()
        self.running.expect("CHANGED")
