"""Programs that nobody here wrote, saved in the middle of their work and restored three times.

Each draws a random nonce before the save and prints it after, so that running it again cannot pass.
Each is saved, runs to its end, and is then restored three times in fresh GDBs on other terminals:
what it prints after the save and its exit status are the same every time.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import processes
import pytest
from gdbsession import GdbSession
from scene import Program, Scene, restore, save
from steps import POLL, READ

pytestmark = pytest.mark.slow

PYTHON = "/usr/bin/python3"
# How bc may wait for a key, depending on its libedit.
SELECT, PSELECT = 23, 270
LONG_S = 90.0


def own_lines(text: str) -> list[str]:
    """The program's lines: GDB's notices are in brackets, and it says that it continues."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("[") and line != "Continuing."]


def to_the_end(gdb: GdbSession, status: int) -> list[str]:
    """`continue` until the program ends with exit status `status`; its lines."""
    printed = gdb.execute("continue", timeout_s=LONG_S)
    expected = f"exited with code 0{status:o}]" if status else "exited normally]"
    assert expected in printed, gdb.report()
    return own_lines(printed)


def assert_restores(scene: Scene, name: str, expected: list[str], status: int) -> None:
    """Restore three times; `expected` are all lines of the program,
    from some moment before the save on.
    """
    nonce = [line for line in expected if line.startswith("nonce ")]
    assert len(nonce) == 1, expected
    seen = []
    for _ in range(3):
        gdb = scene.gdb()
        restore(gdb, name)
        lines = to_the_end(gdb, status)
        assert nonce[0] in lines
        assert not [line for line in lines if line.endswith(("GO", "READY"))]
        assert lines == expected[-len(lines) :], (lines, expected)
        seen.append(lines)
        gdb.quit()
        processes.wait_until(lambda: not scene.processes(), "nothing of the test is left")
    assert seen[0] == seen[1] == seen[2]


def save_while_it_runs(gdb: GdbSession, name: str) -> None:
    """The program has just said READY and computes: Ctrl-C, save."""
    assert "SIGINT" in gdb.interrupt()
    save(gdb, name)


def attached(
    scene: Scene, *arguments: str, extra: dict[str, str] | None = None
) -> tuple[GdbSession, Program]:
    """The program on a terminal of its own, with ASLR, and a GDB that stopped it in the middle of
    its work.

    It says READY and waits for a line, so that GDB is there in time; it says GO when its work has
    begun.
    """
    program = scene.spawn(*arguments, extra=extra)
    program.expect("READY")
    gdb = scene.gdb("-p", str(program.pid))
    gdb.start("continue")
    program.child.sendline("go")
    program.expect("GO")
    return gdb, program


PYTHON_SCRIPT = """
import ctypes, hashlib, os, sys, threading

nonce = os.urandom(8).hex()
twice = ctypes.CDLL(sys.argv[1]).twice
results = {}


def compute(number):
    local = {}
    digest = (nonce + str(number)).encode()
    for turn in range(80_000):
        digest = hashlib.sha256(digest).digest()
        local[turn % 100] = digest.hex()
        if number == 0 and turn % 10_000 == 0:
            print("turn", turn, "GO" if turn == 10_000 else "", flush=True)
    results[number] = max(local.values())


threads = [threading.Thread(target=compute, args=(number,)) for number in range(4)]
print("READY", flush=True)
sys.stdin.readline()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for number in sorted(results):
    print("result", number, results[number])
print("twice", twice(21))
print("nonce", nonce)
sys.exit(17)
"""

LIBRARY = "int twice(int x)\n{\n  return 2 * x;\n}\n"


def test_cpython_with_threads(scene: Scene) -> None:
    script = scene.write("script.py", PYTHON_SCRIPT)
    library = scene.compile(LIBRARY, "twice.so", "-shared", "-fPIC")
    gdb, program = attached(scene, PYTHON, str(script), str(library))
    save_while_it_runs(gdb, "python")
    gdb.execute("detach")
    text, status = program.finish()
    assert status == 17
    gdb.quit()
    # A dlopen()ed library goes away; the script, which was read long ago, changes.
    library.unlink()
    script.write_text("print('another script')\n")
    assert_restores(scene, "python", own_lines(text), 17)
    assert not library.exists()


SQL = """
.mode list
CREATE TABLE secret AS SELECT lower(hex(randomblob(8))) AS nonce;
CREATE TABLE numbers(n INTEGER PRIMARY KEY, text TEXT);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000)
  INSERT INTO numbers SELECT x, hex(x * 7919) FROM c;
WITH RECURSIVE c(x, s) AS (SELECT 1, 1 UNION ALL \
SELECT x + 1, (s * 31 + x) % 1000003 FROM c WHERE x < 1500000)
  SELECT 'at ' || x || ' ' || s FROM c WHERE x % 100000 = 0;
SELECT 'rows ' || count(*) || ' ' || max(text) FROM numbers;
SELECT 'nonce ' || nonce FROM secret;
.exit 18
"""


def test_sqlite_in_the_middle_of_a_query(scene: Scene) -> None:
    script = scene.write("script.sql", SQL)
    gdb = scene.gdb("/usr/bin/sqlite3")
    gdb.start(f"run :memory: < {script}")
    # The first rows of a query that goes on.
    gdb.expect(r"at 100000 \d+\r")
    save_while_it_runs(gdb, "sqlite")
    expected = to_the_end(gdb, 18)
    gdb.quit()
    assert [line for line in expected if line.startswith("at 1500000 ")]
    assert expected[-1].startswith("nonce ")
    assert_restores(scene, "sqlite", expected, 18)
    # The script has changed since: what was to be read after the query comes from the snapshot.
    script.write_text("SELECT 'something else';\n")
    assert_restores(scene, "sqlite", expected, 18)


def test_cpp_threads_exceptions_and_async(scene: Scene) -> None:
    program = scene.copy_of("e2e_async")
    gdb, running = attached(scene, str(program))
    save_while_it_runs(gdb, "cpp")
    gdb.execute("detach")
    text, status = running.finish()
    assert status == 9
    gdb.quit()
    # The executable is rebuilt: another file under the same name.
    rebuilt = Path(shutil.copy(scene.program("e2e_threads"), scene.directory / "new"))
    rebuilt.replace(program)
    assert_restores(scene, "cpp", own_lines(text), 9)


AWK = """
BEGIN {
  "od -An -N8 -tx8 /dev/urandom" | getline nonce
  close("od -An -N8 -tx8 /dev/urandom")
  gsub(/ /, "", nonce)
  print "READY"; fflush()
}
{
  words += NF
  for (i = 0; i < 200; i++) hash = (hash * 31 + length($0) + NR) % 1000003
  count[$1 % 13]++
  if (NR % 1000 == 0) print "line", NR
}
END {
  for (i = 0; i < 13; i++) print "count", i, count[i]
  print "words", words, "hash", hash
  print "nonce", nonce
  exit 19
}
"""


def test_gawk_reading_a_file_on_stdin(scene: Scene) -> None:
    script = scene.write("script.awk", AWK)
    data = scene.write(
        "data.txt", "".join(f"{n * 7919 % 100003} {'w ' * (n % 9)}\n" for n in range(20_000))
    )
    gdb = scene.gdb("/usr/bin/gawk")
    gdb.start(f"run -f {script} < {data}")
    gdb.expect("READY")
    save_while_it_runs(gdb, "gawk")
    expected = to_the_end(gdb, 19)
    assert "line 20000" in expected
    gdb.quit()
    assert_restores(scene, "gawk", expected, 19)
    data.unlink()
    assert_restores(scene, "gawk", expected, 19)
    assert not data.exists()


def test_bc_at_its_prompt(scene: Scene) -> None:
    """bc has nothing random: the nonce is typed, lives in its memory only,
    and is asked for after the restore.
    """
    nonce = int.from_bytes(os.urandom(8), "big")
    program = scene.spawn("/usr/bin/bc", "-q")
    program.child.sendline(f"n = {nonce}; n % 1000000007")
    program.expect(rf"\b{nonce % 1000000007}\r\n")
    processes.wait_in_syscall(program.pid, READ, POLL, SELECT, PSELECT)
    gdb = scene.gdb("-p", str(program.pid))
    save(gdb, "bc")
    gdb.quit()
    program.child.sendline("n * 3")
    program.expect(str(nonce * 3))
    program.close()
    for _ in range(3):
        again = scene.gdb()
        restore(again, "bc")
        again.start("continue")
        again.type_line("n * 3")
        again.expect(rf"\b{nonce * 3}\r\n")
        again.type_line("quit")
        assert "exited normally" in again.wait_prompt()
        again.quit()


JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"

JEMALLOC_SCRIPT = '''
import gc, hashlib, os, sys, threading

nonce = os.urandom(8).hex()
maps = open("/proc/self/maps").read()
assert "libjemalloc" in maps
results = {}


def churn(number):
    """Allocates and frees all sizes, and remembers what it wrote into the blocks that stay."""
    kept = {}
    for turn in range(15_000):
        size = (turn * 7919 + number * 31) % 60_000 + 1
        kept[turn % 200] = (turn, bytearray(bytes([turn % 256]) * size))
    digest = hashlib.sha256(nonce.encode())
    for turn, block in sorted(kept.values(), key=lambda pair: pair[0]):
        assert block == bytes([turn % 256]) * len(block), (turn, len(block))
        digest.update(block)
    results[number] = digest.hexdigest()


threads = [threading.Thread(target=churn, args=(number,)) for number in range(3)]
print("READY", flush=True)
sys.stdin.readline()
print("GO", flush=True)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
gc.collect()
churn(99)
for number in sorted(results):
    print("result", number, results[number])
print("nonce", nonce)
sys.exit(20)
'''


def test_a_program_on_jemalloc(scene: Scene) -> None:
    if not Path(JEMALLOC).exists():
        pytest.skip(f"{JEMALLOC} is not installed (Debian: libjemalloc2)")
    script = scene.write("script.py", JEMALLOC_SCRIPT)
    gdb, program = attached(
        scene, PYTHON, str(script), extra={"LD_PRELOAD": JEMALLOC, "PYTHONMALLOC": "malloc"}
    )
    save_while_it_runs(gdb, "jemalloc")
    assert "libjemalloc" in gdb.execute("info sharedlibrary")
    gdb.execute("detach")
    text, status = program.finish()
    assert status == 20
    gdb.quit()
    assert_restores(scene, "jemalloc", own_lines(text), 20)


def test_a_hundred_restores_of_an_attached_program(scene: Scene) -> None:
    program = scene.spawn(scene.program("e2e_threads"), "3", "wait")
    program.expect("READY")
    processes.wait_in_syscall(program.pid, READ)
    gdb = scene.gdb("-p", str(program.pid))
    gdb.execute("break work if step == 4")
    program.child.sendline("x")
    assert "work (step=4)" in gdb.execute("continue")
    secret = gdb.value("/x nonce")
    save(gdb, "hundred")
    gdb.execute("detach")
    text, status = program.finish()
    assert status == 7
    expected = own_lines(text)
    gdb.quit()
    # Four sessions of twenty-five: a fresh GDB each time is what the other tests do.
    for _ in range(4):
        again = scene.gdb()
        for number in range(25):
            restored = restore(again, "hundred")
            assert restored.threads == 4
            assert again.value("/x nonce") == secret
            if number % 5 == 4:
                # Replaced while it is alive, the other times after its end.
                continue
            lines = to_the_end(again, 7)
            assert lines == expected[-len(lines) :] and lines[-1] == "PASS"
        again.quit()
    processes.wait_until(lambda: not scene.processes(), "nothing of the test is left")


def test_restores_leave_no_descriptor_in_gdb(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "1")
    gdb.execute("break work if step == 3")
    gdb.execute("run")
    save(gdb, "one")
    restore(gdb, "one")

    def descriptors() -> list[str]:
        """What is open in GDB, without the object files,
        which GDB opens and closes as it needs them.
        """
        targets = [os.readlink(entry) for entry in Path(f"/proc/{gdb.child.pid}/fd").iterdir()]
        return sorted(
            re.sub(r"\d+", "N", target)
            for target in targets
            if not re.search(r"^/.*(/lib|/bin/|e2e_)", target)
        )

    before = descriptors()
    for _ in range(5):
        restore(gdb, "one")
    save(gdb, "one -force")
    assert descriptors() == before
    gdb.quit()
