"""Bundles: one file that holds a snapshot with all that it needs from a store.

A bundle is a tar archive (ustar) that `tar tf` lists. Its first member, the manifest, says what
follows, and in which order:

    ckpt-bundle.json              the manifest
    snapshot.data                 the snapshot's file without its holes; the manifest has their
                                  places
    objects/HH/HASH/NAME          contents of executables, libraries and data files
    debug/XX/YYYY.debug           separate debug information, by build id

It comes from another user. So the archive is not parsed: every header must be, byte for byte, the
one that we would write for the next member of the manifest, and the manifest is checked value by
value. What is imported is compared with its digests before the snapshot gets its name.

The digests (XXH3) find damage. They prove nothing about who made the bundle: a user who restores a
snapshot runs its program.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .. import __version__, native
from ..errors import CkptError, DamagedError, MissingContentError, SnapshotError, VersionError
from ..publish import new_file
from ..records import StoredObject, read, read_list
from ..store.naming import check_name
from ..store.store import Store
from . import opening
from .buildids import debug_file, valid_build_id
from .memory import object_path
from .snapshot import Snapshot

_FORMAT = 1
_BLOCK = 512
_MANIFEST = "ckpt-bundle.json"
_MANIFEST_LIMIT_BYTES = 64 << 20
_MOST_OFFSET = (1 << 63) - 1
_CHUNK = 1 << 24
# Of an ELF file, in which its build id stands.
_HEAD_BYTES = 1 << 20
# A bundle of a few blocks and a hole of gigabytes would fill the store: as many times as what is
# stored of it may it be long.
_MOST_HOLES = 16
_ALWAYS_GOOD_BYTES = 1 << 20

# Called with (done, total) bytes now and then; False cancels.
Progress = Callable[[int, int], bool]


class DebugFile(NamedTuple):
    """Separate debug information: the build id in hex digits, size in bytes, XXH3-128 of it."""

    build_id: str
    size: int
    hash: str


class Bundled(NamedTuple):
    """A bundle that was written: its size, what it holds besides the snapshot, and the files of the
    program that it lacks, since their content was not kept at the save.
    """

    path: Path
    size_bytes: int
    objects: int
    debug_files: int
    missing: Tuple[str, ...]


class Imported(NamedTuple):
    """A snapshot that was imported."""

    name: str
    path: Path
    objects: int
    debug_files: int


# -- members ---------------------------------------------------------------------------------------


def _header(name: str, size: int) -> bytes:
    """The header of a member: always the same for one name and size."""
    encoded = os.fsencode(name)
    if len(encoded) <= 100:
        prefix = b""
    else:
        # Names of objects have up to 200 bytes: what is in front of the last slash goes to the
        # prefix, and tar takes the two together.
        prefix, _, encoded = encoded.rpartition(b"/")
        encoded = encoded[:100]
    number = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    header = bytearray(_BLOCK)
    for at, field in (
        (0, encoded), (100, b"0000600\0"), (108, b"0000000\0"), (116, b"0000000\0"), (124, number),
        (136, b"%011o\0" % 0), (148, b" " * 8), (156, b"0"), (257, b"ustar\x0000"),
        (345, prefix[:155]),
    ):  # fmt: skip
        header[at : at + len(field)] = field
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _padding(size: int) -> int:
    return -size % _BLOCK


def _object_member(stored: StoredObject) -> str:
    return f"objects/{stored.hash[:2]}/{stored.hash}/{stored.name}"


def _debug_member(each: DebugFile) -> str:
    return f"debug/{each.build_id[:2]}/{each.build_id[2:]}.debug"


# -- writing ---------------------------------------------------------------------------------------


def bundle(
    snapshot: Snapshot, output: Path, *, force: bool = False, progress: Optional[Progress] = None
) -> Bundled:
    """Write `snapshot` with all that it needs as the one file `output`, with mode 0600; `force`
    replaces an existing file.

    All content is compared with its digest on the way. `progress`: returning False ends it with
    SnapshotError. Raises SnapshotError (MissingContentError for a content that is nowhere to be
    had), CkptError; there is no file then.
    """
    snapshot.verify(progress)
    objects = sorted(set(snapshot.objects), key=lambda each: (each.hash, each.name))
    with ExitStack() as stack:
        sources: List[Tuple[str, int, int]] = []  # member, descriptor, size
        for stored in objects:
            if object_path(Path("/"), (stored.hash, stored.name)) is None:
                raise DamagedError(f"{snapshot.path}: the snapshot is damaged: an object's name")
            fd = _opened(stack, snapshot.content(stored))
            sources.append((_object_member(stored), fd, stored.size))
        debug = []
        for build_id, path in _debug_files(snapshot):
            fd = _opened(stack, path)
            size = os.fstat(fd).st_size
            each = DebugFile(build_id, size, native.core.digest_file(fd, str(path)))
            debug.append(each)
            sources.append((_debug_member(each), fd, size))
        image = _opened(stack, snapshot.path)
        image_bytes = os.fstat(image).st_size
        ranges = list(_data_ranges(image, image_bytes))
        manifest = json.dumps(
            {
                "format": _FORMAT,
                "creator": f"gdb-ckpt {__version__}",
                "name": snapshot.name,
                "size": image_bytes,
                "ranges": ranges,
                "objects": [each._asdict() for each in objects],
                "debug": [each._asdict() for each in debug],
            }
        ).encode("ascii")
        if len(manifest) > _MANIFEST_LIMIT_BYTES:
            raise SnapshotError(f"{snapshot.path}: its list of contents is too long for a bundle")
        with new_file(output, force=force) as out:
            stream = stack.enter_context(os.fdopen(os.dup(out), "wb", buffering=1 << 20))
            stream.write(_header(_MANIFEST, len(manifest)) + manifest)
            stream.write(bytes(_padding(len(manifest))))
            data_bytes = sum(length for _, length in ranges)
            stream.write(_header("snapshot.data", data_bytes))
            for offset, length in ranges:
                _copy_out(image, offset, length, stream, snapshot.path)
            stream.write(bytes(_padding(data_bytes)))
            for member, fd, size in sources:
                stream.write(_header(member, size))
                _copy_out(fd, 0, size, stream, Path(member))
                stream.write(bytes(_padding(size)))
            stream.write(bytes(2 * _BLOCK))
            stream.flush()
            size_bytes = os.fstat(out).st_size
    missing = {m.path for m in snapshot.maps if m.file is not None and m.file.object is None}
    missing |= {f.path for f in snapshot.files if f.file is not None and f.file.object is None}
    return Bundled(output, size_bytes, len(objects), len(debug), tuple(sorted(missing)))


def _opened(stack: ExitStack, path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror}") from None
    stack.callback(os.close, fd)
    return fd


def _data_ranges(fd: int, size: int) -> Iterator[Tuple[int, int]]:
    """Where a file has bytes, as offset and length."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return  # a hole up to the end
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, at - start


