"""The program `ckpt`: every verb, its JSON, its exit statuses, and completion."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
from gdbext.cli.completing import candidates
from support import oracle
from support.checkpoint import Workshop
from support.forge import Forgery
from support.offline import Scene
from support.processes import Result


class Ckpt:
    """The program of the build, with the workshop's store."""

    def __init__(self, workshop: Workshop, build: Path) -> None:
        self.workshop = workshop
        self.path = build / "bin" / "ckpt"

    def __call__(self, *words: str | Path | int, status: int = 0) -> str:
        """What it prints; on any failure one line on standard error, and nothing else."""
        result = self.result(*words)
        assert result.status == status, f"{words}: {result}"
        if status in (0, 1):
            assert not result.errors, f"{words}: {result}"
            return result.output
        assert not result.output, f"{words}: {result}"
        assert result.errors.count("\n") == 1 and result.errors.startswith(
            "ckpt"
        ), f"{words}: {result}"
        return result.errors

    def result(self, *words: str | Path | int) -> Result:
        return self.workshop.start([self.path, *map(str, words)]).finish(timeout_s=60)

    def json(self, *words: str | Path | int, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))


@pytest.fixture
def ckpt(workshop: Workshop, build_dir: Path) -> Ckpt:
    return Ckpt(workshop, build_dir)


def test_save_list_info_delete(scene: Callable[..., Scene], ckpt: Ckpt) -> None:
    assert ckpt("list") == f"No snapshots in {ckpt.workshop.store}.\n"
    assert ckpt.json("list") == []
    made = scene()
    assert ckpt("save", made.pid).startswith('Saved "offline-1": ')
    saved = ckpt.json("save", made.pid, "mine", "-m", "a remark")
    assert saved["name"] == "mine" and saved["threads"] == 2 and Path(saved["file"]).exists()
    assert {each["severity"] for each in saved["fidelity"]} == {"changed"}
    made.change()  # it goes on
    lines = ckpt("list").splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["Name", "offline-1", "mine"]
    assert lines[-1].startswith("2 snapshots, ") and "of files kept for them" in lines[-1]
    assert [each["name"] for each in ckpt.json("list")] == ["offline-1", "mine"]
    assert [each["name"] for each in ckpt.json("list", "off*", "--program", "offline")] == [
        "offline-1"
    ]
    assert [each["name"] for each in ckpt.json("list", "--newest", "1", "--tree")] == ["mine"]
    assert ckpt("list", "--program", "other") == f"No such snapshots in {ckpt.workshop.store}.\n"
    assert "a remark" in ckpt("info", "mine") and "keeper" in ckpt("info", "mine")
    record = ckpt.json("info", "mine")
    assert record["message"] == "a remark" and len(record["threads"]) == 2
    assert "already a snapshot" in ckpt("save", made.pid, "mine", status=125)
    assert ckpt("save", made.pid, "mine", "--force").startswith('Saved "mine": ')
    assert ckpt.json("info", "mine")["message"] == ""
    # Looking at a file elsewhere changes nothing here.
    copy = shutil.copy(saved["file"], ckpt.workshop.directory / "copy.ckpt")
    before = sorted(ckpt.workshop.store.rglob("*"))
    assert "keeper" in ckpt("info", copy)
    ckpt("verify", copy)
    assert sorted(ckpt.workshop.store.rglob("*")) == before
    deleted = ckpt.json("delete", "mine", "offline-1")
    assert deleted["names"] == ["mine", "offline-1"] and deleted["freed_bytes"] > 100_000
    assert "no snapshot" in ckpt("delete", "mine", status=125)


