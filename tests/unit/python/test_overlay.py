"""The overlay: every path leads to the real file, a replaced one to its copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gdbext.errors import CkptError
from gdbext.store import overlay


class World:
    """A made-up library directory reached through links, and an overlay to be looked at through a
    link.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.libraries = root / "usr" / "lib"
        self.libraries.mkdir(parents=True)
        for name in ("libold.so.1.0", "libkept.so"):
            (self.libraries / name).write_text(f"real {name}")
        (self.libraries / "libold.so.1").symlink_to("libold.so.1.0")
        # Like /lib on a merged-/usr system, and the same with an absolute link.
        (root / "lib").symlink_to("usr/lib")
        (root / "lib64").symlink_to(root / "usr" / "lib")
        self.copy = root / "copy"
        self.copy.write_text("the snapshot's")
        self.directory = root / "scratch" / "overlay"
        self.link = root / "scratch" / "sysroot"

    def build(self, *replaced: Path) -> None:
        overlay.build(self.directory, self.link, {str(path): str(self.copy) for path in replaced})
        self.link.symlink_to(self.directory)

    def read(self, path: Path) -> str:
        """The file at `path` as seen with the overlay as the system's root."""
        return Path(f"{self.link}{path}").read_text()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_replaced_by_every_name(world: World) -> None:
    world.build(world.libraries / "libold.so.1.0")
    for name in ("libold.so.1.0", "libold.so.1"):
        assert world.read(world.libraries / name) == "the snapshot's"
        assert world.read(world.root / "lib" / name) == "the snapshot's"
        assert world.read(world.root / "lib64" / name) == "the snapshot's"


def test_everything_else_is_real(world: World) -> None:
    world.build(world.libraries / "libold.so.1.0")
    assert world.read(world.libraries / "libkept.so") == "real libkept.so"
    assert world.read(world.root / "lib" / "libkept.so") == "real libkept.so"
    assert os.path.samefile(f"{world.link}/proc/self/exe", "/proc/self/exe")
    assert os.path.samefile(f"{world.link}/bin/sh", "/bin/sh")
    for name in os.listdir("/"):
        assert os.path.lexists(world.link / name), name


def test_a_vanished_file_and_its_vanished_directory(world: World) -> None:
    gone = world.root / "opt" / "plugins" / "libgone.so"
    (world.libraries / "libold.so.1.0").unlink()
    world.build(gone, world.libraries / "libold.so.1.0")
    assert world.read(gone) == "the snapshot's"
    assert world.read(world.libraries / "libold.so.1") == "the snapshot's"


def test_named_through_a_link(world: World) -> None:
    world.build(world.root / "lib" / "libold.so.1.0")
    assert world.read(world.libraries / "libold.so.1.0") == "the snapshot's"


@pytest.mark.parametrize(
    "name",
    [
        "usr/bin/../lib/libold.so.1.0",
        "bin/../lib/libold.so.1.0",  # up from where the link leads to
        "usr/./lib//libold.so.1.0",
        "usr/gone/../lib/libold.so.1.0",
        "lib64/../lib/libold.so.1",
        "round/usr/lib/libold.so.1.0",
        # The root has nothing above it.
        "usr/lib/../../../" + "../" * 20 + "ROOT/usr/lib/libold.so.1.0",
    ],
)
def test_the_names_of_the_linker(world: World, name: str) -> None:
    """As the kernel follows them, through links and up again."""
    (world.root / "usr" / "bin").mkdir()
    (world.root / "bin").symlink_to("usr/bin")
    (world.root / "round").symlink_to("usr/../.")
    path = f"{world.root}/" + name.replace("ROOT", str(world.root).lstrip("/"))
    if "gone" not in name:
        assert Path(path).read_text() == "real libold.so.1.0"
    copies = {str(world.libraries / "libold.so.1.0"): str(world.copy), path: str(world.copy)}
    world.link.parent.mkdir(parents=True)
    world.link.symlink_to(overlay.build(world.directory, world.link, copies))
    for each in copies:
        assert Path(f"{world.link}{each}").read_text() == "the snapshot's", each
    assert world.read(world.root / "lib" / "libkept.so") == "real libkept.so"
    assert os.path.samefile(f"{world.link}/bin/sh", "/bin/sh")
    world.link.unlink()
    overlay.remove(world.directory)
    assert not world.directory.exists()


def test_what_is_found_by_itself_is_left_out(world: World) -> None:
    kept, old, other = (
        str(world.libraries / name) for name in ("libkept.so", "libold.so.1.0", "libother.so")
    )
    (world.root / "current").symlink_to("usr/lib")
    by_link = f"{world.root}/current/libkept.so"
    names = {
        kept: kept,
        by_link: kept,
        f"{world.root}/lib/libold.so.1": old,
        "./libkept.so": kept,
        by_link + "2": kept,
    }
    replaced = {old: "copy", other: "copy of another"}
    assert overlay.files_for(names, replaced) == {
        **replaced,
        f"{world.root}/lib/libold.so.1": "copy",
        "./libkept.so": kept,
        by_link + "2": kept,
    }


def test_relative_names_are_found_in_a_working_directory(world: World) -> None:
    before = os.getcwd()
    names = ["./a.so", "sub/../sub/./b.so", "../../c.so", "d.so"]
    files = {name: str(world.copy) for name in names}
    with overlay.working_directory(
        world.directory, {**files, str(world.root / "e.so"): "/nowhere"}
    ):
        assert os.getcwd() != before
        assert [Path(name).read_text() for name in names] == ["the snapshot's"] * len(names)
    assert os.getcwd() == before
    assert not world.directory.exists()
    with overlay.working_directory(world.directory, {str(world.root / "e.so"): "/nowhere"}):
        assert os.getcwd() == before


def test_a_working_directory_that_cannot_be_made(world: World) -> None:
    world.directory.parent.write_text("a file")
    before = os.getcwd()
    with pytest.raises(CkptError, match="scratch/overlay: Not a directory"):
        with overlay.working_directory(world.directory, {"a.so": str(world.copy)}):
            pass
    assert os.getcwd() == before


def test_relative_names_are_left_out(world: World) -> None:
    overlay.build(world.directory, world.link, {"relative.so": str(world.copy)})
    assert os.path.samefile(world.directory / "bin" / "sh", "/bin/sh")


def test_removing_touches_nothing_real(world: World) -> None:
    world.build(world.libraries / "libold.so.1.0")
    world.link.unlink()
    overlay.remove(world.directory)
    assert not world.directory.exists()
    assert (world.libraries / "libold.so.1.0").read_text() == "real libold.so.1.0"
    assert world.copy.exists()
    overlay.remove(world.directory)


def test_removing_keeps_what_is_no_link(world: World) -> None:
    world.build(world.libraries / "libold.so.1.0")
    stray = world.directory / "stray"
    stray.write_text("somebody's")
    overlay.remove(world.directory)
    assert stray.read_text() == "somebody's"
