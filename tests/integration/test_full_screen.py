"""Programs on a terminal that nobody here wrote:
a shell with job control, editors, pagers, in the middle of a line.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from support import oracle
from support.checkpoint import Workshop
from support.processes import children_of, kill_now, wait_until

IDS = ("auto", "virtual")


@contextmanager
def on_terminal(workshop: Workshop, *command: str | Path) -> Iterator[pexpect.spawn]:
    """A command in the foreground of a new terminal."""
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "LANG")},
        **workshop.environment,
        "TERM": "xterm",
        "HOME": str(workshop.directory),
        "PS1": "PROMPT> ",
    }
    child = pexpect.spawn(
        str(command[0]),
        [str(word) for word in command[1:]],
        env=environment,
        cwd=str(workshop.directory),
        timeout=30,
        encoding="utf-8",
        dimensions=(24, 80),
    )
    child.delaybeforesend = None
    try:
        yield child
    finally:
        for pid in [
            *(each for kid in children_of(child.pid) for each in children_of(kid)),
            *children_of(child.pid),
        ]:
            kill_now(pid)
        child.close(force=True)


def save_and_kill(workshop: Workshop, child: pexpect.spawn) -> Path:
    """Saved when it waits for a key."""
    wait_until(lambda: oracle.all_asleep(child.pid), "it waits for a key")
    saved = workshop.save(child.pid)
    assert len(saved.result.output.splitlines()) == 1, saved.result.output
    kill_now(child.pid)  # not by a hang-up, which some take for a reason to tidy up
    child.close(force=True)
    return saved.image


def ends(child: pexpect.spawn, status: int) -> None:
    """It ends, and ckpt-restart as it does."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == status, (child.exitstatus, child.signalstatus)


@pytest.mark.parametrize("ids", IDS)
def test_bash(workshop: Workshop, ids: str) -> None:
    """At its prompt with half a line typed; then jobs, stopped and continued."""
    with on_terminal(workshop, "/bin/bash", "--norc", "--noprofile") as shell:
        shell.expect("PROMPT> ")
        shell.sendline("x=$RANDOM$RANDOM; echo value=$x.")
        value = shell.expect(r"value=(\d+)\.") or shell.match[1]
        shell.expect("PROMPT> ")
        shell.send("echo un")
        shell.expect("echo un")
        image = save_and_kill(workshop, shell)
    for _ in range(2):
        with on_terminal(
            workshop, workshop.build / "bin" / "ckpt-restart", "--ids", ids, image
        ) as shell:
            shell.sendline("finished $x")
            shell.expect(f"unfinished {value}")
            shell.expect("PROMPT> ")
            shell.sendline("/bin/sleep 1000")
            shell.expect("1000\r\n")
            wait_until(
                lambda shell=shell: bool(_sleepers(shell)),  # type: ignore[misc]
                "the job runs",
            )
            shell.send("\x1a")
            shell.expect("Stopped")
            shell.expect("PROMPT> ")
            shell.sendline("fg")
            shell.expect("/bin/sleep 1000\r\n")
            shell.send("\x03")
            shell.expect("PROMPT> ")
            shell.sendline("echo status=$?.")
            shell.expect(r"status=130\.")
            shell.expect("PROMPT> ")
            shell.sendline("exit 7")
            ends(shell, 7)


def _sleepers(shell: pexpect.spawn) -> list[int]:
    return [
        each
        for kid in children_of(shell.pid)
        for each in children_of(kid)
        if os.path.basename(os.readlink(f"/proc/{each}/exe")) in ("sleep", "coreutils")
        and oracle.all_asleep(each)
    ]


def test_vim(workshop: Workshop) -> None:
    """In insert mode, with text that is nowhere else."""
    nonce = secrets.token_hex(8)
    text = workshop.directory / "text"
    vim = shutil.which("vim") or shutil.which("vim.tiny")
    assert vim, "install vim-tiny"
    with on_terminal(workshop, vim, "-u", "NONE", "-n") as editor:
        editor.expect("~")  # it draws what is typed now, and not the terminal
        editor.send(f"i{nonce}")
        editor.expect(nonce)
        image = save_and_kill(workshop, editor)
    for _ in range(2):
        with on_terminal(workshop, workshop.build / "bin" / "ckpt-restart", image) as editor:
            editor.send(" and more\x1b:w! text\r")
            editor.expect("written")
            editor.send(":q!\r")
            ends(editor, 0)
        assert text.read_text() == f"{nonce} and more\n"
        text.unlink()


def test_less(workshop: Workshop) -> None:
    """On a file, in its middle."""
    nonce = secrets.token_hex(8)
    text = workshop.directory / "text"
    text.write_text("".join(f"line {number} {nonce}\n" for number in range(1000)))
    with on_terminal(workshop, "/usr/bin/less", text) as pager:
        pager.expect(f"line 20 {nonce}")
        pager.send(" ")
        pager.expect(f"line 40 {nonce}")
        image = save_and_kill(workshop, pager)
    text.unlink()
    for _ in range(2):
        with on_terminal(workshop, workshop.build / "bin" / "ckpt-restart", image) as pager:
            pager.send(" ")
            pager.expect(f"line 60 {nonce}")
            pager.send("/line 777\r")
            pager.expect(f"777.*{nonce}")
            pager.send("q")
            ends(pager, 0)


@pytest.mark.parametrize("ids", IDS)
def test_sqlite_in_a_transaction(workshop: Workshop, ids: str) -> None:
    """On a file, locked, with a journal; its locks are taken again, and the transaction ends."""
    database, journal = workshop.directory / "data", workshop.directory / "data-journal"
    with on_terminal(workshop, "/usr/bin/sqlite3", database) as shell:
        shell.expect("sqlite> ")
        shell.sendline("create table t(a); insert into t values (1);")
        shell.expect("sqlite> ")
        shell.sendline("begin; insert into t values (random());")
        shell.expect("sqlite> ")
        shell.sendline("select 'value=' || a || '.' from t where a <> 1;")
        value = shell.expect(r"value=(-?\d+)\.\r") or shell.match[1]
        shell.expect("sqlite> ")
        image = save_and_kill(workshop, shell)
    files = {path: path.read_bytes() for path in (database, journal)}
    for _ in range(2):
        for path, content in files.items():
            path.write_bytes(content)
        with on_terminal(
            workshop, workshop.build / "bin" / "ckpt-restart", "--ids", ids, image
        ) as shell:
            # Somebody else sees the lock, and not the row.
            wait_until(
                lambda shell=shell: any(  # type: ignore[misc]
                    map(oracle.all_asleep, children_of(shell.pid))
                ),
                "it is let go",
            )
            assert "locked" in _query(database, "insert into t values (2)")
            shell.sendline("commit; select 'value=' || a || '.' from t where a <> 1;")
            shell.expect(re.escape(f"value={value}."))
            shell.sendline(".quit")
            ends(shell, 0)
        assert _query(database, "select a from t where a <> 1").strip() == value
        assert not journal.exists()


def _query(database: Path, query: str) -> str:
    done = subprocess.run(
        ["/usr/bin/sqlite3", database, query], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr
