"""Types two GDB sessions on a terminal and shows them: save in one, restore in the other.

Used by demo.sh. The argument, if there is one, is the load.py of an installation. Ends with status
0 when the program, restored, went on to its end and printed the number that it had drawn before the
save.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import pexpect

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "(gdb) "
TIMEOUT_S = 120
# Unlike a user's session, this one must not ask anything or page.
SETTINGS = (
    "set confirm off",
    "set pagination off",
    "set width 0",
    "set debuginfod enabled off",
    "set history save off",
)


class Session:
    """One gdb on a terminal of its own, which is echoed to ours."""

    def __init__(self, title: str, arguments: list[str]) -> None:
        print(f"\n\033[1m== {title}\033[0m\n$ gdb {' '.join(arguments)}", flush=True)
        options = [word for setting in SETTINGS for word in ("-iex", setting)]
        self.gdb = pexpect.spawn(
            "gdb",
            ["-nx", "-q", *options, *arguments],
            cwd=str(ROOT),
            encoding="utf-8",
            codec_errors="replace",
            timeout=TIMEOUT_S,
            dimensions=(50, 160),
        )
        self.gdb.delaybeforesend = None
        self.gdb.logfile_read = sys.stdout
        self.gdb.expect_exact(PROMPT)

    def type(self, command: str) -> str:
        """Types a command; returns what was printed until the next prompt."""
        self.gdb.sendline(command)
        self.gdb.expect_exact(PROMPT)
        return str(self.gdb.before)

    def start(self, command: str, until: str) -> str:
        """Types a command that lets the program run; returns what was printed until `until`."""
        self.gdb.sendline(command)
        self.gdb.expect_exact(until)
        return str(self.gdb.before)

    def interrupt(self) -> str:
        """Types Ctrl-C; returns what was printed until the next prompt."""
        self.gdb.sendintr()
        self.gdb.expect_exact(PROMPT)
        return str(self.gdb.before)

    def quit(self) -> None:
        self.gdb.sendline("quit")
        self.gdb.expect(pexpect.EOF)
        self.gdb.close()
        print(flush=True)


def nonce_in(text: str, words: str) -> str:
    match = re.search(rf"{words}: ([0-9a-f]{{16}})", text)
    if match is None:
        raise SystemExit(f'The demo failed: the program did not print "{words}: ...".')
    return match.group(1)


def main() -> int:
    if not sys.stdout.isatty():
        os.environ["TERM"] = "dumb"  # no colours in a log
    load = sys.argv[1] if len(sys.argv) > 1 else "gdbext/load.py"
    program = ["--args", "/usr/bin/python3", "scripts/demo_program.py"]
    with tempfile.TemporaryDirectory(prefix="ckpt-demo.") as store:
        os.environ["CKPT_DIR"] = store

        first = Session("First session: run, interrupt in the middle, save, quit", program)
        first.type(f"source {load}")
        before = first.start("run", until="chunk 4 of")
        before += "chunk 4 of" + first.interrupt()
        first.type("info threads")
        first.type('ckpt save half-way -m "three threads, a third of the work done"')
        first.quit()

        second = Session("Second session: nothing but GDB; the program goes on where it was", [])
        second.type(f"source {load}")
        second.type("ckpt list")
        second.type("ckpt restore half-way")
        second.type("info threads")
        after = second.type("continue")
        second.quit()

    drawn, still = nonce_in(before, "nonce drawn"), nonce_in(after, "nonce still")
    chunks = [set(re.findall(r"worker \d: chunk \d+ of", text)) for text in (before, after)]
    twice = sorted(chunks[0] & chunks[1])
    if (
        drawn != still
        or twice
        or len(chunks[0] | chunks[1]) != 36
        or "exited normally" not in after
    ):
        print(f"The demo failed: drawn {drawn}, printed after the restore {still}; twice: {twice}.")
        return 1
    print(f"The number drawn before the save, {drawn}, is the one printed after the restore.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
