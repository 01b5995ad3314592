"""A snapshot as data, compared with the process that it was taken of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gdbext
import pytest
from gdbext import (
    CkptError,
    ClosedError,
    DamagedError,
    MissingContentError,
    Snapshot,
    SnapshotError,
    StoreError,
    SymbolError,
    UnmappedError,
    VersionError,
)
from gdbext.offline import buildids, linkmap
from support import oracle
from support.checkpoint import Workshop
from support.forge import Forgery
from support.offline import Scene

VARIANTS = pytest.mark.parametrize("variant", ["", ".nopie", ".static"])
PAGE = 4096


def process_memory(pid: int, address: int, length: int) -> bytes | None:
    """What the process itself holds; None where it cannot be read."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        try:
            data = os.pread(memory.fileno(), length, address)
        except OSError:
            return None
    return data if len(data) == length else None


@VARIANTS
def test_memory_is_that_of_the_process(scene: Callable[..., Scene], variant: str) -> None:
    """Every page of every mapping, also those that stand in no image,
    such as code and libraries.
    """
    made = scene(variant)
    oracle.wait_asleep(made.pid)
    image = made.save()
    compared = 0
    with Snapshot.open(image) as snapshot:
        lines = Path(f"/proc/{made.pid}/maps").read_text().splitlines()
        assert len([line for line in lines if "vsyscall" not in line]) >= len(snapshot.maps)
        for mapping in snapshot.maps:
            for page in range(mapping.start, min(mapping.end, mapping.start + (64 << 20)), PAGE):
                there = process_memory(made.pid, page, PAGE)
                if there is None or mapping.path.startswith("[vvar"):
                    with pytest.raises(UnmappedError) as caught:
                        snapshot.read(page, PAGE)
                    assert caught.value.address == page
                    continue
                now = snapshot.read(page, PAGE)
                if now != there:
                    # The kernel writes the processor's number into the rseq area whenever it likes.
                    changed = [i for i in range(PAGE) if now[i] != there[i]]
                    assert len(changed) <= 8 and mapping.backing == "anonymous", (mapping, changed)
                compared += 1
            assert len(snapshot.read(mapping.start, 0)) == 0
    assert compared > 500 if not variant else compared > 200


@VARIANTS
def test_what_it_says_of_itself(scene: Callable[..., Scene], variant: str) -> None:
    made = scene(variant)
    oracle.wait_asleep(made.pid)
    made.save("described", "--message", "a remark")
    with Snapshot.open("described") as snapshot:
        program = made.workshop.program("offline", variant)
        assert snapshot.name == "described"
        assert snapshot.message == "a remark"
        assert snapshot.program == str(program)
        assert snapshot.argv == (str(program), str(made.data))
        assert snapshot.environ["OFFLINE_TEST"] == "a=b"
        assert snapshot.cwd == str(made.workshop.directory)
        assert snapshot.pid == made.pid
        assert snapshot.parent is None
        assert abs(snapshot.created - snapshot.path.stat().st_mtime) < 5
        # Two pipes lead to the test, and standard input comes from it.
        assert {each.object for each in snapshot.fidelity} <= {"fd 0", "fd 1", "fd 2"}

        main, keeper = snapshot.threads
        assert main.tid == made.pid == snapshot.selected.tid  # type: ignore[union-attr]
        assert keeper.name == "keeper" and keeper.signal_mask == {10}
        assert main.signal_mask == frozenset()
        assert main.registers["orig_rax"] == 0 and main.registers["rdi"] == 0  # read(0, ...)
        mapping = next(m for m in snapshot.maps if m.start <= main.registers["rsp"] < m.end)
        assert mapping.path == "[stack]" and mapping.prot == "rw-p"
        assert main.stop is None and main.held_signal == 0
        if not variant.endswith("static"):
            assert main.pthread and keeper.pthread
        assert len(main.xstate) >= 576

        action = snapshot.signals.actions[10]
        assert (action.handler != 0, action.flags & 0x10000000, action.mask) == (
            True,
            0x10000000,
            frozenset({12}),
        )
        timer = snapshot.timers.interval[0]
        assert (
            timer.which == "real"
            and 3500e9 < timer.remaining_ns <= 3600e9
            and timer.interval_ns == 0
        )
        assert snapshot.timers.posix == ()

        descriptors = {each.fd: each for each in snapshot.files}
        data = next(each for each in snapshot.files if each.path == str(made.data))
        assert data.kind == "file" and data.offset == 77 and data.close_on_exec
        assert data.file is not None and data.file.size == 6000 and data.file.object is not None
        assert {0, 1, 2} <= set(descriptors)


