"""What all tests share: where things are, how long a test may take,
and that it leaves no process behind.
"""

from __future__ import annotations

import os
import select
import signal
import types
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from support.measured import begin_counters
from support.processes import everybody

pytest_plugins = ["support.rotation"]

ROOT = Path(__file__).resolve().parents[1]

# Every process of the tests carries this in its environment, whoever becomes its parent. A restored
# program has the environment it was saved with, so it carries it too.
_TAG = f"CKPT_TEST_RUN={uuid.uuid4()}"

# For a test that hangs, not for one on a busy machine: most take less than a second.
_TIMEOUT_S = 400.0
# How long a process that was told to end may take to do it.
_DYING_S = 20.0


# The same examples each time, so that a change is judged by what it changes; others are tried on
# demand, with --hypothesis-profile=random.
hypothesis.settings.register_profile("same", derandomize=True, database=None)
hypothesis.settings.register_profile("random", print_blob=True)
hypothesis.settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    name, _, value = _TAG.partition("=")
    os.environ[name] = value
    # A shell without job control starts what runs in its background with Ctrl-C ignored, nohup
    # ignores hang-ups, and so would every program of a test.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests are spread over the first half. Workers get their tests in consecutive pieces:
    else one of them has most of these and is still at it when the others have nothing left.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    rest = [item for item in items if not item.get_closest_marker("slow")]
    for number, item in enumerate(slow):
        rest.insert(number * (1 + len(rest) // (2 * len(slow))), item)
    items[:] = rest


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The top of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def build_dir() -> Path:
    """The build tree: $CKPT_BUILD, else build/ in the source tree. Fails when nothing was built."""
    directory = Path(os.environ.get("CKPT_BUILD") or ROOT / "build").resolve()
    assert (directory / "CMakeCache.txt").exists(), f"{directory}: build the project first"
    return directory


@pytest.fixture(scope="session")
def native_module(build_dir: Path) -> Path:
    """The native module of the build."""
    found = sorted((build_dir / "gdbext").glob("_native*.so"))
    assert found, f"{build_dir}/gdbext: no native module; build the project first"
    return found[0]


@pytest.fixture(scope="module", autouse=True)
def counters_of_the_module() -> None:
    """What `./test.sh coverage` counts is counted for each file of tests by itself."""
    begin_counters()


# --- A test that hangs is a failed test -----------------------------------------------------------


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    marker = item.get_closest_marker("timeout")
    limit_s = float(marker.args[0]) if marker else _TIMEOUT_S

    def on_alarm(_number: int, _frame: types.FrameType | None) -> None:
        # Again soon, should something on the way out swallow the exception or hang itself.
        signal.setitimer(signal.ITIMER_REAL, 10)
        pytest.fail(f"took longer than {limit_s:g} s")

    old = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# --- No process stays behind ----------------------------------------------------------------------


def _tagged(pids: set[int]) -> dict[int, str]:
    """Which of `pids` belong to this run: pid and command line."""
    found = {}
    for pid in pids:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if _TAG.encode() in environment.split(b"\0"):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                found[pid] = b" ".join(words).decode(errors="replace").strip()
        except OSError:
            continue  # gone, or not ours
    return found


def _outlives(pid: int) -> bool:
    """Whether the process is still there after the time a dying one may take."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return not poll.poll(_DYING_S * 1000)
    finally:
        os.close(fd)


@pytest.fixture(autouse=True)
def no_process_left_behind() -> Iterator[None]:
    """Fails a test that leaves processes behind, and ends them, so that the next test starts clean.

    Processes of fixtures with a wider scope are there before this fixture and are left alone. Only
    those that have come since are looked into: reading the environment of every process of a
    machine costs more than many a test.
    """
    before = everybody()
    yield
    left = {
        pid: command for pid, command in _tagged(everybody() - before).items() if _outlives(pid)
    }
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert not left, "processes left behind:\n" + "\n".join(f"{p}: {c}" for p, c in left.items())
