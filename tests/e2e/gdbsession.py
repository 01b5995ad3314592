"""A real gdb on a real terminal, driven the way a person drives it: type, wait for the prompt,
read.

Nothing here sleeps. A command ends when the prompt is there again; what the program prints is
waited for by its text. When something does not come, the report holds the whole transcript and what
every process of the test is doing.
"""

from __future__ import annotations

import io
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pexpect
import processes
from support.processes import DEADLINE_S

REPOSITORY = Path(__file__).resolve().parents[2]
PROMPT = "(gdb-e2e) "
TIMEOUT_S = DEADLINE_S

# Options of gdb that load the package, as a user's gdbinit does.
LOAD = ("-iex", f"source {REPOSITORY / 'gdbext' / 'load.py'}")

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")

# Everything that would make GDB ask, page, colour, wrap or look at the network.
_SETTINGS = (
    "set confirm off",
    "set width 0",
    "set height 0",
    "set pagination off",
    "set style enabled off",
    "set debuginfod enabled off",
    "set history save off",
    f"set prompt {PROMPT}",
)


def plain(text: str) -> str:
    """`text` as a person sees it: no escape sequences,
    and of a line written over and over the last version.
    """
    lines = []
    for line in _ESCAPES.sub("", text).replace("\r\n", "\n").split("\n"):
        parts = [part for part in line.split("\r") if part.strip()]
        lines.append(parts[-1].rstrip() if parts else "")
    return "\n".join(lines)


def user_switch(user: int | None) -> Callable[[], None]:
    """What a child does before it executes a program as the user and
    group `user`; None: nothing.
    """

    def become_user() -> None:
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)

    return become_user


class _Word(str):
    """A word of a command line, which pexpect encodes:
    as a file name, so with bytes that are no UTF-8.
    """

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        return super().encode(encoding, "surrogateescape")


