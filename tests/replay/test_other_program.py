"""`ckpt replay -program`: the recorded question to another build of the program."""

from __future__ import annotations

import re

import pytest
from support.replay import Lab

ABORT = {"LEDGER_END": "abort"}


@pytest.fixture
def died(lab: Lab) -> Lab:
    """A snapshot made when an assertion had failed."""
    lab.save(at=None, environment=ABORT)
    return lab


def test_the_same_program(died: Lab) -> None:
    printed = died.ckpt("replay", "one", "--program", str(died.program()))
    assert "the recorded failure occurs again: signal SIGABRT; assertion: ledger: " in printed
    assert "Assertion `total < 0' failed.; in finish_up at ledger.c:" in printed
    died.ckpt("replay", "one", "--program", str(died.program()), "--gone", status=1)


def test_lines_have_moved(died: Lab) -> None:
    """It is the same assertion in the same function wherever it stands."""
    moved = died.compiled("moved", ("static long total;", "\n\n\nstatic long total;"))
    assert "occurs again" in died.ckpt("replay", "one", "--program", str(moved))


def test_a_fixed_program(died: Lab) -> None:
    fixed = str(died.compiled("fixed", ("assert(total < 0)", "assert(total > 0)")))
    printed = died.ckpt("replay", "one", "--program", fixed, status=1)
    assert re.fullmatch(
        r"\S+fixed: the recorded failure does not occur: exited with status 0\n"
        r"recorded: signal SIGABRT; assertion: ledger: \S+: finish_up: "
        r"Assertion `total < 0' failed.; "
        r"in finish_up at ledger.c:\d+\n",
        printed,
    ), printed
    assert "does not occur" in died.ckpt("replay", "one", "--program", fixed, "--gone")
    assert not list(died.work.glob("*.expect"))


def test_another_failure(died: Lab) -> None:
    worse = str(died.compiled("worse", ("assert(total < 0)", "*(volatile int *)8 = 1")))
    printed = died.ckpt("replay", "one", "--program", worse, status=1)
    assert "another failure than the recorded one: signal SIGSEGV; in finish_up" in printed
    died.ckpt("replay", "one", "--program", worse, "--gone", status=1)
    other = str(died.compiled("other", ("assert(total < 0)", "assert(total != 40)")))
    assert "another failure" in died.ckpt("replay", "one", "--program", other, status=1)
    hanging = str(died.compiled("hanging", ("assert(total < 0)", "for (;;) spinning++")))
    printed = died.ckpt(
        "replay", "one", "--program", hanging, "--gone", "--timeout", "10", status=1
    )
    assert (
        "another failure than the recorded one: still running after 10 s; in finish_up" in printed
    )


def test_started_as_it_was(lab: Lab) -> None:
    """Arguments, environment, directory, standard input and files;
    the files are the snapshot's, and private.
    """
    numbers = lab.work / "numbers"
    arguments = f"numbers {lab.work}/log < input"
    lab.save(
        at=None,
        arguments=arguments,
        environment={"LEDGER_END": "segv", "LEDGER_LIMIT": "7", "TABBED": "a\tb'\"$"},
    )
    log = (lab.work / "log").read_text()
    assert log.endswith("40\n")
    numbers.write_text("100\n")
    (lab.work / "input").write_text("100\n")
    before = sorted(lab.work.iterdir())
    look = lab.directory / "look.gdb"
    look.write_text(
        "up\nprint argc\nprint *argv@argc\nprint total\nprint limit\nprint exceeded\nprint log_fd\n"
        "python import os; p = gdb.selected_inferior().pid; print(os.listdir(f'/proc/{p}/cwd'))\n"
        "python print('TABBED=a\\tb' in open(f'/proc/{p}/environ').read())\n"
        "python print(repr(open(f'/proc/{p}/fd/{int(gdb.parse_and_eval(\"log_fd\"))}').read()))\n"
    )
    (lab.directory / "look.expect").write_text(
        "transcript:\nstdout:\nstderr:\nend:\n    exited with status 0\n"
    )
    printed = lab.ckpt(
        "replay", "one", "--program", str(lab.program()), "--script", str(look),
        "--at", "finish_up", "--json", status=1,
    )  # fmt: skip
    assert (
        "$1 = 3" in printed and "$3 = 40" in printed and "$4 = 7" in printed and "$5 = 1" in printed
    ), printed
    assert "True" in printed and "numbers" in printed
    # It had appended to what was in the log at the save.
    assert log.replace("\n", "\\\\n") * 2 in printed.replace("\\\\\\\\n", "\\\\n"), printed
    assert sorted(lab.work.iterdir()) == before and (lab.work / "log").read_text() == log