def test_notes_names_and_deletions(scene: Callable[..., Scene], ckpt: Ckpt) -> None:
    made = scene()
    for name in ("a-1", "a-2", "b-1"):
        made.save(name)
    assert ckpt("note", "a-1") == '"a-1" has no remark.\n'
    assert ckpt("note", "a-1", "of", "several words") == 'Noted in "a-1".\n'
    assert ckpt.json("note", "a-1") == {"name": "a-1", "message": "of several words"}
    assert ckpt("rename", "a-1", "c") == 'Renamed "a-1" to "c".\n'
    assert [(each["name"], each["message"]) for each in ckpt.json("list", "c")] == [
        ("c", "of several words")
    ]
    assert ckpt("verify", "c") == "c: good\n"
    assert "already a snapshot" in ckpt("rename", "c", "b-1", status=125)
    assert "no snapshot" in ckpt("rename", "a-1", "d", status=125)
    # Nothing is deleted unasked but what is named.
    for words in (["a-*"], ["--older", "0s"], ["--all"]):
        assert "--yes deletes" in ckpt("delete", *words, status=2)
    assert "an age is" in ckpt("delete", "--older", "soon", status=2)
    assert "either" in ckpt("delete", "--all", "c", status=2)
    assert [each["name"] for each in ckpt.json("list")] == ["c", "a-2", "b-1"]
    assert ckpt("delete", "--older", "1h") == "Nothing to delete.\n"
    assert ckpt.json("delete", "a-*", "c", "--yes")["names"] == ["a-2", "c"]
    assert ckpt("gc") == "Nothing to remove: every kept file is needed.\n"
    (ckpt.workshop.store / "snapshots" / "b-1.ckpt").unlink()
    assert ckpt.json("gc")["objects"] > 1
    assert ckpt.json("list") == []


def test_a_process_that_cannot_be_saved(ckpt: Ckpt) -> None:
    gone = ckpt.workshop.start(["true"])
    gone.finish()
    result = ckpt.result("save", gone.pid, "none")
    assert (
        result.status == 125
        and result.errors == f"ckpt-save: process {gone.pid}: no such process\n"
    )
    assert ckpt.json("list") == []


def test_diff(scene: Callable[..., Scene], ckpt: Ckpt) -> None:
    made = scene()
    oracle.wait_asleep(made.pid)
    made.save("a")
    assert ckpt("diff", "a", "a") == "Nothing differs.\n"
    assert ckpt.json("diff", "a", "a")["bytes"] == []
    made.change()
    oracle.wait_asleep(made.pid)
    made.save("b")
    shown = ckpt("diff", "a", "b", status=1)
    assert f"  {made.queue + 8:#x} 03" in shown and "queue+8" in shown
    assert "/dev/null at 0: new" in shown and "-> " in shown
    found = ckpt.json("diff", "a", "b", status=1)
    (counter,) = [each for each in found["bytes"] if each["address"] == made.queue + 8]
    assert (
        counter["old"].startswith("03")
        and counter["new"].startswith("04")
        and counter["place"] == "queue+8"
    )
    assert found["ranges"] == len(found["bytes"])
    assert "more (--limit)" in ckpt("diff", "a", "b", "--limit", "1", status=1)
    assert len(ckpt.json("diff", "a", "b", "--limit", "1", status=1)["bytes"]) == 1


def test_export_bundle_import_restore(scene: Callable[..., Scene], ckpt: Ckpt) -> None:
    made = scene()
    made.save("one")
    directory = ckpt.workshop.directory
    assert ckpt("export", "one", directory / "core.x").startswith(f"Wrote {directory}/core.x: ")
    assert "exists already" in ckpt("export", "one", directory / "core.x", status=125)
    assert ckpt.json("export", "one", directory / "core.x", "--force")["missing"] == []
    assert "file" in ckpt("bundle", "one", directory / "one.bundle")
    assert ckpt.json("bundle", "one", directory / "two.bundle")["objects"] >= 3
    other = directory / "other"
    assert ckpt("import", "--store", other, directory / "one.bundle") == 'Imported "one"\n'
    assert (
        ckpt.json("import", "--store", other, directory / "one.bundle", "--name", "x")["name"]
        == "x"
    )
    assert ckpt("verify", "--store", other) == "one: good\nx: good\n"
    assert "not a bundle" in ckpt("import", directory / "core.x", status=125)
    made.running.kill()
    restored = ckpt.workshop.start([ckpt.path, "restore", "--store", str(other), "x"])
    restored.send()
    restored.expect("CHANGED")
    restored.send()
    result = restored.finish()
    assert (result.status, result.output.splitlines()[-1]) == (0, f"PASS {made.running.nonce}")
    line = ckpt.workshop.start([ckpt.path, "restore", "one", "--nonsense"]).finish()
    assert line.status == 125 and line.errors.startswith("ckpt-restart: unknown option --nonsense")


