"""What GDB knows of the inferior: whether it can be saved at all, its threads, its signals, where
it stopped.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple

import gdb

from ..debugger import gdbtext
from ..errors import CkptError, one_line
from . import recordings
from .settings import exact, quietly, selection_kept, setting

if TYPE_CHECKING:
    from .. import _native

SIGTRAP = 5
SIGSTOP = 19


def check_target() -> None:
    """Raise CkptError unless the selected inferior is a live native x86-64 process with every
    thread stopped.
    """
    inferior = gdb.selected_inferior()
    connection = getattr(inferior, "connection", None)
    kind = connection.type if connection is not None else ""
    if kind == "core":
        raise CkptError("the target is a core file, not a process")
    if recordings.is_here():
        raise CkptError(
            "this is a recording, which is on disk already: only processes can be saved"
        )
    if kind in ("remote", "extended-remote"):
        raise CkptError("the target is remote: only processes of this machine can be saved")
    if inferior.pid == 0 or not inferior.threads():
        raise CkptError("there is no program being debugged")
    if kind not in ("", "native"):
        raise CkptError(f'the target "{kind}" is not a process of this machine')
    check_not_recording()
    running = [thread for thread in inferior.threads() if thread.is_running()]
    if running:
        raise CkptError(
            f"thread {running[0].num} is running: every thread must be stopped (interrupt -a)"
            if len(running) < len(inferior.threads())
            else "the program is running: stop it first (interrupt -a)"
        )
    if gdb.selected_thread() is None:
        raise CkptError("no thread is selected")
    check_architecture()
    check_no_checkpoints()
    # `maintenance print dummy-frames` prints a line for each function called from GDB that has not
    # returned.
    if quietly("maintenance print dummy-frames").strip():
        raise CkptError("a function called from GDB has not returned yet: finish it first")


def others() -> List[Tuple[int, int, str]]:
    """The other inferiors that are processes: number, process id, and the program's path."""
    return [
        (int(each.num), int(each.pid), each.progspace.filename or "")
        for each in gdb.inferiors()
        if each.pid and each != gdb.selected_inferior() and _is_process(each)
    ]


def _is_process(inferior: Any) -> bool:
    connection = getattr(inferior, "connection", None)
    return connection is None or connection.type != "core"


def check_not_recording() -> None:
    """Raise CkptError while GDB records the execution."""
    if gdb.current_recording() is not None:
        raise CkptError("GDB is recording the execution: stop it first (record stop)")


def check_no_checkpoints() -> None:
    """Raise CkptError while there are GDB checkpoints: forks that would stay behind
    without their program.
    """
    if "No checkpoints." not in quietly("info checkpoints"):
        raise CkptError(
            "the program has checkpoints of GDB's own: delete them first (info checkpoints)"
        )


def check_architecture() -> None:
    """Raise CkptError for anything but 64-bit x86."""
    try:
        name = gdb.selected_inferior().architecture().name()
    except (AttributeError, gdb.error):
        name = gdb.selected_frame().architecture().name()
    if not name.startswith("i386:x86-64"):
        bits = "a 32-bit program" if name.startswith("i386") else "not an x86-64 program"
        raise CkptError(f"this is {bits} ({name}): only 64-bit x86 programs can be saved")


def thread_tid(thread: Any) -> int:
    """The kernel's id of a thread of GDB."""
    return int(thread.ptid[1])


def ordered_threads() -> List[Any]:
    """The inferior's threads in the order of GDB's numbers."""
    return sorted(gdb.selected_inferior().threads(), key=lambda thread: int(thread.num))


def thread_table() -> List[_native.ThreadToSave]:
    """The threads as `_native.capture()` wants them. Changes the selected thread; see
    `selection_kept`.
    """
    handling = gdbtext.signals(quietly("info signals"))
    return [
        {
            "tid": thread_tid(thread),
            "number": int(thread.global_num),
            "pthread": pthread(thread),
            "held_signal": held_signal(thread, handling),
        }
        for thread in ordered_threads()
    ]


def pthread(thread: Any) -> int:
    """The thread's pthread_t; 0 where libthread_db does not know it."""
    try:
        handle = thread.handle()
    except (gdb.error, RuntimeError):
        return 0  # no libthread_db for it: a static program, a thread made by clone
    return int.from_bytes(handle, "little") if len(handle) == 8 else 0


def held_signal(thread: Any, handling: Mapping[str, gdbtext.SignalHandling]) -> int:
    """The number of the signal GDB delivers to `thread` when it goes on; 0 for none.

    A thread stopped by a signal has it in its siginfo for as long as it stays there. GDB's own
    means are among them: SIGTRAP (breakpoints, steps), and SIGSTOP for the threads it stops along
    with another. Selects `thread`.
    """
    thread.switch()
    try:
        info = signal_information()
        number = int(info["si_signo"])
        sender = int(info["_sifields"]["_kill"]["si_pid"])
    except (gdb.error, RuntimeError):
        return 0  # stopped by an event that has no siginfo
    if number <= 0 or number == SIGTRAP or (number == SIGSTOP and sender in (os.getpid(), 0)):
        return 0
    row = handling.get(signal_name(number) or "")
    return number if row is not None and row.passed else 0