class GdbSession:
    """One gdb process on its own pseudo-terminal.

    `arguments` follow `gdb -nx -q`; `load` sources gdbext/load.py first, as a user's gdbinit does.
    `environment` is the whole environment (it holds the test's tag, the store's directory and
    HOME). `user` is a uid and gid to run as; None is the test's own. The session must be closed:
    `quit()` is a user's way, `close()` the teardown's.
    """

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str],
        directory: Path,
        load: bool = True,
        user: int | None = None,
        rows: int = 50,
        columns: int = 200,
    ) -> None:
        self.environment = dict(environment)
        self._transcript = io.StringIO()

        options = [word for setting in _SETTINGS for word in ("-iex", setting)]
        if load:
            options += LOAD
        self.child = pexpect.spawn(
            "gdb",
            [_Word(word) for word in ("-nx", "-q", *options, *arguments)],
            env=self.environment,
            cwd=str(directory),
            timeout=TIMEOUT_S,
            dimensions=(rows, columns),
            encoding="utf-8",
            codec_errors="replace",
            preexec_fn=user_switch(user),
        )
        # pexpect sleeps 50 ms before each line it sends, against programs that turn echo off late;
        # GDB's prompt comes after it has set up the terminal.
        self.child.delaybeforesend = None
        self.child.logfile_read = self._transcript
        self.banner = self.wait_prompt()

    # -- talking -----------------------------------------------------------------------------------

    def execute(self, command: str, timeout_s: float = TIMEOUT_S) -> str:
        """Type `command`, wait for the prompt, and return what was printed in
        between, without the echo.
        """
        self.child.sendline(command)
        return self.wait_prompt(command, timeout_s)

    def start(self, command: str) -> None:
        """Type `command` and do not wait: for `continue` and `run` of a
        program one then talks to.
        """
        self.child.sendline(command)
        # The echo is read here, so that `expect` sees only what the program prints.
        self._expect([re.escape(command) + r"\s*?\r?\n"], TIMEOUT_S, f"the echo of {command!r}")

    def type(self, text: str) -> None:
        """Send `text` as keys, without a newline."""
        self.child.send(text)

    def type_line(self, text: str) -> None:
        """Send a line to whoever reads the terminal now."""
        self.child.sendline(text)

    def interrupt(self) -> str:
        """Ctrl-C, and what GDB prints up to its prompt."""
        self.child.send("\x03")
        return self.wait_prompt()

    def expect(self, pattern: str, timeout_s: float = TIMEOUT_S) -> re.Match[str]:
        """Wait for the regular expression `pattern` in the output (line ends are CR
        LF) and return the match.
        """
        return self._expect([pattern], timeout_s, f"output that matches {pattern!r}")

    def wait_prompt(self, echo: str = "", timeout_s: float = TIMEOUT_S) -> str:
        """Wait for GDB's prompt and return what was printed before it, `echo` taken off."""
        self._expect(
            [re.escape(PROMPT)], timeout_s, f"the prompt after {echo!r}" if echo else "the prompt"
        )
        text = plain(self.child.before)
        if echo and text.startswith(echo.rstrip()):
            text = text[len(echo.rstrip()) :]
        return text.strip("\n")

    def _expect(self, patterns: Sequence[str], timeout_s: float, what: str) -> re.Match[str]:
        try:
            self.child.expect(list(patterns), timeout=timeout_s)
        except pexpect.TIMEOUT:
            raise AssertionError(
                f"timed out after {timeout_s} s waiting for {what}\n{self.report()}"
            ) from None
        except pexpect.EOF:
            raise AssertionError(f"gdb ended while waiting for {what}\n{self.report()}") from None
        match = self.child.match
        assert isinstance(match, re.Match)
        return match

    def complete(self, text: str) -> list[str]:
        """The candidates for `text`, found by typing it and pressing TAB twice on the terminal,
        then wiping the line.

        One candidate is completed in place: the list then holds the completed line.
        """
        marker = "@@"
        self.child.send(text + "\t\t" + marker)
        self._expect([re.escape(marker)], TIMEOUT_S, f"the completion of {text!r}")
        printed = plain(self.child.before)
        # Ctrl-A Ctrl-K empties the line wherever the cursor stands. How often readline draws the
        # prompt meanwhile is its own affair: a line of output says where the next command may
        # begin.
        self.child.send("\x01\x0becho end-of-completion\\n\n")
        self._expect(
            [r"\r\nend-of-completion\r\n" + re.escape(PROMPT)],
            TIMEOUT_S,
            "the prompt after a completion",
        )
        shown = [line for line in printed.replace("\a", "").split("\n") if line.strip()]
        if len(shown) == 1:
            completed = shown[0].strip()
            return [] if completed == text.strip() else [completed]
        # The first line is what was typed, the last one is the prompt again with
        # the longest common start.
        return [word for line in shown[1:-1] for word in line.split()]

    # -- asking ------------------------------------------------------------------------------------

    def value(self, expression: str) -> str:
        """What `print EXPRESSION` gives after the `$n = `."""
        printed = self.execute(f"print {expression}")
        match = re.fullmatch(r"\$\d+ = (.*)", printed, re.DOTALL)
        assert match, f"print {expression}: {printed}\n{self.report()}"
        return match.group(1)

    def python(self, expression: str) -> str:
        """The text of a Python expression evaluated inside GDB."""
        return self.execute(f"python print({expression})")

    @property
    def inferior_pid(self) -> int:
        """The pid of the selected inferior; 0 when there is none."""
        return int(self.python("gdb.selected_inferior().pid"))

    def thread_list(self) -> list[tuple[int, str, str]]:
        """`info threads` as (number, pthread pointer,
        function of frame 0), in the order printed.
        """
        rows = []
        for line in self.execute("info threads").splitlines():
            match = re.match(r"[* ] +(\d+) +(?:Thread (0x[0-9a-f]+)|(?:process|LWP) \d+)", line)
            if match:
                # The last `NAME (arguments)` on the line: the target id before it
                # may hold parentheses too.
                function = re.findall(r"([\w:~<>@.]+|\?\?) \(", line.split(")", 1)[-1])
                rows.append(
                    (int(match.group(1)), match.group(2) or "", function[0] if function else "")
                )
        return rows

    # -- ending ------------------------------------------------------------------------------------

    def quit(self) -> None:
        """`quit`, as a user does: GDB must end by itself, with status 0."""
        self.child.sendline("quit")
        # Its end, not the terminal's: a program that was detached may still have the terminal open.
        try:
            processes.wait_gone(self.child.pid, TIMEOUT_S)
        except AssertionError:
            raise AssertionError(f"gdb does not quit\n{self.report()}") from None
        try:
            while True:
                self.child.read_nonblocking(4096, timeout=0)
        except (pexpect.EOF, pexpect.TIMEOUT):
            pass
        self.child.wait()
        self.child.close()
        assert self.child.exitstatus == 0, f"gdb ended with {self.child.status:#x}\n{self.report()}"

    def kill_gdb(self) -> None:
        """SIGKILL to GDB itself, as the out-of-memory killer does, and wait for its end."""
        os.kill(self.child.pid, signal.SIGKILL)
        processes.wait_gone(self.child.pid)
        self.child.close()

    def close(self) -> None:
        """End GDB by its pid if it is still there. Never raises for one that is gone."""
        if not self.child.closed:
            if self.child.isalive():
                processes.end_gdb(self.child.pid)
                self.child.wait()
            self.child.close()

    @property
    def transcript(self) -> str:
        """Everything printed on the terminal so far."""
        return self._transcript.getvalue()

    def report(self) -> str:
        """The transcript and what every process of the test is doing."""
        alive = [
            processes.describe(pid)
            for pid in processes.tagged(self.environment[processes.TAG_VARIABLE])
        ]
        rest = "\n".join(alive) or "none"
        return f"--- transcript ---\n{self.transcript}\n--- processes of this test ---\n{rest}\n"
