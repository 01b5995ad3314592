"""The store: names, what is newest, who may use it, and what a deletion leaves."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import threading
import time
from pathlib import Path
from typing import List, Optional, Sequence

import pytest
from gdbext.errors import CkptError, StoreError, UsageError
from gdbext.records import Record
from gdbext.store.naming import check_name
from gdbext.store.store import Store, default_directory
from gdbext.text.listing import condemned
from support.records import described


def describe(path: Path) -> Record:
    """Images of these tests are JSON records."""
    try:
        table = json.loads(path.read_text())
    except ValueError:
        raise CkptError(f"{path}: not a snapshot") from None
    return Record.of(described(**table, file_bytes=path.stat().st_size))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "data" / "ckpt", describe)
    made.create()
    return made


def put(
    store: Store,
    name: str,
    created: float = 1.0,
    objects: Sequence[str] = (),
    path: Optional[Path] = None,
) -> Path:
    """Write an image and the objects it needs."""
    path = path or store.path_of(name)
    table = {
        "name": name,
        "created": created,
        "objects": [{"hash": each, "size": 3, "path": "/x", "name": ""} for each in objects],
    }
    path.write_text(json.dumps(table))
    for each in objects:
        directory = store.root / "objects" / each[:2] / each
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "content").write_text("abc")
    return path


def objects(store: Store) -> List[str]:
    return sorted(path.parent.name for path in (store.root / "objects").rglob("content"))


# -- where it is -----------------------------------------------------------------------------------


def test_default_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule is tested in tests/unit/store_test.cpp: here, that it sees what Python sets."""
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.setenv("CKPT_DIR", "~/größe")
    assert default_directory() == Path("/h/größe")
    monkeypatch.delenv("CKPT_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", "/x")
    assert default_directory() == Path("/x/ckpt")


def test_it_is_made_for_its_owner_alone(store: Store) -> None:
    for path in (store.root, *store.root.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_looking_makes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "absent", describe)
    assert store.entries() == [] and store.names() == [] and store.find("x") is None
    with pytest.raises(StoreError, match="no snapshots"):
        store.newest()
    assert not store.root.exists()


@pytest.mark.parametrize("inner", ["", "snapshots", "objects"])
def test_one_that_others_can_write_to_is_refused(store: Store, inner: str) -> None:
    (store.root / inner).chmod(0o770)
    with pytest.raises(StoreError, match="written by others"):
        store.create()
    with pytest.raises(StoreError, match="written by others"):
        store.entries()


def test_one_that_others_can_read_is_theirs_to_choose(store: Store) -> None:
    store.root.chmod(0o755)
    store.create()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_one_of_somebody_else_is_refused(store: Store) -> None:
    os.chown(store.root, 12345, 12345)
    with pytest.raises(StoreError, match="uid 12345"):
        store.create()


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="not a directory"):
        Store(tmp_path / "file", describe).create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_one_that_cannot_be_written_to(store: Store) -> None:
    (store.root / "snapshots").chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        store.create()
    (store.root / "snapshots").chmod(0o700)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "before-crash", "x_1.2", "größe", "a.ckpt", "n" * 200])
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "../a",
        ".hidden",
        "-force",
        "two words",
        "line\nbreak",
        "bell\a",
        "n" * 201,
        "ü" * 101,
    ],
)
def test_no_names(name: str) -> None:
    with pytest.raises(StoreError, match="name"):
        check_name(name)


def test_default_names_count_up(store: Store) -> None:
    assert store.default_name("/usr/bin/server") == "server-1"
    put(store, "server-1")
    put(store, "server-9")
    put(store, "server-x")
    put(store, "other-40")
    assert store.default_name("/usr/bin/server") == "server-10"
    assert store.default_name("/opt/my prog") == "my_prog-1"
    assert store.default_name("/opt/.-") == "program-1"
    check_name(store.default_name("/opt/" + "x" * 255))


def test_a_name_is_taken_once(store: Store) -> None:
    put(store, "one")
    with pytest.raises(StoreError, match="already.*-force"):
        store.check_free("one", force=False)
    store.check_free("one", force=True)
    store.check_free("two", force=False)


