"""Symbols of the files that a saved program had mapped, read from the snapshot's own copies."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .. import native
from ..errors import MissingContentError, SymbolError
from .buildids import debug_file
from .memory import Contents, translated
from .saved import KeptFile, SavedMapping


# How many symbols before an address are looked at for the one that it lies in.
_MOST_NAMES = 32


class Symbol(NamedTuple):
    """A function or object: `address` is where it was in memory, `size` in bytes (0: unknown),
    `kind` "function" or "object", `file` the path of the executable or library it is in.
    """

    name: str
    address: int
    size: int
    kind: str
    file: str


class _Loaded(NamedTuple):
    base: int  # what the file's addresses begin with at 0
    by_name: Dict[str, Tuple[int, int, str]]
    every: Tuple[Tuple[str, int, int, str], ...]  # local ones may share a name
    own: int  # so many of these, the first, stand in the file itself


class Symbols:
    """The symbols of all files, each read when it is first needed."""

    def __init__(
        self,
        mappings: Sequence[SavedMapping],
        program: str,
        contents: Contents,
        debug_directories: Sequence[Path],
    ) -> None:
        """`debug_directories`: where separate debug information is looked for by build id."""
        # A file is loaded where its first byte is mapped; the executable is asked first, as the
        # dynamic linker does, then the libraries in the order of their addresses.
        firsts: Dict[str, SavedMapping] = {}
        for mapping in mappings:
            if mapping.backing == "private-file" and mapping.offset == 0:
                firsts.setdefault(mapping.path, mapping)
        self._files: List[SavedMapping] = sorted(
            firsts.values(), key=lambda mapping: (mapping.path != program, mapping.start)
        )
        self._contents = contents
        self._debug_directories = debug_directories
        self._loaded: Dict[str, Optional[_Loaded]] = {}
        self._by_address: Optional[List[Symbol]] = None
        self._addresses: List[int] = []

    def find(self, name: str, file: Optional[str] = None) -> Symbol:
        """The symbol `name`, in the file whose path or last component of a path is `file`. Raises
        SymbolError.
        """
        for mapping in self._files:
            if file is not None and file not in (mapping.path, mapping.path.rpartition("/")[2]):
                continue
            loaded = self._load(mapping)
            if loaded is None or name not in loaded.by_name:
                continue
            value, size, kind = loaded.by_name[name]
            if kind == "tls":
                raise SymbolError(
                    f'"{name}" is thread-local: it has an address in each thread, which GDB can '
                    "tell (ckpt print)"
                )
            return Symbol(name, (loaded.base + value) % (1 << 64), size, kind, mapping.path)
        where = f"in {file}" if file else "in any file of the program"
        raise SymbolError(f'there is no symbol "{name}" {where}')

    def all(self, apart: bool = True) -> Iterator[Symbol]:
        """All symbols that have an address, file by file; `apart`: with those that stand only in
        separate debug information.
        """
        for mapping in self._files:
            loaded = self._load(mapping)
            if loaded is None:
                continue
            for name, value, size, kind in loaded.every[: None if apart else loaded.own]:
                if kind != "tls":
                    yield Symbol(name, (loaded.base + value) % (1 << 64), size, kind, mapping.path)

    def at(self, address: int) -> Optional[Symbol]:
        """The symbol that `address` lies in, or None."""
        if self._by_address is None:
            self._by_address = sorted(self.all(), key=lambda symbol: symbol.address)
            self._addresses = [symbol.address for symbol in self._by_address]
        last = bisect_right(self._addresses, address)
        # A label may stand within a function, and a function may have many names.
        found = [
            symbol
            for symbol in self._by_address[max(last - _MOST_NAMES, 0) : last]
            if address < symbol.address + max(symbol.size, 1)
        ]
        if not found:
            return None
        nearest = max(symbol.address for symbol in found)
        return min(
            (symbol for symbol in found if symbol.address == nearest),
            key=lambda symbol: (symbol.name.startswith("_"), len(symbol.name), symbol.name),
        )

    def _load(self, mapping: SavedMapping) -> Optional[_Loaded]:
        if mapping.path not in self._loaded:
            self._loaded[mapping.path] = self._read(mapping)
        return self._loaded[mapping.path]

    def _read(self, mapping: SavedMapping) -> Optional[_Loaded]:
        file: Optional[KeptFile] = mapping.file
        assert file is not None  # as for every mapping of a file
        try:
            content = self._contents.view(file)  # with its digest compared
            found = native.core.elf_symbols(str(self._contents.path(file)))
            symbols = list(found["symbols"])
            own = len(symbols)
            # The linker's symbols are left in a stripped file; those inside of the C library stand
            # in its debug information.
            apart = debug_file(content, self._debug_directories)
            if apart is not None:
                symbols += native.core.elf_symbols(str(apart[1]))["symbols"]
        except MissingContentError:
            return None
        except native.core.NativeError as error:
            raise translated(error) from None
        by_name: Dict[str, Tuple[int, int, str]] = {}
        local: Dict[str, Tuple[int, int, str]] = {}
        for name, value, size, kind, is_local in symbols:
            (local if is_local else by_name).setdefault(name, (value, size, kind))
        every = [(name, value, size, kind) for name, value, size, kind, _ in symbols]
        base = mapping.start - found["first_address"]
        return _Loaded(
            base,
            {**local, **by_name},
            tuple(dict.fromkeys(every)),
            len(set(every[:own])),
        )
