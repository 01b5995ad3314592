"""Fixtures of the end-to-end tests: a real gdb on a real terminal, and nothing left behind."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from scene import ORDINARY_USER, Scene
from support import probes

_SCENES = pytest.StashKey[list[Scene]]()


@pytest.fixture
def make_scene(request: pytest.FixtureRequest) -> Iterator[Callable[..., Scene]]:
    """A factory of scenes, for tests that choose the user;
    each is torn down and checked for processes left behind.
    """
    scenes: list[Scene] = []
    request.node.stash[_SCENES] = scenes

    def make(user: int | None = None) -> Scene:
        scene = Scene(user)
        scenes.append(scene)
        return scene

    yield make
    left = [description for scene in scenes for description in scene.close()]
    assert not left, "processes left behind:\n" + "\n".join(left)


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    """The test's own directory, store and processes, as the user who runs the tests."""
    return make_scene()


@pytest.fixture
def watching_scene(scene: Scene) -> Scene:
    """As `scene`, with watchpoints that work: in software, and a warning in the report,
    where the hardware's do not.
    """
    if not probes.hardware_watchpoints():
        warnings.warn(
            "the debug registers of this machine stop nothing: done with software watchpoints",
            stacklevel=1,
        )
        scene.settings.append("set can-use-hw-watchpoints 0")
    return scene


@pytest.fixture
def user_scene(make_scene: Callable[..., Scene]) -> Scene:
    """As `scene`, but as an ordinary user: the tests' own when that is not root, else nobody."""
    return make_scene(ORDINARY_USER if os.getuid() == 0 else None)


@pytest.fixture(params=["own", "ordinary"])
def anybody(make_scene: Callable[..., Scene], request: pytest.FixtureRequest) -> Scene:
    """As the user of the tests, and as an ordinary one where that is root."""
    if request.param == "own":
        return make_scene()
    if os.getuid() != 0:
        pytest.skip("the tests run as an ordinary user already")
    return make_scene(ORDINARY_USER)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Put the terminals' transcripts into the report of a failed test."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and _SCENES in item.stash:
        for scene in item.stash[_SCENES]:
            for number, transcript in enumerate(scene.transcripts, 1):
                report.sections.append((f"terminal {number}", transcript.replace("\r\n", "\n")))
