"""`ckpt replay`: as recorded, different and where, could not run;
and nothing of the user's touched.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pexpect
import pytest
from support.processes import children_of, wait_until
from support.replay import ROOT, Lab, recorded

SCRIPT = """\
handle SIGUSR1 nostop noprint
print total
print entry->value
break finish_up
continue
print total
info breakpoints
finish
"""


@pytest.fixture
def one(lab: Lab) -> Lab:
    """A snapshot in the middle of the file."""
    lab.save()
    return lab


def test_without_a_script_it_goes_on_to_the_end(one: Lab) -> None:
    path = recorded(one)
    assert path == one.work / "one.expect"
    assert path.read_text() == (
        "# What ckpt replay saw of the snapshot one (program ledger).\n"
        "# With -update it writes this anew. In a line, <any> stands for anything.\n"
        "transcript:\n    (gdb) continue\n    [Inferior 1 (process <id>) exited normally]\n"
        "stdout: nothing\nstderr: nothing\nend:\n    exited with status 0\n"
    )
    assert one.ckpt("replay", "one") == "one: as recorded in one.expect: exited with status 0\n"


def through_pipes(lab: Lab, name: str = "one", at: str = "enter if entry->value == 3") -> None:
    """A snapshot whose standard output and error lead elsewhere."""
    lab.save(name, at=at)
    program = lab.program()
    printed = lab.gdb(
        f"file {program}", f"break {at}", "run numbers < input", f"ckpt save {name} -force", "kill"
    )
    assert f'Saved "{name}"' in printed, printed


def test_output_is_compared_stream_by_stream(lab: Lab) -> None:
    through_pipes(lab)
    path = recorded(lab)
    text = path.read_text()
    # What stdio had buffered is part of it.
    assert (
        "    file: 3, total 6\n    file: 4, total 10\n    input: 10, total 20\n"
        "    input: 20, total 40\n"
    ) in text
    assert "stderr:\n    done, mean 20.0\n" in text
    assert "as recorded" in lab.ckpt("replay", "one")
    path.write_text(text.replace("mean 20.0", "mean 20.5"))
    printed = lab.ckpt("replay", "one", status=1)
    line = text.split("\n").index("    done, mean 20.0") + 1
    assert printed == (
        "one: different from one.expect\n"
        f"stderr (one.expect, line {line}): - recorded, + now\n- done, mean 20.5\n"
        "+ done, mean 20.0\n"
    )


def test_a_script(one: Lab) -> None:
    (one.work / "look.gdb").write_text(SCRIPT)
    path = recorded(one, "--script", "look.gdb")
    assert path == one.work / "look.expect"
    text = path.read_text()
    assert "    (gdb) print total\n    $1 = 3\n    (gdb) print entry->value\n    $2 = 3\n" in text
    assert "hit Breakpoint 1, finish_up (how=0x0) at ledger.c:" in text and "    $3 = 40\n" in text
    assert not re.search(r"0x[0-9a-f]{6}|LWP \d", text), text
    assert re.search(r"end:\n    stopped\n    in main at ledger.c:\d+\n$", text), text
    for _ in range(3):
        assert "as recorded" in one.ckpt("replay", "one", "--script", "look.gdb")
    # A script for a terminal ends with this, and GDB's end is not ours.
    (one.work / "look.gdb").write_text(SCRIPT + "quit\n")
    assert "+     (gdb) quit" not in one.ckpt("replay", "one", "--script", "look.gdb", status=1)


def test_a_script_in_python(one: Lab) -> None:
    (one.work / "look.py").write_text(
        "import gdb\nprint('total is', int(gdb.parse_and_eval('total')))\n"
    )
    text = recorded(one, "--script", "look.py").read_text()
    assert "transcript:\n    total is 3\n" in text
    assert "as recorded" in one.ckpt("replay", "one", "--script", "look.py")


# --- different, and where -------------------------------------------------------------------------


def test_changed_memory(one: Lab) -> None:
    (one.work / "look.gdb").write_text(SCRIPT)
    path = recorded(one, "--script", "look.gdb")
    one.gdb("ckpt restore one", "set variable total = 1000", "ckpt save changed", "kill")
    printed = one.ckpt("replay", "changed", "--script", "look.gdb", status=1)
    line = path.read_text().split("\n").index("    $1 = 3") + 1
    assert printed.startswith(
        f"changed: different from look.expect\ntranscript (look.expect, line {line}): "
    ), printed
    assert "  (gdb) print total\n- $1 = 3\n+ $1 = 1000\n" in printed
    assert "- $3 = 40\n+ $3 = 1037\n" in printed


def test_changed_memory_shows_in_the_exit_status(one: Lab) -> None:
    recorded(one)
    one.gdb("ckpt restore one", "set variable limit = 5", "ckpt save changed", "kill")
    printed = one.ckpt("replay", "changed", "--expect", "one.expect", status=1)
    assert (
        "end (one.expect, line 9): - recorded, + now\n- exited with status 0\n"
        "+ exited with status 3\n"
    ) in printed


def test_changed_expectation(one: Lab) -> None:
    (one.work / "look.gdb").write_text(SCRIPT)
    path = recorded(one, "--script", "look.gdb")
    lines = path.read_text().split("\n")
    at = lines.index("    $2 = 3")
    lines[at] = "    $2 = 4"
    path.write_text("\n".join(lines))
    printed = one.ckpt("replay", "one", "--script", "look.gdb", status=1)
    assert (
        f"transcript (look.expect, line {at + 1})" in printed and "- $2 = 4\n+ $2 = 3\n" in printed
    )
    lines[at] = "    $2 = <any>"
    path.write_text("\n".join(lines))
    one.ckpt("replay", "one", "--script", "look.gdb")


def test_changed_input(lab: Lab) -> None:
    """The user's own files do not count; the snapshot's do."""
    through_pipes(lab)
    path = recorded(lab)
    before = path.read_text()
    (lab.work / "numbers").write_text("9\n9\n9\n9\n")
    (lab.work / "input").unlink()
    assert "as recorded" in lab.ckpt("replay", "one")
    # As another snapshot would have it...
    (lab.work / "others").write_text("1\n2\n3\n44\n")
    (lab.work / "input").write_text("10\n20\n")
    numbers = lab.work / "numbers"
    replaced = f"{numbers}={lab.work / 'others'}"
    lab.gdb(f"ckpt restore one -file {replaced}", "ckpt save changed", "kill")
    printed = lab.ckpt("replay", "changed", "--expect", "one.expect", status=1)
    line = before.split("\n").index("    file: 4, total 10") + 1
    assert f"stdout (one.expect, line {line})" in printed, printed
    assert (
        "  file: 3, total 6\n- file: 4, total 10\n" in printed
        and "+ file: 44, total 50\n" in printed
    )
    # ... and as given to this replay.
    assert (
        lab.ckpt("replay", "one", "--file", replaced, status=1).partition("\n")[2]
        == printed.partition("\n")[2]
    )
    (lab.work / "more").write_text("10\n21\n")
    printed = lab.ckpt("replay", "one", "--stdin", "more", status=1)
    assert (
        "- input: 20, total 40\n+ input: 10, total 20\n" not in printed and "total 41\n" in printed
    )
    assert path.read_text() == before


def test_a_fatal_signal(lab: Lab) -> None:
    lab.save(at=None, environment={"LEDGER_END": "abort"})
    text = recorded(lab).read_text()
    assert "transcript:\n    (gdb) backtrace\n    #0 " in text
    assert "end:\n    signal SIGABRT\n    assertion: ledger: " in text
    assert "finish_up: Assertion `total < 0' failed.\n    in finish_up at ledger.c:" in text
    assert "as recorded" in lab.ckpt("replay", "one")


def test_on_the_way_to_a_fatal_signal(lab: Lab) -> None:
    """Past a signal that the program handles."""
    lab.save(environment={"LEDGER_END": "segv"})
    text = recorded(lab).read_text()
    assert "SIGUSR1" not in text and "received signal SIGSEGV, Segmentation fault" in text
    assert "(gdb) backtrace\n    #0  " in text
    assert re.search(r"end:\n    signal SIGSEGV\n    in finish_up at ledger.c:\d+\n$", text), text
    assert "as recorded" in lab.ckpt("replay", "one")


def test_a_program_that_never_ends(lab: Lab) -> None:
    lab.save(environment={"LEDGER_END": "hang"})
    printed = lab.ckpt("replay", "one", "--timeout", "8", "--update", status=2)
    assert (
        "nothing was recorded: finish: not done within 8 s; "
        "the program was in finish_up at ledger.c:"
    ) in printed
    assert not (lab.work / "one.expect").exists()
    (lab.work / "one.expect").write_text(
        "transcript:\nstdout:\nstderr:\nend:\n    exited with status 0\n"
    )
    printed = lab.ckpt("replay", "one", "--timeout", "8", status=1)
    assert (
        "- exited with status 0\n+ still running after 8 s\n+ in finish_up at ledger.c:" in printed
    )
    assert "where it is:\nThread 2 " in printed and " in main (" in printed


# --- could not run --------------------------------------------------------------------------------


def test_what_cannot_be_run(one: Lab) -> None:
    for words, why in (
        (["one"], "there is no .*/one.expect: record one with -update"),
        (["two", "--update"], 'there is no snapshot or file "two"'),
        (["one", "--script", "none.gdb"], "none.gdb: no such script"),
        (["one", "--update", "--gdb", "/nowhere/gdb"], "GDB has ended: /nowhere/gdb: No such file"),
        (["one", "--update", "--program", "x"], "-program without -update"),
        (["one", "--program", "./none"], "was not made at a failure, and there is no one.expect"),
        (["one", "--gone"], "-gone is a question to another program"),
        (["one", "--update", "--stdin", "none"], "none: no such file"),
        (
            ["one", "--update", "--file", "a=b"],
            "b \\(in place of .*/a\\): No such file|no open file of that name",
        ),
        (["one", "--timeout", "soon"], 'not a number of seconds: "soon"'),
        (["numbers", "--update"], "numbers: not a snapshot"),
    ):
        printed = one.ckpt("replay", *words, status=2)
        assert re.search(why, printed) and printed.count("\n") == 1, f"{words}: {printed}"
    assert not list(one.work.glob("*.expect"))


def test_a_damaged_snapshot(one: Lab) -> None:
    recorded(one)
    image = one.store / "snapshots" / "one.ckpt"
    data = bytearray(image.read_bytes())
    data[9000] ^= 1
    image.write_bytes(data)
    assert "damaged" in one.ckpt("replay", "one", status=2)


def test_a_damaged_expectation(one: Lab) -> None:
    path = one.work / "one.expect"
    for text, why in (
        ("stdout: nothing\n", 'no "transcript:"'),
        ("transcript:\nx\n", "line 2 is not understood: x"),
        ("transcript:\ntranscript:\n", "line 2"), ("", 'no "transcript:"'),
    ):  # fmt: skip
        path.write_text(text)
        assert why in one.ckpt("replay", "one", status=2)
    path.write_bytes(b"\xff\xfe")
    assert "not text" in one.ckpt("replay", "one", status=2)


def test_recorded_only_when_asked(one: Lab) -> None:
    path = recorded(one)
    path.write_text(path.read_text().replace("status 0", "status 1"))
    one.ckpt("replay", "one", status=1)
    assert "status 1" in path.read_text()
    recorded(one)
    assert "status 0" in path.read_text()


# --- nothing of the user's ------------------------------------------------------------------------


def contents(directory: Path) -> dict[str, tuple[bytes, int]]:
    """The files below a directory."""
    return {
        str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_nothing_is_touched(lab: Lab) -> None:
    """No file that the program has open for writing, no gdbinit,
    and nothing left in the store or elsewhere.
    """
    lab.save(arguments="numbers log < input")
    assert (lab.work / "log").read_text() == "1\n3\n"
    (lab.work / "look.gdb").write_text("print $from_gdbinit\nbreak finish_up\ncontinue\n")
    before = {name: contents(lab.directory / name) for name in ("work", "home", "store")}
    text = recorded(lab, "--script", "look.gdb").read_text()
    assert "$1 = void" in text and 'gdbinit"' not in text
    lab.ckpt("replay", "one", "--script", "look.gdb")
    (lab.work / "look.expect").unlink()
    assert {name: contents(lab.directory / name) for name in ("work", "home", "store")} == before
    assert sorted(path.name for path in lab.directory.iterdir()) == ["home", "store", "work"]


def test_the_live_program_is_left_alone(one: Lab) -> None:
    program = one.program()
    printed = one.gdb(
        f"file {program}", "break enter if entry->value == 2", "run numbers < input > /dev/null",
        "python before = gdb.selected_inferior().pid, len(gdb.inferiors())",
        "ckpt replay one -update", "print $_ckpt_replay", "ckpt replay one", "print $_ckpt_replay",
        "python print('same', before == (gdb.selected_inferior().pid, len(gdb.inferiors())))",
        "print total", "next", "next", "print mood", "kill",
    )  # fmt: skip
    assert "one: recorded in one.expect: exited with status 0" in printed
    assert printed.count("= 0") >= 2 and "same True" in printed, printed
    assert "= 1\n" in printed and "= BUSY" in printed, printed


def test_inside_gdb_a_difference_is_an_error(one: Lab) -> None:
    path = recorded(one)
    path.write_text(path.read_text().replace("status 0", "status 1"))
    (one.work / "all.gdb").write_text("ckpt replay one\necho not reached\\n\n")
    printed = one.gdb("source all.gdb", "print $_ckpt_replay", status=0)
    assert (
        "ckpt replay: one: different from one.expect" in printed
        and "- exited with status 1" in printed
    )
    assert "not reached" not in printed and "$1 = 1" in printed
    printed = one.gdb("ckpt replay nothing", status=1)
    assert "ckpt replay: nothing: could not be replayed: there is no " in printed
    printed = one.gdb("ckpt replay one -timeout x", "ckpt replay", status=1)
    assert (
        'ckpt replay: not a number of seconds: "x"' in printed and "SNAPSHOT is missing" in printed
    )
    assert "Usage: ckpt replay SNAPSHOT [" in one.gdb("help ckpt replay")


# --- the results elsewhere ------------------------------------------------------------------------


def test_junit(one: Lab) -> None:
    path = recorded(one)

    def case(status: int) -> ElementTree.Element:
        one.ckpt("replay", "one", "--junit", "result.xml", status=status)
        suite = ElementTree.parse(one.work / "result.xml").getroot()
        assert suite.tag == "testsuite" and suite.get("tests") == "1"
        assert (suite.get("failures"), suite.get("errors")) == {
            0: ("0", "0"),
            1: ("1", "0"),
            2: ("0", "1"),
        }[status]
        case = suite.find("testcase")
        assert case is not None and case.get("name") == "one" and float(case.get("time") or "") >= 0
        return case

    assert [each.tag for each in case(0)] == ["system-out"]
    path.write_text(path.read_text().replace("status 0", "<status> & \x01"))
    failure = case(1).find("failure")
    assert (
        failure is not None
        and "<status>" in (failure.text or "")
        and "different" in (failure.get("message") or "")
    )
    path.unlink()
    error = case(2).find("error")
    assert error is not None and "there is no" in (error.get("message") or "")


def test_json(one: Lab) -> None:
    recorded(one)
    result = json.loads(one.ckpt("replay", "one", "--json"))
    assert (
        result["status"] == 0
        and "as recorded" in result["headline"]
        and "(gdb) continue" in result["transcript"]
    )


def test_a_file_and_a_bundle(one: Lab) -> None:
    """The expectation lies beside it; a bundle needs no store."""
    one.gdb("ckpt restore one", "ckpt save -o saved/here.ckpt", "kill", status=None)
    (one.work / "saved").mkdir()
    one.gdb("ckpt restore one", "ckpt save -o saved/here.ckpt", "kill")
    assert recorded(one, name="saved/here.ckpt") == one.work / "saved/here.expect"
    one.ckpt("replay", "saved/here.ckpt")
    one.ckpt("bundle", "one", "saved/all.bundle")
    nowhere = {"CKPT_DIR": str(one.directory / "nowhere")}
    one.ckpt("replay", "saved/all.bundle", "--update", environment=nowhere)
    assert (one.work / "saved/all.expect").exists()
    assert "as recorded" in one.ckpt("replay", "saved/all.bundle", environment=nowhere)
    assert not (one.directory / "nowhere").exists()


def test_a_terminal_stays_one(lab: Lab) -> None:
    """What was written to a terminal was flushed line by line, and is again."""
    master, slave = os.openpty()
    try:
        program = lab.program()
        printed = lab.gdb(
            f"file {program}", "break enter if entry->value == 3",
            f"set inferior-tty {os.ttyname(slave)}", "run numbers", "ckpt save one", "kill",
        )  # fmt: skip
        assert "Saved" in printed, printed
    finally:
        os.close(master)
        os.close(slave)
    (lab.work / "look.gdb").write_text("next\n" * 5 + "print terminals\n")
    text = recorded(lab, "--script", "look.gdb").read_text()
    assert "    $1 = 3\n" in text, text
    # It is out although the program has not ended.
    assert "stdout:\n    file: 3, total 6\nstderr: nothing\n" in text


def test_interrupted_inside_gdb(lab: Lab) -> None:
    """Ctrl-C ends the replay, and nothing else."""
    lab.save(environment={"LEDGER_END": "hang"})
    gdb = pexpect.spawn(
        "gdb", ["-nx", "-q", "-ex", "set prompt <gdb>", "-x", str(ROOT / "gdbext/load.py")],
        env=lab.environment, cwd=str(lab.work), encoding="utf-8", timeout=60,
    )  # fmt: skip
    try:
        gdb.expect_exact("<gdb>")
        gdb.sendline("ckpt replay one -update")
        # The program is there, and spins.
        wait_until(
            lambda: any(_name(pid) == "ledger" for pid in _below(gdb.pid)),
            "the program is restored",
            60,
        )
        gdb.sendintr()
        gdb.expect_exact("ckpt replay: interrupted")
        gdb.expect_exact("<gdb>")
        wait_until(lambda: not _below(gdb.pid), "nothing is left", 20)
        gdb.sendline("print 6 * 7")
        gdb.expect_exact("42")
    finally:
        gdb.close(force=True)
    assert not list(lab.work.glob("*.expect"))


def _below(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        found += children_of(each)
    return [each for each in found[1:] if _name(each)]


def _name(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    name, _, rest = status.partition("(")[2].rpartition(")")
    return "" if rest.split()[0] == "Z" else name