def _copy_out(fd: int, offset: int, length: int, stream: Any, path: Path) -> None:
    while length:
        chunk = os.pread(fd, min(length, _CHUNK), offset)
        if not chunk:
            raise SnapshotError(f"{path}: it has become shorter")
        stream.write(chunk)
        offset += len(chunk)
        length -= len(chunk)


def _debug_files(snapshot: Snapshot) -> Iterator[Tuple[str, Path]]:
    """The separate debug information on this machine of the files that were mapped."""
    found: Dict[str, Path] = {}
    for mapping in snapshot.maps:
        if mapping.file is None or mapping.offset != 0 or mapping.backing != "private-file":
            continue
        try:
            size = min(mapping.size, mapping.file.size, _HEAD_BYTES)
            named = debug_file(snapshot.view(mapping.start, size))
        except (MissingContentError, CkptError):
            continue
        if named is not None:
            found.setdefault(*named)
    yield from sorted(found.items())


# -- reading ---------------------------------------------------------------------------------------


class _Manifest(NamedTuple):
    name: str
    size: int
    ranges: Tuple[Tuple[int, int], ...]
    objects: Tuple[StoredObject, ...]
    debug: Tuple[DebugFile, ...]

    def members(self) -> Iterator[Tuple[str, int]]:
        """Names and sizes of what follows the manifest."""
        yield "snapshot.data", sum(length for _, length in self.ranges)
        yield from ((_object_member(each), each.size) for each in self.objects)
        yield from ((_debug_member(each), each.size) for each in self.debug)


