"""GDB's side of a replay: does what `regression/client.py` asks for, one request after the other.

Requests and answers are lines of JSON on a socket. A request is {"op": NAME, ...}; the answer has
`value`, or `error` and `kind`; `output`, what GDB has printed; `state`, where the program is; and
`ranges` and `ids`, its mappings and the ids of its threads, by which addresses and ids in the text
are told from other numbers.

What GDB prints goes to a file (its standard output and error), not through `to_string`: stops and
warnings are printed past that.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional, Tuple

import gdb

from .. import native
from ..errors import CkptError, one_line
from ..regression import script
from . import afresh, inferior, settings, whereabouts

# Signals that do not end a program by default.
_HARMLESS = frozenset(
    {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP}
    | {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
)
# What the debugger itself makes.
_DEBUGGERS = frozenset({"SIGTRAP", "SIGINT"})
_SETTINGS = (
    "confirm off",
    "pagination off",
    "width 0",
    "height 0",
    "style enabled off",
    "history save off",
    "debuginfod enabled off",
    # The order in which threads come and go is not reported.
    "print thread-events off",
    "print inferior-events off",
    # Source lines would depend on whether the sources are there.
    "print frame-info location",
    "filename-display basename",
    "breakpoint pending off",
)


_QUIT = "the script has quit"
# How GDB announces one of our breakpoints.
_OURS = re.compile(r"^(?:Thread \d+ .*hit )?Breakpoint -\d+, ", re.MULTILINE)


class Server:
    """One replay."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._output = os.open("/proc/self/fd/1", os.O_RDONLY | os.O_CLOEXEC)
        self._pending = b""
        self._exit_code: Optional[int] = None
        self._ended_by: Optional[str] = None
        self._stopped_by: Optional[str] = None
        self._fatal: Optional[str] = None
        self._breakpoints: Tuple[Any, ...] = ()
        gdb.events.exited.connect(self._on_exited)
        gdb.events.stop.connect(self._on_stop)

    # -- the socket --------------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer until there are no more requests."""
        for name in _SETTINGS:
            if settings.has_setting(name.rpartition(" ")[0]):
                settings.quietly(f"set {name}")
        # Scripts written for a terminal end with it; GDB is ours to end.
        settings.define("hook-quit", [f"python raise gdb.GdbError('{_QUIT}')"])
        while True:
            line = self._line()
            if not line:
                return
            answer = self._answer(json.loads(line))
            _write_all(self._fd, json.dumps(answer).encode() + b"\n")

    def _line(self) -> bytes:
        while b"\n" not in self._pending:
            chunk = os.read(self._fd, 1 << 16)
            if not chunk:
                return b""
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _answer(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        arguments = {name: value for name, value in request.items() if name != "op"}
        operation: Callable[..., Any] = getattr(self, f"do_{request['op']}")
        before = self._size()
        ranges = _ranges()
        ids = _ids()
        answer: Dict[str, Any] = {"value": None}
        try:
            answer["value"] = operation(**arguments)
        except KeyboardInterrupt:
            answer.update(error="interrupted", kind="interrupted")
        except (CkptError, gdb.error, gdb.GdbError, native.core.NativeError, OSError) as error:
            answer.update(error=one_line(str(error)), kind="expected")
        except Exception:
            answer.update(error=traceback.format_exc(), kind="defect")
        gdb.flush()
        output = os.pread(self._output, self._size() - before, before)
        answer["output"] = _OURS.sub("", output.decode("utf-8", "backslashreplace"))
        answer["state"] = self._state()
        answer["ranges"] = sorted({*ranges, *_ranges()})
        answer["ids"] = sorted({*ids, *_ids()})
        return answer

    def _size(self) -> int:
        gdb.flush()
        return os.fstat(self._output).st_size

    # -- what becomes of the program ---------------------------------------------------------------

    def _on_exited(self, event: Any) -> None:
        if event.inferior is not gdb.selected_inferior():
            return
        code = getattr(event, "exit_code", None)
        number = gdb.convenience_variable("_exitsignal")
        self._on_end(
            int(code) if code is not None else None, int(number) if number is not None else None
        )

    def _on_end(self, code: Optional[int], number: Optional[int]) -> None:
        self._stopped_by = None
        self._exit_code = code
        self._ended_by = _host_name(number) if code is None and number is not None else None
        self._fatal = self._ended_by

    def _on_stop(self, event: Any) -> None:
        self._fatal = None
        self._stopped_by = None
        self._breakpoints = tuple(getattr(event, "breakpoints", ()))
        if hasattr(event, "stop_signal"):
            self._stopped_by = str(event.stop_signal)
            self._fatal = self._stopped_by if _is_fatal(self._stopped_by) else None

    def _state(self) -> Dict[str, Any]:
        alive = inferior_pid() != 0
        return {
            "alive": alive,
            "exit_code": None if alive else self._exit_code,
            "killed": None if alive else self._ended_by,
            "fatal": self._fatal,
            "stopped_by": self._stopped_by if alive else None,
            "where": whereabouts.newest() if alive else None,
            "own": whereabouts.own() if alive else None,
            "assertion": whereabouts.abort_message() if alive and self._fatal == "SIGABRT" else "",
        }

    # -- requests ----------------------------------------------------------------------------------

    def do_open(self, snapshot: str, scratch: str, beside: str) -> Dict[str, Any]:
        """What is to be known of a snapshot before anything is started. A bundle is imported into
        `scratch` first.
        """
        return afresh.describe(snapshot, Path(scratch), beside)

    def do_restore(
        self,
        path: str,
        store: str,
        streams: Mapping[str, str],
        terminal: str,
        replaced: List[List[str]],
    ) -> List[str]:
        """Bring the snapshot back, with private copies of its files, and without its breakpoints.
        The notes.
        """
        from ..debugger import sessions, trust
        from ..offline.snapshot import open_store
        from . import debugger, parameters, restoring

        settings.quietly(f"set inferior-tty {terminal}")
        options = parameters.restart_options(Path(store))._replace(
            files="private",
            file=tuple((old, new) for old, new in replaced),
            stdin=streams.get("0"),
            stdout=streams.get("1"),
            stderr=streams.get("2"),
        )
        opened = open_store(Path(store))
        request = restoring.RestoreRequest(path, options, session=False, ask=False)
        done = restoring.restore(opened, request)
        notes = list(done.notes)
        state, left = sessions.taken(opened, Path(path), done.record)
        notes += trust.left_out_lines(
            [each for each in left if each.kind == trust.SYMBOL_FILE], "a replay never does"
        )
        notes += debugger.apply_symbol_files(state)
        notes += debugger.apply_sources(state)
        held = next((t.held_signal for t in done.record.threads if t.held_signal), 0)
        name = inferior.signal_name(held) if held else None
        self._stopped_by = name
        self._fatal = name if name is not None and _is_fatal(name) else None
        return notes

    def do_post_mortem(self, path: str, store: str, scratch: str) -> Dict[str, Any]:
        """Where the saved program was, and of which signal it was about to die ("": none)."""
        found = afresh.post_mortem(path, store, scratch)
        number = int(found.pop("signal"))
        name = _host_name(number) if number else ""
        fatal = bool(name) and name not in _DEBUGGERS and number not in _HARMLESS
        return {**found, "fatal": name if fatal else ""}

    def do_start(
        self,
        path: str,
        store: str,
        scratch: str,
        program: str,
        streams: Dict[str, str],
        location: str,
        must: bool,
    ) -> Dict[str, Any]:
        """Start another program as the saved one had been started, and run it to `location`; to its
        end when there is no such place in it, unless there `must` be, or when none is given.
        """
        notes = afresh.prepare(path, store, Path(scratch), Path(program), streams)
        if not must:
            notes += afresh.conditions_left_out(path, store)
        self._fatal = self._stopped_by = None
        location, _, condition = location.partition(" if ")
        place = afresh.resolve(location) if location else None
        how = "run"
        if location and place is None and afresh.resolve("main"):
            # It may be in a library, which is there once the program has begun.
            self._run_to("main", "run")
            how = "continue"
            place = afresh.resolve(location) if inferior_pid() else None
        if location and place is None:
            if must:
                raise CkptError(f"there is no {location} in {program}")
            notes.append(f"there is no {location} in this program")
        if place is None:
            if inferior_pid() or how == "run":
                self._go(how)
            return {"reached": False, "there": False, "notes": notes}
        return {"reached": self._run_to(place, how, condition), "there": True, "notes": notes}

    def do_execute(self, command: str) -> None:
        """Run a GDB command."""
        self._execute(command)

    def do_script(self, path: str) -> None:
        """Run a script, with its commands shown, up to its end or the first error."""
        if Path(path).suffix == ".py":
            self._execute(f"source {path}")
            return
        for command in script.commands(Path(path).read_text(errors="surrogateescape")):
            gdb.write(script.shown(command) + "\n")
            try:
                self._execute(command)
            except (gdb.error, gdb.GdbError) as error:
                text = one_line(str(error))
                if text != _QUIT:
                    gdb.write(f"{text}\n")
                return

    def _execute(self, command: str) -> None:
        try:
            gdb.execute(command, False, False)
        except gdb.error as error:
            if not self._recover(str(error)):
                raise

    def _recover(self, error: str) -> bool:
        """When a program of several threads ends right after it was let go, GDB 13 may still be at
        letting the others go: it says "Couldn't get registers: No such process", takes the program
        to be alive, and never collects it. Then see for ourselves how it ended, and say what GDB
        would have said. False when it has not ended.
        """
        pid = inferior_pid()
        status = _wait_status(pid) if pid and "No such process" in error else None
        if status is None:
            return False
        settings.quietly("kill")
        self._on_end(
            os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        )
        number = gdb.selected_inferior().num
        if self._exit_code is not None:
            gdb.set_convenience_variable("_exitcode", self._exit_code)
            how = f"with code {self._exit_code:02o}" if self._exit_code else "normally"
            gdb.write(f"[Inferior {number} (process {pid}) exited {how}]\n")
        else:
            text = signal.strsignal(os.WTERMSIG(status))
            gdb.write(f"\nProgram terminated with signal {self._ended_by}, {text}.\n")
            gdb.write("The program no longer exists.\n")
        return True

    def do_eval(self, expression: str) -> Any:
        """The value of an expression, as Python has it."""
        return plain(gdb.parse_and_eval(expression))

    def do_run_to(self, location: str, condition: Optional[str]) -> bool:
        """Go on to a place; whether it was reached."""
        self._check_alive()
        if condition is None:
            location, _, condition = location.partition(" if ")
        return self._run_to(location, "continue", condition)

    def do_finish(self) -> None:
        """Go on to the end, or a signal that would be it. Nothing when it has ended."""
        if not inferior_pid():
            return
        enabled = [each for each in gdb.breakpoints() if each.enabled]
        for each in enabled:
            each.enabled = False
        try:
            if self._fatal is None:
                self._go("continue")
        finally:
            for each in enabled:
                if each.is_valid():
                    each.enabled = True

    def do_select(self, function: str) -> None:
        """Select the newest frame of a function."""
        self._check_alive()
        if not whereabouts.select(function):
            raise CkptError(f"{function} is not on the selected thread's stack")

    def do_backtrace(self) -> List[Dict[str, Any]]:
        """The frames of the selected thread."""
        self._check_alive()
        return whereabouts.frames()

    def do_threads(self) -> List[Dict[str, Any]]:
        """The threads, by ascending number."""
        return whereabouts.threads()

    def do_quit(self) -> None:
        """End the program."""
        if inferior_pid():
            settings.quietly("kill")

    # -- going on ----------------------------------------------------------------------------------

    def _check_alive(self) -> None:
        if not inferior_pid():
            raise CkptError("the program has ended")

    def _run_to(self, location: str, how: str, condition: Optional[str] = None) -> bool:
        # Internal: neither numbered nor announced, so that transcripts are the same with and
        # without it.
        stop = gdb.Breakpoint(location, internal=True)
        try:
            if stop.pending:
                raise CkptError(f"there is no {location} in the program")
            stop.silent = False
            if condition:
                stop.condition = condition
            self._go(how)
            return stop in self._breakpoints and inferior_pid() != 0
        finally:
            if stop.is_valid():
                stop.delete()

    def _go(self, how: str) -> None:
        """Let the program run, past signals that it handles or that do it no harm."""
        while True:
            self._breakpoints = ()
            _silence_handled()
            self._execute(how)
            how = "continue"
            if not inferior_pid() or self._fatal or self._breakpoints:
                return
            if self._stopped_by is None or self._stopped_by in _DEBUGGERS:
                return


def serve(fd: int) -> None:
    """Answer the requests on the socket `fd`, then end GDB."""
    gdb.execute("set confirm off")
    Server(fd).serve()
    _end()


def _end() -> NoReturn:
    settings.define("hook-quit", [])
    gdb.execute("quit")
    raise AssertionError("GDB goes on")


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def inferior_pid() -> int:
    """The selected inferior's process, 0 for none."""
    return int(gdb.selected_inferior().pid)


def _ranges() -> List[Tuple[int, int]]:
    """The program's mappings, those that touch as one."""
    found: List[Tuple[int, int]] = []
    try:
        with open(f"/proc/{inferior_pid() or 'none'}/maps") as maps:
            for line in maps:
                start, end = (int(word, 16) for word in line.split(" ", 1)[0].split("-"))
                if found and found[-1][1] == start:
                    start = found.pop()[0]
                found.append((start, end))
    except OSError:
        pass
    return found


def _ids() -> List[int]:
    try:
        return [int(each) for each in os.listdir(f"/proc/{inferior_pid() or 'none'}/task")]
    except OSError:
        return []


def _wait_status(pid: int) -> Optional[int]:
    """How a process has ended that has not been collected yet, as of wait(2); None when it has not,
    within a second.
    """
    for _ in range(1000):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            return None
        if fields[0] == "Z":
            return int(fields[49])
        select.select([], [], [], 0.001)  # it is on its way
    return None


def _host_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _is_fatal(name: str) -> bool:
    """Whether this signal ends the stopped program: neither handled nor ignored."""
    number = getattr(signal, name, None)
    if name in _DEBUGGERS or number in _HARMLESS:
        return False
    return number is None or not _not_default() >> (int(number) - 1) & 1


def _not_default() -> int:
    """The mask of the signals that the program handles or ignores."""
    mask = 0
    try:
        with open(f"/proc/{inferior_pid() or 'none'}/status") as status:
            for line in status:
                if line.startswith(("SigIgn:", "SigCgt:")):
                    mask |= int(line.split()[1], 16)
    except OSError:
        pass
    return mask


def _silence_handled() -> None:
    """Have GDB pass on the signals that the program handles or ignores, with no stop: they are its
    own business, and which come when is not the same each time.
    """
    mask = _not_default()
    for number in range(1, 32):
        name = _host_name(number)
        if mask >> (number - 1) & 1 and name not in _DEBUGGERS:
            try:
                settings.quietly(f"handle {name} nostop noprint pass")
            except gdb.error:
                continue  # one that GDB has another name for


# -- values ----------------------------------------------------------------------------------------

_INTEGERS = {
    gdb.TYPE_CODE_INT,
    gdb.TYPE_CODE_CHAR,
    gdb.TYPE_CODE_ENUM,
    gdb.TYPE_CODE_RANGE,
    gdb.TYPE_CODE_BITSTRING if hasattr(gdb, "TYPE_CODE_BITSTRING") else gdb.TYPE_CODE_INT,
}
_STRING_LIMIT = 1 << 20


def plain(value: Any) -> Any:
    """A GDB value as an int, float, bool or str where its type permits, else as GDB prints it.

    Pointers are ints, but those to char are the string that they point to, or None.
    """
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        value = value.referenced_value()
        kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_VOID:
        return None
    if kind.code == gdb.TYPE_CODE_BOOL:
        return bool(value)
    if kind.code in _INTEGERS:
        return int(value)
    if kind.code == gdb.TYPE_CODE_FLT:
        return float(value)
    if kind.code == gdb.TYPE_CODE_PTR:
        if not _is_char(kind.target()):
            return int(value)
        if int(value) == 0:
            return None
        return _string(value)
    if kind.code == gdb.TYPE_CODE_ARRAY and _is_char(kind.target()):
        return _string(value)
    return value.format_string()


def _is_char(kind: Any) -> bool:
    return bool(kind.strip_typedefs().unqualified().name == "char")


def _string(value: Any) -> str:
    try:
        return str(value.string(length=-1))
    except UnicodeDecodeError:
        return str(value.format_string())
