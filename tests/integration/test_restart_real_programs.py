"""Programs that nobody here wrote, in the middle of their work:
what they print after the save is the same every time.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import Workshop, notes
from support.processes import Result, Running, describe, system_call_of, wait_until

PYTHON = "/usr/bin/python3"

THREADED = """
import hashlib, sys, threading, queue, random
rng = random.Random({nonce!r})
tasks, results = queue.Queue(), {{}}
def work():
    while (n := tasks.get()) is not None:
        h = hashlib.sha256({nonce!r}.encode())
        for i in range(300):
            h.update(str(i * n).encode())
        results[n] = h.hexdigest()
        tasks.task_done()
workers = [threading.Thread(target=work) for _ in range(3)]
for w in workers: w.start()
numbers = [rng.randrange(10**9) for _ in range(200)]
for n in numbers[:100]: tasks.put(n)
tasks.join()
print("READY {nonce}", flush=True)
sys.stdin.readline()
for n in numbers[100:]: tasks.put(n)
tasks.join()
for _ in workers: tasks.put(None)
for w in workers: w.join()
print(hashlib.sha256("".join(results[n] for n in numbers).encode()).hexdigest(), flush=True)
try:
    1 // 0
except ZeroDivisionError as e:
    print("caught", e, {nonce!r}, flush=True)