@VARIANTS
def test_symbols(scene: Callable[..., Scene], variant: str) -> None:
    """Global and static, functions and objects, in the executable and in libraries."""
    made = scene(variant)
    made.save()
    with Snapshot.open("one") as snapshot:
        queue = snapshot.symbol("queue")
        assert (queue.address, queue.size, queue.kind) == (made.queue, 48, "object")
        assert snapshot.read(queue.address, queue.size)[8:16] == (3).to_bytes(8, "little")
        assert snapshot.read_cstring(queue.address + 16) == b"the queue"
        hidden = snapshot.symbol("hidden", "offline" + variant)
        assert hidden.address == made.hidden
        assert snapshot.read(hidden.address, 8) == (0x1122334455667788).to_bytes(8, "little")
        function = snapshot.symbol("add_hidden")
        assert (function.address, function.kind) == (made.function, "function")
        assert snapshot.read(snapshot.symbol("never_written").address, 8192) == bytes(8192)
        assert "queue" in {symbol.name for symbol in snapshot.symbols()}
        for name in ("getpid", "malloc"):
            found = snapshot.symbol(name)
            assert ("libc.so.6" in found.file) == (variant != ".static")
            assert snapshot.maps and (
                "x" in snapshot.memory.mapping_at(found.address).prot  # type: ignore[union-attr]
            )
        with pytest.raises(SymbolError, match="thread-local"):
            snapshot.symbol("per_thread")
        with pytest.raises(SymbolError, match='no symbol "nonsense" in any file'):
            snapshot.symbol("nonsense")
        with pytest.raises(SymbolError, match="in libnone.so"):
            snapshot.symbol("queue", "libnone.so")


def test_reading(scene: Callable[..., Scene]) -> None:
    made = scene()
    image = made.save()
    with Snapshot.open(image) as snapshot:
        # A string that ends with its mapping; nothing is behind it.
        assert snapshot.read_cstring(made.edge + PAGE - 13) == b"at the edge!"
        with pytest.raises(UnmappedError) as caught:
            snapshot.read(made.edge + PAGE - 4, 8)
        assert caught.value.address == made.edge + PAGE
        with pytest.raises(UnmappedError, match="no memory there"):
            snapshot.read(8, 1)
        with pytest.raises(SnapshotError, match="no zero byte within 5 bytes"):
            snapshot.read_cstring(made.edge + PAGE - 13, 5)
        with pytest.raises(ValueError):
            snapshot.read(made.edge, -1)
        # A file that ends within a page: zeros to the page's end, nothing in the page behind.
        content = made.data.read_bytes()
        assert snapshot.read(made.file, 2 * PAGE) == content + bytes(2 * PAGE - 6000)
        assert snapshot.read(made.file + 7000, 100) == bytes(100)
        with pytest.raises(UnmappedError, match="behind the end of"):
            snapshot.read(made.file + 2 * PAGE, 1)
        # Views cannot be written through, and one of a single place is no copy.
        view = snapshot.view(made.big, PAGE)
        assert view.readonly and bytes(view) == snapshot.read(made.big, PAGE)
        pages = dict(snapshot.pages())
        assert all(len(page) == PAGE for page in pages.values())
        assert bytes(pages[made.big]) == bytes(view)
        assert made.big + 2 * PAGE not in pages  # never written


