"""The pytest plugin: the fixture `replay`, which restores snapshots for tests.

    def test_the_queue(replay):
        r = replay("crash.ckpt")
        r.run_to("handler.c:88")
        assert r.eval("queue->len") == 3
        r.finish()
        assert r.exit_code == 0
        assert "done" in r.output

Each call has a GDB of its own; the test's end ends it, and so does any end of pytest itself. What
GDB and the program printed is in the report of a test that fails. docs/replay.md has all of it.

Installed with the package (entry point pytest11); from elsewhere with `-p gdbext.pytest_plugin`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Generator, Iterator, List, Union

import pytest

from .regression.client import DEFAULT_TIMEOUT_S
from .regression.live import Replay, open_replay

_REPLAYS = pytest.StashKey[List[Replay]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings of pytest.ini."""
    parser.addini(
        "replay_timeout",
        "replay: how many seconds each step may take, if the test does not say",
        default=str(DEFAULT_TIMEOUT_S),
    )
    parser.addini("replay_store", "replay: the store with the snapshots, if not the default one")


@pytest.fixture
def replay(request: pytest.FixtureRequest) -> Iterator[Callable[..., Replay]]:
    """Restores snapshots: `replay(SNAPSHOT, program=..., at=..., timeout=..., stdin=..., files=...,
    store=...)`, see `gdbext.regression.live.open_replay`.

    A word without "/" is the name of a snapshot in the store, if there is one. Else it is a file,
    looked for beside the test's file first, then in the current directory; so are other files.
    """
    replays: List[Replay] = []
    request.node.stash[_REPLAYS] = replays
    beside = request.path.parent
    config = request.config

    def start(snapshot: Union[str, Path], **options: Any) -> Replay:
        __tracebackhide__ = True
        options.setdefault("timeout", float(config.getini("replay_timeout")))
        if config.getini("replay_store"):
            options.setdefault("store", config.rootpath / config.getini("replay_store"))
        for name in ("program", "stdin"):
            if options.get(name) is not None:
                options[name] = _found(options[name], beside)
        if options.get("files"):
            options["files"] = {old: _found(new, beside) for old, new in options["files"].items()}
        made = open_replay(snapshot, beside=beside, **options)
        replays.append(made)
        return made

    yield start
    for each in reversed(replays):
        each.close()


def _found(path: Union[str, Path], beside: Path) -> Union[str, Path]:
    """The file beside the test, if there is one."""
    here = beside / Path(path).expanduser()
    return here if here.is_file() else path


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Put what GDB and the program printed into the report of a failed test."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for each in item.stash.get(_REPLAYS, []):
        report.sections.append((f"replay of {each.label}: GDB", each.transcript + each.status))
        for name, text in (("standard output", each.stdout), ("standard error", each.stderr)):
            if text:
                report.sections.append((f"replay of {each.label}: {name}", text))
