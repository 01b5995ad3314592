"""The commands as a user meets them: names, options, lists, help,
completion, the store's directory.
"""

from __future__ import annotations

import json
import os
import re

import pytest
from gdbsession import REPOSITORY
from scene import Scene, refuse, restore, save
from steps import continue_to_end, run_to_work


def test_ckpt_alone_is_its_help(scene: Scene) -> None:
    gdb = scene.gdb()
    text = gdb.execute("ckpt")
    found = gdb.execute("apropos checkpoint")
    for command in ("ckpt --", "ckpt save --", "ckpt restore"):
        assert command in found, found
    for command in ("save", "restore", "list", "info", "delete"):
        assert re.search(rf"ckpt {command}\b", text), text
    assert not scene.store.exists()
    gdb.quit()


@pytest.mark.parametrize(
    "command, words",
    [
        ("save", ["-m MESSAGE", "-o FILE", "-force", "-strict", "NAME"]),
        (
            "restore",
            ["-stdin", "-stdout", "-stderr", "-files", "-file", "-no-session", "auto", "strict"],
        ),
        ("list", ["[PATTERN...]", "-newest N", "-program NAME", "-tree", "-json"]),
        ("info", ["NAME|FILE [-json]"]),
        ("delete", ["[PATTERN...]", "-older AGE", "-all"]),
        ("note", ["NAME [TEXT...]"]),
        ("rename", ["OLD NEW"]),
        ("find", ["EXPR [PATTERN...]", "-first", "-last"]),
        ("diff", ["OLD [NEW] [EXPR...]"]),
        ("back", ["[N]"]),
        ("print", ["EXPR [NAME...]"]),
        ("rewind", ["FILE [-at POSITION]", "begin, end"]),
        ("goto", ["POSITION", "+N or -N"]),
        ("last", ["EXPR"]),
        ("timeline", ["[-json]"]),
    ],
)
def test_help_names_every_option(scene: Scene, command: str, words: list[str]) -> None:
    gdb = scene.gdb()
    text = gdb.execute(f"help ckpt {command}")
    for word in words:
        assert word in text, text
    assert "not documented" not in text
    gdb.quit()


def test_an_unknown_subcommand_is_refused(scene: Scene) -> None:
    gdb = scene.gdb()
    printed = gdb.execute("ckpt frobnicate")
    assert len(printed.splitlines()) == 1 and "frobnicate" in printed
    assert "Python" not in printed
    gdb.quit()


def test_names_by_default_count_up(scene: Scene) -> None:
    gdb = run_to_work(scene)
    assert save(gdb).name == "e2e_threads-1"
    assert save(gdb).name == "e2e_threads-2"
    gdb.execute("ckpt delete e2e_threads-1")
    assert save(gdb).name not in ("e2e_threads-2",)
    gdb.quit()


def test_an_existing_name_needs_force(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "taken -m first")
    gdb.execute("next")
    refuse(gdb, "ckpt save taken", "taken.*(exists|-force)")
    save(gdb, "taken -m second -force")
    assert "second" in gdb.execute("ckpt info taken")
    gdb.quit()
    again = scene.gdb()
    assert "work counts" in restore(again, "taken").frame
    again.quit()


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden", "''", "'two words'", "-- -dash"])
def test_names_that_would_leave_the_store_are_refused(scene: Scene, name: str) -> None:
    gdb = run_to_work(scene)
    refuse(gdb, f"ckpt save {name}", "name")
    assert scene.partial_files() == []
    assert not list(scene.directory.glob("*.ckpt"))
    gdb.quit()


