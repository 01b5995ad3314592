"""Many objects of one kind: what a save takes is bounded by what is there."""

from __future__ import annotations

import resource

from support.checkpoint import Workshop, notes

PAIRS = """
import socket, sys
pairs = [socket.socketpair() for _ in range(int(sys.argv[1]))]
for number, (one, other) in enumerate(pairs):
    one.sendall(b"%d" % number)
print("READY x", flush=True)
sys.stdin.readline()
print(all(other.recv(100) == b"%d" % number for number, (_, other) in enumerate(pairs)), flush=True)
"""


def test_memory_of_a_save_of_sockets(workshop: Workshop) -> None:
    """Each has a few bytes waiting, of several MiB that there could be."""
    count, most_bytes = 400, 256 << 20

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))

    original = workshop.start(["/usr/bin/python3", "-c", PAIRS, str(count)])
    original.ready()
    saved = workshop.save(original.pid, before_exec=limited)
    original.send()
    assert "True" in original.finish().output
    for _ in range(2):
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        assert result.output == "True\n" and not notes(result), f"{result}"
