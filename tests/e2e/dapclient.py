"""A small editor: a gdb that is a debug adapter (DAP), and the requests that editors make."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gdbsession import TIMEOUT_S
from pipedgdb import PipedGdb

Message = dict[str, Any]


def has_dap() -> bool:
    """Whether this gdb is a debug adapter: by starting it as one."""
    command = ["gdb", "-nx", "-q", "-i=dap"]
    tried = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S
    )
    return b"unrecognized" not in tried.stderr


class DapSession(PipedGdb):
    """One gdb that is a debug adapter. It must be closed."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        user: int | None,
    ) -> None:
        super().__init__("dap", arguments, environment=environment, directory=directory, user=user)
        self.events: list[Message] = []
        self._responses: dict[int, Message] = {}
        self._rest = b""
        self._numbers = itertools.count(1)

    def send(self, command: str, **arguments: Any) -> int:
        """Make a request; returns its number."""
        number = next(self._numbers)
        content = json.dumps(
            {"seq": number, "type": "request", "command": command, "arguments": arguments}
        )
        self.write(f"Content-Length: {len(content)}\r\n\r\n{content}".encode())
        return number

    def response(self, number: int) -> Message:
        """The response to request `number`, whether it succeeded or not."""
        self._until(lambda: number in self._responses)
        return self._responses[number]

    def call(self, command: str, **arguments: Any) -> Any:
        """Make a request that must succeed; the body of its response."""
        response = self.response(self.send(command, **arguments))
        assert response["success"], f"{command}: {response}\n{self.transcript}"
        return response.get("body")

    def console(self, command: str) -> str:
        """A command of GDB's, as one types it into an editor's debug console; what it prints."""
        return str(self.call("evaluate", expression=command, context="repl")["result"])

    def event(self, name: str, since: int) -> Message:
        """The body of the first event `name` from event number `since` on."""

        def found() -> list[Message]:
            return [each for each in self.events[since:] if each["event"] == name]

        self._until(lambda: bool(found()))
        return dict(found()[0].get("body") or {})

    def _until(self, holds: Callable[[], bool]) -> None:
        end_s = time.monotonic() + TIMEOUT_S
        while not holds():
            self._rest += self.read(end_s)
            while self._take():
                pass

    def _take(self) -> bool:
        """Take one message off what was read, if it is whole."""
        header = re.match(rb"Content-Length: (\d+)\r\n\r\n", self._rest)
        if header is None or len(self._rest) < header.end() + int(header[1]):
            return False
        end = header.end() + int(header[1])
        message = json.loads(self._rest[header.end() : end])
        self._rest = self._rest[end:]
        if message["type"] == "event":
            self.events.append(message)
        else:
            self._responses[message["request_seq"]] = message
        return True
