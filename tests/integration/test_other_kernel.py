"""Snapshots of another kernel: snapshots of this kernel with a changed vdso in them
(support/other_kernel.py). Where all of its code has become an invalid instruction, a test shows
that none of it is executed.
"""

from __future__ import annotations

import pytest
from support.checkpoint import Way, Workshop, notes, passed, restored_pid
from support.forge import Forgery
from support.other_kernel import KERNEL, PROXIED, Change, Foreign, crowd, mark, ruin
from support.processes import Running


def _saved_twice(
    workshop: Workshop, original: Running, change: Change, way: Way, noted: int = 1
) -> None:
    """Saved here, restored "elsewhere", saved and restored there once
    more, and restored at home.
    """
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    foreign = Foreign(saved.image, workshop.new_image(), change, merged=True)
    options = ("--ids", way.ids)

    first = workshop.restart(foreign.image, *options)
    second = workshop.save(restored_pid(first))
    first.send()
    result = first.finish()
    passed(result, original.nonce)
    assert notes(result)[0] == PROXIED and len(notes(result)) == noted

    again = Forgery(second.image)
    foreign.check_saved_again(again)
    for image, expected in (
        (second.image, noted),
        (foreign.back_home(again, workshop.new_image()), 0),
    ):
        restart = workshop.restart(image, *options)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert len(notes(result)) == expected


WAYS = [
    Way("", 4, True, "virtual"),
    Way(".nopie", 1, False, "auto"),
    Way(".static", 4, True, "auto"),
]


@pytest.mark.parametrize("way", [pytest.param(way, id=str(way)) for way in WAYS])
def test_calls_reach_this_kernel(workshop: Workshop, way: Way) -> None:
    _saved_twice(workshop, workshop.start_program("vdso", "calls", way=way), ruin, way)


def test_a_thread_inside_the_vdso(workshop: Workshop) -> None:
    """The save steps it until it comes out; the restored one goes on there,
    the original where it is, with its handlers.
    """
    original = workshop.start_program("vdso", "spin")
    images = []
    found = 0
    for _ in range(200):
        images.append(workshop.save(original.pid).image)
        found += any("beyond_vdso" in thread for thread in Forgery(images[-1]).process["threads"])
        if found >= 3:
            break
    assert found >= 3, "no save met the thread inside the vdso"
    original.send()
    passed(original.finish(), original.nonce)
    for image in images[-8:]:
        restart = workshop.restart(Foreign(image, workshop.new_image()).image)
        restart.send()
        passed(restart.finish(), original.nonce)


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_a_signal_handler_that_interrupted_the_vdso(workshop: Workshop, steps: int) -> None:
    """Its frame leads back into a function, whose first bytes are a jump by then."""
    original = workshop.start([workshop.program("vdso"), "interrupted", str(steps)])
    at = int(original.expect("AT "))
    original.ready()
    _saved_twice(workshop, original, mark, Way(ids="virtual"), noted=1 if at < 13 else 2)


def test_guard_pages_where_the_kernel_has_none(workshop: Workshop) -> None:
    original = workshop.start_program("guards", "kept")
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    restart = workshop.start(
        [workshop.program("no_guards"), *workshop.restart_command(saved.image)]
    )
    restart.send()
    result = restart.finish()
    passed(result, original.nonce)
    assert any(
        "guard pages (MADV_GUARD_INSTALL) come back as pages without access" in note
        for note in notes(result)
    ), result


def test_a_vdso_that_cannot_be_redirected_is_named(workshop: Workshop) -> None:
    original = workshop.start_program("vdso", "calls")
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    line = workshop.refused(Foreign(saved.image, workshop.new_image(), crowd).image)
    assert "too short" in line and KERNEL in line and "__vdso_" in line, line
    changes: list[dict[str, object]] = [
        {"start": 1 << 20, "end": 2 << 20},
        {"path": "[vvar_unheard_of_by_this_version]"},
    ]
    for wrong in changes:
        forgery = Foreign(saved.image, workshop.new_image())
        forgery.mapping("[vvar]").update(wrong)
        forgery.process["memory"]["mappings"].sort(key=lambda row: row["start"])
        line = workshop.refused(forgery.write(workshop.new_image()))
        assert "no known kernel" in line and KERNEL in line, line
