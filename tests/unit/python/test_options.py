"""Options: parsing, help and completion are read off one declaration."""

from __future__ import annotations

import shlex
from typing import Optional, Tuple

import pytest
from gdbext.errors import UsageError
from gdbext.text.options import (
    Grammar,
    Parsed,
    Words,
    argument,
    arguments,
    flag,
    repeated,
    split,
    value,
)
from hypothesis import given
from hypothesis.strategies import text


class Options(Parsed):
    name: Optional[str] = argument("NAME", "A name.", Words.SNAPSHOT)
    message: str = value("m", "MESSAGE", "A text.", default="")
    files: str = value(
        "files", "POLICY", "What to do.", default="auto", choices=("auto", "real", "strict")
    )
    file: Tuple[str, ...] = repeated("file", "OLD=NEW", "A pair.", words=Words.FILE)
    force: bool = flag("force", "Do it.")
    stdin: Optional[str] = value("stdin", "FILE", "Input.", words=Words.FILE)
    stdout: Optional[str] = value("stdout", "FILE", "Output.", words=Words.FILE)


class Names(Parsed):
    names: Tuple[str, ...] = arguments("NAME", "Names.", Words.SNAPSHOT)


GRAMMAR = Grammar(Options, "ckpt test")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", Options()),
        ("   ", Options()),
        ("a", Options(name="a")),
        ("a -force", Options(name="a", force=True)),
        ("-force a", Options(name="a", force=True)),
        ("-fo a", Options(name="a", force=True)),
        ("-m 'two words' a", Options(name="a", message="two words")),
        ('-m "it\'s" a', Options(name="a", message="it's")),
        (r"a\ b", Options(name="a b")),
        ("-m ''", Options(message="")),
        ("-m -force", Options(message="-force")),
        ("-m one -m two", Options(message="two")),
        ("-- -force", Options(name="-force")),
        ("-force -- -x", Options(name="-x", force=True)),
        ("-", Options(name="-")),
        ("-files real", Options(files="real")),
        ("-files r", Options(files="real")),
        # The exact word wins over being the start of another.
        ("-file a=b -file c=d", Options(file=("a=b", "c=d"))),
        ("-stdi x", Options(stdin="x")),
    ],
)
def test_parse(text: str, expected: Options) -> None:
    assert GRAMMAR.parse(text) == expected