def test_each_name_in_a_list_is_of_one_snapshot(scene: Callable[..., Scene], ckpt: Ckpt) -> None:
    """Whoever has written them, and wherever they lie."""
    made = scene()
    workshop = ckpt.workshop
    for place in ("x", "y", "z"):
        (workshop.directory / place).mkdir()

    def save(*words: str | Path) -> None:
        done = workshop.start(
            [workshop.build / "bin" / "ckpt-save", str(made.pid), *words]
        ).finish()
        assert done.status == 0 and not done.errors, done

    def listed() -> dict[str, str]:
        found = {each["name"]: each["file"] for each in ckpt.json("list")}
        assert len(found) == len(ckpt.json("list"))
        for name, file in found.items():
            assert ckpt.json("info", name)["file"] == file
        return {
            name: str(Path(file).relative_to(workshop.directory)) for name, file in found.items()
        }

    save("x/offline-1.ckpt")
    save()  # this one's name shall not be one that is taken
    ckpt("save", made.pid)
    save("y/offline-1.ckpt")
    save("x/offline-1.ckpt", "--force")
    save("x/no name.ckpt")
    expected = {
        "offline-1": "x/offline-1.ckpt",
        "offline-2": "store/snapshots/offline-2.ckpt",
        "offline-3": "store/snapshots/offline-3.ckpt",
        "offline-1-2": "y/offline-1.ckpt",
        "no_name": "x/no name.ckpt",
    }
    assert listed() == expected
    # One that says that it is another, and one that was put into the store under
    # a name of one elsewhere.
    shutil.copy(workshop.directory / "y/offline-1.ckpt", workshop.directory / "z/copy.ckpt")
    (workshop.store / "external" / "copy").symlink_to(workshop.directory / "z/copy.ckpt")
    assert listed() == {**expected, "offline-1-2-2": "z/copy.ckpt"}
    shutil.copy(workshop.directory / "z/copy.ckpt", workshop.store / "snapshots/no_name.ckpt")
    assert listed() == {
        **expected,
        "offline-1-2-2": "z/copy.ckpt",
        "no_name": "store/snapshots/no_name.ckpt",
        "no_name-2": "x/no name.ckpt",
    }
    # Replaced by one in the store: it is no longer the store's, and the user's file stays.
    ckpt("save", made.pid, "offline-1", "--force")
    assert listed()["offline-1"] == "store/snapshots/offline-1.ckpt"
    assert (
        "x/offline-1.ckpt" not in listed().values()
        and (workshop.directory / "x/offline-1.ckpt").exists()
    )
    made.running.kill()
    for name in ("offline-1-2", "no_name-2"):
        restored = workshop.start([ckpt.path, "restore", name])
        restored.send()
        restored.expect("CHANGED")
        restored.send()
        result = restored.finish()
        assert (result.status, result.output.splitlines()[-1]) == (0, f"PASS {made.running.nonce}")
    ckpt("rename", "offline-1-2-2", "other")
    ckpt("delete", "-y", "offline-1-2")
    assert (
        listed()["other"] == "z/copy.ckpt"
        and not (workshop.directory / "y/offline-1.ckpt").exists()
    )


def test_savers_at_once_choose_different_names(scene: Callable[..., Scene], ckpt: Ckpt) -> None:
    programs = [scene().pid for _ in range(3)]
    program = ckpt.workshop.build / "bin" / "ckpt-save"
    for options in ((), ("--force",), (), ("--force",)):
        savers = [ckpt.workshop.start([program, str(pid), *options]) for pid in programs]
        for saver in savers:
            assert saver.finish().status == 0
    names = [each["name"] for each in ckpt.json("list")]
    assert len(names) == 12 and len(set(names)) == 12, names