def test_names_of_images_elsewhere_are_taken_too(store: Store, tmp_path: Path) -> None:
    image = put(store, "far", path=tmp_path / "image")
    store.register("far", image)
    with pytest.raises(StoreError, match="already"):
        store.check_free("far", force=False)
    assert "far" in store.names()


# -- finding ---------------------------------------------------------------------------------------


def test_entries_are_oldest_first(store: Store) -> None:
    put(store, "b", created=3)
    put(store, "a", created=9)
    put(store, "c", created=1)
    assert [entry.name for entry in store.entries()] == ["c", "b", "a"]
    assert store.newest().name == "a"


def test_a_bad_image_hides_no_other(store: Store) -> None:
    put(store, "good")
    store.path_of("bad").write_text("nonsense")
    entries = {entry.name: entry for entry in store.entries()}
    assert entries["good"].record is not None
    assert entries["bad"].record is None and "not a snapshot" in entries["bad"].problem
    assert store.newest().name == "good"


def test_resolve(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(store, "one", created=1)
    put(store, "two", created=2)
    put(store, "x", path=tmp_path / "three.ckpt")
    (tmp_path / "one").write_text("a file called like a snapshot")
    assert store.resolve(None) == ("two", store.path_of("two"))
    assert store.resolve("one") == ("one", store.path_of("one"))
    assert store.resolve("three.ckpt") == ("three", tmp_path / "three.ckpt")
    assert store.resolve("./one")[1] == tmp_path / "one"
    for text, words in (
        ("four", 'no snapshot or file "four".*ckpt list'),
        ("./four", "no file"),
        ("four.ckpt", "no file"),
        (".", "directory"),
        ("", "no snapshot"),
    ):
        with pytest.raises(StoreError, match=words):
            store.resolve(text)


def test_images_elsewhere(store: Store, tmp_path: Path) -> None:
    image = put(store, "far", path=tmp_path / "image")
    store.register("far", image)
    store.register("far", image)
    assert len(list((store.root / "external").iterdir())) == 1
    assert store.resolve("far") == ("far", image)
    entry = store.find("far")
    assert entry is not None and entry.external
    # Gone from the list with the file.
    image.unlink()
    assert store.entries() == [] and store.find("far") is None


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "", "-rf", "a b", "x\x1b[2J", "y" * 300])
def test_a_name_that_is_none(store: Store, tmp_path: Path, name: str) -> None:
    """It is neither taken for one, nor does it lead anywhere."""
    image = put(store, "far", path=tmp_path / "image.ckpt")
    named = Store(store.root, lambda path: describe(path)._replace(name=name))
    before = set(tmp_path.rglob("*"))
    named.register(name, image)
    added = set(tmp_path.rglob("*")) - before - {store.root / "external"}
    assert [path.parent for path in added] == [store.root / "external"]
    assert [entry.name for entry in named.entries()] == ["image"]


def test_what_a_file_elsewhere_says_does_not_win(store: Store, tmp_path: Path) -> None:
    """It has been registered once, and is another one now:
    with a name of the store's, and a date to come.
    """
    image = put(store, "far", path=tmp_path / "image")
    store.register("far", image)
    (link,) = (store.root / "external").iterdir()
    noted = link.lstat().st_mtime
    put(store, "own", created=noted + 1)
    put(store, "own", path=image, created=4e9)
    assert store.resolve("own") == ("own", store.path_of("own"))
    assert store.resolve(None) == ("own", store.path_of("own"))
    assert [(entry.external, entry.created) for entry in store.entries()] == [
        (True, noted),
        (False, noted + 1),
    ]


def test_a_new_snapshot_of_the_name_hides_none(store: Store, tmp_path: Path) -> None:
    image = put(store, "far", path=tmp_path / "image")
    store.register("far", image)
    put(store, "far")
    store.register("far", store.path_of("far"))
    assert store.names() == ["far", "far-2"]
    assert store.resolve("far") == ("far", store.path_of("far"))
    assert store.resolve("far-2") == ("far-2", image)
    assert store.default_name("far") == "far-3"


