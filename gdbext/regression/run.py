"""One replay from beginning to end: what `ckpt replay` does."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import CkptError, ReplayError, ReplayTimeout, UsageError
from . import expectation, junit
from .client import DEFAULT_TIMEOUT_S, Client, State, Subject
from .expectation import Expectation
from .live import post_mortem, start

AS_RECORDED, DIFFERENT, NOT_RUN = 0, 1, 2

# GDB says these at some stops and not at others, with the same program.
_CHATTER = re.compile(
    r"^(\[Switching to .*\]|\[Thread debugging using .*|Using host libthread_db .*"
    r"|\[New (Thread|process) .*|\[Thread .* exited\]|\[Attaching after .*|\[Detaching after .*)\n",
    re.MULTILINE,
)


class Options(NamedTuple):
    """What `ckpt replay` was asked for; files as typed. `store`: None for the default one. `gdb`,
    `python`: the programs to use, None for the usual ones.
    """

    snapshot: str
    script: Optional[str] = None
    expect: Optional[str] = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    update: bool = False
    junit: Optional[str] = None
    program: Optional[str] = None
    at: Optional[str] = None
    gone: bool = False
    stdin: Optional[str] = None
    files: Tuple[Tuple[str, str], ...] = ()
    store: Optional[Path] = None
    gdb: Optional[str] = None
    python: Optional[str] = None


class Result(NamedTuple):
    """What came of it: `status` is AS_RECORDED, DIFFERENT or NOT_RUN; `headline` one line, `lines`
    what more there is to say, `transcript` what GDB and the program printed.
    """

    status: int
    headline: str
    lines: Tuple[str, ...] = ()
    transcript: str = ""


def replay(options: Options) -> Result:
    """Replay, compare, and write what was asked for. What goes wrong is a result, too."""
    started_s = time.monotonic()
    try:
        result = _replay(options)
    except CkptError as error:
        result = Result(NOT_RUN, f"{options.snapshot}: could not be replayed: {error}")
    if options.junit is not None:
        try:
            junit.write(
                _path(options.junit),
                name=f"{options.snapshot} {options.script or ''}".strip(),
                status=result.status,
                headline=result.headline,
                details="\n".join([result.headline, *result.lines]),
                output=result.transcript,
                seconds=time.monotonic() - started_s,
            )
        except CkptError as error:
            result = Result(NOT_RUN, f"{options.snapshot}: no JUnit file: {error}", result.lines)
    return result


def seconds(text: str) -> float:
    """A time limit as typed. Raises UsageError."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < 1e9:
        raise UsageError(f'not a number of seconds: "{text}"')
    return found


def pair(text: str) -> Tuple[str, str]:
    """OLD=NEW as typed. Raises UsageError."""
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise UsageError(f'OLD=NEW is wanted, not "{text}"')
    return old, new


def expectation_path(options: Options) -> Path:
    """Where the expectation is: as given; beside the script; beside a snapshot that is a file; for
    one in the store in the current directory.
    """
    if options.expect is not None:
        return _path(options.expect)
    if options.script is not None:
        return _path(options.script).with_suffix(".expect")
    name = os.path.expanduser(options.snapshot)
    if os.path.isfile(name):
        return _path(name).with_suffix(".expect")
    return Path(f"{options.snapshot}.expect").absolute()


def _path(text: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(text)))


