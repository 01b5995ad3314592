"""A small front end: a gdb that talks GDB/MI over pipes, as an editor starts it.

Every line is taken apart into a record; a line that is none is output of the program, which shares
the pipe.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gdbsession import TIMEOUT_S
from pipedgdb import PipedGdb

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_RECORD = re.compile(r"(\d*)([\^*=+])([a-z-]+)(?:,(.*))?")


@dataclass(frozen=True)
class Record:
    """One line. `kind` is GDB/MI's character for it (`~`, `@` and `&` are texts),
    "" for output of the program.
    """

    kind: str
    name: str = ""
    token: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    text: str = ""


class _Values:
    """What stands behind the name of a record: results, tuples, lists and strings."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def results(self, end: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._at < len(self._text) and self._text[self._at] != end:
            key, value = self._result()
            found[key] = value
            self._skip(",")
        return found

    def _result(self) -> tuple[str, Any]:
        equals = self._text.index("=", self._at)
        key, self._at = self._text[self._at : equals], equals + 1
        return key, self._value()

    def _value(self) -> Any:
        first = self._text[self._at]
        if first == "{":
            self._at += 1
            found = self.results("}")
            self._at += 1
            return found
        if first == "[":
            self._at += 1
            values = []
            while self._text[self._at] != "]":
                # A list of results is one of their values: GDB has lists of equal names only.
                values.append(self._value() if self._text[self._at] in '{["' else self._result()[1])
                self._skip(",")
            self._at += 1
            return values
        match = _STRING.match(self._text, self._at)
        assert match, f"no value at {self._text[self._at :]!r}"
        self._at = match.end()
        return unquoted(match[0])

    def _skip(self, text: str) -> None:
        if self._text.startswith(text, self._at):
            self._at += len(text)


def unquoted(text: str) -> str:
    """A C string's content."""
    plain = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(
        r"\\(\d{3}|.)",
        lambda m: chr(int(m[1], 8)) if len(m[1]) == 3 else plain.get(m[1], m[1]),
        text[1:-1],
    )


def parsed(line: str) -> Record:
    """A line as a record."""
    if line[:1] in "~@&" and line[1:2] == '"':
        return Record(line[0], text=unquoted(line[1:]))
    match = _RECORD.fullmatch(line)
    if match is None:
        return Record("", text=line)
    return Record(match[2], match[3], match[1], _Values(match[4] or "").results())


class MiSession(PipedGdb):
    """One gdb that talks GDB/MI in the version `interpreter`. It must be closed."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        user: int | None = None,
        interpreter: str = "mi3",
    ) -> None:
        super().__init__(
            interpreter, arguments, environment=environment, directory=directory, user=user
        )
        self.records: list[Record] = []
        self._rest = b""
        self._token = 0
        self.wait(lambda record: record.text.strip() == "(gdb)")

    def send(self, command: str) -> str:
        """Send a command with a token, which is returned;
        one that does not begin with a dash is the console's.
        """
        self._token += 1
        self.write(f"{self._token}{command}\n".encode())
        return str(self._token)

    def execute(self, command: str, name: str = "done") -> dict[str, Any]:
        """Send a command, wait for its result, which must be `name`,
        and return what stands in that.
        """
        token = self.send(command)
        result = self.wait(lambda record: record.kind == "^" and record.token == token)
        assert result.name == name, f"{command}: {result}\n{self.transcript}"
        return result.fields

    def run(self, command: str) -> Record:
        """A command that lets the program go on; the stop that ends it."""
        mark = len(self.records)
        self.execute(command, "running")
        return self.wait(lambda record: record.name == "stopped", since=mark)

    def wait(self, wanted: Any, since: int | None = None) -> Record:
        """The first record for which `wanted` is true,
        among those to come and those from number `since` on.
        """
        at = len(self.records) if since is None else since
        end_s = time.monotonic() + TIMEOUT_S
        while True:
            for record in self.records[at:]:
                if wanted(record):
                    return record
            at = len(self.records)
            *lines, self._rest = (self._rest + self.read(end_s)).split(b"\n")
            self.records += [parsed(line.decode(errors="replace").rstrip("\r")) for line in lines]

    def quit(self) -> None:
        """`-gdb-exit`: GDB must end by itself, with status 0."""
        self.execute("-gdb-exit", "exit")
        self.ended()
