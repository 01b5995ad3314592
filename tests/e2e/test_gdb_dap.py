"""GDB's debug adapter (DAP), as editors drive GDB: what they see of a save and of a restore."""

from __future__ import annotations

from typing import Any

import pytest
from dapclient import DapSession, has_dap
from scene import Scene


@pytest.fixture(scope="module", autouse=True)
def adapter() -> None:
    if not has_dap():
        pytest.skip("this gdb is no debug adapter: it has no -i=dap (GDB 14)")


def run_to_work(scene: Scene) -> DapSession:
    """e2e_threads with two threads beside the main one, stopped in `work`."""
    dap = scene.dap()
    dap.call("initialize", clientID="test", adapterID="gdb")
    launched = dap.send("launch", program=scene.program("e2e_threads"), args=["2"])
    dap.call("setFunctionBreakpoints", breakpoints=[{"name": "work", "condition": "step == 3"}])
    dap.call("configurationDone")
    assert dap.response(launched)["success"], dap.transcript
    dap.event("stopped", 0)
    return dap


def seen(dap: DapSession, thread: int) -> dict[str, Any]:
    """What an editor shows of a stop in `thread`."""
    frames = dap.call("stackTrace", threadId=thread)["stackFrames"]
    scopes = dap.call("scopes", frameId=frames[0]["id"])["scopes"]
    variables = {
        scope["name"]: [
            (each["name"], each["value"])
            for each in dap.call("variables", variablesReference=scope["variablesReference"])[
                "variables"
            ]
        ]
        for scope in scopes
        if scope["name"] in ("Arguments", "Locals")
    }
    return {
        "stack": [(each["name"], each["line"]) for each in frames],
        "variables": variables,
        "threads": len(dap.call("threads")["threads"]),
        "nonce": dap.call("evaluate", expression="nonce", context="watch")["result"],
    }


def restore(dap: DapSession) -> dict[str, Any]:
    """A restore by the console, and its stop: the only one,
    and nothing says that the session is over.
    """
    mark = len(dap.events)
    assert "Restored" in dap.console("ckpt restore here")
    stop = dap.event("stopped", mark)
    dap.call("threads")
    names = [each["event"] for each in dap.events[mark:]]
    assert names.count("stopped") == 1, dap.transcript
    assert not {"exited", "terminated", "continued"} & set(names), dap.transcript
    return stop


def next_stop(dap: DapSession, request: str, thread: int) -> dict[str, Any]:
    mark = len(dap.events)
    dap.call(request, threadId=thread)
    return dap.event("stopped", mark)


def test_a_restore_is_one_stop(scene: Scene) -> None:
    dap = run_to_work(scene)
    first = dap.event("stopped", 0)
    then = seen(dap, first["threadId"])
    assert (then["stack"][0][0], then["threads"]) == ("work", 3)
    assert "Saved" in dap.console("ckpt save here")
    for _ in range(2):
        assert next_stop(dap, "next", first["threadId"])["reason"] == "step"
        stop = restore(dap)
        assert (stop["reason"], stop["allThreadsStopped"]) == ("breakpoint", True)
        assert stop["hitBreakpointIds"] == first["hitBreakpointIds"]
        assert seen(dap, stop["threadId"]) == then
    # It steps from where it stands, does not stop there once more, and ends as ever.
    assert next_stop(dap, "next", stop["threadId"])["reason"] == "step"
    assert seen(dap, stop["threadId"])["stack"][0] == ("work", then["stack"][0][1] + 1)
    dap.call("setFunctionBreakpoints", breakpoints=[])
    mark = len(dap.events)
    dap.call("continue", threadId=stop["threadId"])
    assert dap.event("exited", mark) == {"exitCode": 7}
    output = "".join(each["body"]["output"] for each in dap.events if each["event"] == "output")
    assert "PASS" in output, dap.transcript
    dap.call("disconnect")
    dap.ended()


def test_a_restore_that_fails(scene: Scene) -> None:
    """Before the old program's end it is as it was;
    afterwards there is none, and the editor hears it.
    """
    dap = run_to_work(scene)
    thread = dap.event("stopped", 0)["threadId"]
    then = seen(dap, thread)
    dap.console("ckpt save here")
    mark = len(dap.events)
    failed = dap.response(dap.send("evaluate", expression="ckpt restore nosuch", context="repl"))
    assert not failed["success"] and "nosuch" in failed["message"]
    assert seen(dap, thread) == then
    assert not [each for each in dap.events[mark:] if each["event"] != "output"], dap.transcript
    dap.console("python __import__('gdbext._native')._native.fault_arm('restore-finish')")
    failed = dap.response(dap.send("evaluate", expression="ckpt restore here", context="repl"))
    assert not failed["success"] and "restore-finish" in failed["message"]
    dap.event("terminated", mark)
    names = [each["event"] for each in dap.events[mark:]]
    assert names.count("exited") == 1 and "stopped" not in names, dap.transcript
    dap.call("disconnect")
    dap.ended()
