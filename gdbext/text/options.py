"""GDB-style command options: declared as fields of a class, parsed, explained and completed from
there.

An option is `-name`, any unambiguous start of it will do, `--` ends the options, and words are
quoted as GDB quotes program arguments. A command declares

    class SaveOptions(Parsed):
        name: Optional[str] = argument("NAME", "...", Words.NOTHING)
        message: str = value("m", "MESSAGE", "...", default="")
        force: bool = flag("force", "...")

and gets its parser, its help and its completion from `Grammar(SaveOptions, "ckpt save")`.

Not a dataclass: that module takes as long to import as all of our modules, and every session that
loads the commands would wait for it.
"""

from __future__ import annotations

import enum
from typing import Any, Dict, Generic, List, NamedTuple, Optional, Sequence, Tuple, Type, TypeVar

from ..errors import UsageError


class Words(enum.Enum):
    """What may be written at a place, for completion."""

    NOTHING = "nothing that can be guessed"
    SNAPSHOT = "a snapshot's name"
    FILE = "a file"
    SNAPSHOT_OR_FILE = "a snapshot's name or a file"
    EXPRESSION = "an expression of the program's language"


class Place(NamedTuple):
    """How one field is written on the command line.

    `name` is the option's name without its dash, or "" for a positional argument; `metavar` the
    placeholder of its value, "" for a flag. `choices` are the only values allowed, when there are
    any. `many` says it may be repeated. `text`: the value is a text of people's, which may be of
    several words. `default` is the field's value when nothing is written.
    """

    name: str
    metavar: str
    help: str
    words: Words = Words.NOTHING
    choices: Tuple[str, ...] = ()
    many: bool = False
    required: bool = False
    text: bool = False
    default: Any = None


def flag(name: str, help: str) -> Any:
    """A field that is true when -NAME is given."""
    return Place(name, "", help, default=False)


def value(
    name: str,
    metavar: str,
    help: str,
    *,
    default: Any = None,
    words: Words = Words.NOTHING,
    choices: Sequence[str] = (),
    text: bool = False,
) -> Any:
    """A field that holds the word after -NAME. Given twice, the last one counts, as in GDB."""
    return Place(name, metavar, help, words, tuple(choices), text=text, default=default)


def repeated(name: str, metavar: str, help: str, *, words: Words = Words.NOTHING) -> Any:
    """A field that holds a tuple of the words after each -NAME."""
    return Place(name, metavar, help, words, many=True, default=())


def argument(
    metavar: str,
    help: str,
    words: Words = Words.NOTHING,
    *,
    required: bool = False,
    choices: Sequence[str] = (),
) -> Any:
    """A field that holds a positional argument, or None unless it is `required`. `choices` are some
    of what it may be, for completion.
    """
    return Place("", metavar, help, words, tuple(choices), required=required)


def arguments(
    metavar: str,
    help: str,
    words: Words = Words.NOTHING,
    *,
    required: bool = True,
    choices: Sequence[str] = (),
) -> Any:
    """A field that holds a tuple of positional arguments, one or more if `required`. `choices` are
    what the first one may be, for completion.
    """
    return Place("", metavar, help, words, tuple(choices), True, required=required, default=())