def _replay(options: Options) -> Result:
    path = expectation_path(options)
    if options.script is not None and not os.path.isfile(_path(options.script)):
        raise ReplayError(f"{options.script}: no such script")
    if options.program is not None and options.update:
        raise ReplayError("what another program does is not recorded: -program without -update")
    if options.gone and options.program is None:
        raise ReplayError("-gone is a question to another program: give one with -program")
    if options.at is not None and options.program is None:
        raise ReplayError("-at is for another program: give one with -program")
    recorded = expectation.read(path) if path.exists() and not options.update else None
    if recorded is None and not options.update and options.program is None:
        raise ReplayError(f"there is no {path}: record one with -update")
    with Client(
        timeout_s=options.timeout_s,
        store=options.store,
        gdb=options.gdb,
        python=options.python,
    ) as client:
        name = options.snapshot
        subject = client.open(name)
        if options.program is not None:
            return _other_program(client, subject, options, recorded, path)
        replaced = [(str(_path(old)), str(_path(new))) for old, new in options.files]
        client.restore(subject, replaced, _stdin(options))
        seen, late = _go(client, options)
        told = _told(client)
        if recorded is None:
            if late:
                raise ReplayError(f"nothing was recorded: {late}")
            about = f"the snapshot {subject.name} (program {os.path.basename(subject.program)}"
            script = f", script {os.path.basename(options.script)}" if options.script else ""
            expectation.write(path, seen, f"{about}{script})")
            ends = "; ".join(seen.end)
            return Result(AS_RECORDED, f"{name}: recorded in {_short(path)}: {ends}", (), told)
        different = expectation.compare(recorded, seen)
        if not different:
            ends = "; ".join(seen.end)
            return Result(AS_RECORDED, f"{name}: as recorded in {_short(path)}: {ends}", (), told)
        if late:
            # Everything after it is missing, too: that would only distract.
            different = [each for each in different if each.section == "end"]
        lines = _shown(different, path)
        if late:
            lines += ["", "where it is:", *_tail(client)]
        return Result(DIFFERENT, f"{name}: different from {_short(path)}", tuple(lines), told)


def _stdin(options: Options) -> Optional[str]:
    if options.stdin is None:
        return None
    path = _path(options.stdin)
    if not path.exists():
        raise ReplayError(f"{options.stdin}: no such file")
    return str(path)