def test_list_and_info(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    save(gdb, "one -m 'the first'")
    gdb.execute("next")
    save(gdb, "two")
    text = gdb.execute("ckpt list")
    assert text.index("one") >= 0 and text.index("two") >= 0 and "the first" in text
    info = gdb.execute("ckpt info one")
    for word in ("one", "the first", "e2e_threads", "work ("):
        assert word in info, info
    gdb.quit()
    # The same from a session that never saw the program.
    again = scene.gdb()
    assert again.execute("ckpt list") == text
    assert again.execute("ckpt info one") == info
    again.quit()


def test_list_and_info_as_json(scene: Scene) -> None:
    gdb = run_to_work(scene, threads=2)
    save(gdb, "one -m 'the first'")
    save(gdb, "two")
    gdb.quit()
    again = scene.gdb()
    listed = json.loads(again.execute("ckpt list -json"))
    assert {entry["name"] for entry in listed} == {"one", "two"}
    record = json.loads(again.execute("ckpt info one -json"))
    assert record["name"] == "one"
    assert record["message"] == "the first"
    assert len(record["threads"]) == 3
    assert record["program"]["path"].endswith("e2e_threads")
    again.quit()


def test_an_empty_store_is_said(scene: Scene) -> None:
    gdb = scene.gdb()
    assert len(gdb.execute("ckpt list").splitlines()) == 1
    assert json.loads(gdb.execute("ckpt list -json")) == []
    refuse(gdb, "ckpt info nothing", "nothing")
    refuse(gdb, "ckpt delete nothing", "nothing")
    refuse(gdb, "ckpt restore nothing", "nothing")
    refuse(gdb, "ckpt restore", "no snapshot|empty|nothing")
    gdb.quit()


def test_delete(scene: Scene) -> None:
    gdb = run_to_work(scene)
    for name in ("a", "b", "c"):
        save(gdb, name)
    gdb.execute("ckpt delete a c")
    assert [entry["name"] for entry in json.loads(gdb.execute("ckpt list -json"))] == ["b"]
    # One unknown name must not leave the job half done.
    refuse(gdb, "ckpt delete b nosuch", "nosuch")
    assert [entry["name"] for entry in json.loads(gdb.execute("ckpt list -json"))] == ["b"]
    gdb.execute("ckpt delete b")
    assert json.loads(gdb.execute("ckpt list -json")) == []
    assert list((scene.store / "snapshots").iterdir()) == []
    gdb.quit()


def test_an_image_elsewhere(scene: Scene) -> None:
    gdb = run_to_work(scene)
    image = scene.directory / "elsewhere.ckpt"
    save(gdb, f"-o {image}")
    assert image.exists()
    assert image.stat().st_mode & 0o777 == 0o600
    refuse(gdb, f"ckpt save -o {image}", "exists|-force")
    save(gdb, f"-o {image} -force")
    gdb.quit()
    again = scene.gdb()
    restore(again, str(image))
    assert again.value("step") == "3"
    assert continue_to_end(again, 7)[-1] == "PASS"
    again.quit()
    # In its new place it keeps its claim on what the store holds for it,
    # once it has been restored from there.
    kept = sorted((scene.store / "objects").glob("*/*/*"))
    moved = image.rename(scene.directory / "moved.ckpt")
    again = scene.gdb()
    restore(again, str(moved))
    again.execute("kill")
    again.quit()
    again = run_to_work(scene)
    # Nobody here has called it anything, so it is not listed; and looking at it changes nothing.
    assert "e2e_threads" in again.execute(f"ckpt info {moved}")
    assert "No snapshots" in again.execute("ckpt list")
    save(again, "other")
    assert "Deleted" in again.execute("ckpt delete other")
    assert kept and sorted((scene.store / "objects").glob("*/*/*")) == kept
    moved.unlink()
    save(again, "other")
    again.execute("ckpt delete other")
    assert not list((scene.store / "objects").glob("*/*/*"))
    again.quit()


def test_options_as_gdbs_own(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "one -m 'two words'")
    assert "two words" in gdb.execute("ckpt info one")
    save(gdb, "-fo -- one")
    refuse(gdb, "ckpt save -nosuch", "-nosuch")
    refuse(gdb, "ckpt save one two", "two|argument|one name")
    refuse(gdb, "ckpt save x -m", "-m")
    refuse(gdb, "ckpt restore one -st x", "ambiguous.*-stderr.*-stdin.*-stdout")
    refuse(gdb, "ckpt restore one -files sometimes", "sometimes")
    # -file and -files: the exact word wins over being a prefix of the other.
    assert "Restored" in gdb.execute("ckpt restore one -files auto")
    gdb.quit()


def test_tab_completion(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "before-crash")
    save(gdb, "before-loop")
    save(gdb, "zebra")
    assert set(gdb.complete("ckpt ")) >= {"save", "restore", "list", "info", "delete"}
    assert gdb.complete("ckpt rest") == ["ckpt restore"]
    assert gdb.complete("ckpt restore z") == ["ckpt restore zebra"]
    assert set(gdb.complete("ckpt restore before-")) == {"before-crash", "before-loop"}
    assert gdb.complete("ckpt restore before-c") == ["ckpt restore before-crash"]
    assert gdb.complete('ckpt restore "before-c') == ['ckpt restore "before-crash"']
    assert gdb.complete("ckpt info 'zeb") == ["ckpt info 'zebra'"]
    assert gdb.complete("ckpt info ze") == ["ckpt info zebra"]
    assert gdb.complete("ckpt delete zebra before-l") == ["ckpt delete zebra before-loop"]
    assert gdb.complete("ckpt save -fo") == ["ckpt save -force"]
    assert gdb.complete("ckpt restore -no") == ["ckpt restore -no-session"]
    assert set(gdb.complete("ckpt restore -std")) == {"-stdin", "-stdout", "-stderr"}
    assert set(gdb.complete("ckpt save -")) == {"-force", "-m", "-o", "-strict", "-verbose"}
    # Expressions, wherever they stand.
    for before in (
        "ckpt print ",
        "ckpt print -json ",
        "ckpt find ",
        "ckpt restore -set ",
        "ckpt diff zebra zebra ",
    ):
        assert gdb.complete(f"{before}watch") == [f"{before}watched"], before
    # GDB 16 shows the quotation mark with which TAB closes it.
    assert gdb.complete('ckpt print "step + count') in (
        ['ckpt print "step + counter'],
        ['ckpt print "step + counter"'],
    )
    assert gdb.complete("ckpt restore -set step=count") == ["ckpt restore -set step=counter"]
    assert gdb.complete("ckpt restore zebra -files str") == ["ckpt restore zebra -files strict"]
    scene.write("unmistakable.txt", "")
    assert gdb.complete("ckpt restore zebra -stdin unmist") == [
        "ckpt restore zebra -stdin unmistakable.txt"
    ]
    scene.write("picture.ckpt", "")
    assert gdb.complete("ckpt restore pictu") == ["ckpt restore picture.ckpt"]
    gdb.quit()


def test_the_store_is_private_and_where_it_is_told(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb, "one")
    for path in [scene.store, *scene.store.rglob("*")]:
        if path.is_symlink():
            continue
        mode = path.stat().st_mode & 0o777
        executable = path.relative_to(scene.store).parts[:1] == ("objects",)
        assert mode == 0o700 if path.is_dir() or (executable and mode & 0o100) else mode == 0o600, (
            path,
            oct(mode),
        )
    assert str(scene.store) in gdb.execute("show ckpt directory")
    other = scene.directory / "other-store"
    gdb.execute(f"set ckpt directory {other}")
    assert str(other) in gdb.execute("show ckpt directory")
    save(gdb, "two")
    assert (other / "snapshots" / "two.ckpt").exists()
    assert [entry["name"] for entry in json.loads(gdb.execute("ckpt list -json"))] == ["two"]
    gdb.quit()


def test_the_store_by_default(scene: Scene) -> None:
    del scene.environment["CKPT_DIR"]
    home = scene.directory / "home"
    gdb = scene.gdb()
    assert str(home / ".local" / "share" / "ckpt") in gdb.execute("show ckpt directory")
    gdb.quit()
    gdb = scene.gdb(extra={"XDG_DATA_HOME": str(scene.directory / "data")})
    assert str(scene.directory / "data" / "ckpt") in gdb.execute("show ckpt directory")
    gdb.quit()


def test_loading_costs_and_changes_nothing(scene: Scene) -> None:
    plain = scene.gdb(load=False)
    loaded = scene.gdb()
    for command in ("info breakpoints", "show confirm", "info handlers", "show args"):
        assert loaded.execute(command) == plain.execute(command)
    assert loaded.banner == plain.banner
    assert not scene.store.exists()
    plain.quit()
    loaded.quit()


def test_loading_twice_is_harmless(scene: Scene) -> None:
    gdb = run_to_work(scene)
    assert gdb.execute(f"source {REPOSITORY / 'gdbext' / 'load.py'}") == ""
    save(gdb, "one")
    assert restore(gdb, "one").name == "one"
    gdb.quit()
    assert not [pid for pid in scene.processes() if pid != os.getpid()]


def test_loading_takes_what_the_commands_need_at_once(scene: Scene) -> None:
    """GDB starts with the package loaded, and should not wait for what is not used."""
    gdb = scene.gdb()
    loaded = gdb.python(
        "' '.join(m for m in __import__('sys').modules if m.startswith('gdbext.'))"
    ).split()
    rooms = {name.split(".")[1] for name in loaded}
    assert {"commands", "session"} <= rooms
    assert not rooms & {"offline", "comparison", "regression", "cli"}
    assert not {"gdbext.session.saving", "gdbext.session.restoring"} & {*loaded}
    gdb.quit()


def test_commands_do_not_repeat_on_an_empty_line(scene: Scene) -> None:
    gdb = run_to_work(scene)
    save(gdb)
    gdb.execute("")
    assert len(json.loads(gdb.execute("ckpt list -json"))) == 1
    gdb.quit()


def test_an_error_stops_a_sourced_script(scene: Scene) -> None:
    script = scene.write("script.gdb", "echo first\\n\nckpt restore nosuch\necho second\\n\n")
    gdb = scene.gdb()
    printed = gdb.execute(f"source {script}")
    assert "first" in printed and "second" not in printed
    gdb.quit()
