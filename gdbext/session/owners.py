"""Locks that a restore with new ids found by their structure alone, against what the program's
debug information says of them.

The native side changes the owner word of whatever is, field by field, a held lock. Numbers that
happen to look like one are told apart here, if they lie in a variable whose type is known.
"""

from __future__ import annotations

import re
import struct
from typing import Dict, Optional, Sequence, Tuple

import gdb

from ..records import MovedLock
from . import settings

# What glibc calls them, as types and as tags; <threads.h> has bytes of its own for the same.
_LOCKS = frozenset(
    (
        "pthread_mutex_t",
        "__pthread_mutex_s",
        "pthread_rwlock_t",
        "__pthread_rwlock_arch_t",
        "mtx_t",
    )
)
_SYMBOL = re.compile(r"^(\S+)(?: \+ (\d+))? in section ")


def put_back_lookalikes(locks: Sequence[MovedLock]) -> int:
    """Give words their old values back where the type says that they are no part of a lock. Returns
    how many such "locks" there were. The program must be stopped, before anything of it has run.
    Raises gdb.error when memory cannot be written.
    """
    found = 0
    variables: Dict[str, Optional[Tuple[int, gdb.Type]]] = {}
    for lock in locks:
        if _is_no_lock(lock, variables):
            found += 1
            for offset, old in lock.words:
                memory = struct.pack("<I", old)
                gdb.selected_inferior().write_memory(lock.address + offset, memory)
    return found


def _is_no_lock(
    lock: MovedLock, variables: Dict[str, Optional[Tuple[int, gdb.Type]]]
) -> bool:
    address = lock.address + lock.words[-1][0]
    match = _SYMBOL.match(settings.in_c(f"info symbol {address:#x}"))
    if match is None:
        return False
    name, offset = match.group(1), int(match.group(2) or 0)
    if name not in variables:
        variables[name] = _variable(name, address - offset)
    variable = variables[name]
    if variable is None or variable[0] != address - offset:
        return False
    return _is_plain_number(variable[1], offset)


def _variable(name: str, address: int) -> Optional[Tuple[int, gdb.Type]]:
    """The address and type of the variable with that linker's name at `address`, if it is known."""
    symbols = [gdb.lookup_global_symbol(name)]
    if hasattr(gdb, "lookup_static_symbols"):  # GDB 10
        symbols += gdb.lookup_static_symbols(name)
    for symbol in symbols:
        if symbol is None or not symbol.is_variable or symbol.needs_frame:
            continue
        value = symbol.value()
        if value.address is not None and int(value.address) == address:
            return address, value.type
    return None


def _is_plain_number(kind: gdb.Type, offset: int) -> bool:
    """Whether the bytes at `offset` of the type are an integer by themselves, and not part of a
    lock.

    False when that is not certain: for raw bytes, for pointers, for what is wider than an owner
    word. Locks may be built in those.
    """
    while True:
        if str(kind.unqualified()) in _LOCKS or (kind.tag or "") in _LOCKS:
            return False
        if kind.code != gdb.TYPE_CODE_TYPEDEF:
            break
        kind = kind.target()
    if kind.code == gdb.TYPE_CODE_ARRAY:
        element = kind.target()
        return element.sizeof > 0 and _is_plain_number(element, offset % element.sizeof)
    if kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        answers = [
            _is_plain_number(field.type, offset - field.bitpos // 8)
            for field in kind.fields()
            if hasattr(field, "bitpos")
            and not field.bitsize
            and 0 <= offset - field.bitpos // 8 < field.type.sizeof
        ]
        return bool(answers) and all(answers)
    return kind.code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM) and kind.sizeof == 4 and offset == 0
