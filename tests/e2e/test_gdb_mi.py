"""GDB/MI, as editors drive GDB: what a front end sees of a save and of a restore."""

from __future__ import annotations

from typing import Any

import pytest
from miclient import MiSession, Record
from scene import Scene

# Ways to say it: the command of GDB/MI, the console's behind one of GDB/MI's, the console's alone.
WAYS = ("-ckpt-restore {}", '-interpreter-exec console "ckpt restore {}"', "ckpt restore {}")


def run_to_work(scene: Scene, *options: str, interpreter: str = "mi3") -> tuple[MiSession, Record]:
    """e2e_threads with two threads beside the main one, stopped in `work`; and that stop."""
    mi = scene.mi(*options, "--args", scene.program("e2e_threads"), "2", interpreter=interpreter)
    mi.execute('-break-insert -c "step == 3" work')
    return mi, mi.run("-exec-run")


def restore(mi: MiSession, command: str) -> list[Record]:
    """A restore that must succeed: all records up to its stop,
    and those up to a next command's answer.
    """
    mark = len(mi.records)
    mi.execute(command)
    mi.wait(lambda record: record.name == "stopped", since=mark)
    mi.execute("-list-features")
    return mi.records[mark:]


def stop_of(records: list[Record], mi: MiSession) -> dict[str, Any]:
    """The only stop in what a restore wrote, which comes after the result of the command."""
    names = [record.name for record in records if record.kind in "^*" and record.kind]
    # The last one is the answer to the next command.
    assert names == ["done", "stopped", "done"], mi.transcript
    return next(record.fields for record in records if record.name == "stopped")


def comparable(fields: dict[str, Any]) -> dict[str, Any]:
    """A stop without what another run of it may change:
    the processor, and what a watched value was before.
    """
    found = {key: value for key, value in fields.items() if key != "core"}
    if "value" in found:
        found["value"] = {key: text for key, text in found["value"].items() if key != "old"}
    return found


def groups_during(records: list[Record], alive: set[str]) -> list[set[str]]:
    """The thread groups with a process after each record that is about one. None begins twice."""
    alive, history = set(alive), []
    for record in records:
        if record.name == "thread-group-started":
            assert record.fields["id"] not in alive, record
            alive.add(record.fields["id"])
        elif record.name == "thread-group-exited":
            alive.remove(record.fields["id"])
        else:
            continue
        history.append(set(alive))
    return history


@pytest.mark.parametrize(
    "interpreter, asynchronous", [("mi2", "off"), ("mi3", "on"), ("mi", "off")]
)
def test_a_restore_is_one_stop(scene: Scene, interpreter: str, asynchronous: str) -> None:
    mi, stop = run_to_work(scene, "-iex", f"set mi-async {asynchronous}", interpreter=interpreter)
    nonce = mi.execute("-data-evaluate-expression nonce")
    threads = mi.execute("-thread-info")
    mi.execute("-ckpt-save here")
    for way in WAYS:
        mi.run("-exec-next")
        records = restore(mi, way.format("here"))
        assert comparable(stop_of(records, mi)) == comparable(stop.fields)
        assert stop.fields["reason"] == "breakpoint-hit"
        # Nothing of what was done to GDB meanwhile: neither settings nor breakpoints have changed.
        told = {record.name for record in records if record.kind == "="}
        assert told <= {
            "thread-group-added", "thread-group-started", "thread-group-exited",
            "thread-group-removed", "thread-created", "thread-exited", "library-loaded",
            "library-unloaded",
        }, mi.transcript  # fmt: skip
        texts = "".join(record.text for record in records if record.kind)
        assert "SIGSTOP" not in texts and "??" not in texts, mi.transcript
        # A front end whose last group ends closes the session;
        # one that hears of none has the old process id.
        history = groups_during(records, {"i1"})
        assert all(history) and history[-1] == {"i1"}, mi.transcript
        started = [
            r.fields["pid"]
            for r in records
            if r.name == "thread-group-started" and r.fields["id"] == "i1"
        ]
        now = mi.execute("-list-thread-groups")["groups"]
        assert [(group["id"], group["pid"]) for group in now] == [("i1", started[0])] and len(
            started
        ) == 1
        seen = mi.execute("-thread-info")
        assert [each["id"] for each in seen["threads"]] == [
            each["id"] for each in threads["threads"]
        ]
        assert mi.execute("-data-evaluate-expression nonce") == nonce
    # It does not stop once more where it stands, and steps are steps.
    assert mi.run("-exec-next").fields["reason"] == "end-stepping-range"
    mi.execute("-break-delete")
    assert mi.run("-exec-continue").fields["exit-code"] == "07"
    assert any(record.text == "PASS" for record in mi.records), mi.transcript
    mi.quit()


def test_the_reason_is_that_of_the_save(scene: Scene) -> None:
    """Also in a new GDB, and for a snapshot of a program that was restored and has not run."""
    mi, _ = run_to_work(scene)
    mi.execute("-gdb-set can-use-hw-watchpoints 0")
    stops = {}
    for name, commands in {
        "step": ["-exec-next"],
        "watch": ["-break-watch watched", "-exec-continue"],
        "finish": ["-break-delete 2", "-exec-finish"],
        "temporary": ["-break-insert -t work", "-exec-continue"],
    }.items():
        *before, last = commands
        for command in before:
            mi.execute(command)
        stops[name] = comparable(mi.run(last).fields)
        mi.execute(f"-ckpt-save {name}")
    assert [stop["reason"] for stop in stops.values()] == [
        "end-stepping-range", "watchpoint-trigger", "function-finished", "breakpoint-hit"
    ]  # fmt: skip
    # The value that `finish` shows is GDB's own variable of that session.
    stops["finish"] = {
        k: v for k, v in stops["finish"].items() if k not in ("gdb-result-var", "return-value")
    }
    mi.quit()

    for name, stop in stops.items():
        again = scene.mi()
        assert (
            comparable(stop_of(restore(again, f"-ckpt-restore {name}"), again)) == stop
        ), again.transcript
        again.execute("-ckpt-save again -force")
        assert (
            comparable(stop_of(restore(again, "-ckpt-restore again"), again)) == stop
        ), again.transcript
        again.quit()


