"""Processes of database servers, saved and restored."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.checkpoint import Workshop, restored_pid
from support.processes import Running, as_root, read_text, state_of, system_call_of, wait_until
from test_servers import free_port

EPOLL_WAIT = 232


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the user that the servers run as: they will not run as root."""
    directory = Path(tempfile.mkdtemp(prefix="ckpt-server-"))
    if user() is not None:
        shutil.chown(directory, "nobody")
    yield directory
    shutil.rmtree(directory)


def user() -> int | None:
    """Whom a server must be started as, if we may not be the one ourselves."""
    return pwd.getpwnam("nobody").pw_uid if as_root() else None


def postgresql(program: str) -> Path:
    """The path of one of its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    assert found, "install postgresql"
    return found[-1]


def in_transaction(workshop: Workshop, place: Path, port: int) -> tuple[Running, Running, int]:
    """A server, a client in the midst of a transaction, and the process that serves it."""
    data = place / "data"
    making: list[str | Path] = [
        postgresql("initdb"), "-D", data, "-A", "trust", "-U", "us", "--no-sync", "--locale=C",
        "-E", "UTF8",
    ]  # fmt: skip
    made = workshop.start(making, user=user(), directory=place).finish()
    assert made.status == 0, made
    options = [
        "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
        "-c", "unix_socket_directories=",
    ]  # fmt: skip
    server = workshop.start(
        [postgresql("postgres"), "-D", data, *options], user=user(), directory=place
    )
    ready: list[str | Path] = [postgresql("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    wait_until(lambda: subprocess.call(ready) == 0 or server.poll() is not None, server.transcript)
    assert server.poll() is None, server.finish()
    ask: list[str | Path] = [
        postgresql("psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "us", "-d", "postgres",
        "-qAt",
    ]  # fmt: skip
    client = workshop.start(ask, directory=place)
    client.send(
        "begin; create temp table t as select generate_series(1, 1000); "
        "select 'BACKEND ' || pg_backend_pid();"
    )
    return server, client, int(client.expect("BACKEND "))


def waits(pid: int) -> bool:
    """Whether it waits for what its client has to say, or for the postmaster's end."""
    call = system_call_of(pid, pid)
    return state_of(pid) == "S" and call is not None and call[0] == EPOLL_WAIT


def times_waited(pid: int) -> int:
    """How often it has gone to sleep."""
    return int(read_text(f"/proc/{pid}/status").partition("voluntary_ctxt_switches:")[2].split()[0])


def test_postgresql_backend(workshop: Workshop, place: Path) -> None:
    """It has lost its client and its postmaster, and ends at that. With silent peers it waits for
    its client; woken, it looks for both again, and waits on; asked to end it does so, and says why
    to nobody.
    """
    server, client, backend = in_transaction(workshop, place, free_port())
    wait_until(lambda: waits(backend), "the backend waits for its client")
    saved = workshop.save(backend)
    client.kill()
    os.kill(server.pid, signal.SIGQUIT)  # at once
    server.finish()
    result = workshop.restart(saved.image).finish()
    assert re.search("postmaster|unexpected EOF on client", result.errors), result
    for _ in range(2):
        restart = workshop.restart(saved.image, "--peers", "silent")
        pid = restored_pid(restart)
        wait_until(lambda: waits(pid), restart.transcript)
        before = times_waited(pid)
        os.kill(pid, signal.SIGHUP)
        wait_until(
            lambda: times_waited(pid) > before and waits(pid),
            lambda: f"it waits again\n{restart.transcript()}",
        )
        os.kill(pid, signal.SIGTERM)
        result = restart.finish()
        assert result.status == 1, result
        assert "terminating connection due to administrator command" in result.errors, result


def ask(port: int, statement: str) -> str:
    """What the server answers, by its own client."""
    client = [
        "mariadb", "--no-defaults", "-uroot", "-h", "127.0.0.1", "-P", str(port), "-N", "-B",
        "-e", statement,
    ]  # fmt: skip
    return subprocess.run(client, capture_output=True, text=True, check=False).stdout.strip()


def test_mariadb(workshop: Workshop, place: Path) -> None:
    """As it comes: its storage engine reads and writes by an io_uring or io_setup(2). What was
    written when it was saved is there, and not what came later; it takes more, and shuts down in
    good order, its files included.
    """
    mariadbd = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
    assert mariadbd, "install mariadb-server-core and mariadb-client-core"
    port, value = free_port(), secrets.token_hex(8)
    data = place / "data"
    making = [
        "mariadb-install-db",
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]
    here: dict[str, Any] = {
        "user": user(),
        "directory": place,
        "environment": {"TMPDIR": str(place)},
    }
    made = workshop.start([*making, f"--datadir={data}"], **here).finish()
    assert made.status == 0, made
    options = [
        f"--datadir={data}",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        f"--socket={place}/socket",
    ]
    server = workshop.start([mariadbd, "--no-defaults", *options], **here)
    wait_until(lambda: ask(port, "select 1") == "1" or server.poll() is not None, server.transcript)
    assert server.poll() is None, server.finish()
    assert asynchronous(server.pid), server.transcript()
    ask(port, f"create database d; create table d.t(word text); insert into d.t values('{value}')")
    saved = workshop.save(server.pid)
    ask(port, "insert into d.t values('later')")
    server.kill()
    for _ in range(2):
        restart = workshop.restart(saved.image)
        wait_until(
            lambda: ask(port, "select 1") == "1" or restart.poll() is not None, restart.transcript
        )
        assert ask(port, "select * from d.t") == value, restart.transcript()
        more = "insert into d.t select word from d.t; " * 12
        assert ask(port, f"{more} select count(*) from d.t") == "4096", restart.transcript()
        ask(port, "shutdown")
        result = restart.finish()
        assert result.status == 0 and "ERROR" not in result.errors, result


def asynchronous(pid: int) -> bool:
    """Whether it has an io_uring, or contexts of io_setup(2)."""
    links = [os.readlink(entry) for entry in os.scandir(f"/proc/{pid}/fd")]
    return "anon_inode:[io_uring]" in links or "/[aio]" in read_text(f"/proc/{pid}/maps")