def signal_information() -> Any:
    """The siginfo of the selected thread's stop. Raises gdb.error when it has none."""
    # No language has a say in a variable that is asked for by its name.
    found = gdb.convenience_variable("_siginfo")
    if found is None:
        raise gdb.error("the thread has not stopped by a signal")
    return found


# Linux's numbers on x86-64 by GDB's names; GDB has names for 32 and all real-time signals, and no
# word for 16.
_SIGNAL_NAMES = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM - CHLD CONT STOP TSTP "
    "TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split()


def signal_name(number: int) -> Optional[str]:
    """GDB's name of a signal of Linux, or None when it has none."""
    if 1 <= number <= len(_SIGNAL_NAMES):
        name = _SIGNAL_NAMES[number - 1]
        return None if name == "-" else f"SIG{name}"
    return f"SIG{number}" if 32 <= number <= 64 else None


def location() -> str:
    """Where the selected thread stopped, in GDB's words: "work (step=3) at server.c:88". Its
    innermost frame.
    """
    try:
        # Not `frame`, which would move the place that `list` goes on from.
        text = one_line(
            quietly("backtrace -no-filters 1").partition("(More stack frames follow...)")[0]
        )
    except gdb.error:
        return "an unknown place"
    return re.sub(r"^#0\s+", "", text) or "an unknown place"


def program_path() -> str:
    """The program's executable, for naming the snapshot: the kernel knows it even when GDB has no
    file.
    """
    try:
        return os.readlink(f"/proc/{gdb.selected_inferior().pid}/exe").replace(" (deleted)", "")
    except OSError:
        return loaded_file() or "program"


def loaded_file() -> Optional[str]:
    """The file GDB has symbols from, as `file` left it."""
    space: Any = gdb.current_progspace()
    return exact(lambda: space.filename) if space is not None else None


def terminal() -> Optional[Dict[str, Any]]:
    """The inferior's terminal modes as GDB keeps them while the inferior is stopped; None without a
    terminal.
    """
    try:
        return gdbtext.terminal(quietly("info terminal"))
    except gdb.error:
        return None


def read_code(address: int, length: int) -> bytes:
    """`length` bytes of the inferior's memory at `address` as GDB shows it: without its breakpoint
    instructions.
    """
    return bytes(gdb.selected_inferior().read_memory(address, length))


def watched_frames() -> Tuple[Dict[int, Tuple[int, int]], Dict[int, int]]:
    """For each watchpoint on locals (by number): the thread id and the level of their frame.

    Returns that and what GDB said (the address of the caller's frame). Looks at the selected thread
    first, then at the others. Keeps the selection.
    """
    wanted = gdbtext.watchpoint_frames(quietly("maint info breakpoints"))
    found: Dict[int, Tuple[int, int]] = {}
    if not wanted:
        return found, wanted
    # The caller of main's frame is no frame at all unless GDB is told to go past main.
    with selection_kept(), setting("backtrace past-main", "on"):
        selected = gdb.selected_thread()
        for thread in [selected] + [each for each in ordered_threads() if each.num != selected.num]:
            missing = {number: address for number, address in wanted.items() if number not in found}
            if not missing:
                break
            thread.switch()
            for level, address in _frame_addresses():
                for number, caller in missing.items():
                    if address == caller and level > 0:
                        found.setdefault(number, (thread_tid(thread), level - 1))
    return found, wanted


# A watched local further out than this is given up: unwinding a runaway recursion takes minutes.
_MAX_LEVELS = 1000


def _frame_addresses() -> List[Tuple[int, int]]:
    """The level and the address of each frame of the selected thread; inlined functions share their
    caller's.
    """
    found: List[Tuple[int, int]] = []
    try:
        frame: Any = gdb.newest_frame()
        while frame is not None and len(found) < _MAX_LEVELS:
            frame.select()
            address = gdbtext.frame_address(quietly("info frame"))
            if address is not None:
                found.append((int(frame.level()), address))
            frame = frame.older()
    except gdb.error:
        pass
    return found


def select_thread(tid: int) -> bool:
    """Select the thread with the kernel's id `tid`; False when there is none."""
    for thread in gdb.selected_inferior().threads():
        if thread_tid(thread) == tid:
            thread.switch()
            return True
    return False


def flush_caches() -> None:
    """Have GDB read registers and memory again: the native module changed them behind its back."""
    for command, older in (
        ("maintenance flush register-cache", "flushregs"),
        ("maintenance flush dcache", "set stack-cache off"),
    ):
        try:
            quietly(command)
        except gdb.error:
            if older == "flushregs":
                quietly(older)
            else:
                with setting("stack-cache", "off"):
                    pass  # switching it off drops it
