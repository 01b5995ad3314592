"""Snapshots of another processor, made of this one's by changing their
records (support/forge.py).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from support.checkpoint import Workshop, passed
from support.forge import Forgery

_LEGACY_BYTES = 576  # legacy area and header of XSAVE
_LIVE_AT = 512


def _saved(workshop: Workshop, name: str, *arguments: str) -> tuple[Forgery, str]:
    """A snapshot to be changed, and the word that its program ends with."""
    original = workshop.start_program(name, *arguments)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    return Forgery(saved.image), original.nonce


def _passes(workshop: Workshop, forgery: Forgery, nonce: str) -> None:
    restart = workshop.restart(forgery.write(workshop.new_image()))
    restart.send()
    passed(restart.finish(), nonce)


def test_only_what_programs_can_use_is_missed(workshop: Workshop) -> None:
    forgery, nonce = _saved(workshop, "threads", "2")
    flags: list[str] = forgery.record["host"]["cpu_flags"]
    flags += ["3dnowprefetch", "cldemote", "erms", "fsrm", "ospke", "pku", "xsaves", "user_shstk"]
    _passes(workshop, forgery, nonce)
    # The kernel lets a program use AMX once it has asked for it.
    forgery.process["process"]["extended_features"] = 0
    flags += ["amx_unheard_of"]
    _passes(workshop, forgery, nonce)
    forgery.process["process"]["extended_features"] = 1 << 18
    line = workshop.refused(forgery.write(workshop.new_image()))
    assert "lacks amx_unheard_of, which" in line, line
    flags += ["avx_unheard_of"]
    line = workshop.refused(forgery.write(workshop.new_image()))
    assert "lacks amx_unheard_of avx_unheard_of, which" in line, line


def _with_components(forgery: Forgery, layout: list[list[int]]) -> None:
    """All threads' areas, with their components where `layout` has them."""
    before: dict[int, tuple[int, int]] = {
        row[0]: (row[1], row[2]) for row in forgery.record["host"]["xstate"]
    }
    forgery.record["host"]["xstate"] = layout
    for thread in forgery.process["threads"]:
        old = thread["xstate"]
        area = bytearray(max([_LEGACY_BYTES, *(offset + size for _, offset, size in layout)]))
        area[:_LEGACY_BYTES] = old[:_LEGACY_BYTES]
        for number, offset, size in layout:
            if number in before:
                at, _ = before[number]
                area[offset : offset + size] = old[at : at + size]
        thread["xstate"] = bytes(area)


def _signal_state(forgery: Forgery) -> tuple[int, bytes]:
    """Where the kernel has put a thread's state for a signal handler to return to,
    and that state (struct _fpx_sw_bytes).
    """
    for place, data in forgery.pieces():
        at = data.find(struct.pack("<I", 0x46505853))
        if at >= 464:
            _, _, _, size = struct.unpack_from("<IIQI", data, at)
            return place + at - 464, data[at - 464 : at - 464 + size]
    raise AssertionError("no thread is in a signal handler")


@pytest.mark.parametrize("distance", [64, 4096])
def test_registers_that_lie_elsewhere(workshop: Workshop, distance: int) -> None:
    forgery, nonce = _saved(workshop, "registers", "avx", "spin")
    own: list[list[int]] = forgery.record["host"]["xstate"]
    _with_components(forgery, [[number, offset + distance, size] for number, offset, size in own])
    _passes(workshop, forgery, nonce)


def test_registers_that_a_signal_handler_returns_to(workshop: Workshop) -> None:
    """They are on the stack, as the kernel has put them there on that processor."""
    forgery, nonce = _saved(workshop, "registers", "avx", "handler")
    start, area = _signal_state(forgery)
    before, after, size = 576, 576 + 64, 256
    if len(area) < after + size:
        pytest.skip("this processor's state has no room for AVX in another place")
    forged = bytearray(len(area))
    forged[:_LEGACY_BYTES] = area[:_LEGACY_BYTES]
    forged[after : after + size] = area[before : before + size]
    struct.pack_into("<Q", forged, _LIVE_AT, 7)
    forgery.write_memory(start, bytes(forged))
    _with_components(forgery, [[2, after, size]])
    _passes(workshop, forgery, nonce)


def test_less_state_than_here(workshop: Workshop) -> None:
    forgery, nonce = _saved(workshop, "registers", "sse", "spin")
    _with_components(forgery, [])
    for thread in forgery.process["threads"]:
        (live,) = struct.unpack_from("<Q", thread["xstate"], _LIVE_AT)
        area = bytearray(thread["xstate"])
        struct.pack_into("<Q", area, _LIVE_AT, live & 3)
        thread["xstate"] = bytes(area)
    _passes(workshop, forgery, nonce)


def test_more_state_than_here(workshop: Workshop) -> None:
    """Nothing in it: it is left out. Something in it: it is named."""
    forgery, nonce = _saved(workshop, "registers", "sse", "spin")
    own = [row for row in forgery.record["host"]["xstate"] if row[0] != 19]
    if len(own) != len(forgery.record["host"]["xstate"]):
        pytest.skip("this processor has APX")
    end = max([_LEGACY_BYTES, *(offset + size for _, offset, size in own)])
    _with_components(forgery, [*own, [19, (end + 63) & ~63, 128]])
    first: dict[str, Any] = forgery.process["threads"][0]
    area = bytearray(first["xstate"])
    area[_LIVE_AT + 2] |= 1 << 3
    first["xstate"] = bytes(area)
    _passes(workshop, forgery, nonce)
    area[-5] = 7
    first["xstate"] = bytes(area)
    line = workshop.refused(forgery.write(workshop.new_image()))
    assert "registers of APX, which this processor lacks" in line, line


def _state_size_at(forgery: Forgery) -> int:
    """Where the dynamic linker keeps how much it reserves for the processor's state when it looks
    up a function: the only thing that it takes off the stack pointer by a variable.
    """
    for row in forgery.process["memory"]["mappings"]:
        if "x" in row["prot"] and row["path"].rpartition("/")[2].startswith("ld"):
            code = Path(row["path"]).read_bytes()[
                row["offset"] : row["offset"] + row["end"] - row["start"]
            ]
            at = code.find(b"\x48\x2b\x25")  # sub distance(%rip), %rsp
            if at >= 0:
                (distance,) = struct.unpack_from("<i", code, at + 3)
                return int(row["start"] + at + 7 + distance)
    pytest.skip("the dynamic linker saves no state when it looks up a function")


def test_functions_that_were_not_called_before(workshop: Workshop) -> None:
    """On a processor with more state their first call would write over the caller's stack."""
    forgery, nonce = _saved(workshop, "threads", "4")
    place = _state_size_at(forgery)
    (size,) = struct.unpack("<Q", forgery.memory(place, place + 8))
    if size <= 576:
        pytest.skip("this processor's state is as small as can be")
    assert size < 65536
    # As on a processor with less than there is: what is reserved does not even hold SSE
    # and what lies beside it.
    forgery.write_memory(place, struct.pack("<Q", 576))
    _with_components(forgery, [])
    _passes(workshop, forgery, nonce)
