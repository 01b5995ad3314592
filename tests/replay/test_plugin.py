"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.measured import python_path
from support.replay import ROOT, Lab

from gdbext import open_replay
from gdbext.errors import ReplayError, ReplayTimeout


@pytest.fixture
def one(lab: Lab) -> Lab:
    """A snapshot in the middle of the file, with output through pipes."""
    program = lab.program()
    printed = lab.gdb(
        f"file {program}",
        "break enter if entry->value == 3",
        "run numbers < input",
        "ckpt save one",
        "kill",
    )
    assert 'Saved "one"' in printed, printed
    return lab


@pytest.fixture
def here(one: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The same for tests that replay in their own process."""
    for name, value in one.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(one.work)
    return one


def test_as_promised(one: Lab) -> None:
    printed = one.pytest(
        """
def test_it(replay):
    r = replay("one")
    assert r.eval("total") == 3
    assert r.where.function == "enter" and r.alive and r.exit_code is None and r.signal is None
    r.run_to("enter", "entry->value == 10")
    assert r.eval("*entry").startswith("{value = 10, from = 0x")
    assert [frame.function for frame in r.backtrace()] == ["enter", "main"]
    assert r.backtrace()[0].file == "ledger.c"
    threads = r.threads()
    assert len(threads) == 2 and threads[0].selected and not threads[1].selected
    assert "Breakpoint 1 at" in r.execute("break finish_up")
    r.run_to("finish_up")
    r.finish()
    assert r.exit_code == 0 and r.signal is None and not r.alive
    assert "input: 20, total 40" in r.output and "done" in r.output
    assert r.stderr == "done, mean 20.0\\n" and "done" not in r.stdout
    r.finish()
    assert r.threads() == []
"""
    )
    assert "1 passed" in printed


def test_the_example_of_the_documentation(lab: Lab) -> None:
    """docs/replay.md prints a test file and what pytest says to it."""
    shown = (ROOT / "docs/replay.md").read_text().split("$ cat test_crash.py\n")[1]
    text, printed = re.split(r"^\$ .*pytest.*\n", shown, maxsplit=1, flags=re.MULTILINE)
    wanted = printed.split("```")[0].splitlines()
    source = (ROOT / "docs/examples/crash.c").read_text()
    defect = "i == 1 ? (struct item *)16 : first"
    assert defect in source
    for content in (source, source.replace(defect, "first")):
        (lab.work / "crash.c").write_text(content)
        subprocess.run(["gcc", "-g", "-o", "crash", "crash.c"], cwd=lab.work, check=True)
        if content == source:
            assert 'Saved "crash"' in lab.gdb("file crash", "run", "ckpt save crash", "kill")
    # The snapshot has the old program, the directory the mended one.
    said = lab.pytest(text, status=1).splitlines()
    (end,) = [line for line in wanted if line.startswith("1 failed, 1 passed in ")]
    assert end.split(" in ")[0] == said[-1].split(" in ")[0]
    for line in wanted:
        if line.startswith(("E       assert", ">", "(replay)", "the program is stopped")):
            assert line in said, f"{line} is not in\n" + "\n".join(said)


def test_values(here: Lab) -> None:
    with open_replay("one") as r:
        for expression, value in (
            ("total", 3), ("mood", 1), ("mood == BUSY", 1), ("mean", 0.0), ("name", "ledger"),
            ("missing", None), ("entry->from", "file"), ("name[0]", ord("l")),
            ("entry->value * -2", -6), ("1.5", 1.5), ("sizeof(struct entry)", 16),
            ("(unsigned char) 255", 255), ("exceeded", 0), ("(long long) 1 << 62", 1 << 62),
        ):  # fmt: skip
            found = r.eval(expression)
            assert found == value and type(found) is type(value), expression
        assert r.eval("&total") == r.eval("(long) &total") > 4096
        assert r.eval("*entry").startswith("{")
        for wrong in ("nothing_of_that_name", "1 +", "*(int *) 8"):
            with pytest.raises(ReplayError):
                r.eval(wrong)
        with pytest.raises(ReplayError, match="Undefined command"):
            r.execute("frobnicate")
        assert "(replay) eval total\n3\n" in r.transcript
    with pytest.raises(ReplayError, match="over"):
        r.eval("total")


def test_ends(here: Lab) -> None:
    here.save("dying", environment={"LEDGER_END": "abort"})
    with open_replay("dying") as r:
        r.finish()
        assert r.signal == "SIGABRT" and r.exit_code is None and r.alive
        assert r.failure is not None and "total < 0" in r.failure.assertion
        assert "finish_up" in [frame.function for frame in r.backtrace()]
        r.select("main")
        assert r.eval("argc") == 2
        with pytest.raises(ReplayError, match="enter is not on the selected thread's stack"):
            r.select("enter")
        r.finish()
        assert r.signal == "SIGABRT"
        r.execute("continue")
        assert r.signal == "SIGABRT" and not r.alive and r.exit_code is None
    here.save("dead", at=None, environment={"LEDGER_END": "segv"})
    with open_replay("dead") as r:
        assert r.signal == "SIGSEGV" and r.where is not None and r.where.function == "finish_up"
        with pytest.raises(ReplayError, match="was not reached: the program"):
            r.run_to("enter")
    here.save("failing", environment={"LEDGER_LIMIT": "7"})
    with open_replay("failing") as r:
        r.finish()
        assert r.exit_code == 3


def test_places(here: Lab) -> None:
    with open_replay("one") as r:
        with pytest.raises(ReplayError, match="nowhere"):
            r.run_to("nowhere.c:1")
        r.run_to("enter if entry->value == 20")
        assert r.eval("entry->value") == 20
        with pytest.raises(
            ReplayError, match="enter was not reached: the program exited with status 0"
        ):
            r.run_to("enter")
    for snapshot, why in (
        ("none", "no snapshot or file"),
        ("numbers", "not a snapshot"),
        ("./none.ckpt", "no file"),
    ):
        with pytest.raises(ReplayError, match=why):
            open_replay(snapshot)


def test_another_program(here: Lab) -> None:
    here.save("dead", at=None, environment={"LEDGER_END": "segv"})
    fixed = here.compiled("fixed", ('printf("%c\\n", *missing)', 'printf("nothing missing\\n")'))
    with open_replay("dead", program=here.program()) as r:
        assert r.reached and r.recorded is not None and r.recorded.signal == "SIGSEGV"
        r.finish()
        assert r.failure is not None and str(r.failure) == str(r.recorded)
    with open_replay("dead", program=fixed) as r:
        assert r.recorded is not None and r.eval("total") == 40
        r.finish()
        assert r.exit_code == 0 and r.failure is None and "nothing missing" in r.output
    with open_replay("dead", program=fixed, at="enter if total == 1") as r:
        assert r.reached and r.eval("entry->value") == 2
    with pytest.raises(ReplayError, match="no such program"):
        open_replay("dead", program="./none")


def test_files_of_another_program(here: Lab) -> None:
    """Those of other directories are the snapshot's, too, and standard input may be a device."""
    far = here.directory / "far"
    far.write_text("1\n2\n3\n4\n")
    here.save("reading", arguments=f"{far} < /dev/null")
    far.write_text("7\n")
    with open_replay("reading", program=here.program()) as r:
        r.finish()
        assert "file: 4" in r.stdout and "file: 7" not in r.stdout and "input:" not in r.stdout
        assert r.exit_code == 0
    assert far.read_text() == "7\n"


def test_input(here: Lab) -> None:
    (here.work / "other").write_text("5\n")
    with open_replay("one", stdin="other", files={str(here.work / "numbers"): "input"}) as r:
        r.finish()
        assert "input: 5, total " in r.stdout and "file: 4" not in r.stdout


def test_a_failure_has_all_in_its_report(one: Lab) -> None:
    printed = one.pytest(
        """
def test_wrong(replay):
    r = replay("one")
    r.finish()
    assert r.exit_code == 7

def test_good(replay):
    replay("one").finish()
""",
        status=1,
    )
    report = printed.partition("test_wrong")[2]
    assert "1 failed, 1 passed" in printed
    assert (
        "replay of one: GDB" in report
        and "(replay) finish\n" in report
        and "exited normally]" in report
    )
    assert "replay of one: standard output" in report and "input: 20, total 40" in report
    assert "replay of one: standard error" in report and "done, mean 20.0" in report


def test_files_beside_the_test(one: Lab) -> None:
    """Of a test in another directory, and settings of pytest.ini."""
    one.ckpt("bundle", "one", "all.bundle")
    deep = one.work / "tests" / "deep"
    deep.mkdir(parents=True)
    (one.work / "all.bundle").rename(deep / "all.bundle")
    (one.work / "pytest.ini").write_text(
        "[pytest]\nreplay_timeout = 33\nreplay_store = elsewhere\n"
    )
    (deep / "test_deep.py").write_text(
        "def test_it(replay):\n"
        "    r = replay('all.bundle')\n"
        "    assert r._client.timeout_s == 33\n"
        "    assert r.eval('total') == 3\n"
        "    assert replay('two').eval('total') == 3\n"
    )
    one.ckpt("import", str(deep / "all.bundle"), "--name", "two", "--store", "elsewhere")
    done = subprocess.run(
        [*one.pytest_command()[:-1], "tests"], cwd=one.work,
        env={**one.environment, "PYTHONPATH": python_path(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_timeout(here: Lab) -> None:
    here.save("hanging", environment={"LEDGER_END": "hang"})
    r = open_replay("hanging", timeout=6.5)
    with pytest.raises(
        ReplayTimeout,
        match="finish: not done within 6.5 s; the program was in finish_up at ledger.c",
    ):
        r.finish()
    assert "thread apply all backtrace" in r.transcript and "watch (" in r.transcript
    # Of what had been printed nothing was flushed yet: the report has what there is.
    assert r.stdout == ""
    with pytest.raises(ReplayError, match="over"):
        r.eval("total")


def test_in_parallel(one: Lab) -> None:
    printed = one.pytest(
        """
import pytest

@pytest.mark.parametrize("number", range(8))
def test_it(replay, number):
    r = replay("one")
    r.run_to("enter", "entry->value == 20")
    r.execute(f"set variable total = {number}")
    r.finish()
    assert f"input: 20, total {number + 20}" in r.stdout
""",
        "-n", "4",
    )  # fmt: skip
    assert "8 passed" in printed


def test_two_at_once(here: Lab) -> None:
    with open_replay("one") as first, open_replay("one") as second:
        first.execute("set variable total = 100")
        assert second.eval("total") == 3 and first.eval("total") == 100
        second.finish()
        assert first.alive


# --- nothing stays behind -------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(word) for word in task.read_text().split()]
    return found


HANGS = """
def test_it(replay):
    r = replay("hanging", timeout=1000)
    r.run_to("finish_up")
    open("ready", "w").close()
    r.finish()
"""


def left_after(lab: Lab, end: Callable[[subprocess.Popen[str], list[int]], None]) -> None:
    """Start a test whose program never ends, end something in some way,
    and see that all others end.
    """
    lab.save("hanging", environment={"LEDGER_END": "hang"})
    (lab.work / "test_it.py").write_text(HANGS)
    os.mkfifo(lab.work / "ready")
    process = subprocess.Popen(
        lab.pytest_command(), cwd=lab.work,
        env={**lab.environment, "PYTHONPATH": python_path(ROOT)},
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    pidfds = []
    try:
        open(lab.work / "ready").close()
        below = family(process.pid)
        names = {each: Path(f"/proc/{each}/comm").read_text().strip() for each in below}
        # pytest, the keeper, GDB, the helper, and the program.
        assert {"gdb", "ckpt-restart", "ledger"} <= set(names.values()) and len(below) >= 5, names
        pidfds = [(names[each], os.pidfd_open(each)) for each in below]
        end(process, below)
        for name, fd in pidfds:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            assert poll.poll(20_000), f"{name} is still there"
    finally:
        process.kill()
        process.communicate()
        for _, fd in pidfds:
            os.close(fd)
    assert not list(lab.directory.glob("ckpt-replay-*"))


def of_name(below: list[int], name: str) -> int:
    return next(pid for pid in below if Path(f"/proc/{pid}/comm").read_text().strip() == name)


def test_pytest_is_killed(lab: Lab) -> None:
    left_after(lab, lambda process, below: process.kill())


def test_pytest_is_interrupted(lab: Lab) -> None:
    left_after(lab, lambda process, below: process.send_signal(signal.SIGINT))


def test_pytest_is_terminated(lab: Lab) -> None:
    left_after(lab, lambda process, below: process.terminate())


def test_gdb_is_killed(lab: Lab) -> None:
    """Then the test fails at once, and says so."""
    left_after(lab, lambda process, below: os.kill(of_name(below, "gdb"), signal.SIGKILL))


def test_the_keeper_is_killed(lab: Lab) -> None:
    def end(process: subprocess.Popen[str], below: list[int]) -> None:
        os.kill(below[1], signal.SIGKILL)

    left_after(lab, end)


def test_what_a_command_leaves_behind(here: Lab) -> None:
    """A process that has left its session and lost its parent ends with the replay, too."""
    with open_replay("one") as r:
        r.run_to("finish_up")
        r.execute("shell setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo $! > sleeper")
        sleeper = int((here.work / "sleeper").read_text())
        fd = os.pidfd_open(sleeper)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(0)
    os.close(fd)