def test_a_file_that_changed_is_read_as_it_was(scene: Callable[..., Scene]) -> None:
    made = scene()
    image = made.save()
    content = made.data.read_bytes()
    made.running.kill()
    made.data.write_bytes(b"something else")
    with Snapshot.open(image) as snapshot:
        assert snapshot.read(made.file, 6000) == content
    shutil.rmtree(made.workshop.store / "objects")
    with Snapshot.open(image) as snapshot:
        with pytest.raises(
            MissingContentError, match="not what it was at the save, and its copy is in no store"
        ):
            snapshot.read(made.file, 1)
        with pytest.raises(MissingContentError):
            snapshot.verify()
        assert snapshot.read(made.big, 8)  # what stands in the image is there


def test_searching(scene: Callable[..., Scene]) -> None:
    made = scene()
    image = made.save()
    with Snapshot.open(image) as snapshot:
        label = made.queue + 16
        assert label in list(snapshot.search(b"the queue\0"))
        assert list(snapshot.search(b"the queue", made.queue, made.queue + 48)) == [label]
        assert list(snapshot.search(b"the queue", label + 1, label + 9)) == []
        # Over the border of a page that was written to one that never was.
        assert list(snapshot.search(b"\xfe\xdc\xba\0\0", made.big, made.big + (1 << 20))) == [
            made.big + PAGE - 3
        ]
        # Overlapping matches, zeros that no file holds, and a match as long as what is searched.
        hole = made.big + PAGE
        assert list(snapshot.search(bytes(6), hole + 8, hole + 16)) == [
            hole + 8,
            hole + 9,
            hole + 10,
        ]
        assert list(snapshot.search(bytes(8), hole + 8, hole + 16)) == [hole + 8]
        # Every word of a page is found where it is.
        page = snapshot.read(made.big + 3 * PAGE, PAGE)
        for at in (0, 1, 2040, PAGE - 16):
            assert made.big + 3 * PAGE + at in list(snapshot.search(page[at : at + 16]))
        # Code is searched too, and so are files that were mapped.
        assert made.function in list(snapshot.search(snapshot.read(made.function, 16)))
        content = made.data.read_bytes()
        assert made.file + 100 in list(snapshot.search(content[100:150]))
        with pytest.raises(ValueError):
            snapshot.search(b"")


