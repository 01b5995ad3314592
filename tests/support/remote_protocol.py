"""GDB's remote serial protocol, from GDB's side: what tests say to ckpt-replay-server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Numbers of registers in the server's description.
RDI, SP, PC = 5, 7, 16
_REGISTER_DIGITS = 16


@dataclass(frozen=True)
class Stop:
    """A stop reply: its letter and number, the thread, and the reasons that it names."""

    kind: str
    number: int
    thread: int
    reasons: frozenset[str]


class RemoteServer:
    """A server that runs. It ends with its input, which `close` ends."""

    def __init__(self, command: list[str | Path], before: Callable[[], None] | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=before,
        )
        self.console = ""
        assert self.ask("QStartNoAckMode") == "OK"
        self._write(b"+")

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def _read_packet(self) -> str:
        assert self.process.stdout is not None
        data = b""
        while not re.search(rb"\$[^#]*#..$", data, re.DOTALL):
            byte = self.process.stdout.read(1)
            if not byte:
                error = self.process.stderr.read() if self.process.stderr else b""
                raise AssertionError(f"the server has ended: {error.decode()}")
            data += byte
        body = data[data.index(b"$") + 1 : -3]
        unescaped = re.sub(rb"(?s)\}(.)", lambda match: bytes([match[1][0] ^ 0x20]), body)
        return unescaped.decode("latin-1")

    def send(self, packet: str, behind: bytes = b"") -> None:
        """Send a packet, with what comes at once behind it, and do not wait for the answer."""
        body = packet.encode()
        self._write(b"$%s#%02x%s" % (body, sum(body) % 256, behind))

    def receive(self) -> str:
        """The next answer. What is printed meanwhile is kept in `console`."""
        while True:
            answer = self._read_packet()
            if answer.startswith("O") and answer != "OK":
                self.console += bytes.fromhex(answer[1:]).decode()
                continue
            return answer

    def ask(self, packet: str) -> str:
        """Send a packet; its answer."""
        self.send(packet)
        return self.receive()

    def move(self, packet: str) -> Stop:
        """Send a packet that moves; where it stops."""
        return stop_of(self.ask(packet))

    def step(self) -> Stop:
        """One instruction of the thread that runs next."""
        return self.move("vCont;s")

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._write(b"\x03")

    def command(self, text: str) -> str:
        """A command of `monitor`; what it prints."""
        answer = self.ask("qRcmd," + text.encode().hex())
        return "" if answer == "OK" else bytes.fromhex(answer).decode()

    def registers(self) -> str:
        """All of them, of the thread that was selected last."""
        return self.ask("g")

    def register(self, number: int) -> int:
        """One of the first registers, which have eight bytes."""
        digits = self.registers()[number * _REGISTER_DIGITS : (number + 1) * _REGISTER_DIGITS]
        return int.from_bytes(bytes.fromhex(digits), "little")

    def memory(self, at: int, size: int) -> bytes:
        """Bytes of the program."""
        return bytes.fromhex(self.ask(f"m{at:x},{size:x}"))

    def state(self) -> tuple[str, str, bytes]:
        """Everything of a position that is quick to look at."""
        sp = self.register(SP)
        return self.ask("qC"), self.registers(), self.memory(sp - 128, 640)

    def close(self) -> int:
        """End it; its exit status."""
        self.process.communicate()
        return self.process.returncode


def stop_of(answer: str) -> Stop:
    """Take a stop reply apart."""
    assert answer[:1] in ("T", "W", "X"), answer
    words = answer[3:].split(";")
    thread = next((word[7:] for word in words if word.startswith("thread:")), "0")
    reasons = frozenset(
        word.rstrip(":") for word in words if word and not re.match(r"thread:|[0-9a-f]+:", word)
    )
    return Stop(answer[0], int(answer[1:3], 16), int(thread, 16), reasons)
