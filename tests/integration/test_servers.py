"""Servers that nobody here wrote: saved while they serve, killed, restored: they serve on, with
what they had. Clients that were connected are cut off and connect again. What a server says after
the restore holds a nonce drawn before.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.checkpoint import Workshop, notes, restored_pid
from support.processes import Running, as_root, children_of, kill_now, state_of, wait_until

ASYNCIO = """
import asyncio, os, sys
nonce, count = os.urandom(8).hex(), 0
async def serve(reader, writer):
    global count
    while line := await reader.readline():
        count += 1
        writer.write(f"{nonce} {count} {line.decode()}".encode())
        await writer.drain()
    writer.close()
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()
asyncio.run(main())
"""

NODE = """
const fs = require('fs'); fs.statSync(__filename); fs.readFile(__filename, () => {});
const nonce = require('crypto').randomBytes(8).toString('hex'); let count = 0;
require('net').createServer(c => {
  c.on('error', () => {});
  c.on('data', d => fs.readFile(__filename, () => c.write(nonce + ' ' + ++count + ' ' + d)));
}).listen(Number(process.argv[2]), '127.0.0.1');
setInterval(() => { global.garbage = new Array(20000).fill(count); }, 20);
"""

JAVA = """
import java.net.*; import java.util.*; import java.io.*;
public class Server {
  static volatile long work;
  public static void main(String[] arguments) throws Exception {
    String nonce = Long.toHexString(new Random().nextLong());
    for (int i = 0; i < 3; i++) {
      Thread thread = new Thread(() -> {
        List<byte[]> garbage = new ArrayList<>();
        while (true) {
          garbage.add(new byte[1000]); work++;
          if (garbage.size() > 5000) { garbage.clear(); \
try { Thread.sleep(5); } catch (Exception e) { } }
        }
      });
      thread.setDaemon(true); thread.start();
    }
    ServerSocket server = new ServerSocket(Integer.parseInt(arguments[0]), 50, \
InetAddress.getLoopbackAddress());
    for (int count = 1;; count++) {
      try (Socket client = server.accept()) {
        String line = new BufferedReader(new InputStreamReader(client.getInputStream())).readLine();
        System.gc();
        client.getOutputStream().write((nonce + " " + count + " " + line + "\\n").getBytes());
      }
    }
  }
}
"""


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def ask(self, line: str) -> str:
        """Send a line; the line that comes back."""
        self.socket.sendall(line.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = self.socket.recv(4096)
            assert piece, f"cut off after {answer!r}"
            answer += piece
        return answer.decode().strip()

    def read_until(self, line: str, wanted: str) -> None:
        """Send a line and read until something comes."""
        self.socket.sendall(line.encode() + b"\n")
        answer = b""
        while wanted.encode() + b"\r\n" not in answer:
            piece = self.socket.recv(4096)
            assert piece, f"cut off after {answer!r}"
            answer += piece

    def close(self) -> None:
        """Close it."""
        self.socket.close()


def reachable(port: int) -> bool:
    """Whether somebody accepts connections."""
    try:
        Client(port).close()
        return True
    except OSError:
        return False


def start_server(workshop: Workshop, command: Sequence[str | Path], port: int) -> Running:
    """Start it, and wait until it serves."""
    running = workshop.start(command, environment={"HOME": str(workshop.directory)})
    wait_until(lambda: reachable(port) or running.poll() is not None, f"{command[0]} serves", 60)
    assert running.poll() is None, running.finish()
    return running


def rings(running: Running) -> list[str]:
    """Its io_urings: descriptors."""
    fds = Path(f"/proc/{running.pid}/fd")
    return sorted(fd.name for fd in fds.iterdir() if os.readlink(fd) == "anon_inode:[io_uring]")


@contextlib.contextmanager
def restored(workshop: Workshop, image: Path, port: int, *options: str) -> Iterator[Running]:
    """The server again, killed in the end: it must not end by itself."""
    restart = workshop.restart(image, *options)
    wait_until(
        lambda: reachable(port) or restart.poll() is not None,
        lambda: f"it serves again\n{restart.transcript()}",
        60,
    )
    assert restart.poll() is None, restart.finish()
    yield restart
    (pid,) = children_of(restart.pid)
    kill_now(pid)
    result = restart.finish()
    assert result.status == -9, f"{result}"
    assert not [line for line in notes(result) if "hsperfdata" not in line], f"{result}"


@pytest.mark.parametrize("kind", ["asyncio", "node", "node-rings", "java"])
def test_runtime(workshop: Workshop, kind: str) -> None:
    port = free_port()
    command: list[str | Path]
    if kind == "asyncio":
        command = ["/usr/bin/python3", "-c", ASYNCIO, str(port)]
    elif kind.startswith("node"):
        node = shutil.which("node")
        assert node, "install nodejs"
        (workshop.directory / "server.js").write_text(NODE)
        command = [node, "server.js", str(port)]
        if kind == "node-rings":
            command = ["/usr/bin/env", "UV_USE_IO_URING=1", *command]
    else:
        (workshop.directory / "Server.java").write_text(JAVA)
        subprocess.run(["javac", "Server.java"], cwd=workshop.directory, check=True)
        command = ["/usr/bin/java", "-Xmx150m", "-cp", workshop.directory, "Server", str(port)]
    original = start_server(workshop, command, port)
    if kind == "node-rings" and not rings(original):
        original.kill()
        pytest.skip("this node.js uses no io_uring")
    client = Client(port)
    nonce, count, line = client.ask("first").split()
    assert line == "first"
    client.close()
    image = workshop.save(original.pid).image
    original.kill()
    for ids in ("auto", "virtual"):
        with restored(workshop, image, port, "--ids", ids):
            client = Client(port)
            words = client.ask("second").split()
            client.close()
            # To look whether it serves, one has connected, and java counts that.
            assert words[0] == nonce and words[2] == "second" and int(words[1]) > int(count)


def test_redis(workshop: Workshop) -> None:
    """With data, an append-only file and an idle client, who is cut off."""
    port, value = free_port(), secrets.token_hex(8)
    configuration = workshop.directory / "redis.conf"
    configuration.write_text(
        f'port {port}\nbind 127.0.0.1\nappendonly yes\ndir {workshop.directory}\nsave ""\n'
    )
    original = start_server(workshop, ["/usr/bin/redis-server", configuration], port)
    client = Client(port)
    assert client.ask(f"SET key {value}") == "+OK"
    idle = Client(port)
    assert idle.ask("PING") == "+PONG"  # the server has accepted it
    saved = workshop.save(original.pid)
    for each in (client, idle):
        address = f"127.0.0.1:{each.socket.getsockname()[1]}"
        line = f"the connection with {address} comes back as if its peer had reset it"
        assert any(line in said for said in saved.fidelity), saved.result.output
    original.kill()
    files = sorted((workshop.directory / "appendonlydir").iterdir())
    before = {path: path.read_bytes() for path in files}
    for _ in range(2):
        for path, content in before.items():
            path.write_bytes(content)
        with restored(workshop, saved.image, port):
            again = Client(port)
            again.read_until("GET key", value)
            assert again.ask(f"SET other {secrets.token_hex(8)}") == "+OK"
            assert again.ask("BGREWRITEAOF").startswith("+Background")  # forks
            again.close()
    with pytest.raises((OSError, AssertionError)):
        idle.ask("PING")
    idle.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_nginx(workshop: Workshop, workers: int) -> None:
    """Workers come back as killed, and their master starts others."""
    port, nonce = free_port(), secrets.token_hex(8)
    (workshop.directory / "index.html").write_text(nonce)
    configuration = workshop.directory / "nginx.conf"
    configuration.write_text(
        f"{'user root; ' if as_root() else ''}master_process {'on' if workers else 'off'}; "
        f"worker_processes {max(workers, 1)}; daemon off; pid {workshop.directory}/pid; "
        f"error_log {workshop.directory}/errors;\n"
        f"events {{ worker_connections 64; }}\n"
        f"http {{ access_log {workshop.directory}/accesses; "
        f"client_body_temp_path {workshop.directory}/t1;\n"
        f"proxy_temp_path {workshop.directory}/t2; fastcgi_temp_path {workshop.directory}/t3;\n"
        f"uwsgi_temp_path {workshop.directory}/t4; scgi_temp_path {workshop.directory}/t5;\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ root {workshop.directory}; }} }} }}\n"
    )
    original = start_server(
        workshop,
        ["/usr/sbin/nginx", "-c", configuration, "-e", workshop.directory / "errors"],
        port,
    )
    assert fetch(port) == nonce
    wait_until(
        lambda: serving(original.pid) == workers,
        lambda: f"its workers run\n{original.transcript()}",
    )
    old = children_of(original.pid)
    saved = workshop.save(original.pid)
    assert (
        len([line for line in saved.fidelity if "comes back as killed" in line]) == workers
    ), saved.result.output
    original.kill()
    for worker in old:
        kill_now(worker)
    for _ in range(2):
        restart = workshop.restart(saved.image)
        pid = restored_pid(restart)
        wait_until(
            lambda pid=pid: reachable(port) and serving(pid) == workers,  # type: ignore[misc]
            lambda restart=restart: (  # type: ignore[misc]
                f"it serves again\n{restart.transcript()}"
            ),
        )
        assert fetch(port) == nonce
        new = children_of(pid)
        kill_now(pid)
        for worker in new:
            kill_now(worker)
        restart.finish()  # its logs have grown: a note says so


def serving(pid: int) -> int:
    """How many children it has that have not ended."""
    return len([child for child in children_of(pid) if state_of(child) not in ("Z", "")])


def fetch(port: int) -> str:
    """What GET / answers."""
    client = Client(port)
    client.socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while piece := client.socket.recv(4096):
        answer += piece
    client.close()
    return answer.decode().partition("\r\n\r\n")[2]


def test_client_in_a_transfer(workshop: Workshop) -> None:
    """A client whose server is another process: what had arrived can be read,
    then the connection is dead.
    """
    script = (
        "import os, socket, sys\n"
        "nonce = os.urandom(8).hex()\n"
        "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "print('READY', nonce, flush=True)\n"
        "sys.stdin.readline()\n"
        "got = 0\n"
        "try:\n"
        "    while data := s.recv(1000): got += len(data)\n"
        "    print('end')\n"
        "except ConnectionResetError: print('reset after', got, nonce, flush=True)\n"
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        original = workshop.start(
            ["/usr/bin/python3", "-c", script, str(listening.getsockname()[1])]
        )
        connection, _ = listening.accept()
        nonce = original.ready()
        connection.sendall(b"x" * 30000)
        saved = workshop.save(original.pid)
        assert "the 30000 bytes that wait in it can be read" in saved.result.output
        original.kill()
        connection.close()
    for _ in range(3):
        restart = workshop.restart(saved.image)
        restart.send()
        assert restart.finish().output == f"reset after 30000 {nonce}\n"
