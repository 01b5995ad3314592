"""Regular files of the program: reopened when they are as they were,
private copies when not, never harmed.
"""

from __future__ import annotations

import os
from pathlib import Path

import processes
import pytest
from gdbsession import GdbSession
from scene import Scene, refuse, restore, save
from steps import continue_to_end, run_until_blocked

BEFORE = "before--"
RECORDS = "record-1record-2"


def run_to_middle(scene: Scene) -> tuple[GdbSession, Path, Path]:
    """e2e_files in the middle: one record is read and written, the other one is not."""
    source = scene.write("in.txt", RECORDS)
    target = scene.write("out.txt", BEFORE)
    gdb = scene.gdb("--args", scene.program("e2e_files"), str(source), str(target))
    gdb.execute("break middle")
    assert "middle ()" in gdb.execute("run"), gdb.report()
    return gdb, source, target


EXPECTED = ["value record-2", "value record-1record-2", "nonce", "PASS"]


def shape(lines: list[str]) -> list[str]:
    """The program's answer without the nonce's digits."""
    return ["nonce" if line.startswith("nonce") else line for line in lines]


def test_unchanged_files_are_reopened_where_they_were(scene: Scene) -> None:
    gdb, _, target = run_to_middle(scene)
    save(gdb, "files")
    gdb.quit()
    again = scene.gdb()
    restored = restore(again, "files")
    assert not restored.notes, restored.text
    assert shape(continue_to_end(again, 13)) == EXPECTED
    again.quit()
    # As it was at the save, so it is the real file that goes on.
    assert target.read_text().startswith(BEFORE + RECORDS)


def test_the_tenth_restore_equals_the_first(scene: Scene) -> None:
    gdb, source, target = run_to_middle(scene)
    save(gdb, "files")
    expected = continue_to_end(gdb, 13)
    gdb.quit()
    after = target.read_bytes()
    stat = target.stat()
    again = scene.gdb()
    for _ in range(10):
        restored = restore(again, "files")
        # The program's own writing changed it after the save.
        assert any(str(target) in note for note in restored.notes), restored.text
        assert not any(str(source) in note for note in restored.notes), restored.text
        assert continue_to_end(again, 13) == expected
    again.quit()
    assert target.read_bytes() == after
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)
    assert source.read_text() == RECORDS


@pytest.mark.parametrize(
    "change", ["changed", "grown", "truncated", "replaced", "deleted", "no-longer-readable"]
)
def test_a_changed_file_comes_back_as_a_private_copy(user_scene: Scene, change: str) -> None:
    scene = user_scene
    gdb, source, _ = run_to_middle(scene)
    save(gdb, "files")
    gdb.quit()
    if change == "changed":
        source.write_text("RECORD-1RECORD-2")
    elif change == "grown":
        source.write_text(RECORDS + "more")
    elif change == "truncated":
        source.write_text("")
    elif change == "replaced":
        other = scene.write("other.txt", "RECORD-1RECORD-2")
        other.replace(source)
    elif change == "deleted":
        source.unlink()
    else:
        source.chmod(0)
    there = (source.stat().st_mtime_ns, source.stat().st_size) if source.exists() else None
    again = scene.gdb()
    restored = restore(again, "files")
    assert [note for note in restored.notes if str(source) in note], restored.text
    assert shape(continue_to_end(again, 13)) == EXPECTED
    again.quit()
    assert (
        (source.stat().st_mtime_ns, source.stat().st_size) if source.exists() else None
    ) == there


def test_strict_is_an_error_before_anything_starts(scene: Scene) -> None:
    gdb, source, _ = run_to_middle(scene)
    save(gdb, "files")
    source.write_text("RECORD-1RECORD-2")
    pid = gdb.inferior_pid
    refuse(gdb, "ckpt restore files -files strict", "in.txt")
    assert gdb.inferior_pid == pid
    # The old program is alive and well, and sees the real file.
    assert "value RECORD-2" in continue_to_end(gdb, 13)
    gdb.quit()
    again = scene.gdb()
    refuse(again, "ckpt restore files -files strict", "in.txt")
    assert again.inferior_pid == 0
    assert scene.processes() == [again.child.pid]
    again.quit()


def test_strict_takes_unchanged_files(scene: Scene) -> None:
    gdb, _, _ = run_to_middle(scene)
    save(gdb, "files")
    gdb.quit()
    again = scene.gdb()
    restore(again, "files -files strict")
    assert shape(continue_to_end(again, 13)) == EXPECTED
    again.quit()