def _short(path: Path) -> str:
    """As a user would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("../..") else relative


def _told(client: Client) -> str:
    parts = [client.transcript.strip("\n")]
    for stream, name in ((1, "standard output"), (2, "standard error")):
        text = client.output(stream).strip("\n")
        if text:
            parts.append(f"-- the program's {name}\n{text}")
    return "\n".join(parts) + "\n"


def _tail(client: Client) -> List[str]:
    """The backtraces of a program that hangs."""
    text = client.noise.without(client.transcript, of_gdb=True)
    return text.rpartition("(gdb) thread apply all backtrace\n")[2].strip("\n").split("\n")[:60]


def _shown(different: Sequence[expectation.Difference], path: Path) -> List[str]:
    lines = []
    for each in different:
        at = f" ({_short(path)}, line {each.line})" if each.line else ""
        lines += ["", f"{each.section}{at}: - recorded, + now", *each.shown]
    return lines[1:]


# -- running ---------------------------------------------------------------------------------------


def _go(
    client: Client, options: Options, before: Tuple[int, int] = (0, 0)
) -> Tuple[Expectation, str]:
    """Run the script, or else to the end; what was seen, and, if it took too long, what the
    time-out says. Output up to `before` in both streams does not count.
    """
    late = ""
    try:
        if options.script is not None:
            client.request("script", path=str(_path(options.script)))
        else:
            if client.state.fatal is None:
                client.request("finish", echo="(gdb) continue")
            if client.state.alive and client.state.fatal is not None:
                client.request("execute", echo="(gdb) backtrace", command="backtrace")
    except ReplayTimeout as error:
        late = str(error)
    return _seen(client, options, before, late), late


def _seen(
    client: Client, options: Options, before: Tuple[int, int], late: str
) -> Expectation:
    text = _CHATTER.sub("", client.transcript)
    transcript = client.noise.without(text, of_gdb=True).strip("\n")
    transcript = re.sub(r"[ \t]+$", "", transcript, flags=re.MULTILINE)  # tables have it
    streams = (
        client.noise.without(client.output(stream)[before[stream - 1] :], of_gdb=False)
        for stream in (1, 2)
    )
    stdout, stderr = (expectation.lines_of(each) for each in streams)
    return Expectation(
        expectation.lines_of(transcript + "\n") if transcript else (),
        stdout,
        stderr,
        _end(client.state, f"still running after {options.timeout_s:g} s" if late else ""),
    )


def _end(state: State, late: str) -> Tuple[str, ...]:
    """What became of the program, as lines."""
    place = state.own or state.where
    where = [f"in {place}"] if place is not None else []
    if late:
        return (late, *where)
    if state.exit_code is not None:
        return (f"exited with status {state.exit_code}",)
    if not state.alive:
        return (f"killed by {state.fatal}",) if state.fatal else ("ended",)
    if state.fatal is not None:
        text = re.sub(r"/\S*/(?=[^/\s]+:\d+: )", "", state.assertion)  # the file's name will do
        said = [f"assertion: {text}"] if text else []
        return (f"signal {state.fatal}", *said, *where)
    by = f" by {state.stopped_by}" if state.stopped_by else ""
    return (f"stopped{by}", *where)


# -- another build ---------------------------------------------------------------------------------


def _other_program(
    client: Client,
    subject: Subject,
    options: Options,
    recorded: Optional[Expectation],
    path: Path,
) -> Result:
    """Ask the recorded question to another build of the program."""
    assert options.program is not None
    if options.files:
        raise ReplayError("-file cannot be given together with -program")
    here, died = post_mortem(client, subject.path, subject.store)
    client.noise.hide(subject.cwd, "<directory>")
    if recorded is not None:
        end = recorded.end
    elif died is not None:
        end = _end(
            State(True, None, died.signal, None, died.place, died.place, died.assertion), ""
        )
    else:
        raise ReplayError(
            "the snapshot was not made at a failure, and there is no "
            f"{_short(path)} that says how it ends: record that first, with -update"
        )
    late = ""
    before = (0, 0)
    reached = False
    found: Dict[str, Any] = {}
    notes: List[str] = []
    try:
        found = start(client, subject, options.program, here, options.at, _stdin(options))
        reached, notes = bool(found["reached"]), list(found["notes"])
        if reached:
            before = (len(client.output(1)), len(client.output(2)))
    except ReplayTimeout as error:
        late = str(error)
    if not late and client.state.alive:
        if reached:
            client.forget()
        seen, late = _go(client, options, before)
    else:
        seen = _seen(client, options, before, late)
    lines: List[str] = []
    if not reached and (late or found["there"]):
        notes.append(f"{options.at or here} was not reached")
    again, shown = _occurs_again(end, recorded, seen, options, path)
    now = "; ".join(seen.end)
    failed = seen.end[0].startswith(("signal ", "killed by ", "still running"))
    name = options.program
    was = "; ".join(end)
    if again:
        status = DIFFERENT if options.gone else AS_RECORDED
        headline = f"{name}: the recorded failure occurs again: {now}"
    elif failed:
        status = DIFFERENT
        headline = f"{name}: another failure than the recorded one: {now}"
        lines.append(f"recorded: {was}")
    else:
        status = AS_RECORDED if options.gone else DIFFERENT
        headline = f"{name}: the recorded failure does not occur: {now}"
        lines.append(f"recorded: {was}")
    return Result(
        status, headline, (*lines, *shown, *(f"note: {note}" for note in notes)), _told(client)
    )


def _occurs_again(
    end: Sequence[str],
    recorded: Optional[Expectation],
    seen: Expectation,
    options: Options,
    path: Path,
) -> Tuple[bool, List[str]]:
    """Whether what was seen is the recorded failure, and what differs.

    One that is a signal is recognised by the signal and the failed assertion, or else the function:
    lines have moved. One that is not, by everything that it printed.
    """
    if end[0].startswith("signal "):
        return _signature(end) == _signature(seen.end), []
    if recorded is None:
        return False, []
    if options.script is None:
        seen = seen._replace(transcript=recorded.transcript)
    moved = _without_lines(recorded), _without_lines(seen)
    different = expectation.compare(*moved)
    return not different, ["", *_shown(different, path)] if different else []


_LINE = re.compile(r"(\.\w+):\d+")


def _without_lines(seen: Expectation) -> Expectation:
    """Without numbers of source lines, which are others in another build."""
    return seen._replace(
        transcript=tuple(_LINE.sub(r"\1:<line>", line) for line in seen.transcript),
        end=tuple(_LINE.sub(r"\1:<line>", line) for line in seen.end),
    )


def _signature(end: Sequence[str]) -> Tuple[str, ...]:
    for line in end:
        if line.startswith("assertion: "):
            # "program: file.c:88: function: Assertion `x' failed."
            return end[0], re.sub(r"^.*?:\d+: ", "", line[len("assertion: ") :])
    for line in end:
        if line.startswith("in "):
            return end[0], line.partition(" at ")[0]
    return (end[0],)
