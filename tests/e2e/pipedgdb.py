"""A gdb behind pipes, as an editor starts it."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import processes
from gdbsession import LOAD, TIMEOUT_S, user_switch


class PipedGdb:
    """One gdb with the interpreter `interpreter`. It must be closed."""

    def __init__(
        self,
        interpreter: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        user: int | None,
    ) -> None:
        self._said: list[str] = []
        self._process = subprocess.Popen(
            [
                "gdb", "-nx", "-q", f"-i={interpreter}", "-iex", "set debuginfod enabled off",
                *LOAD, *arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
            cwd=directory,
            preexec_fn=user_switch(user),
            bufsize=0,
        )  # fmt: skip

    def write(self, data: bytes) -> None:
        """Say something to GDB."""
        self._said.append(f"> {data.decode()}\n")
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def read(self, end_s: float) -> bytes:
        """What comes next from GDB; it must come before `end_s`, a time of the monotonic clock."""
        assert self._process.stdout is not None
        number = self._process.stdout.fileno()
        ready, _, _ = select.select([number], [], [], max(0.0, end_s - time.monotonic()))
        assert ready, f"timed out\n{self.transcript}"
        data = os.read(number, 1 << 16)
        assert data, f"gdb ended\n{self.transcript}"
        self._said.append(data.decode(errors="replace"))
        return data

    def ended(self) -> None:
        """Wait for GDB's end, with status 0."""
        processes.wait_gone(self._process.pid, TIMEOUT_S)
        assert self._process.wait() == 0, self.transcript

    def close(self) -> None:
        """End GDB by its pid if it is still there."""
        if self._process.poll() is None:
            processes.end_gdb(self._process.pid)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    @property
    def transcript(self) -> str:
        """Everything said so far."""
        return "".join(self._said)