sys.exit(3)
"""


def _same_every_time(
    workshop: Workshop, original: Running, image: Path, status: int, restores: int = 3
) -> Result:
    """Let the original end, restore, compare."""
    original.send()
    first = original.finish()
    assert first.status == status, f"{first}"
    # What it printed before the save it prints only once.
    output = first.output.split("\n", 1)[1]
    assert output
    for ids in ("auto", "virtual", "auto")[:restores]:
        restart = workshop.restart(image, "--ids", ids)
        restart.send()
        result = restart.finish()
        assert result.status == status, f"{result}"
        assert result.output == output, f"{result}\nexpected: {output}"
    return first


@pytest.mark.parametrize("randomised", [True, False], ids=["aslr", "fixed"])
def test_python(workshop: Workshop, randomised: bool) -> None:
    script = THREADED.format(nonce=secrets.token_hex(8))
    original = workshop.start([PYTHON, "-c", script], randomised=randomised)
    original.ready()
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    _same_every_time(workshop, original, saved.image, 3)


def test_python_with_extensions(workshop: Workshop) -> None:
    """Extension modules are libraries loaded with dlopen;
    decimal, sqlite3, ssl and ctypes bring several.
    """
    nonce = secrets.token_hex(8)
    script = (
        "import ctypes, decimal, sqlite3, json, ssl, sys\n"
        "db = sqlite3.connect(':memory:'); db.execute('create table t(x)')\n"
        "db.executemany('insert into t values (?)', [(i,) for i in range(1000)]); "
        f"print('READY {nonce}', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(db.execute('select sum(x) from t').fetchone(), decimal.Decimal(2).sqrt(), "
        f"'{nonce}', "
        "ssl.OPENSSL_VERSION, ctypes.CDLL(None).abs(-5), flush=True)\n"
    )
    original = workshop.start([PYTHON, "-c", script])
    original.ready()
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    _same_every_time(workshop, original, saved.image, 0)


def _need(program: str) -> str:
    if not Path(program).exists():
        pytest.skip(f"{program} is not installed")
    return program


def test_sqlite_in_memory(workshop: Workshop) -> None:
    """A database in memory, the shell waiting for its next statement."""
    nonce = secrets.token_hex(8)
    original = workshop.start([_need("/usr/bin/sqlite3"), "-batch", ":memory:"])
    original.send(
        f"create table t(a, b); insert into t values (1, '{nonce}'), (2, 'two'); "
        f"select 'READY {nonce}';"
    )
    original.ready()
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)

    def query(running: Running) -> str:
        running.send("insert into t select a + 2, b || a from t;")
        running.send("select * from t order by a; select count(*), sum(a) from t;")
        running.end_of_input()
        result = running.finish()
        assert result.status == 0 and not result.errors, f"{result}"
        return result.output.removeprefix(f"READY {nonce}\n")

    output = query(original)
    assert nonce in output and output.endswith("4|10\n"), output
    for ids in ("auto", "virtual", "auto"):
        assert query(workshop.restart(saved.image, "--ids", ids)) == output


def test_sqlite_in_the_middle_of_a_query(workshop: Workshop) -> None:
    """A computation without any system call, saved wherever it happens to be."""
    nonce = secrets.token_hex(4)
    original = workshop.start([_need("/usr/bin/sqlite3"), "-batch", ":memory:"])
    original.send(f"select 'READY {nonce}';")
    original.ready()
    original.send(
        "with recursive c(x) as (values(1) union all select x+1 from c where x < 1500000) "
        f"select sum(x * x % 1000003), '{nonce}' from c;"
    )
    # In the query: it has read the statement (and does not sleep in read any more).
    wait_until(
        lambda: system_call_of(original.pid, original.pid) is None,
        lambda: f"it computes\n{describe(original.pid)}",
    )
    saved = workshop.save(original.pid)
    original.end_of_input()
    first = original.finish()
    output = first.output.split("\n", 1)[1]
    assert first.status == 0 and nonce in output, f"{first}"
    for ids in ("auto", "virtual", "auto"):
        restart = workshop.restart(saved.image, "--ids", ids)
        restart.end_of_input()
        result = restart.finish()
        assert (result.status, result.output) == (0, output), f"{result}"


@pytest.mark.thorough
@pytest.mark.parametrize("tool", ["gawk", "bc"])
def test_filter_on_a_file(workshop: Workshop, tool: str) -> None:
    """stdin is a regular file half read; the rest is read after the restore, from the file or, when
    the file has changed, from the snapshot's copy of it.
    """
    source = workshop.directory / "source"
    numbers = [int.from_bytes(os.urandom(4), "big") for _ in range(20000)]
    source.write_text("".join(f"{n}\n" for n in numbers))
    hold = workshop.directory / "hold"
    os.mkfifo(hold)
    hold_fd = os.open(hold, os.O_RDWR)
    if tool == "gawk":
        # After line 500 it waits for a line from elsewhere.
        code = (
            f'NR == 500 {{ print "READY x"; fflush(); '
            f'getline go < "{hold}" }} {{ s += $1 % 1000 }} END {{ print s }}'
        )
        command = [_need("/usr/bin/gawk"), code]
    else:
        # bc computes a while after the first lines: caught there.
        text = [
            "scale=2000\n",
            'print "READY x\\n"\n',
            "a=4*a(1)\n",
            *(f"{n} % 1000\n" for n in numbers[:2000]),
            "a\n",
        ]
        source.write_text("".join(text))
        command = [_need("/usr/bin/bc"), "-lq"]
    with source.open("rb") as stdin:
        original = workshop.start(command, stdin=stdin)
    original.ready()
    if tool == "gawk":
        oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)

    def finish(running: Running) -> Result:
        if tool == "gawk":
            os.write(hold_fd, b"go\n")
        return running.finish(60)

    first = finish(original)
    output = first.output.removeprefix("READY x\n")
    assert first.status == 0 and output, f"{first}"
    if tool == "gawk":
        assert output == f"{sum(n % 1000 for n in numbers)}\n"
    for changed in (False, True, True):
        if changed:
            source.write_text("1\n2\n3\n")
        if tool == "gawk" and any(
            "fifo" in line or "pipe" in line for line in saved.fidelity if "lost" in line
        ):
            break  # the FIFO it waits on is another kind of descriptor, and was said to be lost
        result = finish(workshop.restart(saved.image))
        assert (result.status, result.output) == (0, output), f"{result}"
        assert any(str(source) in note for note in notes(result)) == changed, f"{result}"
        assert not changed or source.read_text() == "1\n2\n3\n"
    os.close(hold_fd)


def test_preloaded_jemalloc(workshop: Workshop) -> None:
    """An allocator with threads, arenas and MADV_DONTNEED of its own."""
    libraries = sorted(Path("/usr/lib/x86_64-linux-gnu").glob("libjemalloc.so.*"))
    if not libraries:
        pytest.skip("libjemalloc is not installed")
    environment = {
        "LD_PRELOAD": str(libraries[0]),
        "MALLOC_CONF": "background_thread:true,dirty_decay_ms:0",
    }
    nonce = secrets.token_hex(8)
    script = THREADED.format(nonce=nonce)
    original = workshop.start(
        [PYTHON, "-c", script], environment={**environment, "PYTHONMALLOC": "malloc"}
    )
    original.ready()
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    _same_every_time(workshop, original, saved.image, 3)
    # And one of ours, which uses its memory to the last byte.
    program = workshop.start_program("memory_digest", environment=environment)
    saved = workshop.save(program.pid)
    _same_every_time(workshop, program, saved.image, 0)


def test_shell(workshop: Workshop) -> None:
    """A shell waiting for its next command: children after the restore, traps, functions."""
    nonce = secrets.token_hex(8)
    script = (
        f"n={nonce}; f() {{ echo \"f $1 $n\"; }}; trap 'echo bye $n' EXIT; echo READY $n; "
        "read line; "
        "f $line; echo a | tr a b; (exit 4); echo $?; exit 6"
    )
    original = workshop.start(["/bin/bash", "-c", script])
    original.ready()
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    _same_every_time(workshop, original, saved.image, 6)


def test_perl(workshop: Workshop) -> None:
    nonce = secrets.token_hex(8)
    script = (
        f"$|=1; %h=map {{ $_ => $_*3 }} 1..1000; print 'READY {nonce}',qq(\\n); $l=<STDIN>; "
        f"$s+=$_ for values %h; print qq($s {nonce}\\n)"
    )
    original = workshop.start([_need("/usr/bin/perl"), "-e", script])
    original.ready()
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    _same_every_time(workshop, original, saved.image, 0)
