"""The protocol between a debugger and a parked restart,
spoken by a debugger of a hundred lines (support/hand_over.py).
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from support import hand_over, oracle
from support.checkpoint import Way, Workshop, full, passed
from support.processes import Running, exists, wait_gone, wait_until

WAYS = [pytest.param(way, id=str(way)) for way in full()]


def _hand_over(
    workshop: Workshop, native_module: Path, how: str, image: Path, *options: str
) -> Running:
    return workshop.start(
        [
            "/usr/bin/python3",
            hand_over.__file__,
            native_module,
            workshop.build / "bin" / "ckpt-restart",
            how,
            image,
            *options,
        ]
    )


def _report(running: Running) -> dict[str, object]:
    report = json.loads(running.first_error_line())
    assert isinstance(report, dict)
    return report


@pytest.mark.ways(6)
@pytest.mark.parametrize("way", WAYS)
def test_hand_over(workshop: Workshop, native_module: Path, way: Way) -> None:
    """Registers right after the hand-over are those of the save; then the program goes on."""
    original = workshop.start_program("memory_digest", way=way)
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid, workshop.register_dump)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    debugger = _hand_over(workshop, native_module, "look", saved.image, "--ids", way.ids)
    report = _report(debugger)
    assert report["ids"] in (("saved", "virtual") if way.ids == "auto" else (way.ids,))
    tids = report["tids"]
    assert isinstance(tids, list) and len(tids) == way.threads and report["pid"] == tids[0]
    assert tids == sorted(tids)
    for tid, thread in zip(tids, before.threads):
        words = debugger.expect(f"{tid} ").split()
        now, was = oracle.named_registers(words[0]), oracle.named_registers(thread.registers)
        assert now == was
    debugger.send()
    result = debugger.finish()
    assert result.output.splitlines()[-1] == f"PASS {original.nonce}", f"{result}"
    assert result.status == 0


def test_a_debugger_that_goes_away(
    workshop: Workshop, native_module: Path, image: tuple[Path, str]
) -> None:
    """End of file before "go": nothing stays."""
    debugger = _hand_over(workshop, native_module, "leave", image[0])
    pid = _report(debugger)["pid"]
    assert isinstance(pid, int)
    debugger.finish()
    wait_gone(pid)


def test_a_debugger_that_is_killed(
    workshop: Workshop, native_module: Path, image: tuple[Path, str]
) -> None:
    """finish() has set PTRACE_O_EXITKILL: the program does not outlive the debugger."""
    debugger = _hand_over(workshop, native_module, "die", image[0])
    pid = _report(debugger)["pid"]
    assert isinstance(pid, int)
    debugger.finish()
    wait_gone(pid)


def test_parked_threads_wait(workshop: Workshop, image: tuple[Path, str]) -> None:
    """Parked: not traced, asleep, deaf to every signal that can be blocked,
    in a process group of its own.
    """
    report_reader, report_writer = os.pipe()
    control_reader, control_writer = os.pipe()
    options = ["--park", "--report-fd", str(report_writer), "--control-fd", str(control_reader)]
    restart = workshop.restart(image[0], *options, pass_fds=(report_writer, control_reader))
    os.close(report_writer)
    os.close(control_reader)
    with os.fdopen(report_reader) as file:
        report = json.loads(file.readline())
    pid = report["pid"]
    wait_until(lambda: oracle.all_asleep(pid), "parked")
    assert os.getpgid(pid) == pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(pid, number)
    assert oracle.all_asleep(pid) and exists(pid)
    os.close(control_writer)
    restart.finish()
    assert not exists(pid)


def test_an_error_comes_as_a_report(
    workshop: Workshop, native_module: Path, image: tuple[Path, str]
) -> None:
    damaged = workshop.directory / "damaged.ckpt"
    damaged.write_bytes(image[0].read_bytes()[:5000])
    debugger = _hand_over(workshop, native_module, "go", damaged)
    report = _report(debugger)
    assert (
        report["kind"] == "damaged"
        and isinstance(report["error"], str)
        and "\n" not in report["error"]
    )
    debugger.finish()


@pytest.mark.parametrize(
    "fault", ["restore-validate", "restore-exec", "restore-map", "restore-threads", "restore-park"]
)
def test_a_fault_comes_as_a_report(
    workshop: Workshop, native_module: Path, image: tuple[Path, str], fault: str
) -> None:
    debugger = workshop.start(
        [
            "/usr/bin/python3",
            hand_over.__file__,
            native_module,
            workshop.build / "bin" / "ckpt-restart",
            "go",
            image[0],
        ],
        environment={**workshop.environment, "CKPT_FAULT": fault},
    )
    report = _report(debugger)
    assert report["kind"] == "fault" and fault in str(report["error"])
    debugger.finish()
