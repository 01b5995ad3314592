"""What all commands share: a verb declares itself, and becomes a command of GDB here."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Generic,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
    cast,
)

import gdb

from .. import native
from ..errors import CkptError, one_line
from ..session import inferior
from ..text.options import Completion, Grammar, Parsed, Words
from ..text.report import printable

if TYPE_CHECKING:
    from .prefix import Prefix

T = TypeVar("T", bound=Parsed)


class Verb(Generic[T]):
    """A command `ckpt NAME`. `summary` is one sentence; `changes` says that Return must not repeat
    it. One with an `answer` is a command of GDB/MI as well, `-ckpt-NAME`: it does what `run` does
    and returns a table of what there is to say, in place of saying it. `aliases` are other names,
    for what no unambiguous start of the name is short enough.
    """

    def __init__(
        self,
        *,
        name: str,
        summary: str,
        details: str,
        options: Type[T],
        run: Callable[[T], None],
        changes: bool,
        answer: Optional[Callable[[T], Dict[str, Any]]] = None,
        aliases: Tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.aliases = aliases
        self.summary = summary
        self.details = details
        self.options = options
        self.run = run
        self.changes = changes
        self.answer = answer


@contextmanager
def _failures_of(command: str) -> Iterator[None]:
    """Turn expected failures into one line that starts with the command's name."""
    try:
        yield
    except KeyboardInterrupt:
        # Of a frame in the unwinding of which a Ctrl-C came GDB believes that it is the last one,
        # and it dies of that when it prints an inlined function.
        inferior.flush_caches()
        raise gdb.GdbError(f"{command}: interrupted") from None
    except (CkptError, gdb.error, native.core.NativeError) as error:
        interrupted = getattr(error, "kind", "") == "interrupted"
        problem = "interrupted" if interrupted else printable(one_line(str(error)))
        raise gdb.GdbError(f"{command}: {problem}") from None


class VerbCommand(gdb.Command):
    """A verb as a command of GDB."""

    def __init__(self, verb: Verb[Any]) -> None:
        self._verb = verb
        self._name = f"ckpt {verb.name}"
        self._grammar = Grammar(verb.options, self._name)
        self.__doc__ = self._grammar.help(verb.summary, verb.details)
        super().__init__(self._name, gdb.COMMAND_DATA)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Run the verb."""
        if self._verb.changes:
            self.dont_repeat()
        with _failures_of(self._name):
            self._verb.run(self._grammar.parse(argument))

    def complete(self, text: str, word: Optional[str]) -> Union[List[str], int]:
        """Candidates for GDB's `word`, the end of `text`. GDB asks with None first, to learn how
        words are broken: as file names are, at blanks and quotes, and not at dashes as well.
        """
        if word is None:
            return int(gdb.COMPLETE_FILENAME)
        completion = self._grammar.complete(text)
        candidates = [*completion.candidates, *_looked_up(completion)]
        cut = (completion.cut(candidate, word) for candidate in candidates)
        return sorted({each for each in cut if each is not None})


def _looked_up(completion: Completion) -> Iterable[str]:
    """Names, files, expressions that could stand at a place."""
    from .. import session

    words, token = completion.words, completion.token
    if words is Words.EXPRESSION:
        return session.expressions(token)
    candidates: List[str] = []
    if words in (Words.SNAPSHOT, Words.SNAPSHOT_OR_FILE):
        try:
            candidates += session.open_store().names()
        except CkptError:
            pass  # the command itself will say what is wrong with the store
    # Where a name will do, files come once something has been typed: there are few names and many
    # files.
    if words is Words.FILE or (words is Words.SNAPSHOT_OR_FILE and token):
        candidates += files(token)
    return candidates


def files(token: str) -> List[str]:
    """Files whose path begins with `token`. A directory that is the only one is opened at once: GDB
    would put a space after it.
    """
    found = _matching(token)
    if len(found) == 1 and found[0].endswith("/"):
        return _matching(found[0]) or found
    return found


def _matching(token: str) -> List[str]:
    directory, _, start = token.rpartition("/")
    prefix = token[: len(token) - len(start)]
    try:
        entries = list(os.scandir(os.path.expanduser(prefix) or "."))
    except OSError:
        return []
    return sorted(
        prefix + entry.name + ("/" if entry.is_dir() else "")
        for entry in entries
        if entry.name.startswith(start) and (start or not entry.name.startswith("."))
    )


class PrefixCommand(gdb.Command):
    """A command that only has subcommands; alone it does `alone`. GDB calls it for unknown
    subcommands, too.
    """

    def __init__(self, prefix: "Prefix") -> None:
        self._name = prefix.name
        self._alone = prefix.alone
        self.__doc__ = prefix.help
        super().__init__(prefix.name, gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Refuse unknown subcommands; alone, run the commands given."""
        self.dont_repeat()
        word = argument.split()[0] if argument.split() else ""
        if word:
            raise gdb.GdbError(
                f'Undefined {self._name} command: "{word}".  Try "help {self._name}".'
            )
        for command in self._alone:
            gdb.execute(command)