def is_bundle(path: Path) -> bool:
    """Whether the file begins as a bundle does. Raises OSError."""
    name = _MANIFEST.encode() + b"\0"
    with opening.regular(path) as stream:
        return stream.read(len(name)) == name


def import_bundle(
    store: Store, path: Path, *, name: Optional[str] = None, force: bool = False
) -> Imported:
    """Put the snapshot in the bundle `path` into `store`, as `name` or under the name it had;
    `force` replaces a snapshot of that name.

    The snapshot appears when everything has been compared with its digest. Raises SnapshotError
    (DamagedError, VersionError), StoreError, CkptError; the store's snapshots are then as before.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror}") from None
    try:
        manifest, places = _open_bundle(fd, path)
        chosen = manifest.name if name is None else name
        check_name(chosen)
        store.create()
        store.check_free(chosen, force)
        try:
            with store.in_use():
                image = _import(store, fd, path, manifest, places, chosen, force)
        except BaseException:
            store.collect()  # contents that came without their snapshot
            raise
        return Imported(chosen, image, len(manifest.objects), len(manifest.debug))
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror}") from None
    finally:
        os.close(fd)


def _open_bundle(fd: int, path: Path) -> Tuple[_Manifest, List[int]]:
    """The manifest, and where each member's content begins."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise DamagedError(f"{path}: not a regular file")
    if status.st_size > max(_MOST_HOLES * _stored_bytes(fd, status.st_size), _ALWAYS_GOOD_BYTES):
        raise DamagedError(
            f"{path}: most of it is a hole, which no bundle has (a copy without: cp --sparse=never)"
        )
    head = os.pread(fd, _BLOCK, 0)
    match = re.fullmatch(rb"[0-7]{11}\0", head[124:136])
    size = int(head[124:135], 8) if match else -1
    if not 0 <= size <= _MANIFEST_LIMIT_BYTES or head != _header(_MANIFEST, size):
        raise DamagedError(f"{path}: not a bundle")
    manifest = _parse(os.pread(fd, size, _BLOCK), path)
    at = _BLOCK + size + _padding(size)
    places = []
    for member, length in manifest.members():
        # Compared before each header, so that nothing is read or added up beyond the file.
        if at + _BLOCK + length > status.st_size:
            raise DamagedError(f"{path}: the bundle is truncated")
        if os.pread(fd, _BLOCK, at) != _header(member, length):
            raise DamagedError(f"{path}: the bundle is damaged: {member}")
        places.append(at + _BLOCK)
        at += _BLOCK + length + _padding(length)
    if at + 2 * _BLOCK != status.st_size:
        raise DamagedError(f"{path}: the bundle is truncated or has something at its end")
    return manifest, places


def _stored_bytes(fd: int, size: int) -> int:
    return sum(length for _, length in _data_ranges(fd, size))


def _parse(content: bytes, path: Path) -> _Manifest:
    try:
        table = json.loads(content)
        if not isinstance(table, dict):
            raise ValueError("it is no table")
        version = read(table, "format", int)
        if version != _FORMAT:
            raise VersionError(
                f"{path}: format version {version} of bundles, this gdb-ckpt reads version "
                f"{_FORMAT}: use a newer gdb-ckpt"
            )
        manifest = _Manifest(
            read(table, "name", str),
            read(table, "size", int),
            tuple(_range(each) for each in read_list(table, "ranges", list)),
            tuple(_stored(each) for each in read_list(table, "objects", dict)),
            tuple(_debug(each) for each in read_list(table, "debug", dict)),
        )
    except VersionError:
        raise
    except (ValueError, RecursionError, CkptError) as error:
        raise DamagedError(f"{path}: the bundle is damaged: its manifest: {error}") from None
    end = 0
    for offset, length in manifest.ranges:
        if offset < end or length <= 0 or offset + length > manifest.size:
            raise DamagedError(f"{path}: the bundle is damaged: its manifest: ranges")
        end = offset + length
    if not 0 < manifest.size <= _MOST_OFFSET:
        raise DamagedError(f"{path}: the bundle is damaged: its manifest: size")
    for names in (manifest.objects, manifest.debug):
        keys = [each[:1] + each[3:] for each in names]
        if len(set(keys)) != len(keys):
            raise DamagedError(f"{path}: the bundle is damaged: its manifest: a content twice")
    return manifest


