"""A bundle carries a snapshot to where nothing of it is, and nothing else comes in with one."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gdbext import Snapshot, native
from gdbext.errors import CkptError, DamagedError, MissingContentError, StoreError, VersionError
from gdbext.offline import buildids, bundle
from gdbext.offline.buildids import build_id, debug_file
from gdbext.offline.bundle import import_bundle
from gdbext.offline.snapshot import open_store
from hypothesis import given, settings
from hypothesis import strategies as st
from support import measured, oracle
from support.checkpoint import Workshop, compile_c
from support.offline import Scene
from support.processes import as_root

VARIANTS = pytest.mark.parametrize("variant", ["", ".nopie", ".static"])
BLOCK = 512


def write(made: Scene, name: str = "one") -> Path:
    output = made.workshop.directory / f"{name}.bundle"
    with Snapshot.open(name) as snapshot:
        bundle.bundle(snapshot, output)
    return output


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@VARIANTS
def test_there_and_back(scene: Callable[..., Scene], tmp_path: Path, variant: str) -> None:
    made = scene(variant)
    made.save()
    output = write(made)
    assert output.stat().st_mode & 0o777 == 0o600
    other = open_store(tmp_path / "other" / "store")
    done = import_bundle(other, output)
    assert (done.name, done.path) == ("one", other.path_of("one"))
    with Snapshot.open("one") as before, Snapshot.open("one", store=other.root) as after:
        assert after.path.read_bytes() == before.path.read_bytes()
        assert after.disk_bytes <= before.disk_bytes + 4096  # holes stay holes
        after.verify()
        assert after.read(made.file, 6000) == before.read(made.file, 6000)
        for stored in before.objects:
            source = before.content(stored)
            target = other.root / "objects" / stored.hash[:2] / stored.hash / stored.name
            assert target.read_bytes() == source.read_bytes()
            assert os.access(target, os.X_OK) or not os.access(source, os.X_OK)
    for path in other.root.rglob("*"):
        assert path.lstat().st_mode & 0o077 == 0, path
    # Once more: everything is there already.
    with pytest.raises(StoreError, match="already a snapshot"):
        import_bundle(other, output)
    assert import_bundle(other, output, name="two").objects == done.objects
    assert import_bundle(other, output, force=True).name == "one"
    # tar knows the format.
    with tarfile.open(output) as archive:
        names = archive.getnames()
    assert names[:2] == ["ckpt-bundle.json", "snapshot.data"] and len(names) >= 4


def test_debug_information_comes_along(scene: Callable[..., Scene], tmp_path: Path) -> None:
    made = scene()
    made.save()
    with Snapshot.open("one") as snapshot:
        libc = next(m for m in snapshot.maps if m.path.endswith("libc.so.6") and m.offset == 0)
        assert libc.file is not None
        found = debug_file(snapshot.view(libc.start, libc.size))
    if found is None:
        pytest.skip("no separate debug information of the C library here")
    identity, path = found
    other = open_store(tmp_path / "other")
    assert import_bundle(other, write(made)).debug_files >= 1
    copy = other.root / "debug" / "one" / ".build-id" / identity[:2] / f"{identity[2:]}.debug"
    assert copy.read_bytes() == path.read_bytes()
    assert other.delete(["one"]).freed_bytes > path.stat().st_size
    assert not (other.root / "debug" / "one").exists()
    assert list((other.root / "objects").rglob("*.so*")) == []


def test_build_ids(tmp_path: Path) -> None:
    program = compile_c("int main(void) { return 0; }", tmp_path / "a", "-Wl,--build-id=0x1234abcd")
    content = memoryview(program.read_bytes())
    assert build_id(content) == "1234abcd"
    assert (
        build_id(memoryview(b"")) is None
        and build_id(memoryview(b"\x7fELF\2" + bytes(100))) is None
    )
    assert debug_file(content, [tmp_path]) is None
    separate = tmp_path / ".build-id" / "12" / "34abcd.debug"
    separate.parent.mkdir(parents=True)
    separate.write_bytes(b"debug")
    assert debug_file(content, [tmp_path]) == ("1234abcd", separate)


@given(st.binary(max_size=300), st.integers(0, 300))
@settings(database=None, deadline=None)
def test_build_ids_of_anything(content: bytes, cut: int) -> None:
    build_id(memoryview(b"\x7fELF\2" + content))
    whole = bytearray(Path("/bin/true").read_bytes())
    for at, byte in enumerate(content[:64]):
        whole[(at * 31 + cut) % 1024] = byte
    build_id(memoryview(bytes(whole[: cut * 100])))


# --- restored where nothing of it is --------------------------------------------------------------


@pytest.fixture
def visitor() -> Iterator[tuple[str | None, Path]]:
    """Another user, if we may be one, and a directory of that user's.

    Not in pytest's own: each run of pytest by root closes that to others when it begins, also to
    those of another run.
    """
    home = Path(tempfile.mkdtemp(prefix="ckpt-visitor-"))
    if as_root():
        shutil.chown(home, "nobody")
    yield "nobody" if as_root() else None, home
    shutil.rmtree(home)


def test_another_user_without_the_files(
    workshop: Workshop,
    visitor: tuple[str | None, Path],
    tmp_path: Path,
    build_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Program, library and data file are gone, the store is somebody else's."""
    user, home = visitor
    place = tmp_path / "place"
    place.mkdir()
    compile_c("int answer(void) { return 42; }", place / "libanswer.so", "-shared", "-fPIC")
    source = (
        "#include <stdio.h>\n#include <unistd.h>\nint answer(void);\nchar line[64];\n"
        'int main(int argc, char** argv) { FILE* f = fopen(argv[1], "r"); printf("READY x\\n"); '
        "fflush(stdout);"
        " char byte; if (read(0, &byte, 1) != 1) return 3;"
        ' if (!fgets(line, sizeof line, f)) return 4; printf("%d %s", answer(), line); return 7; }'
    )
    program = compile_c(
        source, place / "program", f"-L{place}", "-lanswer", f"-Wl,-rpath,{place}", "-Wl,--build-id"
    )
    # The program's lines are known from a file of their own only,
    # which stands where a distribution would put it.
    with memoryview(program.read_bytes()) as content:
        identity = build_id(content)
    assert identity
    separate = tmp_path / "debug" / ".build-id" / identity[:2] / f"{identity[2:]}.debug"
    separate.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", program, separate], check=True)
    subprocess.run(["strip", program], check=True)
    monkeypatch.setattr(buildids, "DEBUG_DIRECTORIES", (tmp_path / "debug",))
    (place / "data").write_text("the data\n")
    running = workshop.start([program, place / "data"], directory=home)
    running.ready()
    image = workshop.save(running.pid).image
    output = home / "carried.bundle"
    with Snapshot.open(image) as snapshot:
        assert bundle.bundle(snapshot, output).debug_files == 1
    running.kill()
    shutil.rmtree(tmp_path / "debug")
    shutil.rmtree(place)
    shutil.rmtree(workshop.store)
    image.unlink()
    output.chmod(0o644)
    environment = {"PATH": "/usr/bin:/bin", "CKPT_DIR": str(home / "store"), "HOME": str(home)}
    environment["CKPT_TEST_RUN"] = os.environ["CKPT_TEST_RUN"]
    environment.update(CKPT_BUILD_DIR=str(build_dir), **measured.variables())

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, env=environment,
            cwd=home, check=False, input="\n", user=user, group="nogroup" if user else None,
            extra_groups=[] if user else None,
        )  # fmt: skip

    ckpt = build_dir / "bin" / "ckpt"
    done = run(ckpt, "import", output, "--name", "carried")
    assert (done.returncode, done.stdout) == (0, 'Imported "carried"\n'), done
    for _ in range(2):
        done = run(ckpt, "restore", "carried")
        assert (done.returncode, done.stdout) == (7, "42 the data\n"), done
    done = run(
        "gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off",
        "-ex", f"source {native.PACKAGE / 'load.py'}",
        "-ex", "ckpt restore carried", "-ex", "bt", "-ex", "break answer", "-ex", "continue",
        "-ex", "bt", "-ex", "kill", "-ex", "show debug-file-directory",
    )  # fmt: skip
    assert "Restored" in done.stdout and "in main (argc=2" in done.stdout, done
    assert 'for is "/usr/lib/debug".' in done.stdout, done  # as it was before
    assert "Breakpoint 1, " in done.stdout and "answer ()" in done.stdout, done


