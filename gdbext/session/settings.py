"""GDB commands run silently, and changes of its state that undo themselves: each of these is
a context manager with a `finally`.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

import gdb

from .. import native
from ..debugger import gdbtext
from ..errors import one_line
from .output import unnoticed


def quietly(command: str) -> str:
    """Run one GDB command and return what it printed. Raises gdb.error.

    Bytes that are no UTF-8 are lone surrogates in both, as Python has them in file names, and a
    line break is a part of the command.
    """
    if not gdbtext.is_odd(command) and "\n" not in command and "\r" not in command:
        return _run(command)
    # Python hands GDB a command as UTF-8 only, and GDB cuts it at line breaks; but `eval` takes the
    # bytes of an array as they are.
    data = gdbtext.raw(command)
    with language():
        kind = gdb.lookup_type("char").array(len(data) - 1)
    gdb.set_convenience_variable("_ckpt_command", gdb.Value(data, kind))
    try:
        return _run('eval "%s", $_ckpt_command')
    finally:
        gdb.set_convenience_variable("_ckpt_command", None)


def script(lines: Iterable[str]) -> None:
    """Run lines of a script in silence: a command with what belongs to it up to its `end`."""
    text = "\n".join(lines)
    if not gdbtext.is_odd(text):
        _run(text)
        return
    with open(os.memfd_create("ckpt-script"), "wb", buffering=0) as file:
        file.write(gdbtext.raw(text))
        _run(f"source /proc/self/fd/{file.fileno()}")


def _run(command: str) -> str:
    return str(exact(lambda: gdb.execute(command, from_tty=False, to_string=True)))


def exact(get: Callable[[], Any]) -> Any:
    """What `get` returns, a text from GDB: also when there are bytes in it that GDB cannot decode.

    The error holds all of them, so nothing has to be asked twice.
    """
    try:
        return get()
    except UnicodeDecodeError as error:
        return gdbtext.of_raw(error.object)


def parameter(name: str) -> Any:
    """The value of a setting as gdb.parameter() gives it. Raises RuntimeError for one that this GDB
    does not have.
    """
    return exact(lambda: gdb.parameter(name))


def problem_of(error: BaseException) -> str:
    """A GDB error as one line, without the full stop."""
    return re.sub(r"\.$", "", one_line(str(error)))


def problem_with(command: str) -> Optional[str]:
    """Run a GDB command in silence; its error as one line, or None."""
    try:
        quietly(command)
    except gdb.error as error:
        return problem_of(error)
    return None


def attempt(command: str, what: str, notes: List[str]) -> None:
    """Run a GDB command that is to restore `what`; a failure is a note."""
    problem = problem_with(command)
    if problem is not None:
        notes.append(f"{what} could not be restored: {problem}")


def quoted(text: str) -> str:
    """`text` as one word of a GDB command."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def has_setting(name: str) -> bool:
    """Whether this GDB has the setting `name`: probed, since versions say little about patched
    GDBs.
    """
    try:
        parameter(name)
    except RuntimeError:
        return False
    return True


# Settings with the values on, off and auto: Python sees None for auto, as it does for "unlimited"
# of others.
_AUTO = frozenset({"breakpoint pending"})


def shown(name: str) -> str:
    """The value of a setting as `set` takes it."""
    value = parameter(name)
    if value is None:
        return "auto" if name in _AUTO else "unlimited"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


@contextmanager
def setting(name: str, value: str) -> Iterator[None]:
    """Have the setting `name` at `value` for a while; nothing happens when this GDB does not have
    it.
    """
    if not has_setting(name):
        yield
        return
    before = shown(name)
    if before == value:
        yield
        return
    try:
        assign(name, value)
        yield
    finally:
        with native.core.InterruptsHeld():
            assign(name, before)


def assign(name: str, value: str) -> None:
    """Have the setting `name` at `value`, for a purpose of our own: a front end is not told."""
    with unnoticed():
        quietly(f"set {name} {value}".rstrip())


@contextmanager
def language(name: str = "c") -> Iterator[None]:
    """Have GDB read expressions in a language for a while: ours in C, whatever the program is in.

    GDB reads them in the language of the selected frame, and casts, hexadecimal numbers and
    comparisons are errors in some, or mean something else.
    """
    with setting("language", name):
        yield


def present_language() -> str:
    """The language in which GDB reads an expression now, e.g. "rust"."""
    return gdbtext.language(quietly("show language"))


def in_c(command: str) -> str:
    """Run a command with one of our expressions and return what it printed. Raises gdb.error."""
    with language():
        return quietly(command)


@contextmanager
def unchosen() -> Iterator[None]:
    """Have an expression that is ambiguous fail,
    where GDB would ask which symbol is meant (in Ada).
    """
    with setting("multiple-symbols", "cancel"):
        yield


@contextmanager
def unasked() -> Iterator[None]:
    """Have GDB ask nothing and print no notifications, for commands whose output is not shown."""
    with ExitStack() as stack:
        stack.enter_context(setting("confirm", "off"))
        stack.enter_context(setting("pagination", "off"))
        # A stop is printed by the interpreter, past any capturing of a command's output.
        stack.enter_context(setting("suppress-cli-notifications", "on"))
        # The question whether to use debuginfod would be asked unseen, and answered for the whole
        # session.
        if has_setting("debuginfod enabled") and shown("debuginfod enabled") == "ask":
            stack.enter_context(setting("debuginfod enabled", "off"))
        yield


@contextmanager
def selection_kept() -> Iterator[None]:
    """Put the selected thread and frame back afterwards. Needs a stopped, selected thread."""
    thread = gdb.selected_thread()
    level = selected_level()
    try:
        yield
    finally:
        if thread is not None and thread.is_valid():
            thread.switch()
            select_level(level)


