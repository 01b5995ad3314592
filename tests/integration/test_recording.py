"""ckpt-record and ckpt-replay: each program is recorded once and replayed three times."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support.processes import kill_now, wait_gone

REPLAYS = 3
LIMIT_S = 300


class Recorder:
    """Records programs into one file of the test's directory."""

    def __init__(self, build: Path, directory: Path) -> None:
        self.bin = build / "bin"
        self.programs = build / "tests" / "programs"
        self.directory = directory
        self.file = directory / "recording"

    def command(self, *words: str | Path, options: tuple[str, ...] = ()) -> list[str]:
        record = [str(self.bin / "ckpt-record"), "-o", str(self.file), "--force", *options]
        return [*record, *map(str, words)]

    def record(
        self, *words: str | Path, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words, options=options),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=LIMIT_S,
            check=False,
        )

    def check(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / "ckpt-replay", "--check", self.file],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def replays(self, *words: str | Path, status: int = 0) -> str:
        """Record, expecting that exit status, and replay; what the program has printed."""
        recorded = self.record(*words, options=("--digest-every", "100"))
        assert recorded.returncode == status, recorded.stderr
        for _ in range(REPLAYS):
            self.agrees()
        return recorded.stdout

    def agrees(self) -> re.Match[str]:
        checked = self.check()
        assert checked.returncode == 0, checked.stderr
        line = re.fullmatch(
            r".*: replays as recorded: (\d+) events?, (\d+) threads?, [\d.]+ s, "
            r"(\d+) digests? compared\n",
            checked.stdout,
        )
        assert line, checked.stdout
        return line


@pytest.fixture
def recorder(build_dir: Path, tmp_path: Path) -> Recorder:
    return Recorder(build_dir, tmp_path)


@pytest.mark.parametrize(
    "name", ["contended", "computing", "outputs", "unpredictable", "unpredictable.static"]
)
def test_programs(recorder: Recorder, name: str) -> None:
    assert recorder.replays(recorder.programs / name)


def test_signals(recorder: Recorder) -> None:
    alarms, own, interrupted, _ = recorder.replays(recorder.programs / "signals").split()
    assert int(alarms) >= 5 and own == "1" and int(interrupted) > 0


@pytest.mark.parametrize("name", ["spinning", "waiting"])
def test_threads_that_spin_are_stopped_by_force(recorder: Recorder, name: str) -> None:
    printed = recorder.replays(recorder.programs / name)
    expected = 0
    for turn in range(12):
        expected = expected * 3 + turn % 3
    assert printed == f"{expected}\n"
    assert recorder.agrees()[2] == "4"