def test_its_directory_is_private(lab: Lab) -> None:
    """Also files that it did not have open at the save, and those in directories below."""
    lab.save(at=None, environment={"LEDGER_END": "segv"})
    (lab.work / "below").mkdir()
    (lab.work / "below" / "state").write_text("old")
    (lab.work / "other").write_text("old")
    (lab.work / "link").symlink_to("other")
    code = "".join(
        f'fputs("new", fopen("{name}", "w")); ' for name in ("below/state", "other", "link", "made")
    )
    writes = [('printf("%c\\n", *missing)', f'{{ {code} puts("wrote"); }}')]
    program = str(lab.compiled("writes", *writes))
    printed = lab.ckpt("replay", "one", "--program", program, "--json", "--gone")
    assert "wrote" in printed and "exited with status 0" in printed, printed
    assert (lab.work / "other").read_text() == "old" == (lab.work / "below" / "state").read_text()
    assert not (lab.work / "made").exists()


def test_a_large_directory(lab: Lab) -> None:
    """Is not copied as a whole, and that is said."""
    lab.save(at=None, environment={"LEDGER_END": "segv"})
    with open(lab.work / "large", "wb") as large:
        large.truncate(100 << 20)
    printed = lab.ckpt("replay", "one", "--program", str(lab.program()))
    assert "occurs again" in printed
    assert f"note: {lab.work} is large: the program finds some of it through links" in printed


def test_an_expectation(lab: Lab) -> None:
    """Where the snapshot is of no failure, the recorded expectation is the question."""
    program = lab.program()
    lab.gdb(
        f"file {program}",
        "break enter if entry->value == 3",
        "run numbers < input",
        "ckpt save one",
        "kill",
    )
    lab.ckpt("replay", "one", "--update")
    text = (lab.work / "one.expect").read_text()
    assert "file: 3, total 6" in text
    # The breakpoint's condition is part of where it was.
    assert "occurs again" in lab.ckpt("replay", "one", "--program", str(program))
    fixed = str(lab.compiled("fixed", ("total += entry->value", "total += 2 * entry->value")))
    printed = lab.ckpt("replay", "one", "--program", fixed, status=1)
    assert "the recorded failure does not occur: exited with status 0" in printed
    assert "stdout (one.expect, line " in printed and "+ file: 3, total 12" in printed
    assert (lab.work / "one.expect").read_text() == text


def test_a_script_is_compared(lab: Lab) -> None:
    lab.save()
    (lab.work / "look.gdb").write_text("print total\nprint entry->value\n")
    lab.ckpt("replay", "one", "--script", "look.gdb", "--update")
    at = ("--script", "look.gdb")
    assert "occurs again" in lab.ckpt("replay", "one", "--program", str(lab.program()), *at)
    fixed = str(lab.compiled("fixed", ("total += entry->value", "\ntotal += 2 * entry->value")))
    printed = lab.ckpt("replay", "one", "--program", fixed, *at, status=1)
    assert "- $1 = 3\n+ $1 = 6\n" in printed


def test_places(died: Lab) -> None:
    program = str(died.program())
    printed = died.ckpt("replay", "one", "--program", program, "--at", "nowhere_at_all", status=2)
    assert "there is no nowhere_at_all in " in printed
    printed = died.ckpt("replay", "one", "--program", program, "--at", "enter if total == 12345")
    assert "note: enter if total == 12345 was not reached" in printed
    gone = str(
        died.compiled(
            "gone",
            ("static void finish_up", "static void conclude"),
            ("  finish_up(", "  conclude("),
        )
    )
    printed = died.ckpt("replay", "one", "--program", gone, status=1)
    assert (
        "another failure" in printed and "note: there is no finish_up at ledger.c:" not in printed
    )
    elsewhere = str(
        died.compiled(
            "elsewhere",
            (
                "static void finish_up(const char *how) {",
                'static void conclude(const char *how) {\n#line 1 "other.c"\n',
            ),
            ("  finish_up(", "  conclude("),
        )
    )
    assert "note: there is no finish_up at ledger.c:" in died.ckpt(
        "replay", "one", "--program", elsewhere, status=1
    )
    printed = died.ckpt("replay", "one", "--program", str(died.work / "numbers"), status=2)
    assert "could not be replayed" in printed


def test_elsewhere(died: Lab) -> None:
    """From a bundle, with the program's files moved away."""
    died.ckpt("bundle", "one", "all.bundle")
    fixed = str(died.compiled("fixed", ("assert(total < 0)", "")))
    (died.work / "numbers").unlink()
    nowhere = {"CKPT_DIR": str(died.directory / "nowhere")}
    again = died.ckpt("replay", "all.bundle", "--program", str(died.program()), environment=nowhere)
    assert "occurs again" in again
    died.ckpt("replay", "all.bundle", "--program", fixed, "--gone", environment=nowhere)