@pytest.mark.parametrize(
    "text, words",
    [
        ("-nosuch", "unknown option"),
        ("--force", "unknown option"),
        ("-f", "ambiguous.*-file, -files, -force"),
        ("-std x", "ambiguous.*-stdin, -stdout"),
        ("-m", "-m needs a MESSAGE"),
        ("-file", "-file needs an OLD=NEW"),
        ("a b", 'one argument too many: "b"'),
        ("-files sometimes", "one of auto, real, strict"),
        ("-files ''", "one of"),
        ("'open", "no closing quotation"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        GRAMMAR.parse(text)
    assert "\n" not in str(caught.value)


def test_many_positionals() -> None:
    grammar = Grammar(Names, "ckpt names")
    assert grammar.parse("a b 'c d'") == Names(names=("a", "b", "c d"))
    with pytest.raises(UsageError, match="NAME is missing"):
        grammar.parse("")
    assert grammar.usage() == ["ckpt names NAME..."]


def test_undeclared_fields_are_a_defect() -> None:
    class Wrong(Parsed):
        name: str = ""

    with pytest.raises(TypeError, match=r"Wrong\.name"):
        Grammar(Wrong, "ckpt wrong")


def test_options_are_values() -> None:
    assert Options(name="a") == Options(name="a") != Options(name="b")
    assert hash(Options(name="a")) == hash(Options(name="a"))
    assert "name='a'" in repr(Options(name="a"))
    with pytest.raises(AttributeError, match="name"):
        Options().name = "b"
    with pytest.raises(TypeError, match="nosuch"):
        Options(nosuch=1)


def test_usage_and_help_name_everything() -> None:
    usage = [
        "ckpt test [NAME] [-m MESSAGE] [-files auto|real|strict]",
        "          [-file OLD=NEW]... [-force] [-stdin FILE] [-stdout FILE]",
    ]
    assert GRAMMAR.usage() == usage
    lines = GRAMMAR.help("Do a thing.", "And more.").splitlines()
    assert lines[0] == "Do a thing."
    assert lines[1:3] == [f"Usage: {usage[0]}", f"       {usage[1]}"]
    assert max(map(len, lines)) <= 80
    assert "  -files auto|real|strict" in lines
    assert lines[-1] == "And more."


@pytest.mark.parametrize(
    "text, candidates, words",
    [
        ("", (), Words.SNAPSHOT),
        ("be", (), Words.SNAPSHOT),
        ("one ", (), Words.NOTHING),
        ("-", ("-file", "-files", "-force", "-m", "-stdin", "-stdout"), Words.NOTHING),
        ("-std", ("-stdin", "-stdout"), Words.NOTHING),
        ("one -fo", ("-force",), Words.NOTHING),
        ("-m ", (), Words.NOTHING),
        ("-m x ", (), Words.SNAPSHOT),
        ("-files ", ("auto", "real", "strict"), Words.NOTHING),
        ("-files st", ("strict",), Words.NOTHING),
        ("-stdin ", (), Words.FILE),
        ("-file /old=/n", (), Words.FILE),
        ("-force ", (), Words.SNAPSHOT),
        ("-- -f", (), Words.SNAPSHOT),
        ('"-f', (), Words.SNAPSHOT),
        ('"one two" ', (), Words.NOTHING),
        ("'one tw", (), Words.SNAPSHOT),
        # What is wrong already completes as well as it can.
        ("-nosuch x", (), Words.SNAPSHOT),
    ],
)
def test_complete(text: str, candidates: Tuple[str, ...], words: Words) -> None:
    found = GRAMMAR.complete(text)
    assert (found.candidates, found.words) == (candidates, words)


@pytest.mark.parametrize(
    "text, word, candidate, expected",
    [
        # GDB breaks words at "-": it asks to replace only what follows.
        ("before-c", "c", "before-crash", "crash"),
        ("before-", "", "before-crash", "crash"),
        ("bef", "bef", "before-crash", "before-crash"),
        ("-fo", "fo", "-force", "force"),
        ("dir/fi", "fi", "dir/file", "file"),
        ("zzz", "zzz", "before-crash", None),
        ("-file /old=ne", "ne", "new", "new"),
        ("-file ol", "ol", "old", "old"),
        # Words broken as file names are.
        ("-file /old=ne", "/old=ne", "new", "/old=new"),
        ("before-c", "before-c", "before-crash", "before-crash"),
        ("-fo", "-fo", "-force", "-force"),
        ('"before-c', "before-c", "before-crash", "before-crash"),
        ("'two wo", "wo", "two words", "words"),
    ],
)
def test_cut(text: str, word: str, candidate: str, expected: Optional[str]) -> None:
    assert GRAMMAR.complete(text).cut(candidate, word) == expected


def test_split() -> None:
    words = split("a 'b c' \"d e\" f\\ g ''")
    assert [word.text for word in words] == ["a", "b c", "d e", "f g", ""]
    assert [word.quoted for word in words] == [False, True, True, True, True]
    assert [word.text for word in split("# no comments here")] == ["#", "no", "comments", "here"]


@given(text(alphabet="ab- '\"\\\t#="))
def test_words_are_read_as_a_shell_reads_them(line: str) -> None:
    try:
        expected = shlex.split(line)
    except ValueError:
        with pytest.raises(UsageError):
            split(line)
        return
    assert [word.text for word in split(line)] == expected


class Noted(Parsed):
    name: Optional[str] = argument("NAME", "A name.", Words.SNAPSHOT)
    message: str = value("m", "MESSAGE", "A text.", default="", text=True)
    force: bool = flag("force", "Do it.")


@pytest.mark.parametrize("line", ["-m two words", "x -m two words", "-m two words -force"])
def test_a_text_of_several_words_wants_quotes(line: str) -> None:
    with pytest.raises(UsageError, match='quote several, as in -m "two words"'):
        Grammar(Noted, "ckpt test").parse(line)


def test_a_text_in_its_place() -> None:
    grammar = Grammar(Noted, "ckpt test")
    for line in ("x -m two -force", "-force x -m two", "-m 'two' x -force", "-m two -force x"):
        assert grammar.parse(line) == Noted(name="x", message="two", force=True)


class Required(Parsed):
    name: str = argument("NAME", "A name.", Words.SNAPSHOT, required=True)
    more: Optional[str] = argument("MORE", "More.")


def test_what_is_required() -> None:
    grammar = Grammar(Required, "ckpt test")
    assert grammar.usage() == ["ckpt test NAME [MORE]"]
    with pytest.raises(UsageError, match="NAME is missing"):
        grammar.parse("")
    assert grammar.parse("a b") == Required(name="a", more="b")


def test_numbers_are_no_options() -> None:
    grammar = Grammar(Names, "ckpt test")
    assert grammar.parse("-5 - -1x").names == ("-5", "-", "-1x")
    with pytest.raises(UsageError, match="unknown option"):
        grammar.parse("-x5")
