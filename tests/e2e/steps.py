"""The steps that many tests share: bring a program to a stop,
look at everything, run it to its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import processes
from gdbsession import GdbSession
from scene import Program, Scene

# x86-64 system call numbers, for waiting until a program blocks in one.
READ, POLL, NANOSLEEP, FUTEX, CLOCK_NANOSLEEP = 0, 7, 35, 202, 230


@dataclass(frozen=True)
class View:
    """What a person sees of a stopped program; two views of one moment
    must be equal, line for line.
    """

    backtrace: str
    registers: str
    threads: list[tuple[int, str, str]]
    every_stack: str
    thread_locals: str
    nonce: str


def without_ids(text: str) -> str:
    """`text` with kernel thread ids blanked: a restore that could not have
    the saved ids shows others.
    """
    return re.sub(r"\b(LWP|process) \d+", r"\1 N", text)


def view(gdb: GdbSession, thread_locals: str = "tls_number") -> View:
    """Look at everything. `thread_locals` is a thread-local variable of
    the program, or "" for none.
    """
    printed = ""
    if thread_locals:
        # An error in one thread must not hide the others: -c prints it and goes on.
        printed = without_ids(gdb.execute(f"thread apply all -c output {thread_locals}"))
    return View(
        backtrace=gdb.execute("bt"),
        registers=gdb.execute("info registers"),
        threads=gdb.thread_list(),
        every_stack=without_ids(gdb.execute("thread apply all bt")),
        thread_locals=printed,
        nonce=gdb.value("/x nonce"),
    )


def assert_same(seen: View, saved: View) -> None:
    """A failure names the first thing that differs and shows both."""
    for field in fields(View):
        now, then = getattr(seen, field.name), getattr(saved, field.name)
        assert (
            now == then
        ), f"{field.name} differs\n--- at the save ---\n{then}\n--- after the restore ---\n{now}"


def run_to_work(scene: Scene, threads: int = 0, variant: str = "", step: int = 3) -> GdbSession:
    """e2e_threads under `run` (so without ASLR),
    stopped at its breakpoint in `work (step=STEP)`.
    """
    gdb = scene.gdb("--args", scene.program("e2e_threads", variant), str(threads))
    gdb.execute(f"break work if step == {step}")
    stopped = gdb.execute("run")
    assert f"work (step={step})" in stopped, gdb.report()
    return gdb


def attach_to_work(
    scene: Scene, threads: int = 0, variant: str = "", step: int = 3
) -> tuple[GdbSession, Program]:
    """The same with `gdb -p` (so with ASLR), of a program that runs on a terminal of its own."""
    program = scene.spawn(scene.program("e2e_threads", variant), str(threads), "wait")
    program.expect("READY")
    processes.wait_in_syscall(program.pid, READ)
    gdb = scene.gdb("-p", str(program.pid))
    gdb.execute(f"break work if step == {step}")
    program.child.sendline("x")
    stopped = gdb.execute("continue")
    assert f"work (step={step})" in stopped, gdb.report()
    return gdb, program


def run_until_blocked(
    scene: Scene, *arguments: str, calls: tuple[int, ...] = (READ,)
) -> GdbSession:
    """e2e_blocking (or another program, given by its path) under `run`,
    stopped by Ctrl-C once it sleeps in a call.
    """
    command = (
        arguments if arguments[0].startswith("/") else (scene.program("e2e_blocking"), *arguments)
    )
    gdb = scene.gdb("--args", *command)
    gdb.start("run")
    gdb.expect("READY")
    gdb_child = [pid for pid in scene.processes() if processes.parent_of(pid) == gdb.child.pid]
    assert len(gdb_child) == 1, gdb.report()
    processes.wait_in_syscall(gdb_child[0], *calls)
    assert "SIGINT" in gdb.interrupt()
    return gdb


def saved_output(text: str) -> list[str]:
    """What the program itself printed in a piece of GDB's terminal output:
    GDB's own lines taken out.
    """
    ours = re.compile(
        r"(step|nonce|PASS|FAIL|line|value|fault|round|thread|async|total|first|second|key)\b"
    )
    return [line for line in text.splitlines() if ours.match(line)]


def continue_to_end(gdb: GdbSession, status: int) -> list[str]:
    """`continue` until the program ends with exit status `status`; what it printed on the way."""
    printed = gdb.execute("continue")
    assert f"exited with code 0{status:o}]" in printed, gdb.report()
    return saved_output(printed)