@pytest.mark.parametrize("length", [1, 2, 3, 7, 4096, 5000])
def test_searching_agrees_with_python(scene: Callable[..., Scene], length: int) -> None:
    """Matches over all borders of pieces, against the bytes of the mapping in one piece."""
    made = scene()
    image = made.save()
    with Snapshot.open(image) as snapshot:
        size = 40 * PAGE
        whole = snapshot.read(made.big, size)
        wanted = [
            whole[at : at + length] for at in (PAGE - length // 2 - 1, 3 * PAGE - 1, 4 * PAGE - 2)
        ]
        for each in wanted:
            expected, at = [], whole.find(each)
            while at >= 0:
                expected.append(made.big + at)
                at = whole.find(each, at + 1)
            assert list(snapshot.search(each, made.big, made.big + size)) == expected


def test_nothing_of_it_can_be_changed(scene: Callable[..., Scene]) -> None:
    made = scene()
    made.save()
    with Snapshot.open("one") as snapshot:
        for name in ("name", "threads", "anything"):
            with pytest.raises(AttributeError):
                setattr(snapshot, name, None)
        with pytest.raises(AttributeError):
            snapshot.threads[0].tid = 1  # type: ignore[misc]
        for table in (snapshot.threads[0].registers, snapshot.environ, snapshot.signals.actions):
            with pytest.raises(TypeError):
                table["rip"] = 1  # type: ignore[index]


def test_a_closed_one(scene: Callable[..., Scene]) -> None:
    made = scene()
    image = made.save()
    with Snapshot.open(image) as snapshot:
        view = snapshot.view(made.big, PAGE)
        content = bytes(view)
    assert bytes(view) == content
    assert snapshot.program and snapshot.threads
    asks: list[Callable[[], object]] = [
        lambda: snapshot.read(made.big, 1),
        lambda: snapshot.maps,
        lambda: snapshot.symbol("queue"),
        lambda: list(snapshot.pages()),
        lambda: snapshot.verify(),
    ]
    for ask in asks:
        with pytest.raises(ClosedError):
            ask()
    snapshot.close()  # again


def test_damage(scene: Callable[..., Scene], tmp_path: Path) -> None:
    """Whatever byte is wrong, nothing wrong is ever handed out."""
    made = scene()
    image = made.save()
    data = bytearray(image.read_bytes())
    with Snapshot.open(image) as snapshot:
        snapshot.verify()
        page = snapshot.read(made.big, PAGE)
    at = data.find(page)

    wrong = tmp_path / "wrong.ckpt"
    wrong.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with Snapshot.open(wrong) as snapshot:
        asks: list[Callable[[], object]] = [
            lambda: snapshot.read(made.big, 8),
            lambda: snapshot.view(made.big, 1),
            snapshot.verify,
        ]
        for ask in asks:
            with pytest.raises(DamagedError, match="damaged: memory at"):
                ask()
        assert snapshot.read(made.queue, 8)

    wrong.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedError):
        Snapshot.open(wrong)
    wrong.write_bytes(b"")
    with pytest.raises(DamagedError, match="not a snapshot"):
        Snapshot.open(wrong)
    (note,) = [
        i
        for i in range(len(data))
        if data[i : i + 8] == b"CKPT\0\0\0\0" and data[i - 4 : i] == b"\1\0\0\0"
    ][-1:]
    newer = bytearray(data)
    newer[note + 8] = 77
    wrong.write_bytes(newer)
    with pytest.raises(VersionError, match="format version 77"):
        Snapshot.open(wrong)

    # A copy in the store that somebody has written to.
    with Snapshot.open(image) as snapshot:
        stored = next(each for each in snapshot.objects if each.path == str(made.data))
        copy = snapshot.content(stored)
    content = bytearray(copy.read_bytes())
    content[5] ^= 1
    copy.write_bytes(content)
    with Snapshot.open(image) as snapshot:
        with pytest.raises(DamagedError, match="is damaged"):
            snapshot.read(made.file, 1)
        with pytest.raises(DamagedError, match="is damaged"):
            snapshot.verify()


def test_a_fifo_where_a_file_was(scene: Callable[..., Scene], tmp_path: Path) -> None:
    """Looking for its content does not wait for a writer."""
    made = scene()
    forgery = Forgery(made.save())
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for each in forgery.record["objects"]:
        each["path"], each["hash"] = str(fifo), "0" * 32
    with Snapshot.open(forgery.write(tmp_path / "forged.ckpt")) as snapshot:
        with pytest.raises(MissingContentError, match="is in no store"):
            snapshot.content(snapshot.objects[0])


def test_what_is_no_snapshot(workshop: object, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no snapshot or file"):
        Snapshot.open("nothing")
    with pytest.raises(StoreError, match="is a directory"):
        Snapshot.open(str(tmp_path) + "/")
    with pytest.raises(SnapshotError, match="No such file"):
        Snapshot.open(tmp_path / "none")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DamagedError, match="not a regular file"):
        Snapshot.open(tmp_path / "fifo")
    with pytest.raises(DamagedError, match="not a snapshot"):
        Snapshot.open(sys.executable)


