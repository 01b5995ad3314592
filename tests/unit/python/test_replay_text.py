"""The parts of a replay that need no GDB: normalising, expectations, scripts, JUnit."""

from __future__ import annotations

from pathlib import Path

import pytest
from gdbext.errors import ReplayError
from gdbext.regression import expectation, script
from gdbext.regression.expectation import Expectation, lines_of
from gdbext.regression.normalise import Noise


@pytest.fixture
def noise() -> Noise:
    made = Noise()
    made.ranges |= {(0x401000, 0x402000), (0x402000, 0x403000), (0x7FFFF7D80000, 0x7FFFF7DA0000)}
    made.ids |= {4711, 4712}
    made.hide("/tmp/ckpt-replay-abc", "<scratch>")
    made.hide("/home/me/store", "<store>")
    return made


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0x401136 in f ()", "<address> in f ()"),
        ("0x0000000000402fff", "<address>"),
        ("0x7ffff7d8a6c0 and 0x7ffff7da0001", "<address> and 0x7ffff7da0001"),
        # Numbers that only look like addresses are what is to be compared.
        ("crc = 0xdeadbeef, flags = 0x10", "crc = 0xdeadbeef, flags = 0x10"),
        ("x0x401136", "x0x401136"),
        ("[Thread 0x7ffff7d8a6c0 (LWP 99) exited]", "[Thread <address> (LWP <id>) exited]"),
        (
            "[Inferior 1 (process 12) exited normally]",
            "[Inferior 1 (process <id>) exited normally]",
        ),
        ("Thread 3 hit Breakpoint 2", "Thread 3 hit Breakpoint 2"),
        ("pid 4711, tid=4712, pid: 17", "pid <id>, tid=<id>, pid: 17"),
        ("4711 jobs", "4711 jobs"),
        ("from /usr/lib/x86_64-linux-gnu/libc.so.6", "from /usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("() from /usr/lib/x86_64-linux-gnu/libc.so.6", "() from libc.so.6"),
        (
            "/tmp/ckpt-replay-abc/output.1 /tmp/ckpt-replay-abcd",
            "<scratch>/output.1 /tmp/ckpt-replay-abcd",
        ),
        ("/home/me/store/objects /home/me/stored", "<store>/objects /home/me/stored"),
        ("at 12:30:59 and 12:30:59.125", "at <time> and <time>"),
        ("2026-11-21 10:00:00 x", "<time> x"),
        ("2026-11-21T10:00:00.5Z", "<time>"),
        ("2026-11-21", "<time>"),
        ("Sat Nov 21 10:00:00 UTC 2026", "<time>"),
        ("Sat, 21 Nov 2026 10:00:00 GMT", "<time>"),
        ("a 99:99:99 b 1:2:3 x.c:12:30", "a 99:99:99 b 1:2:3 x.c:12:30"),
        ("2026-13-41", "2026-13-41"),
    ],
)
def test_normalising_what_gdb_says(noise: Noise, text: str, wanted: str) -> None:
    assert noise.without(text, of_gdb=True) == wanted


def test_normalising_what_the_program_says(noise: Noise) -> None:
    text = "LWP 17 0x401000, LWP 4711 f () from /a/b\nx from /a/b"
    assert (
        noise.without(text, of_gdb=False)
        == "LWP 17 <address>, LWP <id> f () from /a/b\nx from /a/b"
    )
    assert (
        noise.without(text, of_gdb=True) == "LWP <id> <address>, LWP <id> f () from b\nx from /a/b"
    )


# --- expectations ---------------------------------------------------------------------------------

