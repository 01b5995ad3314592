"""`ckpt diff`: what differs between two snapshots, by the names and types of the debug information.

Both are opened, each in an inferior of its own. A value is read and formatted while its inferior is
the current one, and compared as text afterwards.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import gdb

from ..comparison import changes
from ..comparison.changes import Change, Changes, Moved
from ..comparison.compare import Difference, diff
from ..errors import CkptError, MissingContentError, UnmappedError
from ..offline.saved import SavedThread
from ..offline.snapshot import Snapshot
from ..offline.symbols import Symbol
from ..store.store import Store
from ..text.report import counted
from . import inferior, postmortem, settings
from .values import OPTIMIZED_OUT, parts

# How far out locals are compared, and in how many threads.
MOST_FRAMES = 64
MOST_THREADS = 256
MOST_RANGES = 1_000_000
# How deep in an object a container is looked for.
MOST_NESTED = 4


class Compared(NamedTuple):
    """What was found; `changes` is None when there is no debug information."""

    changes: Optional[Changes]
    other: Difference


def compare(store: Store, old: Snapshot, new: Snapshot, expressions: Sequence[str]) -> Compared:
    """Compare two snapshots; `expressions` name objects whose pointers are followed. GDB's state is
    as before. Raises CkptError, gdb.error.
    """
    other = diff(old, new, limit=MOST_RANGES)
    named: Optional[Changes] = None
    with ExitStack() as stack:
        terminal = stack.enter_context(postmortem.apart())
        left = stack.enter_context(postmortem.core(store, terminal))
        right = stack.enter_context(postmortem.core(store, terminal))
        before, after = _Side(left, old), _Side(right, new)
        if before.has_debug_information() and after.has_debug_information():
            named = _Comparison(before, after).run(expressions)
        elif expressions:
            raise CkptError("there is no debug information: expressions mean nothing")
    return Compared(named, other)


class _Frame(NamedTuple):
    function: str
    place: str
    level: int
    locals: Dict[str, str]


class _Side:
    """A snapshot and the inferior in which it is open."""

    def __init__(self, core: postmortem.Core, snapshot: Snapshot) -> None:
        self._core = core
        self.snapshot = snapshot
        self.record = postmortem.record_of(snapshot.path)
        core.open(snapshot, self.record)
        self._in_functions: Dict[str, Dict[int, Tuple[str, Any]]] = {}
        self._printed: Dict[str, bool] = {}

    def select(self) -> None:
        """Make it what GDB looks at: the thread and frame that were selected at the save."""
        self._core.select()
        if inferior.select_thread(self.record.selected_tid):
            settings.select_level(self.record.selected_frame)

    def has_debug_information(self) -> bool:
        """Whether there is any for the executable or for a frame of the selected thread."""
        self.select()
        if gdb.lookup_global_symbol("main") is not None:
            return True
        return any(_has_block(frame) for frame in _frames())

    def evaluate(self, expression: str) -> Tuple[Dict[str, str], bool, str]:
        """The parts of an expression's value, whether some are missing, and the error or ""."""
        self.select()
        try:
            found, cut = parts(expression, gdb.parse_and_eval(expression), follow=True)
        except gdb.error as error:
            return {}, False, settings.problem_of(error)
        return found, cut, ""

    # -- variables ---------------------------------------------------------------------------------

    def bytes_of(self, symbol: Symbol) -> Optional[bytes]:
        """The bytes of a variable, None when they are not to be had."""
        try:
            return self.snapshot.read(symbol.address, symbol.size)
        except (UnmappedError, MissingContentError):
            return None

    def variable(self, symbol: Symbol) -> Optional[Tuple[str, str, Dict[str, str], bool]]:
        """Name, source file and parts of the variable at a symbol's address, and whether some parts
        are missing; None without debug information about it.
        """
        found = self._debug_symbol(symbol)
        if found is None:
            return None
        name, known = found
        table, cut = parts(name, known.value(), follow=False)
        file = os.path.basename(settings.exact(lambda: known.symtab.filename))
        return name, file, table, cut

    def has_printer(self, symbol: Symbol) -> bool:
        """Whether a pretty-printer shows the variable, or a part of it."""
        found = self._debug_symbol(symbol)
        return found is not None and self._is_printed(found[1].value(), MOST_NESTED)

    def _is_printed(self, value: Any, depth: int) -> bool:
        kind = value.type.strip_typedefs()
        if kind.code == gdb.TYPE_CODE_ARRAY and kind.range()[0] <= kind.range()[1]:
            return self._is_printed(value[kind.range()[0]], depth)
        if kind.code != gdb.TYPE_CODE_STRUCT:
            return False
        name = str(kind)
        if name not in self._printed:
            self._printed[name] = gdb.default_visualizer(value) is not None or (
                depth > 0
                and any(
                    self._is_printed(value[field], depth - 1)
                    for field in kind.fields()
                    if hasattr(field, "bitpos") and field.type is not None
                )
            )
        return self._printed[name]

    def _debug_symbol(self, symbol: Symbol) -> Optional[Tuple[str, Any]]:
        name = settings.in_c(f"info symbol {symbol.address:#x}").partition(" in section ")[0]
        name = name if " + " not in name and name else symbol.name
        # What GDB's demanglers do not know: the name of a variable in a module of Fortran.
        name = re.sub(r"^__(\w+?)_MOD_(\w+)$", r"\1::\2", name)
        candidates = [gdb.lookup_global_symbol(name)]
        try:
            candidates += gdb.lookup_static_symbols(name)
        except AttributeError:  # before GDB 10
            candidates.append(gdb.lookup_static_symbol(name))
        for each in candidates:
            if each is not None and _address(each) == symbol.address:
                return str(each.print_name), each
        # In a function its name has a number behind it, or the function before it.
        if "." not in symbol.name and "::" not in name:
            return None
        if symbol.file not in self._in_functions:
            self._in_functions[symbol.file] = dict(self._walk(symbol.file))
        return self._in_functions[symbol.file].get(symbol.address)

    def _walk(self, file: str) -> Iterator[Tuple[int, Tuple[str, Any]]]:
        """The static variables inside the functions of a file, by their address."""
        seen = set()
        tables = set()
        for symbol in self.snapshot.symbols(apart=False):
            if symbol.kind != "function" or symbol.file != file:
                continue
            table = gdb.find_pc_line(symbol.address).symtab
            path = settings.exact(lambda: table.filename) if table is not None else ""
            if table is None or path in tables:
                continue
            tables.add(path)
            for row in table.linetable():
                block: Any = gdb.block_for_pc(row.pc)
                while block is not None and not block.is_static and not block.is_global:
                    if (block.start, block.end) not in seen:
                        seen.add((block.start, block.end))
                        for each in block:
                            address = _address(each)
                            if address is not None:
                                yield address, (f"{_function_of(block)}::{each.print_name}", each)
                    block = block.superblock

    # -- frames ------------------------------------------------------------------------------------

    def frames(self, tid: int) -> List[_Frame]:
        """The frames of a thread with their locals, the innermost first."""
        self._core.select()
        if not inferior.select_thread(tid):
            return []
        found = []
        # The frames are compared from the outermost on. Which function is main's GDB learns late in
        # programs that call it otherwise (Rust, Fortran),
        # and would end one stack there and one not.
        with settings.setting("backtrace past-main", "on"):
            for level, frame in enumerate(_frames()):
                function = frame.name() or "??"
                place = frame.find_sal()
                text = function
                if place.symtab is not None:
                    path = settings.exact(lambda: place.symtab.filename)
                    text += f" at {os.path.basename(path)}:{place.line}"
                found.append(_Frame(function, text, level, _locals(frame)))
        return found