def test_real_reopens_whatever_is_there(scene: Scene) -> None:
    gdb, source, _ = run_to_middle(scene)
    save(gdb, "files")
    gdb.quit()
    source.write_text("RECORD-1RECORD-2")
    again = scene.gdb()
    restore(again, "files -files real")
    assert "value RECORD-2" in continue_to_end(again, 13)
    again.quit()


def test_private_leaves_the_real_file_alone(scene: Scene) -> None:
    gdb, _, target = run_to_middle(scene)
    save(gdb, "files")
    gdb.quit()
    before = target.read_bytes()
    again = scene.gdb()
    for _ in range(2):
        restore(again, "files -files private")
        assert shape(continue_to_end(again, 13)) == EXPECTED
    again.quit()
    assert target.read_bytes() == before


def test_another_file_can_take_the_place(scene: Scene) -> None:
    gdb, source, _ = run_to_middle(scene)
    save(gdb, "files")
    gdb.quit()
    other = scene.write("other.txt", "OTHER--1OTHER--2")
    again = scene.gdb()
    restore(again, f"files -file {source}={other}")
    assert "value OTHER--2" in continue_to_end(again, 13)
    again.quit()


def test_a_changed_file_too_large_to_keep_is_an_error(scene: Scene) -> None:
    gdb, source, _ = run_to_middle(scene)
    gdb.execute("set ckpt file-limit 4")
    saved = save(gdb, "files")
    assert "in.txt" in saved.report or saved.report == ""
    gdb.quit()
    again = scene.gdb()
    restore(again, "files")
    again.execute("kill")
    processes.wait_until(
        lambda: scene.processes() == [again.child.pid], "the helper ended with the program"
    )
    source.write_text("RECORD-1RECORD-2")
    refuse(again, "ckpt restore files", "in.txt")
    assert scene.processes() == [again.child.pid]
    again.quit()


def test_standard_streams_can_be_given(scene: Scene) -> None:
    gdb = run_until_blocked(scene, "read")
    save(gdb, "streams")
    gdb.quit()
    typed = scene.write("typed.txt", "from a file\n")
    printed = scene.directory / "printed.txt"
    again = scene.gdb()
    restore(again, f"streams -stdin {typed} -stdout {printed}")
    assert continue_to_end(again, 3) == []
    again.quit()
    lines = printed.read_text().splitlines()
    assert lines[0] == "line from a file" and lines[-1] == "PASS"


def test_stdout_in_a_file_goes_on_in_it(scene: Scene) -> None:
    output = scene.directory / "stdout.txt"
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "1")
    gdb.execute("break work if step == 3")
    assert "work (step=3)" in gdb.execute(f"run > {output}")
    first_part = output.read_text()
    assert first_part.endswith("step 2 total 6\n")
    save(gdb, "redirected")
    gdb.quit()
    assert output.read_text() == first_part
    again = scene.gdb()
    restore(again, "redirected")
    assert continue_to_end(again, 7) == []
    assert output.read_text().startswith(first_part + "step 3 total 12\n")
    whole = output.read_text()
    assert whole.endswith("PASS\n")
    # It has changed now, by the program's own writing:
    # the next restore writes elsewhere and says so.
    restored = restore(again, "redirected")
    assert [note for note in restored.notes if str(output) in note], restored.text
    assert continue_to_end(again, 7) == []
    again.quit()
    assert output.read_text() == whole


def test_descriptors_of_other_kinds_are_named_at_the_save(scene: Scene) -> None:
    source = """
#include <linux/userfaultfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
void here(void) {}
int main(void)
{
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || \
syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY) < 0) return 1;
  pid_t child = fork();
  if (child == 0) { char c; close(pair[0]); return read(pair[1], &c, 1) != 0; }
  here();
  return 0;
}
"""
    program = scene.compile(source, "kinds")
    gdb = scene.gdb(str(program))
    gdb.execute("break here")
    assert "here ()" in gdb.execute("run")
    saved = save(gdb, "kinds")
    assert "Will not come back as it was:" in saved.report
    for word in ("userfaultfd", "child"):
        assert word in saved.report, saved.report
    # Both ends of the pair are the program's, and one is the child's, too.
    named = [line for line in saved.report.splitlines() if "socket" in line]
    assert (
        len(named) == 1 and "(kinds) has it, too: the program's comes back as its own" in named[0]
    ), saved.report
    gdb.execute("delete")
    gdb.execute("continue")
    gdb.quit()


def test_dev_null_needs_no_word(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "0")
    gdb.execute("break work if step == 3")
    gdb.execute(f"run < {os.devnull}")
    assert save(gdb, "null").report == ""
    gdb.quit()
    again = scene.gdb()
    assert not restore(again, "null").notes
    assert continue_to_end(again, 7)[-1] == "PASS"
    again.quit()
