"""Signals at the moment of the save: inside a handler, and held by GDB for the next `continue`."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from gdbsession import GdbSession
from scene import SOURCES, Scene, line_of, restore, save
from steps import assert_same, continue_to_end, saved_output, view

REGISTERS = ("pc", "sp", *("rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15".split()))


def stop_at_signal(scene: Scene, mode: str, signal: str) -> GdbSession:
    """e2e_signals in `mode`, stopped where GDB reports `signal`."""
    gdb = scene.gdb("--args", scene.program("e2e_signals"), mode)
    assert f"received signal {signal}" in gdb.execute("run"), gdb.report()
    return gdb


def test_inside_a_signal_handler(scene: Scene) -> None:
    line = line_of(SOURCES / "e2e_signals.cpp", "inside the handler")
    gdb = scene.gdb("--args", scene.program("e2e_signals"), "handler")
    gdb.execute("handle SIGUSR1 nostop noprint pass")
    gdb.execute(f"break {line}")
    assert "on_usr1" in gdb.execute("run")
    before = view(gdb, thread_locals="")
    assert "<signal handler called>" in before.backtrace
    save(gdb, "in-handler")
    expected = continue_to_end(gdb, 5)
    gdb.quit()
    again = scene.gdb()
    restore(again, "in-handler")
    assert_same(view(again, thread_locals=""), before)
    assert continue_to_end(again, 5) == expected
    assert expected[-1] == "PASS"
    again.quit()


def test_gdb_sees_through_the_handler_of_the_preloaded_library(
    scene: Scene, build_dir: Path
) -> None:
    """To what the signal interrupted, by what the library itself says of its frames."""
    gdb = scene.gdb("--args", scene.program("e2e_signals"), "handler")
    gdb.execute(f"set environment LD_PRELOAD {build_dir / 'lib' / 'libckpt.so'}")
    gdb.execute("handle SIGUSR2 nostop noprint pass")
    gdb.execute("break main")
    gdb.execute("run")
    before = [gdb.value(f"${register}") for register in REGISTERS]
    gdb.execute("break on_signal")
    assert "on_signal" in gdb.execute("signal SIGUSR2")
    lines = gdb.execute("bt").splitlines()
    assert (
        "on_signal" in lines[0] and "<signal handler called>" in lines[1] and "main (" in lines[2]
    ), lines
    gdb.execute("frame 2")
    assert [gdb.value(f"${register}") for register in REGISTERS] == before
    gdb.execute("kill")
    gdb.quit()


def test_a_held_fault_is_delivered_by_continue(scene: Scene) -> None:
    gdb = stop_at_signal(scene, "segv", "SIGSEGV")
    before = view(gdb, thread_locals="")
    address = gdb.value("$_siginfo._sifields._sigfault.si_addr")
    assert address == "(void *) 0x1234"
    save(gdb, "fault")
    assert gdb.value("$_siginfo._sifields._sigfault.si_addr") == address
    expected = continue_to_end(gdb, 5)
    assert expected[0].startswith("fault at 0x1234 code 1")
    gdb.quit()
    for _ in range(2):
        again = scene.gdb()
        restored = restore(again, "fault")
        assert "raise_fault" in restored.frame
        assert_same(view(again, thread_locals=""), before)
        assert again.value("$_siginfo._sifields._sigfault.si_addr") == address
        assert continue_to_end(again, 5) == expected
        again.quit()


def with_ids(text: str, was: int | None, now: int | None) -> str:
    """Registers as they are with the new id, which the C library has in some of
    them when it sends a signal.
    """
    return re.sub(
        rf"\b{was:#x}\s+{was}\b",
        lambda found: f"{now:#x}".ljust(found[0].index(str(was))) + str(now),
        text,
    )


def test_a_held_abort_ends_the_program_by_it(scene: Scene) -> None:
    gdb = stop_at_signal(scene, "abort", "SIGABRT")
    before = view(gdb, thread_locals="")
    pid = gdb.inferior_pid
    save(gdb, "abort")
    assert "terminated with signal SIGABRT" in gdb.execute("continue")
    gdb.quit()
    again = scene.gdb()
    restore(again, "abort")
    expected = dataclasses.replace(
        before, registers=with_ids(before.registers, pid, again.inferior_pid)
    )
    assert_same(view(again, thread_locals=""), expected)
    assert "abort" in before.backtrace
    assert "terminated with signal SIGABRT" in again.execute("continue")
    again.quit()


def test_a_queued_signal_keeps_its_value(scene: Scene) -> None:
    gdb = stop_at_signal(scene, "queue", "SIGUSR1")
    value = int(gdb.value("nonce & 0xffffff"))
    pid = gdb.inferior_pid
    save(gdb, "queued")
    gdb.quit()
    again = scene.gdb()
    restore(again, "queued")
    assert again.value("$_siginfo._sifields._rt.si_sigval.sival_int") == str(value)
    assert again.value("$_siginfo._sifields._rt.si_pid") == str(pid)
    assert again.value("handled") == "0"
    printed = continue_to_end(again, 5)
    assert f"value {value} from itself" in printed and printed[-1] == "PASS"
    again.quit()


def test_a_held_signal_may_be_dropped_by_the_user(scene: Scene) -> None:
    gdb = stop_at_signal(scene, "queue", "SIGUSR1")
    save(gdb, "queued")
    gdb.quit()
    again = scene.gdb()
    restore(again, "queued")
    printed = again.execute("signal 0")
    assert "FAIL: the queued signal was not delivered once" in saved_output(printed), again.report()
    again.quit()


def test_a_handled_interrupt_is_not_delivered(scene: Scene) -> None:
    """Ctrl-C stops with SIGINT, which GDB does not pass on: neither may a restore."""
    gdb = scene.gdb("--args", scene.program("e2e_blocking"), "read")
    gdb.start("run")
    gdb.expect("READY")
    assert "SIGINT" in gdb.interrupt()
    save(gdb, "interrupted")
    gdb.quit()
    again = scene.gdb()
    restore(again, "interrupted")
    again.start("continue")
    again.type_line("still here")
    again.expect("line still here")
    assert "exited with code 03" in again.wait_prompt()
    again.quit()