@pytest.mark.parametrize("name", ["contended", "spinning"])
def test_bound_to_one_processor(recorder: Recorder, name: str) -> None:
    """And replayed bound to each one, and to none."""
    processors = sorted(os.sched_getaffinity(0))
    command = recorder.command(recorder.programs / name, options=("--digest-every", "100"))
    bound = ["taskset", "-c", str(processors[-1])]
    subprocess.run([*bound, *command], stdin=subprocess.DEVNULL, check=True, timeout=LIMIT_S)
    for processor in [*processors[:2], None]:
        where = [] if processor is None else ["taskset", "-c", str(processor)]
        replay = [*where, str(recorder.bin / "ckpt-replay"), "--check", str(recorder.file)]
        checked = subprocess.run(
            replay, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        assert checked.returncode == 0 and "replays as recorded" in checked.stdout, checked.stderr


REAL = {
    "ls": ("-l", "/usr/bin"),
    "bc": ("-lq", "pi.bc"),
    "gzip": ("-c", "numbers"),
    "sort": ("--parallel=2", "numbers"),
    "sqlite3": (":memory:", ".read rows.sql"),
}


@pytest.mark.parametrize("program", REAL)
def test_real_programs(recorder: Recorder, program: str) -> None:
    path = shutil.which(program, path="/usr/bin:/bin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    (recorder.directory / "pi.bc").write_text("scale=200; 4*a(1)\nquit\n")
    numbers = "".join(f"{n * 7919 % 100003}\n" for n in range(150_000))
    (recorder.directory / "numbers").write_text(numbers)
    rows = "".join(f"insert into t values({n}, random());\n" for n in range(500))
    (recorder.directory / "rows.sql").write_text(
        f"create table t(a, b);\n{rows}select count(*), min(b) < max(b) from t;\n"
    )
    assert recorder.replays(path, *REAL[program])


def test_python_with_five_threads(recorder: Recorder) -> None:
    script = recorder.directory / "threads.py"
    script.write_text(
        "import random, threading, time\n"
        "results = []\n"
        "def work(k):\n"
        "    for i in range(2000): k = (k * 31 + i) % 1000003\n"
        "    time.sleep(0.01 * random.random())\n"
        "    results.append((k, time.time()))\n"
        "threads = [threading.Thread(target=work, args=(k,)) for k in range(5)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(results)\n"
    )
    assert recorder.replays("/usr/bin/python3", script).count("(") == 5
    assert recorder.agrees()[2] == "6"


def test_the_compiler(recorder: Recorder) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    found = subprocess.run(
        ["gcc", "-print-prog-name=cc1"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (recorder.directory / "small.c").write_text("int main(void) { return 3; }\n")
    recorder.replays(found, "small.c", "-quiet", "-o", "small.s")
    assert "main" in (recorder.directory / "small.s").read_text()


def test_children_run_by_themselves(recorder: Recorder) -> None:
    assert recorder.replays(recorder.programs / "children") == "21 22 23\n"
    assert "processes that the program has made are not recorded" in recorder.record(
        recorder.programs / "children"
    ).stderr


REFUSED = {
    "io_uring": "io_uring_setup (io_uring)",
    "aio": "io_setup (kernel AIO)",
    "userfaultfd": "userfaultfd",
    "ptrace": "ptrace (a tracer of its own)",
    "strict": "prctl with strict seccomp",
    "seccomp": "seccomp in strict mode",
    "semctl": "semctl with the request 0xd",
    "shared": "mmap of a file as writable shared memory",
    "sysv": "shmat (memory shared with other processes)",
    "ioctl": "ioctl with the request 0x12345678",
    "number": "system call 1999",
    "32-bit": "a system call of 32-bit code",
    "exec": "execve (another program)",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_ends_the_recording_only(recorder: Recorder, what: str) -> None:
    recorded = recorder.record(recorder.programs / "refused", what)
    assert recorded.stdout == "before\nafter\n"
    assert recorded.returncode == (0 if what == "exec" else 7)
    assert f"cannot record {REFUSED[what]}" in recorded.stderr
    assert recorder.agrees()
    assert f"it ends before {REFUSED[what]}" in recorder.check().stderr


def test_a_difference_is_named(recorder: Recorder) -> None:
    recorded = recorder.record(recorder.programs / "made_code")
    assert recorded.returncode == 0
    assert "note: code that the program makes at run time" in recorded.stderr
    checked = recorder.check()
    assert checked.returncode == 1 and checked.stdout == ""
    assert re.fullmatch(
        r"ckpt-replay: the replay differs at event \d+ \(thread 0, close\): "
        r"register \w+ is 0x[0-9a-f]+ and was 0x[0-9a-f]+\n",
        checked.stderr,
    )


def test_a_file_that_has_changed_is_named(recorder: Recorder) -> None:
    program = recorder.directory / "program"
    shutil.copy(recorder.programs / "unpredictable", program)
    recorder.replays(program)
    os.utime(program, (1, 1))
    checked = recorder.check()
    assert checked.returncode == 1
    assert checked.stderr == f"ckpt-replay: {program} has changed since the recording\n"


def test_a_killed_recorder_leaves_what_it_has_written(recorder: Recorder) -> None:
    process = subprocess.Popen(
        recorder.command(recorder.programs / "many_calls"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "READY\n"
    finally:
        kill_now(process.pid)
        process.communicate()
    wait_gone(process.pid)
    assert int(recorder.agrees()[1]) > 100
    assert "it has no end" in recorder.check().stderr


def test_a_signal_that_ends_the_program(recorder: Recorder) -> None:
    process = subprocess.Popen(
        recorder.command(recorder.programs / "many_calls"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "READY\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        assert process.wait(LIMIT_S) == 128 + signal.SIGTERM
    finally:
        kill_now(process.pid)
        process.communicate()
    recorder.agrees()


def test_wrong_usage_and_what_is_there(recorder: Recorder) -> None:
    recorder.record("/bin/true")
    again = subprocess.run(
        [recorder.bin / "ckpt-record", "-o", recorder.file, "/bin/true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1
    assert again.stderr == f"ckpt-record: {recorder.file} exists; --force replaces it\n"
    assert recorder.record().returncode == 2
    missing = recorder.record("no-such-program")
    assert missing.returncode == 1
    assert missing.stderr == "ckpt-record: no-such-program: there is no such program\n"
    text = recorder.directory / "text"
    text.write_text("no program")
    text.chmod(0o755)
    refused = recorder.record(text)
    assert refused.returncode == 1
    assert refused.stderr == f"ckpt-record: execute {text}: Exec format error (ENOEXEC)\n"
    recorder.file.write_bytes(b"something else")
    assert recorder.check().stderr == f"ckpt-replay: {recorder.file}: it is no recording\n"