def selected_level() -> int:
    """The number of the selected frame, 0 when there is none."""
    try:
        return int(gdb.selected_frame().level())
    except gdb.error:
        return 0


def select_level(level: int) -> bool:
    """Select frame `level` of the selected thread without printing it; False (and frame 0) when
    there is none.
    """
    frame = frame_at(level)
    if frame is None:
        return False
    frame.select()
    return True


def frame_at(level: int) -> Optional[Any]:
    """Frame `level` of the selected thread, or None."""
    try:
        frame: Any = gdb.newest_frame()
        for _ in range(level):
            frame = frame.older()
            if frame is None:
                return None
    except gdb.error:
        return None
    return frame


@contextmanager
def convenience_kept(*names: str) -> Iterator[None]:
    """Put convenience variables back that a command sets by the way."""
    before: Dict[str, Any] = {name: gdb.convenience_variable(name) for name in names}
    try:
        yield
    finally:
        with native.core.InterruptsHeld():
            for name, value in before.items():
                gdb.set_convenience_variable(name, value)


# -- hooks and handlers of the user ----------------------------------------------------------------


def user_command(name: str) -> Optional[List[str]]:
    """The body of the user-defined command `name`, or None when there is no such command."""
    # Asked first: a command that fails has GDB take the terminal, for good, and this is also called
    # in the midst of stops. A Ctrl-C would then end in GDB's own work on the stop.
    if not re.search(rf"(?m)^{re.escape(name)}(,.*)? -- ", quietly("help user-defined")):
        return None
    try:
        text = quietly(f"show user {name}")
    except gdb.error:
        return None
    lines = text.splitlines()
    if not lines or not lines[0].startswith(f'User command "{name}"'):
        return None
    # Indented by two at the outermost level; the code of a `python` block is not, and must stay as
    # it is.
    body = [
        line[2:] if line.startswith("  ") and not python else line
        for line, python in _with_python(lines[1:])
    ]
    while body and not body[-1].strip():
        body.pop()
    return body


def _with_python(lines: List[str]) -> List[Any]:
    """Each line with whether it is code inside a `python` ... `end` block of a user-defined
    command.
    """
    marked = []
    inside = False
    for line in lines:
        if inside and line.strip() == "end":
            inside = False
        marked.append((line, inside))
        if line.strip() in ("python", "python-interactive", "py", "pi"):
            inside = True
    return marked


@contextmanager
def hooks_silenced(*commands: str) -> Iterator[None]:
    """Make the user's hook-COMMAND and hookpost-COMMAND do nothing for a while."""
    with ExitStack() as stack:
        for command in commands:
            for name in (f"hook-{command}", f"hookpost-{command}"):
                body = user_command(name)
                if body is None:
                    continue
                stack.callback(define, name, body)
                define(name, [])
        yield


def define(name: str, body: List[str]) -> None:
    """Make the user-defined command `name`, or make it anew."""
    with setting("confirm", "off"):
        script([f"define {name}", *body, "end"])


@contextmanager
def handlers_silenced(
    registry: Any, which: Callable[[Any], bool] = lambda _: True
) -> Iterator[None]:
    """Disconnect the Python handlers of an event for a while, those that are `which`. `registry` is
    e.g. gdb.events.stop.

    GDB can disconnect a handler one has, but not list them. Its EventRegistry object holds one
    pointer after the object header: the list of handlers. That is checked before it is used; if it
    is anything else, handlers stay connected.
    """
    handlers = handlers_of(registry)
    if not handlers:
        yield
        return
    before = list(handlers)
    handlers[:] = [each for each in before if not which(each)]
    try:
        yield
    finally:
        # Those connected meanwhile (a library's pretty-printers may do that) stay connected, after
        # the others.
        handlers[:] = before + [each for each in handlers if each not in before]


def _is_of_debug_adapter(handler: Any) -> bool:
    return str(getattr(handler, "__module__", "")).startswith("gdb.dap")


@contextmanager
def exits_withheld() -> Iterator[None]:
    """Let GDB's debug adapter (DAP) not hear that a program ends, since another one takes its
    place: its client would close the session. It hears of it when that fails.
    """
    ends: List[Any] = []
    gdb.events.exited.connect(ends.append)
    try:
        with handlers_silenced(gdb.events.exited, _is_of_debug_adapter):
            yield
    except BaseException:
        if ends and not gdb.selected_inferior().pid:
            for handler in filter(_is_of_debug_adapter, handlers_of(gdb.events.exited) or ()):
                handler(ends[-1])
        raise
    finally:
        gdb.events.exited.disconnect(ends.append)


def handlers_of(registry: Any) -> Optional[List[Any]]:
    """The list of the handlers of an event itself, if it can be had; see `handlers_silenced`."""
    import ctypes  # slow to import, and a save does not need it

    if type(registry).__basicsize__ != object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p):
        return None
    # Reading the pointer as a number first: as an object it would be touched (its reference count)
    # unseen.
    address = ctypes.c_void_p.from_address(id(registry) + object.__basicsize__).value
    if not address or _type_address(address) != id(list):
        return None
    found = ctypes.cast(address, ctypes.py_object).value
    return found if isinstance(found, list) else None


def _type_address(address: int) -> Optional[int]:
    """What the type pointer of the Python object at `address` holds: the last word of the object
    header.
    """
    import ctypes

    offset = object.__basicsize__ - ctypes.sizeof(ctypes.c_void_p)
    return ctypes.c_void_p.from_address(address + offset).value
