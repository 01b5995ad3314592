"""One GDB with one restored program, from outside: requests and answers, time-outs, the transcript.

    our process <- control socket -> keeper -> gdb -> ckpt-restart -> the program
         ^------------ request socket ----------^

No end of this process, be it SIGKILL, leaves any of the others behind: see keeper.py.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import ReplayError, ReplayTimeout
from .normalise import Noise

DEFAULT_TIMEOUT_S = 60.0
# How long GDB may take to end by itself, and the keeper to end everything.
_ENDING_S = 10.0
# How long an interrupted program may take to stop, for a backtrace of where it hangs.
_INTERRUPT_S = 20.0
_PACKAGE = Path(__file__).resolve().parents[1]
_KEEPER = _PACKAGE / "regression" / "keeper.py"
_BEHEADED = ("PYTHONHOME", "PYTHONSTARTUP", "COLUMNS", "LINES", "DEBUGINFOD_URLS", "GDBHISTFILE")


class Place(NamedTuple):
    """A place in the source: function, last component of the file's path, line; "" and 0 for what
    is not known.
    """

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        if self.file and self.line:
            at = f"{self.file}:{self.line}"
            return f"{self.function} at {at}" if self.function else at
        return self.function or "??"

    @classmethod
    def of(cls, table: Optional[Mapping[str, Any]]) -> Optional["Place"]:
        """From an answer."""
        if table is None:
            return None
        return cls(str(table["function"]), str(table["file"]), int(table["line"]))


class State(NamedTuple):
    """What has become of the program. `fatal`: the signal that ends it, or has. `where`: the
    newest frame; `own`: the newest one in the program's own code. `assertion`: what the C library
    said before it aborted the program.
    """

    alive: bool
    exit_code: Optional[int]
    fatal: Optional[str]
    stopped_by: Optional[str]
    where: Optional[Place]
    own: Optional[Place]
    assertion: str


class Subject(NamedTuple):
    """A snapshot that was found: its file, the store that it needs, and what its standard streams
    were.
    """

    path: str
    store: str
    name: str
    program: str
    cwd: str
    streams: Mapping[str, str]


class Answer(NamedTuple):
    """What came of a request, and what GDB printed."""

    value: Any
    output: str


class Client:
    """A GDB of its own. Use it as a context manager, or `close()` it.

    `timeout_s` bounds each request. `gdb` is the program; `store` the directory of the store, None
    for the default one. Raises ReplayError when GDB cannot be started.
    """

    def __init__(
        self,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        gdb: Optional[str] = None,
        store: Optional[Path] = None,
        python: Optional[str] = None,
        stdin: Optional[str] = None,
    ) -> None:
        self.timeout_s = timeout_s
        self.noise = Noise()
        self.state = State(False, None, None, None, None, None, "")
        self._parts: List[str] = []
        self._outputs: Optional[Tuple[str, str]] = None
        self._pending = b""
        self._closed = False
        self._stdin = stdin
        self.scratch = Path(tempfile.mkdtemp(prefix="ckpt-replay-"))
        self.noise.hide(str(self.scratch), "<scratch>")
        program = gdb or os.environ.get("CKPT_GDB") or "gdb"
        command = [program, "-nx", "-q", "-batch", "-x", str(_PACKAGE / "load.py")]
        if store is not None:
            command += ["-ex", f"set ckpt directory {store}"]
        ours, control = socket.socketpair()
        self._control = ours
        self._requests, channel = socket.socketpair()
        serve = f"python from gdbext.session import serving; serving.serve({channel.fileno()})"
        try:
            self._keeper = subprocess.Popen(
                [
                    *(python or sys.executable, "-I", "-S", str(_KEEPER)),
                    *(str(control.fileno()), str(channel.fileno()), str(self.scratch)),
                    *(os.devnull, *command, "-ex", serve),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(control.fileno(), channel.fileno()),
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            self._requests.close()
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise ReplayError(f"{error.filename}: {error.strerror}") from None
        finally:
            control.close()
            channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the program -------------------------------------------------------------------------------

    def open(self, snapshot: str, *, beside: str = "") -> Subject:
        """Find a snapshot: a name, a file (in `beside` first), or a bundle. Raises ReplayError."""
        __tracebackhide__ = True
        found = self.request(
            "open", snapshot=snapshot, scratch=str(self.scratch), beside=beside
        ).value
        self.noise.hide(found["store"], "<store>")
        return Subject(
            found["path"], found["store"], found["name"], found["program"], found["cwd"],
            found["streams"],
        )  # fmt: skip

    def restore(
        self, subject: Subject, replaced: List[Tuple[str, str]], stdin: Optional[str]
    ) -> List[str]:
        """Bring it back. Notes. Raises ReplayError."""
        __tracebackhide__ = True
        streams = {
            stream: path
            for stream, path in self._streams(subject, stdin).items()
            if stream == "0" or stream in subject.streams
        }
        notes: List[str] = self.request(
            "restore",
            path=subject.path,
            store=subject.store,
            streams=streams,
            terminal=str(self.scratch / "tty.1"),
            replaced=replaced,
        ).value
        # What GDB said of restoring is not part of what the program does.
        self.forget()
        return notes

    def start(
        self, subject: Subject, program: str, location: str, must: bool, stdin: Optional[str]
    ) -> Dict[str, Any]:
        """Start another build of the program, and run it to `location`; to its end when there is no
        such place, unless there `must` be one. Whether it is `there`, and was `reached`, and
        `notes`. Raises ReplayError.
        """
        __tracebackhide__ = True
        found: Dict[str, Any] = self.request(
            "start",
            path=subject.path,
            store=subject.store,
            scratch=str(self.scratch),
            program=program,
            streams=self._streams(subject, stdin, afresh=True),
            location=location,
            must=must,
        ).value
        return found

    def _streams(
        self, subject: Subject, stdin: Optional[str], afresh: bool = False
    ) -> Dict[str, str]:
        """Where the standard streams lead."""
        found = {}
        for stream in ("1", "2"):
            kind = subject.streams.get(stream, "file")
            if kind != "other" or afresh:
                way = "tty" if kind == "terminal" else "pipe"
                found[stream] = str(self.scratch / f"{way}.{stream}")
        if stdin is not None:
            found["0"] = stdin
        elif not afresh and subject.streams.get("0") in ("terminal", "stream"):
            found["0"] = os.devnull
        return found

    def output(self, stream: int) -> str:
        """What the program has written to standard output (1) or error (2) so far."""
        if self._outputs is not None:
            return self._outputs[stream - 1]
        try:
            self._control.sendall(b"d")
            while self._control.recv(1) not in (b"d", b""):
                pass
        except OSError:
            pass
        return self._written(stream)

    def _written(self, stream: int) -> str:
        try:
            data = (self.scratch / f"output.{stream}").read_bytes()
        except OSError:
            return ""
        return data.decode("utf-8", "backslashreplace")

    @property
    def transcript(self) -> str:
        """What GDB has printed since the program was brought back."""
        return "".join(self._parts)

    def forget(self) -> None:
        """Begin the transcript anew."""
        self._parts.clear()

    def say(self, text: str) -> None:
        """Put one of our own lines into the transcript."""
        self._parts.append(text + "\n")

    # -- requests ----------------------------------------------------------------------------------

    def request(
        self, operation: str, *, echo: str = "", least_s: float = 0, **arguments: Any
    ) -> Answer:
        """Have GDB do something. `echo` goes into the transcript in front of what it prints.
        `least_s`: how long it may take at least, whatever the client's limit.

        Raises ReplayError for what GDB says no to, and when it died; ReplayTimeout.
        """
        __tracebackhide__ = True
        if echo:
            self.say(echo)
        limit_s = max(self.timeout_s, least_s)
        answer = self._exchange({"op": operation, **arguments}, limit_s)
        output = answer["output"]
        error = answer.get("error")
        if error is not None and answer["kind"] != "defect":
            output += f"{error}\n"
        self._parts.append(output)
        self._take_in(answer)
        if error is not None:
            if answer["kind"] == "defect":
                raise RuntimeError(error)
            raise ReplayError(error)
        return Answer(answer["value"], output)

    def _take_in(self, answer: Mapping[str, Any]) -> None:
        state = answer["state"]
        self.state = State(
            state["alive"], state["exit_code"], state["fatal"], state["stopped_by"],
            Place.of(state["where"]), Place.of(state["own"]), state["assertion"],
        )  # fmt: skip
        self.noise.ranges.update((start, end) for start, end in answer["ranges"])
        self.noise.ids.update(answer["ids"])

    def _exchange(self, request: Mapping[str, Any], limit_s: float) -> Mapping[str, Any]:
        __tracebackhide__ = True
        if self._closed:
            raise ReplayError("the replay is over")
        try:
            self._requests.sendall(json.dumps(request).encode() + b"\n")
            line = self._read_line(time.monotonic() + limit_s)
        except OSError:
            line = b""
        except BaseException:
            # Ctrl-C, or a test that is given up: the answer would be taken for the next one's.
            self._kill()
            raise
        if line is None:
            self._hang(str(request["op"]), limit_s)
        if not line:
            said = self._said_by_gdb()
            self._kill()
            raise ReplayError(f"GDB has ended{': ' + said if said else ''}")
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def _read_line(self, deadline_s: float) -> Optional[bytes]:
        """An answer; None when there is none by then, b"" when GDB has ended."""
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        while b"\n" not in self._pending:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None
            # In pieces: inside GDB, Ctrl-C is only seen between two.
            if not poll.poll(min(left_s, 0.1) * 1000 + 1):
                continue
            chunk = self._requests.recv(1 << 16)
            if not chunk:
                return b""
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _hang(self, operation: str, limit_s: float) -> None:
        """Time is up: find out where the program is, and end it."""
        __tracebackhide__ = True
        where = ""
        try:
            self._control.sendall(b"i")
            line = self._read_line(time.monotonic() + _INTERRUPT_S)
            if line:
                answer = json.loads(line)
                self._parts.append(answer["output"])
                self._take_in(answer)
                if self.state.alive and self.state.where is not None:
                    where = f"; the program was in {self.state.own or self.state.where}"
                    self._requests.sendall(
                        json.dumps(
                            {"op": "execute", "command": "thread apply all backtrace"}
                        ).encode()
                        + b"\n"
                    )
                    more = self._read_line(time.monotonic() + _INTERRUPT_S)
                    if more:
                        answer = json.loads(more)
                        self._parts.append("(gdb) thread apply all backtrace\n" + answer["output"])
        except OSError:
            pass
        self._kill()
        raise ReplayTimeout(f"{operation}: not done within {limit_s:g} s{where}")

    def _said_by_gdb(self) -> str:
        try:
            text = (self.scratch / "gdb").read_text(errors="replace").strip()
        except OSError:
            return ""
        lines = [line for line in text.splitlines() if not line.startswith("Error while exec")]
        return lines[-1] if lines else ""

    # -- the end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """End GDB and the program, and return when there is no process left."""
        if self._closed:
            return
        try:
            # By itself at first: it removes what it has put into the store for the time.
            self._requests.sendall(b'{"op": "quit"}\n')
            self._read_line(time.monotonic() + _ENDING_S)
            self._requests.shutdown(socket.SHUT_WR)
            self._await(self._requests, _ENDING_S)
        except OSError:
            pass
        self._kill()

    def _kill(self) -> None:
        if self._closed:
            return
        self._outputs = (self.output(1), self.output(2))
        self._closed = True
        self._requests.close()
        try:
            self._control.sendall(b"q")
        except OSError:
            pass
        self._await(self._control, _ENDING_S)
        self._control.close()
        try:
            # It has closed its end: it is as good as gone. (In GDB another module may collect it.)
            self._keeper.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)

    @staticmethod
    def _await(end: socket.socket, limit_s: float) -> None:
        """Return when the other end is closed."""
        poll = select.poll()
        poll.register(end, select.POLLIN)
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            if poll.poll(100) and not end.recv(1 << 12):
                return


def _environment() -> Dict[str, str]:
    """What GDB gets: nothing that changes what it prints."""
    kept = {name: value for name, value in os.environ.items() if name not in _BEHEADED}
    return {**kept, "LC_ALL": "C.UTF-8", "TERM": "dumb", "SHELL": "/bin/sh"}
