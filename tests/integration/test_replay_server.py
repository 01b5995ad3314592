"""ckpt-replay-server: what it answers, and where it goes, forwards and backwards."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.processes import kill_now, wait_gone
from support.remote_protocol import PC, RDI, RemoteServer, stop_of

LIMIT_S = 300
TRAP, INTERRUPTED = 5, 2
BEGIN, END = frozenset({"replaylog:begin"}), frozenset({"replaylog:end"})
# The protocol has a number of its own for it.
USR1 = 30
STEPS = 200


class Recorded:
    """A recording of a test program."""

    def __init__(self, build: Path, file: Path, *arguments: str, name: str = "walked") -> None:
        self.bin = build / "bin"
        self.program = build / "tests" / "programs" / name
        self.file = file
        subprocess.run(
            [self.bin / "ckpt-record", "-o", file, "--force", self.program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )

    def symbol(self, name: str) -> int:
        """Where a function or a variable is: addresses are not randomized."""
        listed = subprocess.run(["nm", self.program], capture_output=True, text=True, check=True)
        found = re.search(rf"^([0-9a-f]+) \w {name}$", listed.stdout, re.MULTILINE)
        assert found, name
        return 0x555555554000 + int(found[1], 16)


@pytest.fixture(scope="module")
def crashed(build_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(build_dir, tmp_path_factory.mktemp("crashed") / "recording")


@pytest.fixture(scope="module")
def threaded(build_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(build_dir, tmp_path_factory.mktemp("threaded") / "recording", "threads")


Serve = Callable[..., RemoteServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[RemoteServer] = []

    def start(recorded: Recorded, at: str = "begin") -> RemoteServer:
        program = recorded.bin / "ckpt-replay-server"
        servers.append(RemoteServer([program, "--at", at, recorded.file]))
        return servers[-1]

    yield start
    for server in servers:
        pid = server.process.pid
        if server.process.poll() is None:
            kill_now(pid)
        server.process.communicate()


def _goes_to(server: RemoteServer, *places: int) -> None:
    for at in places:
        assert server.ask(f"Z0,{at:x},1") == "OK"


def _walk_and_return(server: RemoteServer, steps: int) -> None:
    """`bs` must be the inverse of `s`, in the thread that was stepped."""
    seen = []
    for _ in range(steps):
        seen.append(server.state())
        thread = int(server.ask("qC")[2:], 16)
        assert server.move(f"vCont;s:{thread:x};c").kind == "T"
    for number, before in enumerate(reversed(seen)):
        server.ask("Hc" + before[0][2:])
        server.move("bs")
        assert server.state() == before, f"{steps - number} steps from where it began"


@pytest.mark.parametrize("place", ["main", "fill", "add", "on_signal", "crash"])
def test_a_step_back_undoes_a_step(serve: Serve, crashed: Recorded, place: str) -> None:
    server = serve(crashed)
    _goes_to(server, crashed.symbol(place))
    server.ask("QPassSignals:1e")
    assert server.move("vCont;c").reasons == {"swbreak"}
    _walk_and_return(server, STEPS)


def test_steps_back_from_random_events(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    server.ask("QPassSignals:1e")
    total = int(server.command("position").split()[3])
    chosen = random.Random(7)
    for _ in range(6):
        server.command(f"goto {chosen.randrange(total - 2)}")
        _walk_and_return(server, 25)


def test_a_step_back_undoes_a_step_of_a_thread(serve: Serve, threaded: Recorded) -> None:
    server = serve(threaded)
    _goes_to(server, threaded.symbol("work"))
    for _ in range(2):
        assert server.move("vCont;c").reasons == {"swbreak"}
    _walk_and_return(server, STEPS // 2)


@pytest.mark.parametrize("name", ["spinning", "computing"])
def test_threads_that_were_stopped_by_force(
    serve: Serve, build_dir: Path, tmp_path: Path, name: str
) -> None:
    recorded = Recorded(build_dir, tmp_path / "recording", name=name)
    server = serve(recorded)
    server.ask("QPassSignals:e")
    # While there is a breakpoint, each place is looked for between two that are on the way.
    _goes_to(server, recorded.symbol("main"))
    assert server.move("vCont;c").reasons == {"swbreak"}
    assert server.move("vCont;c").reasons == END
    total = int(server.command("position").split()[3])
    chosen = random.Random(3)
    for _ in range(4):
        server.command(f"goto {chosen.randrange(60, total - 2)}")
        _walk_and_return(server, 10)
    server.command("goto end")
    assert server.move("bc").reasons == {"swbreak"}


def _visits(server: RemoteServer, packet: str) -> list[tuple[str, str, bytes]]:
    found = []
    while server.move(packet).reasons == {"swbreak"}:
        found.append(server.state())
    return found


@pytest.mark.parametrize("which", ["crashed", "threaded"])
def test_breakpoints_are_the_same_in_both_directions(
    serve: Serve, request: pytest.FixtureRequest, which: str
) -> None:
    recorded: Recorded = request.getfixturevalue(which)
    server = serve(recorded)
    server.ask("QPassSignals:1e;b")
    _goes_to(server, recorded.symbol("add" if which == "crashed" else "work"))
    forwards = _visits(server, "vCont;c")
    assert len(forwards) == (8 if which == "crashed" else 2)
    backwards = _visits(server, "bc")
    assert backwards == forwards[::-1]
    assert server.move("bc").reasons == BEGIN
    assert _visits(server, "vCont;c") == forwards


def test_back_and_forth_is_where_it_was(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    _goes_to(server, crashed.symbol("fill"))
    for _ in range(4):
        server.move("vCont;c")
    here = server.state()
    server.move("bc")
    server.move("vCont;c")
    assert server.state() == here


def test_a_signal_is_shown_where_it_comes(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    assert server.move("vCont;c").number == USR1
    before = server.state()
    assert server.step().number == TRAP
    assert server.register(PC) == crashed.symbol("on_signal")
    assert server.move("bs").number == USR1
    assert server.state() == before
    assert server.move("bc").reasons == BEGIN
    assert server.move("vCont;c").number == USR1


def test_a_crash_is_the_end_and_is_walked_back(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed, "end")
    assert server.move("?").number == signal.SIGSEGV
    here = server.state()
    server.move("bs")
    assert server.state() != here
    assert server.step().number == signal.SIGSEGV
    assert server.state() == here
    ended = server.move("vCont;c")
    assert (ended.kind, ended.number) == ("X", signal.SIGSEGV)


def test_the_begin_and_the_end(serve: Serve, threaded: Recorded) -> None:
    server = serve(threaded)
    assert server.move("bs").reasons == BEGIN
    assert server.move("bc").reasons == BEGIN
    assert server.move("vCont;c").reasons == END
    ended = server.move("vCont;c")
    assert (ended.kind, ended.number) == ("W", 3)


def test_threads(serve: Serve, threaded: Recorded) -> None:
    server = serve(threaded)
    _goes_to(server, threaded.symbol("work"))
    first, second = server.move("vCont;c"), server.move("vCont;c")
    assert len({first.thread, second.thread}) == 2
    # The first one may have ended by now.
    listed = server.ask("qfThreadInfo")[1:].split(",")
    assert len(listed) >= 2 and f"{second.thread:x}" in listed
    assert server.ask(f"T{second.thread:x}") == "OK" and server.ask("T7ffffffe") == "E01"
    own = server.registers()
    assert server.ask(f"Hg{listed[0]}") == "OK"
    assert server.registers() != own


def test_ctrl_c_stops_at_a_place_that_is_found_again(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    server.ask("QPassSignals:1e")
    _goes_to(server, crashed.symbol("crash"))
    server.move("vCont;c")
    server.interrupt()
    stop = server.move("vCont;c")
    assert stop.number in (INTERRUPTED, signal.SIGSEGV)
    here = server.state()
    server.move("bs")
    server.step()
    assert server.state() == here


def test_an_interruption_that_comes_along_with_its_motion(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed, "end")
    server.ask("QPassSignals:1e")
    here = server.state()
    assert server.command(f"last {crashed.symbol('text') + 200:x} 4") == ""
    server.send("bc", behind=b"\x03")
    assert stop_of(server.receive()).number == INTERRUPTED
    assert server.state() == here


def test_what_there_is_to_ask(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    assert "ReverseContinue+" in server.ask("qSupported:swbreak+")
    name = server.ask("qXfer:exec-file:read::0,1000")
    assert name == f"l{crashed.program}"
    assert "org.gnu.gdb.i386.segments" in server.ask("qXfer:features:read:target.xml:0,ffff")
    assert server.ask("m0,8") == "E01" and server.ask("mzz") == "E01"
    # GDB takes the files of its own machine then, and faster.
    assert server.ask("vFile:setfs:0") == ""
    assert server.ask("Z5,0,8") == "" and server.ask("vRun;00") == ""
    assert server.ask("Z2,0,0") == "E01" and server.ask("Z2,0,10001") == "E01"
    assert server.command("goto 999999999").startswith("there is no event")
    assert server.command("position").startswith("event 0 of ")


def test_conditions_are_evaluated_by_the_server(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    assert "ConditionalBreakpoints+" in server.ask("qSupported")
    server.ask("QPassSignals:1e")
    add = crashed.symbol("add")
    # k, in %edi, is 3: register 5; with 32 bits of it; constant; equal; end.
    assert server.ask(f"Z0,{add:x},1;X9,260005" + "2a2022031327") == "OK"
    for packet in ("vCont;c", "bc"):
        stop = server.move(packet)
        if packet == "bc":
            assert stop.reasons == BEGIN
            stop = server.move("vCont;c")
        assert stop.reasons == {"swbreak"} and server.register(RDI) == 3
    # Never; and one that cannot be evaluated is shown.
    assert server.ask(f"Z0,{add:x},1;X3,220027") == "OK"
    assert server.move("vCont;c").number == signal.SIGSEGV
    server.move("bc")
    assert server.ask(f"Z0,{add:x},1;X1,02") == "OK"
    assert server.move("vCont;c").reasons == {"swbreak"}


def test_changes_are_tried_on_a_copy(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    _goes_to(server, crashed.symbol("add"))
    server.move("vCont;c")
    total = crashed.symbol("total")
    before = server.state()
    assert server.ask(f"M{total:x},4:05000000") == "OK" and _int_at(server, total) == 5
    assert server.ask("M0,1:00") == "E01" and server.ask("X0,0:") == "OK"
    assert server.state() == before
    # By itself that is no other way to go.
    server.step()
    assert "history stays" in server.console and _int_at(server, total) == 0
    server.move("bs")
    assert server.state() == before
    # The copy goes where its registers say.
    assert server.ask("P10=" + crashed.symbol("crash").to_bytes(8, "little").hex()) == "OK"
    assert server.register(PC) == crashed.symbol("crash")
    assert server.step().number == TRAP
    assert server.move("vCont;c").number == signal.SIGSEGV
    assert server.ask("G" + before[1]) == "OK"
    assert server.registers() == before[1]
    server.step()
    server.move("bs")
    assert server.state() == before


def _int_at(server: RemoteServer, at: int) -> int:
    return int.from_bytes(server.memory(at, 4), "little", signed=True)


def _watch_hits(server: RemoteServer, packet: str, reason: str) -> list[tuple[str, str, bytes]]:
    found = []
    while reason in server.move(packet).reasons:
        found.append(server.state())
    return found


def test_what_is_watched_changes(serve: Serve, crashed: Recorded) -> None:
    """Forwards behind the instruction, backwards in front of it, and what is written again with
    the same value is no change."""
    server = serve(crashed)
    server.ask("QPassSignals:1e")
    total = crashed.symbol("total")
    assert server.ask(f"Z2,{total:x},4") == "OK"
    values = []
    while server.move("vCont;c").reasons == {f"watch:{total:x}"}:
        values.append(_int_at(server, total))
    # 10 k is added for each k; 0 changes nothing.
    assert values == [10, 30, 60, 100, 150, 210, 280]
    backwards = []
    while server.move("bc").reasons == {f"watch:{total:x}"}:
        backwards.append(_int_at(server, total))
        here = server.state()
        assert server.move("vCont;s").reasons == {f"watch:{total:x}"}
        assert server.move("bs").reasons == {f"watch:{total:x}"}
        assert server.state() == here
    assert backwards == [210, 150, 100, 60, 30, 10, 0]
    assert server.ask(f"z2,{total:x},4") == "OK"
    assert server.move("vCont;c").reasons == frozenset()


@pytest.mark.parametrize("kind, reason", [(3, "rwatch"), (4, "awatch")])
def test_what_is_read_is_watched(
    serve: Serve, crashed: Recorded, kind: int, reason: str
) -> None:
    server = serve(crashed)
    server.ask("QPassSignals:1e")
    handled = crashed.symbol("handled")
    server.ask(f"Z{kind},{handled:x},4")
    reason = f"{reason}:{handled:x}"
    forwards = _watch_hits(server, "vCont;c", reason)
    # `handled += signal` is one instruction or three.
    assert len(forwards) in ((1,) if kind == 3 else (1, 2))
    backwards = _watch_hits(server, "bc", reason)
    assert len(backwards) == len(forwards)
    assert _watch_hits(server, "vCont;c", reason) == forwards


def test_a_watch_and_a_breakpoint_behind_it(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    server.ask("QPassSignals:1e")
    total = crashed.symbol("total")
    server.ask(f"Z2,{total:x},4")
    server.move("vCont;c")
    behind = server.register(PC)
    _goes_to(server, behind)
    seen = []
    while True:
        stop = server.move("bc")
        if stop.reasons == BEGIN:
            break
        seen.append(stop.reasons)
    server.command("seek end")
    server.move("bc")
    backwards = []
    while True:
        stop = server.move("bc")
        if stop.reasons == BEGIN:
            break
        backwards.append(next(iter(stop.reasons)))
    assert seen == [frozenset({f"watch:{total:x}"}), frozenset({"swbreak"})]
    # The last add() first, and k == 0, which changes nothing, last.
    assert backwards == ["swbreak", f"watch:{total:x}"] * 7 + ["swbreak"]


def test_a_kept_position_between_events(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    assert server.ask("qRcmd," + b"seek kept".hex()) == "OK"
    assert server.move("bc").reasons == BEGIN
    _goes_to(server, crashed.symbol("add"))
    server.ask("QPassSignals:1e")
    for _ in range(4):
        server.move("vCont;c")
    for _ in range(5):
        server.move("vCont;s")
    assert server.command("keep") == ""
    here = server.state(), server.command("position")
    for elsewhere in ("begin", "end", "60"):
        server.command(f"seek {elsewhere}")
        server.move("bc")
        assert server.state() != here[0]
        server.command("seek kept")
        assert server.move("bc").number == 0
        assert (server.state(), server.command("position")) == here
    _walk_and_return(server, 20)
    server.move("bs")
    server.move("vCont;s")
    assert server.state() == here[0]


def test_the_last_change(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed, "end")
    total = crashed.symbol("total")
    _goes_to(server, crashed.symbol("add"))
    assert server.command("last zz").startswith("It is ")
    for value in (210, 150):
        assert server.command(f"last {total:x} 4") == ""
        assert server.move("bc").number == 0
        assert _int_at(server, total) == value
    # Never written before main.
    server.command("seek begin")
    server.move("bc")
    assert server.command(f"last {total:x} 4") == ""
    assert server.move("bc").reasons == BEGIN
    # Breakpoints are there again.
    assert server.move("vCont;c").reasons == {"swbreak"}


def test_a_place_is_sought_by_the_next_motion(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    assert server.command("seek 999999999").startswith("there is no event")
    assert server.command("seek nowhere") == '"nowhere" is no position\n'
    for event, packet in (("40", "bc"), ("20", "vCont;c"), ("end", "bs"), ("begin", "bc")):
        assert server.command(f"seek {event}") == ""
        assert server.move(packet).number == 0
        now = json.loads(server.command("json position"))
        # Events that nothing runs for are taken with the one before.
        wanted = {"begin": 0, "end": now["events"] - 1}.get(event)
        assert 0 <= now["event"] - (int(event) if wanted is None else wanted) <= 1
    # Only once.
    assert server.move("vCont;c").number == USR1


def test_where_it_is(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed, "end")
    now = json.loads(server.command("json position"))
    assert now["signal"] == "SIGSEGV" and now["at_end"]
    assert now["program"] == str(crashed.program) and now["file"] == str(crashed.file)
    server.move("bc")
    before = json.loads(server.command("json position"))
    assert before["event"] < now["event"] and before["signal"] == "SIGUSR1"
    assert not before["at_end"]


def test_marks_of_a_crash(serve: Serve, crashed: Recorded) -> None:
    marks = json.loads(serve(crashed).command("json timeline"))["marks"]
    assert [mark["event"] for mark in marks] == sorted(mark["event"] for mark in marks)
    assert [mark["what"] for mark in marks if mark["kind"] == "signal"] == ["SIGUSR1"]
    assert (marks[-1]["kind"], marks[-1]["what"]) == ("exit", "killed by SIGSEGV")
    # A line for each pass of its loop, into a pipe.
    lines = [mark["what"] for mark in marks if mark["kind"] == "output"]
    assert len(lines) == 8 and all(line.startswith("fd 1, ") for line in lines)


def test_marks_of_threads(serve: Serve, threaded: Recorded) -> None:
    server = serve(threaded)
    marks = json.loads(server.command("json timeline"))["marks"]
    started = [mark["thread"] for mark in marks if mark["what"] == "started"]
    ended = [mark["thread"] for mark in marks if mark["what"] == "ended"]
    assert len(started) == 2 and set(ended) == set(started)
    assert marks[-1]["what"] == "exited with status 3"


def test_output_is_shown_again(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed)
    server.ask("QPassSignals:1e")
    server.move("vCont;c")
    assert server.console == ""
    assert server.command("output maybe").startswith("It is ")
    server.command("output on")
    server.move("bc")
    assert server.console == ""
    server.move("vCont;c")
    lines = server.console.splitlines()
    assert [line.split()[1] for line in lines] == ["1"] * 8
    server.command("output off")
    server.move("bc")
    server.move("vCont;c")
    assert server.console.splitlines() == lines


def test_its_own_instructions_are_not_seen(serve: Serve, crashed: Recorded) -> None:
    server = serve(crashed, "end")
    at = crashed.symbol("main")
    code = server.memory(at, 400)
    assert code in crashed.program.read_bytes()
    _goes_to(server, at + 4)
    assert server.memory(at, 400) == code


@pytest.mark.parametrize("how", ["input ends", "killed"])
def test_nothing_is_left(serve: Serve, crashed: Recorded, how: str) -> None:
    server = serve(crashed, "end")
    server.move("bs")
    pid = server.process.pid
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(tasks) > 1
    if how == "killed":
        kill_now(pid)
    assert server.close() == (0 if how == "input ends" else -signal.SIGKILL)
    for task in tasks:
        wait_gone(int(task))


def test_a_damaged_recording_is_an_error(crashed: Recorded, tmp_path: Path) -> None:
    whole = crashed.file.read_bytes()
    for at in range(16, len(whole), max(1, len(whole) // 12)):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        done = subprocess.run(
            [crashed.bin / "ckpt-replay-server", damaged],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode in (0, 1)
        assert done.returncode == 0 or done.stderr.startswith("ckpt-replay-server: ")


def test_wrong_usage(crashed: Recorded) -> None:
    wrong: list[tuple[str, ...]] = [(), ("--at", "nowhere", "x"), ("--frobnicate", "x")]
    for words in wrong:
        done = subprocess.run(
            [crashed.bin / "ckpt-replay-server", *words], capture_output=True, check=False
        )
        assert done.returncode == 2