class Parsed:
    """The base of a command's options. Its subclasses have nothing but annotated fields, each with
    its place; its instances have the values, and do not change.
    """

    def __init__(self, **found: Any) -> None:
        for name, place in places(type(self)).items():
            self.__dict__[name] = found.pop(name, place.default)
        if found:
            raise TypeError(f"{type(self).__name__} has no {', '.join(found)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.items()))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({values})"


def places(options: Type[Parsed]) -> Dict[str, Place]:
    """The declared fields in their order. Raises TypeError for one that is declared otherwise."""
    found = {}
    for name in options.__dict__.get("__annotations__", {}):
        place = options.__dict__.get(name)
        if not isinstance(place, Place):
            raise TypeError(
                f"{options.__name__}.{name} is not declared with a function of this module"
            )
        found[name] = place
    return found


class Completion(NamedTuple):
    """What could stand where the cursor is: fixed candidates, and the kind of words to look up
    besides.

    `token` is the word up to the cursor as it is read here, without quotes; of OLD=NEW it is what
    follows the "=", and `before` what precedes it. GDB may break words elsewhere; `cut` turns a
    candidate for the token into one for GDB's word.
    """

    token: str
    candidates: Tuple[str, ...]
    words: Words
    before: str = ""

    def cut(self, candidate: str, word: str) -> Optional[str]:
        """The part of `candidate` that replaces GDB's `word`, or None when it does not begin with
        the token.
        """
        whole = self.before + self.token
        if not candidate.startswith(self.token) or not whole.endswith(word):
            return None
        return (self.before + candidate)[len(whole) - len(word) :]


class Word(NamedTuple):
    """A word of a command line without its quotes and backslashes; `quoted`: there were some."""

    text: str
    quoted: bool


def scan(text: str) -> Tuple[List[Word], Optional[Word], str]:
    """The words of `text` before its last one, with quotes and backslashes as GDB reads program
    arguments; the last one, None when there is a space behind it; and what is missing at the end:
    a quote, a character behind a backslash, or nothing.
    """
    words: List[Word] = []
    current: Optional[Word] = None
    missing = ""
    for character in text:
        found = current or Word("", False)
        if missing == "\\" or (missing == '"\\' and character in '"\\'):
            current = Word(found.text + character, True)
            missing = missing[:-1]
        elif missing == '"\\':
            current = Word(found.text + "\\" + character, True)
            missing = '"'
        elif missing and character == missing:
            missing = ""
        elif missing == "'" or (missing == '"' and character != "\\"):
            current = Word(found.text + character, True)
        elif character == "\\" or (character in "'\"" and not missing):
            current = Word(found.text, True)
            missing += character
        elif character.isspace():
            words += [current] if current is not None else []
            current = None
        else:
            current = Word(found.text + character, found.quoted)
    return words, current, missing


def split(text: str) -> List[Word]:
    """The words of `text`. Raises UsageError for a quote that is not closed."""
    words, last, missing = scan(text)
    if missing:
        problem = "no closing quotation" if missing in ("'", '"') else "nothing behind a backslash"
        raise UsageError(f"{problem} in: {text.strip()}")
    return words + ([last] if last is not None else [])


T = TypeVar("T", bound=Parsed)

# Of a line of help, behind "Usage: ".
_USAGE_COLUMNS = 73


class Grammar(Generic[T]):
    """The command line of one command, read off the class of its options."""

    def __init__(self, options: Type[T], command: str) -> None:
        self._options = options
        self._command = command
        self._places = places(options)

    # -- parsing -----------------------------------------------------------------------------------

    def parse(self, text: str) -> T:
        """The options in `text`, the command line after the command's name.

        Raises UsageError (one line) for an unknown or ambiguous option, a missing or forbidden
        value, or arguments that are too many or too few.
        """
        return self._parse(split(text))

    def parse_words(self, words: Sequence[str]) -> T:
        """The same for a command line that is split already."""
        return self._parse([Word(word, True) for word in words])

    def _parse(self, words: Sequence[Word]) -> T:
        found: Dict[str, Any] = {}
        rest: List[str] = []
        index = 0
        while index < len(words):
            word = words[index].text
            index += 1
            if word == "--":
                rest += [each.text for each in words[index:]]
                break
            if not _is_option(word):
                rest.append(word)
                continue
            name, place = self._option(word)
            if not place.metavar:
                found[name] = True
                continue
            if index == len(words):
                raise UsageError(f"-{place.name} needs {_article(place.metavar)} {place.metavar}")
            given = words[index]
            index += 1
            if place.text and not given.quoted and index < len(words):
                following = words[index].text
                if not following.startswith("-"):
                    # Not taken for a name: most likely the text is of two words.
                    raise UsageError(
                        f'-{place.name} takes one word: quote several, as in -{place.name} '
                        f'"{given.text} {following}"; other arguments come before it'
                    )
            self._store(found, name, place, given.text)
        self._positionals(found, rest)
        return self._options(**found)

    def _option(self, word: str) -> Tuple[str, Place]:
        options = {name: place for name, place in self._places.items() if place.name}
        matches = {
            name: place for name, place in options.items() if place.name.startswith(word[1:])
        }
        exact = {name: place for name, place in matches.items() if place.name == word[1:]}
        matches = exact or matches
        if not matches:
            raise UsageError(f'unknown option "{word}"; try "help {self._command}"')
        if len(matches) > 1:
            names = ", ".join(sorted(f"-{place.name}" for place in matches.values()))
            raise UsageError(f'ambiguous option "{word}": {names}')
        return next(iter(matches.items()))

    @staticmethod
    def _store(found: Dict[str, Any], name: str, place: Place, word: str) -> None:
        if place.choices:
            # As with GDB's own enumerations, the start of a value is enough when only one value
            # starts so.
            starting = [choice for choice in place.choices if choice.startswith(word)]
            if word not in place.choices and len(starting) != 1:
                raise UsageError(
                    f'-{place.name} is one of {", ".join(place.choices)}, not "{word}"'
                )
            word = word if word in place.choices else starting[0]
        if place.many:
            found[name] = (*found.get(name, ()), word)
        else:
            found[name] = word

    def _positionals(self, found: Dict[str, Any], rest: List[str]) -> None:
        for name, place in self._places.items():
            if place.name:
                continue
            if place.many:
                if place.required and not rest:
                    raise UsageError(f'{place.metavar} is missing; try "help {self._command}"')
                found[name], rest = tuple(rest), []
            elif rest:
                found[name] = rest.pop(0)
            elif place.required:
                raise UsageError(f'{place.metavar} is missing; try "help {self._command}"')
        if rest:
            raise UsageError(f'one argument too many: "{rest[0]}"')

    # -- help --------------------------------------------------------------------------------------

    def usage(self) -> List[str]:
        """The lines that show how the command is written."""
        ordered = [p for p in self._places.values() if not p.name] + [
            p for p in self._places.values() if p.name
        ]
        lines = [self._command]
        for part in map(self._written, ordered):
            if len(lines[-1]) + 1 + len(part) > _USAGE_COLUMNS and lines[-1].strip():
                lines.append(" " * len(self._command))
            lines[-1] += f" {part}"
        return lines

    def _written(self, place: Place) -> str:
        if place.name:
            value = f" {self._value_text(place)}" if place.metavar else ""
            return f"[-{place.name}{value}]" + ("..." if place.many else "")
        shown = place.metavar + ("..." if place.many and not place.choices else "")
        return shown if place.required else f"[{shown}]"

    def help(self, summary: str, details: str = "") -> str:
        """The text of `help COMMAND`: the summary (a sentence), the usage, the options, the
        details.
        """
        first, *more = self.usage()
        lines = [summary, f"Usage: {first}", *(" " * len("Usage: ") + line for line in more)]
        positional = [place for place in self._places.values() if not place.name]
        if positional:
            lines.append("")
            for place in positional:
                lines += [f"  {place.metavar}", *_indented(place.help)]
        options = [place for place in self._places.values() if place.name]
        if options:
            lines += ["", "Options:"]
            for place in options:
                written = (
                    f"-{place.name} {self._value_text(place)}"
                    if place.metavar
                    else f"-{place.name}"
                )
                lines += [f"  {written}", *_indented(place.help)]
        if details:
            lines += ["", details.strip("\n")]
        return "\n".join(lines)

    @staticmethod
    def _value_text(place: Place) -> str:
        return "|".join(place.choices) if place.choices else place.metavar

    # -- completion --------------------------------------------------------------------------------

    def complete(self, text: str) -> Completion:
        """What could continue `text`, the command line after the command's name up to the cursor.
        """
        words, last, _ = scan(text)
        before = [word.text for word in words]
        token = last.text if last is not None else ""
        pending: Optional[Place] = None
        given = 0
        ended = False
        for word in before:
            if pending is not None:
                pending = None
            elif not ended and word == "--":
                ended = True
            elif not ended and _is_option(word):
                try:
                    _, place = self._option(word)
                except UsageError:
                    continue
                pending = place if place.metavar else None
            else:
                given += 1
        if pending is not None:
            left, equals, right = token.rpartition("=")
            if "=" in pending.metavar and equals:
                return Completion(right, (), pending.words, left + equals)
            return Completion(
                token, tuple(c for c in pending.choices if c.startswith(token)), pending.words
            )
        candidates: Tuple[str, ...] = ()
        if not ended and token.startswith("-") and not (last is not None and last.quoted):
            candidates = tuple(
                sorted(
                    f"-{p.name}"
                    for p in self._places.values()
                    if p.name and f"-{p.name}".startswith(token)
                )
            )
            return Completion(token, candidates, Words.NOTHING)
        if given == 0:
            candidates = tuple(
                choice
                for place in self._places.values()
                if not place.name
                for choice in place.choices
                if choice.startswith(token)
            )
        return Completion(token, candidates, self._words_at(given))

    def _words_at(self, index: int) -> Words:
        for place in (place for place in self._places.values() if not place.name):
            if place.many or index == 0:
                return place.words
            index -= 1
        return Words.NOTHING


def _is_option(word: str) -> bool:
    # A lone dash is a name like any other, and no option begins with a digit.
    return word.startswith("-") and not word[1:2].isdigit() and word != "-"


def _indented(text: str) -> List[str]:
    return [f"    {line}" for line in text.splitlines()]


def _article(word: str) -> str:
    return "an" if word[:1].upper() in "AEIOU" else "a"
