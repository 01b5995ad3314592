"""Images that are damaged, foreign or unreadable: refused in one line, and nothing is started."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from support.checkpoint import Workshop, passed
from support.processes import as_root


def _segments(content: bytes) -> list[tuple[int, int, int]]:
    """(type, offset, size in the file) of each program header."""
    (offset,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    found = []
    for index in range(count):
        kind, _flags, at, _virtual, _physical, bytes_ = struct.unpack_from(
            "<IIQQQQ", content, offset + index * size
        )
        found.append((kind, at, bytes_))
    return found


def _clean_or_right(workshop: Workshop, path: Path, nonce: str) -> bool:
    """A restart of a doctored image: refused in one line (True),
    or it ran as if nothing had been done to it (False).
    """
    restart = workshop.restart(path)
    restart.send(may_have_ended=True)
    result = restart.finish()
    if result.status == 0:
        passed(result, nonce)
        return False
    assert result.status == 125 and not result.output, f"{result}"
    lines = result.errors.splitlines()
    assert len(lines) == 1 and lines[0].startswith("ckpt-restart: "), f"{result}"
    return True


def test_truncated(workshop: Workshop, image: tuple[Path, str]) -> None:
    content = image[0].read_bytes()
    damaged = workshop.directory / "damaged.ckpt"
    sizes = {
        0,
        1,
        4,
        63,
        64,
        65,
        100,
        len(content) - 1,
        *(len(content) * i // 25 for i in range(25)),
    }
    for size in sorted(sizes):
        damaged.write_bytes(content[:size])
        assert _clean_or_right(
            workshop, damaged, image[1]
        ), f"cut to {size} of {len(content)} bytes, it runs"


def test_flipped_bytes_in_memory(workshop: Workshop, image: tuple[Path, str]) -> None:
    """Every page of memory is under a checksum."""
    content = image[0].read_bytes()
    damaged = workshop.directory / "damaged.ckpt"
    loads = [(at, size) for kind, at, size in _segments(content) if kind == 1 and size]
    assert loads
    for number, (at, size) in enumerate(loads):
        place = at + (number * 977) % size
        doctored = bytearray(content)
        doctored[place] ^= 0x10
        damaged.write_bytes(doctored)
        # Pages of zeros are holes in the file, which a restore does not read.
        hole = not any(content[place - place % 4096 : place - place % 4096 + 4096])
        assert (
            _clean_or_right(workshop, damaged, image[1]) or hole
        ), f"byte {place} flipped, it runs"


def test_flipped_bytes_in_header_and_notes(workshop: Workshop, image: tuple[Path, str]) -> None:
    """Refused, or harmless: nothing in between."""
    content = image[0].read_bytes()
    damaged = workshop.directory / "damaged.ckpt"
    places = set(range(0, 64))
    for kind, at, size in _segments(content):
        if kind == 4:
            places |= {at + size * i // 120 for i in range(120)}
    (table,) = struct.unpack_from("<Q", content, 32)
    places |= {table + i * 37 for i in range(40)}
    refused = 0
    for place in sorted(place for place in places if place < len(content)):
        doctored = bytearray(content)
        doctored[place] ^= 0x41
        damaged.write_bytes(doctored)
        refused += _clean_or_right(workshop, damaged, image[1])
    assert refused > len(places) // 2


@pytest.mark.parametrize(
    "what", ["empty", "text", "executable", "directory", "missing", "null", "fifo", "object"]
)
def test_foreign_files(workshop: Workshop, what: str) -> None:
    path = workshop.directory / "foreign"
    if what == "empty":
        path.write_bytes(b"")
    elif what == "text":
        path.write_text("not a snapshot\n" * 1000)
    elif what == "executable":
        path = Path("/bin/true")
    elif what == "directory":
        path.mkdir()
    elif what == "null":
        path = Path("/dev/null")
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "object":
        path = workshop.program("plugin.so")
    assert str(path) in workshop.refused(path)


def test_plain_core_file(workshop: Workshop) -> None:
    """A core of GDB's is an ELF core, too, but says nothing about most of a process."""
    if not shutil.which("gcore"):
        pytest.skip("no gcore")
    running = workshop.start_program("exit_status", "0")
    subprocess.run(
        ["gcore", "-o", workshop.directory / "plain", str(running.pid)],
        check=True,
        capture_output=True,
    )
    line = workshop.refused(workshop.directory / f"plain.{running.pid}")
    assert "snapshot" in line or "ckpt" in line.lower(), line
    running.send()
    passed(running.finish(), running.nonce)


@pytest.mark.skipif(as_root(), reason="root may read any file")
def test_unreadable_image(workshop: Workshop, image: tuple[Path, str]) -> None:
    image[0].chmod(0)
    assert str(image[0]) in workshop.refused(image[0])
