"""A file of which little is stored costs little, whatever it says of itself."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gdbext import native
from gdbext.errors import CkptError
from gdbext.offline.bundle import import_bundle
from gdbext.offline.snapshot import open_store
from support.attack import TIMES
from support.checkpoint import Workshop
from support.forge import Encoded, Forgery, encode

pytestmark = pytest.mark.timeout(400 * TIMES)

MORE_KIB = 64 << 10
HOLE_BYTES = 256 << 20


@pytest.fixture
def image(workshop: Workshop) -> Path:
    """A snapshot of a small program."""
    running = workshop.start_program("exit_status", "0")
    image = workshop.save(running.pid).image
    running.kill()
    return image


# Between us and what is measured: what a process has had counts for what it
# executes, and we may be large.
_MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, \
stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_kib(workshop: Workshop, *words: str | Path) -> tuple[int, int]:
    """The exit status of the program `ckpt`, and the most memory that it had."""
    measured: list[str | Path] = [
        "/usr/bin/python3",
        "-c",
        _MEASURE,
        workshop.build / "bin" / "ckpt",
        *words,
    ]
    environment = {**os.environ, **workshop.environment}
    told = subprocess.run(
        measured, env=environment, check=True, capture_output=True, text=True
    ).stdout.split()
    return int(told[0]), int(told[1])


def sparse_copy(content: bytes, path: Path) -> Path:
    """The content with holes where there are pages of zeros."""
    with open(path, "wb") as stream:
        for at in range(0, len(content), 4096):
            page = content[at : at + 4096]
            if page.strip(b"\0"):
                stream.seek(at)
                stream.write(page)
        stream.truncate(len(content))
    return path


def zeros_for(forged: Forgery, where: str) -> dict[str, Any]:
    """The table of the record to which zeros are to be added."""
    if where == "record":
        return forged.record
    table: dict[str, Any] = (
        forged.process["threads"][0] if where == "thread" else forged.record["session"]
    )
    return table


@pytest.mark.parametrize("where", ["record", "thread"])
def test_a_record_of_zeros(workshop: Workshop, image: Path, where: str) -> None:
    """A list of them, each a byte, in a hole of the file:
    they would be a gigabyte when they are parsed.
    """
    forged = Forgery(image)
    zeros_for(forged, where)["x"] = Encoded.many(b"\0", 16 << 20)
    path = sparse_copy(
        forged.write(workshop.directory / "full.ckpt").read_bytes(),
        workshop.directory / "sparse.ckpt",
    )
    (workshop.directory / "full.ckpt").unlink()
    assert path.stat().st_blocks * 512 < 1 << 20
    status, usual = peak_kib(workshop, "info", image)
    assert status == 0
    shown: list[list[str | Path]] = [
        ["info"], ["info", "--json"], ["verify"], ["diff", image], ["note"], ["export"],
    ]  # fmt: skip
    for words in shown:
        more = [workshop.directory / "core"] if words == ["export"] else []
        status, peak = peak_kib(workshop, *words, path, *more)
        assert status in (1, 125) and peak < usual + MORE_KIB, (words, status, peak, usual)
    line = workshop.refused(path)
    assert "most of it is a hole" in line, line


def test_many_small_tables(workshop: Workshop, image: Path) -> None:
    """Stored, and of a byte each: a parser makes a hundred bytes of each."""
    forged = Forgery(image)
    forged.record["session"] = {"x": Encoded.many(b"\xa0", 4 << 20)}
    path = forged.write(workshop.directory / "tables.ckpt")
    status, usual = peak_kib(workshop, "info", image)
    assert status == 0
    status, peak = peak_kib(workshop, "info", path)
    assert status == 125 and peak < usual + MORE_KIB, (status, peak, usual)


def test_a_list_of_the_store_costs_no_more(workshop: Workshop, image: Path) -> None:
    """With such a file in it, as somebody may have been talked into."""
    snapshots = workshop.store / "snapshots"
    forged = Forgery(image)
    forged.record["x"] = Encoded.many(b"\0", 16 << 20)
    forged.write(workshop.directory / "full.ckpt")
    sparse_copy((workshop.directory / "full.ckpt").read_bytes(), snapshots / "sparse.ckpt")
    (snapshots / "good.ckpt").write_bytes(image.read_bytes())
    _, usual = peak_kib(workshop, "info", image)
    status, peak = peak_kib(workshop, "list")
    assert status == 0 and peak < usual + MORE_KIB, (status, peak, usual)


def test_memory_in_a_hole(workshop: Workshop, image: Path) -> None:
    """Extents that lie in a hole of a terabyte, or all in the same place."""
    forged = Forgery(image)
    extents = forged.extents
    last = struct.unpack("<4Q", extents[-32:])
    size = 1 << 20
    for same in (False, True):
        more = [
            (last[0] + (n << 30), (1 << 40) if same else (1 << 30) + n * size, size, 0)
            for n in range(1, 4000)
        ]
        forged.extents = extents + b"".join(struct.pack("<4Q", *row) for row in more)
        path = forged.write(workshop.directory / f"hole-{same}.ckpt")
        os.truncate(path, 1 << 41)
        line = workshop.refused(path)
        assert "hole" in line or "memory at" in line, line


def header(name: str, size: int) -> bytes:
    from gdbext.offline.bundle import _header

    return _header(name, size)


def test_a_bundle_of_holes(workshop: Workshop, image: Path) -> None:
    """The content of a file of 8 GiB, in a hole: it would fill the store."""
    store = open_store(workshop.store)
    size = 8 << 30
    manifest = json.dumps(
        {
            "format": 1, "creator": "x", "name": "holes", "size": 4096, "ranges": [[0, 4096]],
            "debug": [], "objects": [{"hash": "0" * 32, "size": size, "path": "/x", "name": "x"}],
        }
    ).encode()  # fmt: skip
    path = workshop.directory / "holes.bundle"
    with open(path, "wb") as out:
        out.write(
            header("ckpt-bundle.json", len(manifest)) + manifest + bytes(-len(manifest) % 512)
        )
        out.write(header("snapshot.data", 4096) + bytes(4096))
        out.write(header(f"objects/00/{'0' * 32}/x", size))
        out.seek(size, os.SEEK_CUR)
        out.truncate(out.tell() + 1024)
    with pytest.raises(CkptError, match="most of it is a hole"):
        import_bundle(store, path)
    assert not list((workshop.store / "objects").rglob("x"))


def test_a_manifest_in_a_hole(workshop: Workshop) -> None:
    path = workshop.directory / "hole.bundle"
    with open(path, "wb") as out:
        out.write(header("ckpt-bundle.json", 60 << 20))
        out.truncate(1 << 30)
    with pytest.raises(CkptError, match="most of it is a hole"):
        import_bundle(open_store(workshop.store), path)


def test_an_executable_that_never_ends(workshop: Workshop, image: Path) -> None:
    """What leads to the list of libraries says that there are so many program headers,
    in memory that has no end.
    """
    from gdbext import Snapshot
    from gdbext.offline import linkmap

    forged = Forgery(image)
    memory = forged.process["memory"]
    start = 0x600000000000
    last = {
        **memory["mappings"][0],
        "start": start,
        "end": start + (1 << 44),
        "backing": "anonymous",
        "file": None,
        "path": "",
    }
    memory["mappings"] = sorted([*memory["mappings"], last], key=lambda each: int(each["start"]))
    memory["auxv"] = struct.pack("<8Q", 3, start, 4, 56, 5, 1 << 62, 0, 0)
    with Snapshot.open(forged.write(workshop.directory / "endless.ckpt")) as snapshot:
        assert len(linkmap.libraries(snapshot)) < 10


def test_a_name_of_a_million_symbols(tmp_path: Path, workshop: Workshop) -> None:
    """An ELF file whose symbols all have one long name:
    a few megabytes that would be terabytes of names.
    """
    source = tmp_path / "many.s"
    source.write_text(
        f".data\n.globl {'x' * (1 << 20)}\n{'x' * (1 << 20)}: .byte 0\n"
        f".type {'x' * (1 << 20)}, @object\n"
    )
    subprocess.run(["as", "-o", tmp_path / "one.o", source], check=True)
    content = bytearray((tmp_path / "one.o").read_bytes())
    # The table is written anew at the end of the file, with the same symbol again and again.
    (table,) = struct.unpack_from("<Q", content, 40)
    size, count = struct.unpack_from("<HH", content, 58)
    for index in range(count):
        at = table + index * size
        if struct.unpack_from("<I", content, at + 4)[0] == 2:  # SHT_SYMTAB
            offset, length = struct.unpack_from("<QQ", content, at + 24)
            symbol = content[offset + length - 24 : offset + length]
            struct.pack_into("<QQ", content, at + 24, len(content), 24 * 100_000)
            content += symbol * 100_000
            break
    path = tmp_path / "many.o"
    path.write_bytes(content)
    found = native.core.elf_symbols(str(path))["symbols"]
    assert found and sum(len(each[0]) for each in found) <= 16 * len(content) + (1 << 20)


def test_what_is_large_is_read(workshop: Workshop, image: Path) -> None:
    """As many mappings as a process may have, and a million descriptors (a tenth of
    them among the other tests).
    """
    count = 1_000_000 if TIMES > 1 else 100_000
    forged = Forgery(image)
    memory = forged.process["memory"]
    start, end, fd = 0x1112131415161718, 0x2122232425262728, 0x31323334
    row = encode(
        {
            **memory["mappings"][0],
            "backing": "anonymous",
            "file": None,
            "path": "",
            "start": start,
            "end": end,
        }
    )
    rows = [
        row.replace(struct.pack(">Q", start), struct.pack(">Q", at << 13))
        .replace(struct.pack(">Q", end), struct.pack(">Q", (at << 13) + 4096))
        for at in range(1, 65_531)
    ]  # fmt: skip
    memory["mappings"] = Encoded.of(rows)
    row = encode({**forged.process["descriptors"][0], "fd": fd})
    forged.process["descriptors"] = Encoded.of(
        [row.replace(struct.pack(">I", fd), struct.pack(">I", n)) for n in range(count)]
    )
    forged.extents = b""
    path = forged.write(workshop.directory / "large.ckpt")
    described = native.core.describe(str(path))
    assert len(described["mappings"]) == 65_530 and len(described["files"]) == count
