"""A replay as a test uses it: a restored program, to be run, asked and ended.

    with open_replay("crash.ckpt") as r:
        r.run_to("handler.c:88")
        assert r.eval("queue->len") == 3
        r.finish()
        assert r.exit_code == 0
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

from ..errors import ReplayError
from .client import DEFAULT_TIMEOUT_S, Client, Place, Subject


class Frame(NamedTuple):
    """A frame of a stack: 0 is the newest."""

    level: int
    function: str
    file: str
    line: int


class ThreadInfo(NamedTuple):
    """A thread: GDB's number, its name, and where it is."""

    number: int
    name: str
    selected: bool
    function: str
    file: str
    line: int


class Failure(NamedTuple):
    """What ends a program: the signal, what the C library said before it aborted the program (""),
    and the newest place in the program's own code.
    """

    signal: str
    assertion: str
    place: Optional[Place]

    def __str__(self) -> str:
        return f"{self.signal} in {self.place}" if self.place is not None else self.signal


class Replay:
    """A restored program, or another build of it, in a GDB of its own; made by `open_replay()`."""

    def __init__(self, client: Client, label: str) -> None:
        self._client = client
        self.label = label
        self.notes: Tuple[str, ...] = ()
        self.recorded: Optional[Failure] = None
        self.reached = True

    def __enter__(self) -> "Replay":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Replay of {self.label}>"

    def close(self) -> None:
        """End the program and GDB; nothing is left of them then. What they printed stays."""
        self._client.close()

    # -- running -----------------------------------------------------------------------------------

    def run_to(self, location: str, condition: Optional[str] = None) -> None:
        """Let the program run until it comes to `location` (as GDB's `break` takes it), with
        `condition` true there, if one is given.

        Signals that do not end the program are delivered. Raises ReplayError when it ends or stops
        before, ReplayTimeout.
        """
        __tracebackhide__ = True
        text = f"{location} if {condition}" if condition else location
        found = self._client.request(
            "run_to", echo=f"(replay) run_to {text}", location=location, condition=condition
        )
        if not found.value:
            raise ReplayError(f"{location} was not reached: {self.status}")

    def finish(self) -> None:
        """Let the program run to its end, past breakpoints. It stays, stopped, at a signal that
        would end it: then `signal` says which one, and `exit_code` stays None. Nothing happens when
        it has ended.
        """
        __tracebackhide__ = True
        self._client.request("finish", echo="(replay) finish")

    def execute(self, command: str) -> str:
        """Run a GDB command; returns what is printed. Raises ReplayError when GDB says no."""
        __tracebackhide__ = True
        return self._client.request("execute", echo=f"(gdb) {command}", command=command).output

    # -- asking ------------------------------------------------------------------------------------

    def eval(self, expression: str) -> Any:
        """The value of an expression in the selected frame.

        Integers, characters, enumerators and pointers are ints, booleans bools, floating-point
        numbers floats; `char *` and arrays of char are strings, a null `char *` is None. Everything
        else is the text that GDB prints. Raises ReplayError for an expression that is no good.
        """
        __tracebackhide__ = True
        echo = f"(replay) eval {expression}"
        value = self._client.request("eval", echo=echo, expression=expression).value
        self._client.say(f"{value!r}")
        return value

    def select(self, function: str) -> None:
        """Select the newest frame of a function, for `eval` and `execute`. Raises ReplayError when
        it is not on the selected thread's stack.
        """
        __tracebackhide__ = True
        self._client.request("select", echo=f"(replay) select {function}", function=function)

    def backtrace(self) -> List[Frame]:
        """The frames of the selected thread, the newest first; at most 200."""
        __tracebackhide__ = True
        return [
            Frame(each["level"], each["function"], each["file"], each["line"])
            for each in self._client.request("backtrace").value
        ]

    def threads(self) -> List[ThreadInfo]:
        """The threads by ascending number; none when the program has ended."""
        __tracebackhide__ = True
        return [
            ThreadInfo(
                each["number"], each["name"], each["selected"],
                each["function"], each["file"], each["line"],
            )
            for each in self._client.request("threads").value
        ]  # fmt: skip

    @property
    def where(self) -> Optional[Place]:
        """Where the selected thread was when it stopped last; None when the program has ended."""
        return self._client.state.where

    @property
    def alive(self) -> bool:
        """Whether the program is still there."""
        return self._client.state.alive

    @property
    def exit_code(self) -> Optional[int]:
        """The program's exit status; None while it runs, and when a signal has ended it."""
        return self._client.state.exit_code

    @property
    def signal(self) -> Optional[str]:
        """The signal that ended the program or is about to, such as "SIGSEGV"; None for none."""
        return self._client.state.fatal

    @property
    def failure(self) -> Optional[Failure]:
        """The same with its circumstances."""
        state = self._client.state
        if state.fatal is None:
            return None
        return Failure(state.fatal, state.assertion, state.own)

    @property
    def status(self) -> str:
        """What has become of the program, in words."""
        state = self._client.state
        if state.exit_code is not None:
            return f"the program exited with status {state.exit_code}"
        if not state.alive:
            return f"the program was ended by {state.fatal}" if state.fatal else "it has ended"
        by = f" by {state.stopped_by}" if state.stopped_by else ""
        return f"the program is stopped{by} in {state.own or state.where}"

    @property
    def stdout(self) -> str:
        """What the program has written to standard output since it was restored."""
        return self._client.output(1)

    @property
    def stderr(self) -> str:
        """The same of standard error."""
        return self._client.output(2)

    @property
    def output(self) -> str:
        """Both, standard output first."""
        return self.stdout + self.stderr

    @property
    def transcript(self) -> str:
        """What was asked of GDB, and what it printed."""
        return self._client.transcript


