"""Files that the program writes to, beside their changes since, beside the original, and in a
sandbox that was asked for.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from gdbsession import GdbSession
from scene import Scene, restore, save
from steps import continue_to_end
from support import probes
from test_gdb_files import EXPECTED, run_to_middle, shape


@pytest.fixture
def overlays() -> None:
    """Without, there are no sandboxes."""
    probes.need_overlays()


pytestmark = pytest.mark.usefixtures("overlays")


def _sees_libraries(gdb: GdbSession) -> None:
    """GDB has read the symbols, whatever the program sees by the same names."""
    lines = [line for line in gdb.execute("info sharedlibrary").splitlines() if ".so" in line]
    assert lines and all("Yes" in line.split() for line in lines), lines
    assert "middle ()" in gdb.execute("backtrace"), gdb.report()


def _in_sandbox(scene: Scene, gdb: GdbSession, arguments: str, target: Path) -> str:
    """Restore, which must say that it is in a sandbox, and why."""
    before = target.read_bytes()
    restored = restore(gdb, arguments)
    (note,) = [each for each in restored.notes if "in a sandbox over" in each]
    assert str(target.parent) in note, restored.text
    _sees_libraries(gdb)
    assert target.read_bytes() == before
    # The place where it was made.
    assert not list((scene.store / "scratch").glob("sandbox-*"))
    return note


def test_a_file_has_changed(scene: Scene) -> None:
    gdb, _, target = run_to_middle(scene)
    save(gdb, "files")
    gdb.quit()
    target.write_text("somebody else's")
    again = scene.gdb()
    for _ in range(2):
        assert f"{target} has changed since the snapshot: " in _in_sandbox(
            scene, again, "files", target
        )
        assert shape(continue_to_end(again, 13)) == EXPECTED
    again.quit()
    assert target.read_text() == "somebody else's"


def test_a_save_in_a_sandbox_has_its_files(scene: Scene) -> None:
    gdb, source, target = run_to_middle(scene)
    save(gdb, "files")
    gdb.quit()
    again = scene.gdb()
    _in_sandbox(scene, again, "files -files sandbox", target)
    save(again, "second")
    again.quit()
    target.unlink()
    source.write_text("other")
    third = scene.gdb()
    for _ in range(2):
        # Its content is in the second snapshot, not in the file system.
        restored = restore(third, "second -files sandbox")
        assert any("in a sandbox over" in note for note in restored.notes), restored.text
        _sees_libraries(third)
        assert shape(continue_to_end(third, 13)) == EXPECTED
    third.quit()
    assert not target.exists() and source.read_text() == "other"


def test_the_original_still_runs_in_another_gdb(scene: Scene) -> None:
    first, _, target = run_to_middle(scene)
    save(first, "files")
    pid = first.inferior_pid
    second = scene.gdb()
    assert f"process {pid}, which was saved, still runs: " in _in_sandbox(
        scene, second, "files", target
    )
    assert shape(continue_to_end(second, 13)) == EXPECTED
    second.quit()
    assert shape(continue_to_end(first, 13)) == EXPECTED
    first.quit()


def test_the_program_that_is_replaced_is_nobody_to_be_kept_from(scene: Scene) -> None:
    gdb, _, target = run_to_middle(scene)
    save(gdb, "files")
    restored = restore(gdb, "files")
    assert not restored.notes, restored.text
    assert shape(continue_to_end(gdb, 13)) == EXPECTED
    gdb.quit()
    assert target.stat().st_size > len("before--")