def test_importing_the_package_is_cheap() -> None:
    """Inside GDB, those who only load the commands must not pay for this."""
    script = (
        "import sys, gdbext; assert not [m for m in sys.modules if m.startswith('gdbext.')], "
        "sys.modules\n"
        "assert 'Snapshot' in dir(gdbext)\n"
        "from gdbext import Snapshot; assert 'gdbext.offline.snapshot' in sys.modules; "
        "assert 'gdb' not in sys.modules\n"
        "import gdbext.comparison.compare; from gdbext import diff; assert callable(diff)\n"
        "try: gdbext.nothing\nexcept AttributeError: print('good')\n"
    )
    root = Path(gdbext.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "good\n"


# --- the dynamic linker's names of libraries


@pytest.mark.parametrize(
    ("variant", "by_linker"), [("", False), (".nopie", True), (".static", False)]
)
def test_the_libraries_that_the_linker_loaded(
    workshop: Workshop, tmp_path: Path, variant: str, by_linker: bool
) -> None:
    """By the names that it has for them, with the files that are mapped,
    and none of a static program.
    """
    program = workshop.program("offline", variant)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    expected = {(match, os.path.realpath(match)) for match in re.findall(r"(/\S+) \(0x", listed)}
    (tmp_path / "data").write_bytes(bytes(6000))
    linker = [name for name, _ in expected if "ld-linux" in name] if by_linker else []
    running = workshop.start([*linker, program, tmp_path / "data"])
    running.expect("AT ")
    running.ready()
    image = workshop.save(running.pid).image
    running.send()
    with Snapshot.open(image) as snapshot:
        found = linkmap.libraries(snapshot)
        assert bool(found) == (variant != ".static")
        assert set(found) == expected
        assert snapshot.auxv[6] == PAGE


# --- What scripts ask for beside bytes ------------------------------------------------------------


def test_all_snapshots_of_a_store(scene: Callable[..., Scene], tmp_path: Path) -> None:
    assert gdbext.snapshots() == ()
    made = scene()
    for name in ("one", "two"):
        made.save(name)
    assert [(each.name, each.record and each.record.pid) for each in gdbext.snapshots()] == [
        ("one", made.pid),
        ("two", made.pid),
    ]
    assert [each.name for each in gdbext.snapshots(made.workshop.store)] == ["one", "two"]
    assert gdbext.snapshots(tmp_path / "elsewhere") == ()


def test_a_process_is_saved_by_its_id(scene: Callable[..., Scene]) -> None:
    made = scene()
    saved = gdbext.save_pid(made.pid, message="by a script")
    assert (
        saved.name == "offline-1" and saved.record.message == "by a script" and saved.path.exists()
    )
    made.change()  # it goes on
    with Snapshot.open(saved.name) as snapshot:
        assert snapshot.pid == made.pid and snapshot.unpack("Q", made.queue + 8) == (3,)
    with pytest.raises(StoreError, match="already a snapshot"):
        gdbext.save_pid(made.pid, "offline-1")
    assert gdbext.save_pid(made.pid, "offline-1", force=True).record.created > saved.record.created
    gone = made.workshop.start(["true"])
    gone.finish()
    with pytest.raises(CkptError, match=f"^process {gone.pid}: no such process$"):
        gdbext.save_pid(gone.pid, "none")
    assert [each.name for each in gdbext.snapshots()] == ["offline-1"]


def test_typed_reads(scene: Callable[..., Scene]) -> None:
    made = scene()
    made.save()
    with Snapshot.open("one") as snapshot:
        queue = snapshot.symbol("queue")
        magic, length, label = snapshot.unpack("QQ32s", "queue")
        assert (length, label.rstrip(b"\0")) == (3, b"the queue")
        assert (
            snapshot.unpack("QQ32s", queue)
            == snapshot.unpack("QQ32s", queue.address)
            == (magic, length, label)
        )
        assert snapshot.unpack(">Q", "hidden") == (0x8877665544332211,)
        assert list(snapshot.iter_unpack("Q", queue, 2)) == [(magic,), (3,)]
        assert set(snapshot.iter_unpack("I", "never_written", 2048)) == {(0,)}
        with pytest.raises(ValueError, match="format 'nonsense'"):
            snapshot.unpack("nonsense", queue)
        with pytest.raises(SymbolError):
            snapshot.unpack("Q", "nosuch")
        with pytest.raises(UnmappedError):
            snapshot.unpack("Q", 0)


def test_every_symbol_is_found_by_its_address(scene: Callable[..., Scene]) -> None:
    """Also where several have one address, or one lies in another; in the C library, too."""
    made = scene()
    oracle.wait_asleep(made.pid)
    made.save()
    with Snapshot.open("one") as snapshot:
        assert (
            snapshot.symbol_at(  # type: ignore[union-attr]
                snapshot.symbol("malloc").address + 1
            ).name
            == "malloc"
        )
        functions = [each for each in snapshot.symbols() if each.kind == "function" and each.size]
        assert len({each.file for each in functions}) >= 3
        for each in functions:
            for address in (each.address, each.address + each.size - 1):
                found = snapshot.symbol_at(address)
                assert found is not None and found.address <= address < found.address + max(
                    found.size, 1
                )
                assert found.address >= each.address
        assert snapshot.symbol_at(made.edge) is None


def test_inside_the_c_library(scene: Callable[..., Scene]) -> None:
    """Functions that only its debug information knows: where a thread waits for another."""
    made = scene()
    oracle.wait_asleep(made.pid)
    made.save()
    with Snapshot.open("one") as snapshot:
        libc = next(each.path for each in snapshot.maps if "libc.so" in each.path)
        with open(libc, "rb") as file:
            if buildids.debug_file(memoryview(file.read())) is None:
                pytest.skip(f"the debug information of {libc} (libc6-dbg) is not installed")
        assert snapshot.symbol("__futex_abstimed_wait_common", libc).size > 0


def test_backtraces(scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    made = scene()
    oracle.wait_asleep(made.pid)
    made.save()
    with Snapshot.open("one") as snapshot:
        stacks = snapshot.backtraces()
        assert set(stacks) == {each.tid for each in snapshot.threads}
        main = snapshot.backtrace()
        assert [each.function for each in main if not each.library][-1:] == ["main"]
        frame = next(each for each in main if each.function == "main")
        assert (
            frame.file == "offline.c"
            and frame.line > 0
            and str(frame) == f"main at offline.c:{frame.line}"
        )
        assert main[0].address == snapshot.selected.registers["rip"]  # type: ignore[union-attr]
        keeper = next(each for each in snapshot.threads if each.name == "keeper")
        assert "keeper" in [each.function for each in snapshot.backtrace(keeper)]
        assert snapshot.backtraces(gdb="/nowhere/gdb") is stacks  # it is asked once
    with Snapshot.open("one") as snapshot:
        with pytest.raises(SnapshotError, match="backtraces need GDB: /nowhere/gdb"):
            snapshot.backtraces(gdb="/nowhere/gdb")
        monkeypatch.setenv("CKPT_GDB", "/bin/true")
        with pytest.raises(SnapshotError, match="no backtraces from /bin/true"):
            snapshot.backtraces()


@pytest.mark.parametrize("session", [[1], "text", 7])
def test_a_session_that_is_no_table(scene: Callable[..., Scene], session: object) -> None:
    """The core does not look at it. All else of the snapshot can be read."""
    forgery = Forgery(scene("").save())
    forgery.record["session"] = session
    with Snapshot.open(forgery.write(forgery.path.with_name("forged.ckpt"))) as snapshot:
        with pytest.raises(SnapshotError, match='"session" is not a table'):
            snapshot.session
        assert snapshot.threads


def test_no_session(scene: Callable[..., Scene]) -> None:
    """`ckpt-save` writes null."""
    with Snapshot.open(scene("").save()) as snapshot:
        assert snapshot.session == {}