TEXTS = [
    "", "x", "x\n", "a\nb\n", "\n", "\n\n", "a\n\n", "a\n\nb", "  indented\n", "tail \n", "tab\t\n",
    "\\c\n", "\\n\n", "back\\slash", "\x00\x1b[1mred\x1b[0m\r\n", "transcript:\n", "# no comment\n",
    "é ü 漢\n", "\u2028\n", "end:\n    x\n", "    \n", "\x85\n", "a\x0cb\n",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_an_expectation_survives_its_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.expect"
    seen = Expectation(lines_of(text), lines_of(text), (), ("exited with status 0",))
    expectation.write(path, seen, "the snapshot x")
    read = expectation.read(path)
    assert expectation.compare(read, seen) == []
    assert all(line == line.rstrip() for line in path.read_text().split("\n"))
    for other in TEXTS:
        if other != text:
            changed = seen._replace(stdout=lines_of(other))
            (different,) = expectation.compare(read, changed)
            assert different.section == "stdout", other


def test_texts_are_told_apart() -> None:
    assert len({lines_of(text) for text in TEXTS}) == len(TEXTS)


def test_the_place_of_a_difference(tmp_path: Path) -> None:
    path = tmp_path / "x.expect"
    path.write_text(
        "# a\ntranscript:\n    one\n    two\n\n    four\n\nstdout: nothing\nstderr:\nend:\n    x\n"
    )
    recorded = expectation.read(path)
    assert recorded.transcript == ("one", "two", "", "four") and recorded.stdout == ()
    seen = Expectation(("one", "two", "", "FOUR"), ("new",), (), ("x",))
    first, second = expectation.compare(recorded, seen)
    assert (first.section, first.line) == ("transcript", 6)
    assert first.shown == ("  one", "  two", "  ", "- four", "+ FOUR")
    assert (second.section, second.line, second.shown) == ("stdout", 9, ("+ new",))


def test_anything(tmp_path: Path) -> None:
    recorded = Expectation(("took <any> s", "x <any> y <any>", "(.*)", "<any>"), (), (), ())
    assert not expectation.compare(
        recorded, recorded._replace(transcript=("took 3 s", "x 1 y 2", "(.*)", "q"))
    )
    assert expectation.compare(
        recorded, recorded._replace(transcript=("took 3 m", "x 1 y 2", "(.*)", "q"))
    )
    assert expectation.compare(
        recorded, recorded._replace(transcript=("took 3 s", "x 1 z 2", "(.*)"))
    )
    assert expectation.compare(
        Expectation(("(.*)",), (), (), ()), Expectation(("abc",), (), (), ())
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", 'no "transcript:"'),
        ("transcript:\nstdout:\nend:\n", 'no "stderr:"'),
        ("what:\n", "line 1 is not understood: what:"),
        ("transcript:\nnot indented\n", "line 2"),
        ("transcript:\nstdout:\nstdout:\n", "line 3"),
        ("transcript: something\n", "line 1"),
    ],
)
def test_damaged_expectations(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "x.expect"
    path.write_text(text)
    with pytest.raises(ReplayError, match=why):
        expectation.read(path)


def test_long_differences_are_cut() -> None:
    old = Expectation((), tuple(f"a{n}" for n in range(500)), (), ())
    (found,) = expectation.compare(old, old._replace(stdout=tuple(f"b{n}" for n in range(500))))
    assert len(found.shown) < 70 and "lines more" in found.shown[-1]


# --- scripts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("\n# a\n  print x  \n\nnext\n", ["print x", "next"]),
        (
            "break f\ncommands\nsilent\nprint x\nend\nrun\n",
            ["break f", "commands\nsilent\nprint x\nend", "run"],
        ),
        (
            "python print(1)\npython\nif x:\n  print('end')\nend\nnext",
            ["python print(1)", "python\nif x:\n  print('end')\nend", "next"],
        ),
        (
            "if x\nwhile y\nnext\nend\nelse\nstep\nend\nup",
            ["if x\nwhile y\nnext\nend\nelse\nstep\nend", "up"],
        ),
        (
            "define foo\nif 1\npython\nwhile True: pass\nend\nend\nend\nfoo",
            ["define foo\nif 1\npython\nwhile True: pass\nend\nend\nend", "foo"],
        ),
        ("document foo\nif you like\nend\nup", ["document foo\nif you like\nend", "up"]),
        ("print a + \\\n b\nup", ["print a +  b", "up"]),
        ("python\nx", ["python\nx"]),
        ("define-prefix x\nifconfig\nup", ["define-prefix x", "ifconfig", "up"]),
        ("print 1\\", ["print 1"]),
    ],
)  # fmt: skip
def test_commands_of_a_script(text: str, wanted: list[str]) -> None:
    assert list(script.commands(text)) == wanted


def test_commands_are_shown_as_typed() -> None:
    assert script.shown("commands\nprint x\nend") == "(gdb) commands\n>print x\n>end"