# --- what comes in is not trusted -----------------------------------------------------------------


class Forge:
    """A bundle that is changed and put together again, with headers that fit."""

    def __init__(self, source: Path) -> None:
        content = source.read_bytes()
        size = int(content[124:135], 8)
        self.manifest = json.loads(content[BLOCK : BLOCK + size])
        at = BLOCK + size + -size % BLOCK
        self.members: list[tuple[str, bytes]] = []
        with tarfile.open(source) as archive:
            for member in archive.getmembers()[1:]:
                begin = member.offset_data
                self.members.append((member.name, content[begin : begin + member.size]))
        assert at < len(content)

    def write(self, target: Path) -> Path:
        manifest = json.dumps(self.manifest).encode()
        members = [("ckpt-bundle.json", manifest), *self.members]
        out = b"".join(bundle._header(n, len(c)) + c + bytes(-len(c) % BLOCK) for n, c in members)
        target.write_bytes(out + bytes(2 * BLOCK))
        return target


@pytest.fixture
def forge(scene: Callable[..., Scene]) -> Iterator[Callable[[], Forge]]:
    made = scene(".static")
    made.save()
    output = write(made)
    made.running.kill()
    yield lambda: Forge(output)


def refused(store_directory: Path, path: Path, kind: type[CkptError] = DamagedError) -> str:
    """The import must fail, and leave nothing but empty directories."""
    store = open_store(store_directory)
    outside = set(os.listdir(store_directory.parent))
    with pytest.raises(kind) as caught:
        import_bundle(store, path)
    assert "\n" not in str(caught.value)
    assert tree(store_directory) == {} if store_directory.exists() else True
    assert set(os.listdir(store_directory.parent)) - outside <= {store_directory.name}
    return str(caught.value)


