"""Snapshots of another kernel: of this one's, with another vdso in them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from .forge import Forgery

KERNEL = "5.99.0-forged"
PROXIED = f"the program keeps the vdso of Linux {KERNEL}, which calls this kernel's"
_EXECUTED = 4  # SHF_EXECINSTR
_SYMBOLS = 11  # SHT_DYNSYM
_KERNELS_OWN = ("[vdso]", "[vvar]", "[vvar_vclock]")

Change = Callable[[bytearray], None]


def vdso_of(snapshot: Forgery) -> bytes:
    """Its bytes."""
    row = snapshot.mapping("[vdso]")
    return snapshot.memory(row["start"], row["end"])


def _sections(vdso: bytearray) -> list[tuple[int, int, int, int]]:
    """Type, flags, offset and size of each."""
    (at,) = struct.unpack_from("<Q", vdso, 40)
    (count,) = struct.unpack_from("<H", vdso, 60)
    rows = (struct.unpack_from("<IIQQQQ", vdso, at + 64 * index) for index in range(count))
    return [(kind, flags, offset, size) for _, kind, flags, _, offset, size in rows]


def ruin(vdso: bytearray) -> None:
    """All of its code."""
    for _, flags, offset, size in _sections(vdso):
        if flags & _EXECUTED:
            vdso[offset : offset + size] = (b"\x0f\x0b" * size)[:size]


def mark(vdso: bytearray) -> None:
    """A byte of it that nothing reads: the last."""
    vdso[-1] ^= 0xFF


def crowd(vdso: bytearray) -> None:
    """One function begins right behind the beginning of another."""
    for kind, _, offset, size in _sections(vdso):
        if kind == _SYMBOLS:
            places = sorted(
                {
                    struct.unpack_from("<Q", vdso, at + 8)[0]
                    for at in range(offset, offset + size, 24)
                }
                - {0}
            )
            for at in range(offset, offset + size, 24):
                if struct.unpack_from("<Q", vdso, at + 8)[0] == places[1]:
                    struct.pack_into("<Q", vdso, at + 8, places[0] + 5)


class Foreign(Forgery):
    """A snapshot as another kernel would have it, and as it was."""

    def __init__(
        self, image: Path, output: Path, change: Change = ruin, merged: bool = False
    ) -> None:
        super().__init__(image)
        memory = self.process["memory"]
        self._before = [row for row in memory["mappings"] if row["path"] in _KERNELS_OWN]
        self.record["host"]["kernel"] = memory["vdso_kernel"] = KERNEL
        self._vdso = vdso_of(self)
        changed = bytearray(self._vdso)
        change(changed)
        self.write_memory(self.mapping("[vdso]")["start"], bytes(changed))
        clock = [row for row in self._before if row["path"] == "[vvar_vclock]"]
        if merged and clock:  # as before Linux 6.13
            memory["mappings"] = [row for row in memory["mappings"] if row is not clock[0]]
            (data,) = (
                index for index, row in enumerate(memory["mappings"]) if row["path"] == "[vvar]"
            )
            memory["mappings"][data] = {**memory["mappings"][data], "end": clock[0]["end"]}
        self.image = self.write(output)

    def check_saved_again(self, again: Forgery) -> None:
        """A snapshot of the restored program is one of the other kernel once more."""
        places = [
            [(row["path"], row["start"], row["end"]) for row in each.process["memory"]["mappings"]]
            for each in (self, again)
        ]
        assert places[0] == places[1]
        assert again.process["memory"]["vdso_kernel"] == KERNEL
        assert vdso_of(again) == vdso_of(self)

    def back_home(self, again: Forgery, path: Path) -> Path:
        """`again` as the kernel of the first save would have it, which is this one."""
        rows = [
            row for row in again.process["memory"]["mappings"] if row["path"] not in _KERNELS_OWN
        ]
        again.process["memory"]["mappings"] = sorted(
            rows + self._before, key=lambda row: int(row["start"])
        )
        again.write_memory(again.mapping("[vdso]")["start"], self._vdso)
        return again.write(path)