def _frames() -> Iterator[Any]:
    try:
        frame: Any = gdb.newest_frame()
        for _ in range(MOST_FRAMES):
            if frame is None:
                return
            yield frame
            frame = frame.older()
    except gdb.error:
        return


def _has_block(frame: Any) -> bool:
    try:
        return frame.block() is not None
    except RuntimeError:
        return False


def _address(symbol: Any) -> Optional[int]:
    if (
        not symbol.is_variable
        or symbol.addr_class != gdb.SYMBOL_LOC_STATIC
        or not symbol.is_valid()
    ):
        return None
    try:
        address = symbol.value().address
    except (gdb.error, TypeError):
        return None
    return int(address) if address is not None else None


def _function_of(block: Any) -> str:
    while block is not None and block.function is None:
        block = block.superblock
    return str(block.function.print_name) if block is not None else "?"


def _locals(frame: Any) -> Dict[str, str]:
    found: Dict[str, str] = {}
    try:
        block = frame.block()
    except RuntimeError:
        return found
    names = set()
    while block is not None and not block.is_static and not block.is_global:
        for symbol in block:
            # Statics are among the variables; of two of one name the inner one is meant.
            if not (symbol.is_argument or symbol.is_variable) or symbol.name in names:
                continue
            if symbol.addr_class == gdb.SYMBOL_LOC_STATIC:
                continue
            names.add(symbol.name)
            try:
                found.update(parts(symbol.print_name, symbol.value(frame), follow=False)[0])
            except (gdb.error, RuntimeError) as error:
                found[symbol.print_name] = f"<{settings.problem_of(error)}>"
        if block.function is not None:
            break
        block = block.superblock
    return found