def test_a_name_with_a_zero_byte_is_none(store: Store, tmp_path: Path) -> None:
    image = put(store, "far\0away", path=tmp_path / "image.ckpt")
    store.register("image", image)
    assert store.names() == ["image"]
    assert store.find("far\0away") is None


# -- deleting --------------------------------------------------------------------------------------


def test_delete_collects_what_nobody_needs(store: Store, tmp_path: Path) -> None:
    put(store, "one", objects=["aaaa", "bbbb"])
    put(store, "two", objects=["bbbb"])
    image = put(store, "far", objects=["cccc"], path=tmp_path / "image")
    store.register("far", image)
    assert objects(store) == ["aaaa", "bbbb", "cccc"]
    done = store.delete(["one"])
    assert done.names == ("one",) and done.freed_bytes > 0 and done.kept_because == ""
    assert objects(store) == ["bbbb", "cccc"]
    store.delete(["far", "two"])
    assert objects(store) == []
    assert not image.exists()
    assert list((store.root / "objects").iterdir()) == []


def test_delete_is_all_or_nothing(store: Store) -> None:
    put(store, "one")
    with pytest.raises(StoreError, match='"nosuch"'):
        store.delete(["one", "nosuch"])
    assert store.names() == ["one"]
    store.delete(["one", "one"])
    assert store.names() == []


def test_an_unreadable_image_keeps_the_objects(store: Store) -> None:
    put(store, "one", objects=["aaaa"])
    store.path_of("future").write_text("what a newer version writes")
    assert "future" in store.delete(["one"]).kept_because
    assert objects(store) == ["aaaa"]
    # It can be deleted itself.
    assert store.delete(["future"]).kept_because == ""
    assert objects(store) == []


def test_a_save_under_way_keeps_the_objects(store: Store) -> None:
    put(store, "one", objects=["aaaa"])
    with store.in_use(), store.in_use():
        assert "in use" in store.delete(["one"]).kept_because
        assert objects(store) == ["aaaa"]
    store.collect()
    assert objects(store) == []


def test_the_index_of_collected_objects_goes_too(store: Store) -> None:
    put(store, "one", objects=["aaaa"])
    put(store, "two", objects=["bbbb"])
    index = store.root / "index"
    index.mkdir(exist_ok=True)
    (index / "1").write_text("aaaa")
    (index / "2").write_text("bbbb")
    store.delete(["one"])
    assert [path.name for path in index.iterdir()] == ["2"]


def test_an_image_that_was_moved_keeps_its_objects(store: Store, tmp_path: Path) -> None:
    image = put(store, "far", objects=["cccc"], path=tmp_path / "image")
    store.register("far", image)
    moved = image.rename(tmp_path / "moved")
    assert store.entries() == []
    record = describe(moved)
    store.claim(moved, record._replace(store=str(store.root)))
    store.collect()
    assert store.entries() == []
    assert objects(store) == ["cccc"]
    moved.unlink()
    # Another store's snapshot is none of ours.
    stranger = put(store, "stranger", objects=["dddd"], path=tmp_path / "stranger")
    record = describe(stranger)
    store.claim(stranger, record._replace(store="/elsewhere"))
    store.collect()
    assert objects(store) == []