def _range(pair: Sequence[Any]) -> Tuple[int, int]:
    if len(pair) != 2 or not all(type(each) is int for each in pair):
        raise ValueError("a range")
    return pair[0], pair[1]


def _stored(table: Dict[str, Any]) -> StoredObject:
    stored = StoredObject(
        read(table, "hash", str),
        read(table, "size", int, 0),
        read(table, "path", str, ""),
        read(table, "name", str, ""),
    )
    if stored.size < 0 or object_path(Path("/"), (stored.hash, stored.name)) is None:
        raise ValueError("the name of a content")
    if len(os.fsencode(stored.name)) > 255:
        raise ValueError("the name of a content")
    return stored


def _debug(table: Dict[str, Any]) -> DebugFile:
    each = DebugFile(
        read(table, "build_id", str), read(table, "size", int), read(table, "hash", str)
    )
    if not valid_build_id(each.build_id) or each.size < 0:
        raise ValueError("a build id")
    return each


def _import(
    store: Store,
    fd: int,
    path: Path,
    manifest: _Manifest,
    places: List[int],
    name: str,
    force: bool,
) -> Path:
    has_digest = native.core.has_digest
    at = iter(places)
    data_at = next(at)
    for stored in manifest.objects:
        place = next(at)
        target = object_path(store.root, (stored.hash, stored.name))
        assert target is not None  # checked with the manifest
        if _is_kept(target, stored):
            continue
        store.make_place(stored.hash, stored.name)
        # Code must be executable to be restored, and does no harm as data.
        mode = 0o700 if os.pread(fd, 4, place) == b"\x7fELF" else 0o600
        with new_file(target, force=True, mode=mode) as out:
            _copy_in(fd, place, out, 0, stored.size, path)
            if not has_digest(out, str(target), stored.hash):
                raise DamagedError(f"{path}: the bundle is damaged: the content of {stored.path}")
    image = store.path_of(name)
    replaced = store.find(name)
    debug = store.debug_directory_of(name)
    fresh = debug.with_name(f".{debug.name}.{os.getpid()}")
    try:
        for each in manifest.debug:
            target = fresh / ".build-id" / each.build_id[:2] / f"{each.build_id[2:]}.debug"
            for directory in (fresh, target.parent.parent, target.parent):
                directory.mkdir(mode=0o700, exist_ok=True)
            with new_file(target) as out:
                _copy_in(fd, next(at), out, 0, each.size, path)
                if not has_digest(out, str(target), each.hash):
                    raise DamagedError(f"{path}: the bundle is damaged: {_debug_member(each)}")
        # Before it is there: another user has written its session.
        store.marks.note_imported(name)
        with new_file(image, force=force) as out:
            os.ftruncate(out, manifest.size)
            for offset, length in manifest.ranges:
                _copy_in(fd, data_at, out, offset, length, path)
                data_at += length
            _verify(out, path, manifest, name, store)
            shutil.rmtree(debug, ignore_errors=True)
            if manifest.debug:
                os.replace(fresh, debug)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    store.register(name, image, own=False)
    if replaced is not None and replaced.external:
        store.forget(replaced.path)
    return image


def _is_kept(target: Path, stored: StoredObject) -> bool:
    try:
        with open(target, "rb", buffering=0) as stream:
            if os.fstat(stream.fileno()).st_size != stored.size:
                return False
            same: bool = native.core.has_digest(stream.fileno(), str(target), stored.hash)
            return same
    except OSError:
        return False


def _verify(out: int, path: Path, manifest: _Manifest, name: str, store: Store) -> None:
    """Compare the snapshot in `out` with its digests,
    now that all that it needs is in the store.
    """
    with Snapshot(os.dup(out), path, name, store.root) as snapshot:
        listed = {(each.hash, each.name) for each in manifest.objects}
        needed = {(each.hash, each.name) for each in snapshot.objects}
        if listed != needed:
            raise DamagedError(f"{path}: the bundle is damaged: contents that do not belong to it")
        snapshot.verify()


def _copy_in(fd: int, offset: int, out: int, to: int, length: int, path: Path) -> None:
    os.lseek(out, to, os.SEEK_SET)
    while length:
        done = os.sendfile(out, fd, offset, min(length, 1 << 30))
        if done == 0:
            raise DamagedError(f"{path}: the bundle is truncated")
        offset += done
        length -= done