def open_replay(
    snapshot: Union[str, Path],
    *,
    program: Union[str, Path, None] = None,
    at: Optional[str] = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    stdin: Union[str, Path, None] = None,
    files: Optional[Mapping[str, Union[str, Path]]] = None,
    store: Union[str, Path, None] = None,
    gdb: Optional[str] = None,
    beside: Union[str, Path, None] = None,
) -> Replay:
    """Restore a snapshot for a test, with private copies of its files, in a GDB of its own.

    `snapshot`: a file, a bundle, or a name in `store` (None: the default store). `stdin`: a file
    for standard input; without it that is what it was, or nothing if it was a terminal. `files`:
    files to open in place of those that the program had open. `timeout`: seconds that each call may
    take. `gdb`: the GDB to run. `beside`: a directory in which `snapshot` is looked for, too.

    `program`: another build of the program. It is started with the recorded arguments, environment,
    standard input and files, and run to the place at which the snapshot was made, or to `at`;
    `reached` says whether it came there, and `recorded` what the snapshot's program died of.

    Raises ReplayError and ReplayTimeout.
    """
    __tracebackhide__ = True
    client = Client(timeout_s=timeout, gdb=gdb, store=_absolute(store))
    made = Replay(client, Path(snapshot).name)
    try:
        subject = client.open(str(snapshot), beside=str(beside or ""))
        given = str(_absolute(stdin)) if stdin is not None else None
        if program is None:
            replaced = [(old, str(_absolute(new))) for old, new in (files or {}).items()]
            made.notes = tuple(client.restore(subject, replaced, given))
            return made
        if files:
            raise ReplayError("files cannot be given for another build of the program")
        place, made.recorded = post_mortem(client, subject.path, subject.store)
        found = start(client, subject, program, place, at, given)
        made.reached = bool(found["reached"])
        made.notes = tuple(found["notes"])
        return made
    except BaseException:
        client.close()
        raise


def post_mortem(client: Client, path: str, store: str) -> Tuple[str, Optional[Failure]]:
    """Where the snapshot's program was ("" when that is not known), with the condition of the
    breakpoint there; and what it died of, if so.
    """
    # No program runs: a limit for one that hangs says nothing of how long GDB may read symbols.
    found = client.request(
        "post_mortem",
        least_s=DEFAULT_TIMEOUT_S,
        path=path,
        store=store,
        scratch=str(client.scratch / "libraries"),
    ).value
    place = Place.of(found["own"])
    failure = Failure(found["fatal"], found["assertion"], place) if found["fatal"] else None
    here = str(place) if place is not None and place.function else ""
    if here and found["condition"]:
        here += f" if {found['condition']}"
    return here, failure


def start(
    client: Client,
    subject: Subject,
    program: Union[str, Path],
    here: str,
    at: Optional[str],
    stdin: Optional[str],
) -> Dict[str, Any]:
    """Start another build of the program and run it to `at`, which must be there, or else to
    `here`.
    """
    path = _absolute(program)
    if path is None or not path.is_file():
        raise ReplayError(f"{program}: no such program")
    return client.start(subject, str(path), at or here, at is not None, stdin)


def _absolute(path: Union[str, Path, None]) -> Optional[Path]:
    return Path(path).expanduser().absolute() if path is not None else None