def test_a_lock_ends_with_its_holder(store: Store) -> None:
    with pytest.raises(RuntimeError), store.in_use():
        raise RuntimeError
    fd = os.open(store.root, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


def test_a_signal_ends_the_waiting_for_the_store(store: Store) -> None:
    """While somebody else collects."""

    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    main, over = threading.get_ident(), threading.Event()

    def signals() -> None:
        while not over.wait(0.05):
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    sender = threading.Thread(target=signals)
    fd = os.open(store.root, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(Interrupted):
            sender.start()
            with store.in_use():
                raise AssertionError("it was not held")
    finally:
        os.close(fd)
        try:
            over.set()
            sender.join()
        except Interrupted:
            sender.join()
        signal.signal(signal.SIGUSR1, before)


def test_links_to_images_that_are_gone_are_dropped(store: Store, tmp_path: Path) -> None:
    image = put(store, "far", objects=["cccc"], path=tmp_path / "image")
    store.register("far", image)
    image.unlink()
    store.collect()
    assert list((store.root / "external").iterdir()) == []
    assert objects(store) == []


def test_foreign_things_in_the_objects_stay(store: Store) -> None:
    (store.root / "objects" / "README").write_text("mine")
    os.symlink("/usr", store.root / "objects" / "link")
    store.collect()
    assert (store.root / "objects" / "README").exists()
    assert (store.root / "objects" / "link").is_symlink()


# -- several at once -------------------------------------------------------------------------------


def test_select(store: Store) -> None:
    for number, name in enumerate(("a-1", "a-2", "b-1", "x[1]")):
        put(store, name, created=number)
    assert [entry.name for entry in store.select(("b-*", "a-2", "*-1"))] == ["b-1", "a-2", "a-1"]
    # A name comes before what it would be as a pattern.
    assert [entry.name for entry in store.select(("x[1]",))] == ["x[1]"]
    for words in (("nosuch",), ("a-1", "c*"), ("A-1",)):
        with pytest.raises(StoreError, match='no snapshot "(nosuch|c\\*|A-1)"'):
            store.select(words)


def test_targets(store: Store, tmp_path: Path) -> None:
    put(store, "a-1")
    outside = put(store, "a-2", created=2, path=tmp_path / "out.ckpt")
    store.register("a-2", outside)
    assert store.targets(("a-*", "a-1", str(outside))) == ["a-1", str(outside)]
    with pytest.raises(StoreError, match="no snapshot or file"):
        store.targets(("a-1", "-"))


def test_condemned(store: Store) -> None:
    for name, age in (("new", 10), ("old", 7200), ("older", 90000)):
        put(store, name, created=time.time() - age)
    assert condemned(store, (), None, True) == ("older", "old", "new")
    assert condemned(store, (), "1h", False) == ("older", "old")
    assert condemned(store, ("new", "old*"), "1d", False) == ("older",)
    assert condemned(store, ("new",), None, False) == ("new",)
    for words, older in ((("new",), None), ((), "1h")):
        with pytest.raises(UsageError, match="either"):
            condemned(store, words, older, True)


def test_move(store: Store) -> None:
    put(store, "old", objects=["aa"])
    put(store, "taken")
    debug = store.debug_directory_of("old")
    debug.mkdir(parents=True)
    entry = store.find("old")
    assert entry is not None
    with pytest.raises(StoreError, match="already a snapshot"):
        store.move(entry, "taken")
    assert store.names() == ["old", "taken"]
    assert store.move(entry, "new") == store.path_of("new")
    assert store.names() == ["new", "taken"]
    assert store.debug_directory_of("new").is_dir() and not debug.exists()
    assert objects(store) == ["aa"]


def test_collecting_tells_what_it_did(store: Store) -> None:
    put(store, "one", objects=["aa", "bb"])
    assert store.collect().objects == 0
    store.path_of("one").unlink()
    done = store.collect()
    assert done.objects == 2 and done.freed_bytes > 0 and done.kept_because == ""
    put(store, "broken").write_text("no record")
    assert "cannot be read" in store.collect().kept_because


def test_what_a_dead_process_has_left_is_collected(store: Store, tmp_path: Path) -> None:
    """Not what is new, nor what is of a living process, nor what is of nobody."""
    long_ago = time.time() - 30 * 86400
    for name in (
        "live-999999999-1.ckpt",
        "live-999999998-1.ckpt",
        f"live-{os.getpid()}-1.ckpt",
        "mine",
    ):
        (store.scratch_directory / name).write_text("")
        if name != "live-999999998-1.ckpt":
            os.utime(store.scratch_directory / name, (long_ago, long_ago))
    (store.scratch_directory / "overlay-999999999").mkdir()
    os.utime(store.scratch_directory / "overlay-999999999", (long_ago, long_ago))
    store.collect()
    assert sorted(path.name for path in store.scratch_directory.iterdir()) == sorted(
        ["live-999999998-1.ckpt", f"live-{os.getpid()}-1.ckpt", "mine"]
    )