def test_a_bundle_put_together_by_hand_is_good(forge: Callable[[], Forge], tmp_path: Path) -> None:
    """Or the refusals below would prove nothing."""
    assert (
        import_bundle(open_store(tmp_path / "other"), forge().write(tmp_path / "forged")).name
        == "one"
    )


GOOD_HASH = "0" * 32


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(name="../../evil"),
        lambda m: m.update(name=".hidden"),
        lambda m: m["objects"][0].update(name="../../../evil"),
        lambda m: m["objects"][0].update(name=".."),
        lambda m: m["objects"][0].update(name="a" * 300),
        lambda m: m["objects"][0].update(hash="../" * 10 + "ab"),
        lambda m: m["objects"][0].update(hash=GOOD_HASH),
        lambda m: m["objects"][0].update(size=-1),
        lambda m: m["objects"][0].update(size=1 << 70),
        lambda m: m["objects"].append(dict(m["objects"][0])),
        lambda m: m["objects"].pop(),
        lambda m: m.update(size=1 << 80),
        lambda m: m.update(size=0),
        lambda m: m["ranges"].reverse() if len(m["ranges"]) > 1 else m["ranges"].append([0, 0]),
        lambda m: m["ranges"].append([m["size"], 1]),
        lambda m: m["ranges"].append([True, 1]),
        lambda m: m["debug"].append({"build_id": "../x", "size": 1, "hash": GOOD_HASH}),
        lambda m: m["debug"].append({"build_id": "abcd", "size": 5, "hash": GOOD_HASH}),
        lambda m: m.pop("objects"),
        lambda m: m.update(objects=5),
    ],
)
def test_a_manifest_that_makes_no_sense(
    forge: Callable[[], Forge], tmp_path: Path, change: Callable[[dict[str, object]], None]
) -> None:
    made = forge()
    change(made.manifest)
    # The members follow the manifest, so that only the manifest is wrong.
    objects = made.manifest.get("objects")
    if isinstance(objects, list) and isinstance(made.manifest.get("debug"), list):
        contents = [content for _, content in made.members]
        names = [
            "snapshot.data",
            *(f"objects/{o['hash'][:2]}/{o['hash']}/{o['name']}" for o in objects),
        ]
        contents = (contents + [contents[-1]])[: len(names)]
        made.members = list(zip(names, contents))
        for each in made.manifest["debug"]:
            made.members.append(
                (f"debug/{each['build_id'][:2]}/{each['build_id'][2:]}.debug", b"debug")
            )
    refused(tmp_path / "other", made.write(tmp_path / "forged"), CkptError)