class _Comparison:
    """Two sides, and what was found about them so far."""

    def __init__(self, old: _Side, new: _Side) -> None:
        self._old = old
        self._new = new
        self._cut: List[str] = []
        # In another run everything may be elsewhere, and a pointer to the same thing differs.
        same_run = {each.start for each in old.snapshot.maps} & {
            each.start for each in new.snapshot.maps if each.path == new.record.program
        }
        self._between = changes.between if same_run else changes.between_runs

    def run(self, expressions: Sequence[str]) -> Changes:
        """All of it."""
        variables = tuple(self._variables())
        named = tuple(change for each in expressions for change in self._expression(each))
        moved: List[Moved] = []
        local: List[Change] = []
        self._threads(moved, local)
        return Changes(variables, named, tuple(moved), tuple(local), tuple(self._cut))

    def _variables(self) -> Iterator[Change]:
        bare: List[Change] = []
        others = 0
        for before, after, changed in self._symbols():
            self._old.select()
            if not (changed or self._old.has_printer(before)):
                continue
            left = self._old.variable(before)
            if left is not None:
                self._new.select()
                right = self._new.variable(after)
            if left is None or right is None:
                if not changed:
                    continue
                if before.file == self._old.record.program:
                    old, new = self._old.bytes_of(before), self._new.bytes_of(after)
                    bare.append(Change("bytes", before.name, _hex(old), _hex(new)))
                else:
                    others += 1
                continue
            if left[3] or right[3]:
                self._cut.append(f"{left[0]} is too large: only a part of it was compared")
            for name, value, other in self._between(left[2], right[2]):
                yield Change(left[1], name, value, other)
        yield from bare
        if others:
            self._cut.append(
                f"{counted(others, 'changed variable')} of libraries without debug information"
            )

    def _symbols(self) -> Iterator[Tuple[Symbol, Symbol, bool]]:
        """The variables of both sides that may differ, and whether their bytes do. Of the
        executable's others those come, too: a container's elements are elsewhere.
        """
        after = dict(_objects(self._new.snapshot))
        seen = set()
        for key, symbol in _objects(self._old.snapshot):
            other = after.get(key)
            # One variable may have several names.
            if other is None or symbol.address in seen:
                continue
            seen.add(symbol.address)
            left, right = self._old.bytes_of(symbol), self._new.bytes_of(other)
            if left is None or right is None:
                continue
            if left != right or symbol.file == self._old.record.program:
                yield symbol, other, left != right

    def _expression(self, expression: str) -> Iterator[Change]:
        old, cut_old, error = self._old.evaluate(expression)
        new, cut_new, other_error = self._new.evaluate(expression)
        if error and other_error:
            raise CkptError(f"{expression}: {error}")
        if cut_old or cut_new:
            self._cut.append(f"{expression} leads to too much: only a part of it was compared")
        if error or other_error:
            yield Change(
                "", expression, error or old.get(expression), other_error or new.get(expression)
            )
            return
        for name, before, after in self._between(old, new):
            yield Change("", name, before, after)

    def _threads(self, moved: List[Moved], local: List[Change]) -> None:
        both = _both(self._old.snapshot.threads, self._new.snapshot.threads)
        if len(both) > MOST_THREADS:
            self._cut.append(f"only {MOST_THREADS} of {len(both)} threads were compared")
        for thread, other in both[:MOST_THREADS]:
            number = thread.number or thread.remembered
            old, new = self._old.frames(thread.tid), self._new.frames(other.tid)
            if old and new and old[0].place != new[0].place:
                moved.append(Moved(number, old[0].place, new[0].place))
            for left, right in zip(reversed(old), reversed(new)):
                if left.function != right.function:
                    break
                where = f"thread {number}, #{right.level} {right.function}"
                _forget_optimized_out(left.locals, right.locals)
                for name, before, value in self._between(left.locals, right.locals):
                    local.append(Change(where, name, before, value))


def _both(
    old: Sequence[SavedThread], new: Sequence[SavedThread]
) -> List[Tuple[SavedThread, SavedThread]]:
    """The threads that both have: by the ids that the program knows them by, in another process in
    the order in which they were made.
    """
    after = {each.remembered: each for each in new}
    if old and new and old[0].remembered != new[0].remembered:
        return list(zip(old, new))
    return [(each, after[each.remembered]) for each in old if each.remembered in after]


def _forget_optimized_out(old: Dict[str, str], new: Dict[str, str]) -> None:
    """Leave out what has no value on one side: that is no change of the program."""
    for name in [*old, *new]:
        if OPTIMIZED_OUT in (old.get(name), new.get(name)):
            for table in (old, new):
                for each in [each for each in table if _is_part(each, name)]:
                    del table[each]


def _is_part(name: str, whole: str) -> bool:
    return name.startswith(whole) and name[len(whole) : len(whole) + 1] in ("", ".", "[", "-")


def _hex(content: Optional[bytes]) -> Optional[str]:
    return content.hex() if content is not None else None


def _objects(snapshot: Snapshot) -> Iterator[Tuple[Tuple[str, str, int], Symbol]]:
    """The variables, each with a key that is the same in another run or build of the program. Those
    inside the system's libraries are not what is asked for.
    """
    numbers: Dict[Tuple[str, str], int] = {}
    for symbol in snapshot.symbols(apart=False):
        if symbol.kind == "object" and symbol.size:
            # The second static variable of a name is another one; rebuilding keeps their order.
            key = (symbol.file, symbol.name)
            numbers[key] = numbers.get(key, 0) + 1
            yield (*key, numbers[key]), symbol