def test_a_signal_is_the_reason(scene: Scene) -> None:
    mi = scene.mi("--args", scene.program("e2e_signals"), "segv")
    stop = mi.run("-exec-run")
    assert (stop.fields["reason"], stop.fields["signal-name"]) == ("signal-received", "SIGSEGV")
    mi.execute("-ckpt-save fault")
    mi.quit()
    again = scene.mi()
    found = stop_of(restore(again, "-ckpt-restore fault"), again)
    assert comparable(found) == comparable(stop.fields)
    again.quit()


def test_what_fails(scene: Scene) -> None:
    mi, _ = run_to_work(scene)
    mi.execute("-ckpt-save here")
    mark = len(mi.records)
    error = mi.execute("-ckpt-restore nosuch", "error")["msg"]
    assert error.startswith('-ckpt-restore: there is no snapshot or file "nosuch"')
    assert "unknown option" in mi.execute("-ckpt-save -nosuch x", "error")["msg"]
    assert "already a snapshot" in mi.execute("-ckpt-save here", "error")["msg"]
    assert not groups_during(mi.records[mark:], {"i1"})
    # After the old program's end: there is none now, and the front end hears it.
    mi.execute(
        '-interpreter-exec console "python '
        "__import__('gdbext._native')._native.fault_arm('restore-finish')\""
    )
    mark = len(mi.records)
    assert "restore-finish" in mi.execute("-ckpt-restore here", "error")["msg"]
    assert groups_during(mi.records[mark:], {"i1"})[-1] == set()
    assert mi.execute("-thread-info")["threads"] == []
    assert not [record for record in mi.records[mark:] if record.kind == "*"], mi.transcript
    mi.quit()


def test_results_are_structured(scene: Scene) -> None:
    mi, _ = run_to_work(scene)
    saved = mi.execute('-ckpt-save -m "two words" first')
    assert (saved["name"], saved["threads"]) == ("first", "3")
    assert saved["file"] == str(scene.store / "snapshots" / "first.ckpt")
    assert int(saved["bytes"]) > 0 and float(saved["seconds"]) > 0
    assert {"severity", "object", "kind", "text"} == set(saved["fidelity"][0])
    mi.execute("-ckpt-save second")
    listed = mi.execute("-ckpt-list")["snapshots"]
    assert [(each["name"], each["message"]) for each in listed] == [
        ("first", "two words"),
        ("second", ""),
    ]
    assert listed[0]["bytes"] == saved["bytes"] and listed[0]["file"] == saved["file"]
    info = mi.execute("-ckpt-info first")
    assert (info["name"], info["message"], len(info["threads"])) == ("first", "two words", 3)
    environment = {each["name"]: each["value"] for each in info["session"]["environment"]}
    assert environment["CKPT_DIR"] == str(scene.store)
    restored = mi.execute("-ckpt-restore first")
    assert (restored["name"], restored["threads"], restored["message"]) == (
        "first",
        "3",
        "two words",
    )
    assert restored["pid"] == mi.execute("-list-thread-groups")["groups"][0]["pid"]
    assert [each["pid"] for each in mi.execute("-ckpt-info first")["restored"]] == [restored["pid"]]
    assert mi.execute("-ckpt-delete first second")["names"] == ["first", "second"]
    assert mi.execute("-ckpt-list") == {"snapshots": []}
    mi.quit()


def test_snapshots_that_are_looked_at_beside_the_program(scene: Scene) -> None:
    """They are opened in inferiors of their own: a front end hears of the one that stays."""
    mi, _ = run_to_work(scene)
    mi.execute("-ckpt-save here")
    mark = len(mi.records)
    mi.execute('-interpreter-exec console "ckpt print counter here"')
    told = [record for record in mi.records[mark:] if record.kind not in ("", "^")]
    assert {record.kind for record in told} == {"~"} and told[0].text.startswith(
        "Name"
    ), mi.transcript
    mark = len(mi.records)
    mi.execute('-interpreter-exec console "ckpt inspect here"')
    told = [record for record in mi.records[mark:] if record.kind == "="]
    groups = [each["id"] for each in mi.execute("-list-thread-groups")["groups"]]
    (new,) = set(groups) - {"i1"}
    assert [r.fields["id"] for r in told if r.name.startswith("thread-group")] == [
        new,
        new,
    ], mi.transcript
    threads = [
        r.fields["id"] for r in told if r.name == "thread-created" and r.fields["group-id"] == new
    ]
    # The selection is where the user was led to.
    assert (
        len(threads) == 3
        and [r.fields["id"] for r in told if r.name == "thread-selected"][-1] == threads[0]
    )
    mi.quit()


def test_a_script_that_quits_after_a_restore(scene: Scene) -> None:
    """The stop is told after the command; GDB ends before that, and must not crash."""
    mi, _ = run_to_work(scene)
    mi.execute("-ckpt-save here")
    script = scene.write("quits.gdb", "ckpt restore here\nquit\n")
    mi.send(f'-interpreter-exec console "source {script}"')
    mi.ended()