def test_verify(scene: Callable[..., Scene], ckpt: Ckpt) -> None:
    assert ckpt("verify") == ""
    made = scene()
    image = made.save("good")
    made.save("bad")
    assert ckpt.json("verify") == [
        {"name": n, "good": True, "problem": ""} for n in ("bad", "good")
    ]
    bad = image.with_name("bad.ckpt")
    data = bytearray(bad.read_bytes())
    at = data.find(b"the queue\0")
    data[at] ^= 1
    bad.write_bytes(data)
    lines = ckpt("verify", status=1).splitlines()
    assert "memory at" in lines[0] and lines[0].startswith("bad: ") and lines[1] == "good: good"
    assert ckpt("verify", "good") == "good: good\n"
    assert ckpt.json("verify", "bad", status=1)[0]["good"] is False
    assert "no snapshot or file" in ckpt("verify", "nothing", status=125)


def test_keys_that_are_no_text(scene: Callable[..., Scene], ckpt: Ckpt) -> None:
    """A forged snapshot is one among others: nothing that is done to all of them fails for it."""
    made = scene()
    forgery = Forgery(Path(ckpt.json("save", made.pid, "mine")["file"]))
    for table in (forgery.record, forgery.process["program"], forgery.process["process"]):
        table["\udcff\x1b[2J"] = {"\udcfe": 1}
    forgery.write(ckpt.workshop.store / "snapshots/forged.ckpt")
    assert {each["name"] for each in ckpt.json("list")} == {"mine", "forged"}
    assert "forged" in ckpt("list") and "\x1b" not in ckpt("list")
    assert {each["name"]: each["good"] for each in ckpt.json("verify")} == {
        "mine": True,
        "forged": True,
    }
    assert "Snapshot:   forged" in ckpt("info", "forged")


@pytest.mark.parametrize(
    "words",
    [
        [], ["nonsense"], ["list", "--nonsense"], ["info"], ["info", "a", "b"], ["diff", "a"],
        ["delete"], ["save"], ["save", "x"], ["save", "-1"], ["diff", "a", "b", "--limit", "-1"],
        ["completion", "csh"],
    ],
)  # fmt: skip
def test_wrong_usage(ckpt: Ckpt, words: list[str]) -> None:
    assert "--help" in ckpt(*words, status=2)


def test_help(ckpt: Ckpt) -> None:
    assert "Exit status: 0 done" in " ".join(ckpt("--help").split())
    assert ckpt("--version").startswith("gdb-ckpt ")
    for verb in (
        "list", "info", "note", "rename", "gc", "diff", "export", "bundle", "import", "verify",
        "delete", "save", "restore", "replay",
    ):  # fmt: skip
        assert f"usage: ckpt {verb}" in ckpt(verb, "--help")