class Setting(NamedTuple):
    """A setting `ckpt NAME`. `read` turns what was typed into the value kept, or raises CkptError;
    `tell` makes the line of `show`; `choices` makes it an enumeration; `is_file` completes file
    names.
    """

    name: str
    default: str
    set_help: str
    show_help: str
    details: str
    read: Callable[[str], str]
    tell: Callable[[str], str]
    apply: Optional[Callable[[str], None]] = None
    choices: Sequence[str] = ()
    is_file: bool = False


class SettingParameter(gdb.Parameter):
    """A setting as a parameter of GDB."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.__doc__ = setting.details
        self.set_doc = setting.set_help
        self.show_doc = setting.show_help
        name = f"ckpt {setting.name}"
        if setting.choices:
            super().__init__(name, gdb.COMMAND_DATA, gdb.PARAM_ENUM, list(setting.choices))
        elif setting.is_file:
            super().__init__(name, gdb.COMMAND_DATA, gdb.PARAM_OPTIONAL_FILENAME)
        else:
            super().__init__(name, gdb.COMMAND_DATA, gdb.PARAM_STRING)
        self.value = setting.default
        self._kept = setting.default

    def get_set_string(self) -> str:
        """Check a new value; a refused one leaves the old one in place."""
        try:
            self._kept = self._setting.read(str(self.value or ""))
        except CkptError as error:
            self.value = self._kept
            raise gdb.GdbError(f"set ckpt {self._setting.name}: {error}") from None
        self.value = self._kept
        if self._setting.apply is not None:
            self._setting.apply(self._kept)
        return ""

    def get_show_string(self, value: str) -> str:
        """The line of `show`."""
        return self._setting.tell(value)


def make_prefix(prefix: "Prefix") -> None:
    """Make a prefix command known to GDB."""
    PrefixCommand(prefix)


def make_setting(setting: Setting) -> None:
    """Make a setting known to GDB."""
    SettingParameter(setting)


def make_verb(verb: Verb[Any]) -> None:
    """Make a command known to GDB, and to its GDB/MI where it can be taught commands (GDB 12)."""
    VerbCommand(verb)
    for alias in verb.aliases:
        # Not among the candidates of TAB, which has the name itself.
        gdb.execute(f"alias -a ckpt {alias} = ckpt {verb.name}")
    if verb.answer is not None and hasattr(gdb, "MICommand"):
        _make_mi_command(verb, verb.answer)


def _make_mi_command(verb: Verb[Any], answer: Callable[[Any], Dict[str, Any]]) -> None:
    name = f"-ckpt-{verb.name}"
    grammar = Grammar(verb.options, f"ckpt {verb.name}")

    class VerbMICommand(gdb.MICommand):
        def invoke(self, words: List[str]) -> Dict[str, Any]:
            with _failures_of(name):
                from ..debugger import mi

                return cast(Dict[str, Any], mi.result(answer(grammar.parse_words(words))))

    VerbMICommand(name)