def test_other_contents(forge: Callable[[], Forge], tmp_path: Path) -> None:
    for index in range(len(forge().members)):
        made = forge()
        name, content = made.members[index]
        if not content:
            continue
        changed = bytearray(content)
        changed[len(changed) // 2] ^= 1
        made.members[index] = (name, bytes(changed))
        refused(tmp_path / f"other{index}", made.write(tmp_path / "forged"))


def test_objects_that_do_not_belong_to_it(forge: Callable[[], Forge], tmp_path: Path) -> None:
    """A program that is not the snapshot's must not get into the store, under whatever name."""

    made = forge()
    (tmp_path / "evil").write_bytes(b"evil")
    with open(tmp_path / "evil", "rb") as stream:
        digest = native.core.digest_file(stream.fileno(), "evil")
    made.manifest["objects"].append({"hash": digest, "size": 4, "path": "/bin/ls", "name": "ls"})
    made.members.append((f"objects/{digest[:2]}/{digest}/ls", b"evil"))
    debug = made.manifest["debug"]
    made.manifest["debug"], made.members = [], [
        m for m in made.members if not m[0].startswith("debug/")
    ]
    assert debug == [] or debug
    assert "do not belong" in refused(tmp_path / "other", made.write(tmp_path / "forged"))


def test_headers_and_ends(forge: Callable[[], Forge], tmp_path: Path) -> None:
    good = forge().write(tmp_path / "good").read_bytes()
    wrong = tmp_path / "wrong"
    for cut in (0, 1, BLOCK, len(good) // 2, len(good) - 1, len(good) - 1024):
        wrong.write_bytes(good[:cut])
        refused(tmp_path / "other", wrong)
    wrong.write_bytes(good + b"x")
    refused(tmp_path / "other", wrong)
    for at in (0, 5, 100, 124, 150, 156, 260, 300, 500):
        wrong.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        refused(tmp_path / "other", wrong)
    # A link or a directory in place of the snapshot.
    data_at = BLOCK + int(good[124:135], 8)
    data_at += -data_at % BLOCK
    for kind in b"125xg":
        wrong.write_bytes(good[: data_at + 156] + bytes([kind]) + good[data_at + 157 :])
        assert "damaged: snapshot.data" in refused(tmp_path / "other", wrong)
    made = forge()
    made.manifest["format"] = 2
    assert "format version 2" in refused(tmp_path / "other", made.write(wrong), VersionError)
    # Nested more deeply than Python can follow.
    text = b"[" * 200_000
    wrong.write_bytes(
        bundle._header("ckpt-bundle.json", len(text)) + text + bytes(-len(text) % BLOCK + 1024)
    )
    refused(tmp_path / "other", wrong)
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in refused(tmp_path / "other", tmp_path / "fifo")


def test_any_byte(forge: Callable[[], Forge], tmp_path: Path) -> None:
    """Whatever byte is changed: it is refused, or what was imported is good."""
    good = forge().write(tmp_path / "good").read_bytes()
    draw = random.Random(5)
    wrong = tmp_path / "wrong"
    for round in range(40):
        at = draw.randrange(len(good) if round % 2 else 8192)
        wrong.write_bytes(good[:at] + bytes([good[at] ^ (1 << draw.randrange(8))]) + good[at + 1 :])
        other = tmp_path / f"other{round}"
        try:
            done = import_bundle(open_store(other), wrong)
        except CkptError:
            assert tree(other) == {} if other.exists() else True
            continue
        with Snapshot.open(done.name, store=other) as snapshot:
            snapshot.verify()


def test_a_failed_import_leaves_the_old_one(forge: Callable[[], Forge], tmp_path: Path) -> None:
    store = open_store(tmp_path / "other")
    import_bundle(store, forge().write(tmp_path / "good"))
    before = tree(store.root)
    made = forge()
    name, content = made.members[0]
    middle = len(content) // 2
    made.members[0] = (
        name,
        content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    )
    with pytest.raises(DamagedError):
        import_bundle(store, made.write(tmp_path / "wrong"), force=True)
    assert tree(store.root) == before


def test_a_bundle_needs_all_contents(scene: Callable[..., Scene]) -> None:
    made = scene()
    made.save()
    made.running.kill()
    made.data.write_bytes(b"other")
    shutil.rmtree(made.workshop.store / "objects")
    with Snapshot.open("one") as snapshot, pytest.raises(MissingContentError):
        bundle.bundle(snapshot, made.workshop.directory / "out")
    assert not (made.workshop.directory / "out").exists()


def test_a_file_that_was_not_kept_is_named(scene: Callable[..., Scene]) -> None:
    made = scene()
    made.save("one", "--file-limit", "100")
    with Snapshot.open("one") as snapshot:
        done = bundle.bundle(snapshot, made.workshop.directory / "out")
    assert done.missing == (str(made.data),)
    oracle.wait_asleep(made.pid)