def test_a_reader_that_has_seen_enough(ckpt: Ckpt) -> None:
    done = subprocess.run(
        [
            "bash",
            "-c",
            'set -o pipefail; "$0" completion bash | true; "$0" --help | head -1',
            ckpt.path,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("usage: ckpt") and "Traceback" not in done.stderr, done


# --- completion -----------------------------------------------------------------------------------


def put(store: Path, *names: str) -> None:
    (store / "snapshots").mkdir(mode=0o700, parents=True)
    store.chmod(0o700)
    for name in names:
        (store / "snapshots" / f"{name}.ckpt").write_text("")


def test_candidates(workshop: Workshop) -> None:
    put(workshop.store, "alpha", "alpine", "beta")
    assert candidates([], "in") == ("info",)
    assert "--version" in candidates([], "-")
    assert candidates(["info"], "al") == ("alpha", "alpine")
    assert candidates(["diff", "alpha"], "") == ("alpha", "alpine", "beta")
    assert candidates(["diff", "alpha", "beta"], "") == ()
    assert candidates(["delete", "alpha", "beta"], "alp") == ("alpha", "alpine")
    assert candidates(["export", "alpha"], "") == ()  # a file
    assert candidates(["import"], "") == ()
    assert candidates(["info"], "--j") == ("--json",)
    assert candidates(["list", "--store"], "") == ()
    assert candidates(["info", "--store", "/nowhere"], "") == ()
    assert candidates(["completion"], "z") == ("zsh",)
    assert candidates(["list"], "be") == ("beta",)
    assert candidates(["rename"], "") == ("alpha", "alpine", "beta")
    assert candidates(["note", "alpha"], "") == ()
    assert str(os.getpid()) in candidates(["save"], str(os.getpid()))
    assert candidates(["nonsense"], "") == ()


def in_bash(ckpt: Ckpt, line: str, setup: str) -> list[str]:
    """What bash would offer for `line`."""
    script = (
        f'{setup}\nPATH="{ckpt.path.parent}:$PATH"\nCOMP_WORDS=({line})\n'
        + ('COMP_WORDS+=("")\n' if line.endswith(" ") else "")
        + "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        "_ckpt\nprintf '%s\\n' \"${COMPREPLY[@]}\"\ncomplete -p ckpt"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "CKPT_DIR": str(ckpt.workshop.store)},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert "-F _ckpt ckpt" in lines[-1] and not done.stderr, done
    return [each for each in lines[:-1] if each]


def test_bash(ckpt: Ckpt) -> None:
    put(ckpt.workshop.store, "alpha", "alpine", "beta")
    setup = f'source <("{ckpt.path}" completion bash)'
    assert in_bash(ckpt, "ckpt re", setup) == ["rename", "replay", "restore"]
    assert in_bash(ckpt, "ckpt info ", setup) == ["alpha", "alpine", "beta"]
    assert in_bash(ckpt, "ckpt info alp", setup) == ["alpha", "alpine"]
    assert in_bash(ckpt, "ckpt diff alpha --l", setup) == ["--limit"]
    assert in_bash(ckpt, "ckpt import ", setup) == []  # files, which are bash's part


def test_tcsh(ckpt: Ckpt) -> None:
    """On a terminal, as there is no other way to see what it offers."""
    put(ckpt.workshop.store, "alpha", "alpine", "beta")
    (ckpt.workshop.directory / "picture.bundle").write_text("")
    shell = pexpect.spawn(
        "tcsh",
        ["-f"],
        encoding="utf-8",
        timeout=20,
        dimensions=(50, 200),
        cwd=str(ckpt.workshop.directory),
        env={
            **os.environ,
            "CKPT_DIR": str(ckpt.workshop.store),
            "PATH": f"{ckpt.path.parent}:{os.environ['PATH']}",
            "TERM": "xterm",
            "HOME": str(ckpt.workshop.directory),
        },
    )
    try:
        # What is typed is not the prompt that is waited for.
        shell.sendline("set prompt='READ''Y>'")
        shell.expect_exact("READY>")
        shell.sendline("ckpt completion tcsh > ./complete.tcsh; source ./complete.tcsh")
        shell.expect_exact("READY>")
        for typed, completed in (
            ("ckpt inf\t", "ckpt info "),
            ("ckpt info be\t", "ckpt info beta "),
            ("ckpt diff alpha --li\t", "ckpt diff alpha --limit "),
            ("ckpt import pic\t", "ckpt import picture.bundle "),
        ):
            shell.send(typed)
            shell.expect_exact(completed)
            shell.send("\x03")
            shell.expect_exact("READY>")
    finally:
        shell.close(force=True)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_theirs(ckpt: Ckpt, shell: str) -> None:
    text = ckpt("completion", shell)
    assert "--complete" in text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run(
        [
            shell,
            "-n",
            "-c" if shell == "fish" else "/dev/stdin",
            *([text] if shell == "fish" else []),
        ],
        input=text,
        text=True,
        check=True,
    )


def test_fish(ckpt: Ckpt) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    put(ckpt.workshop.store, "alpha", "alpine", "beta")
    script = (
        f"set -x PATH {ckpt.path.parent} $PATH; ckpt completion fish | source; "
        'complete -C "ckpt info alp"'
    )
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "CKPT_DIR": str(ckpt.workshop.store)},
    )  # fmt: skip
    assert done.stdout.split() == ["alpha", "alpine"], done
