"""A gdbserver of sixty lines: it answers just enough of GDB's remote protocol to be a remote target
at a stop.

Run as `target remote | /usr/bin/python3 stub.py`: GDB talks to it over its standard streams. So
machines that have no gdbserver still see what happens on remote targets.
"""

from __future__ import annotations

import sys


def checksum(body: bytes) -> bytes:
    """The two digits behind every packet: the sum of its bytes modulo 256."""
    return b"%02x" % (sum(body) % 256)


def read_packet() -> bytes:
    """The next packet's body; acknowledgements are skipped. Empty at the end of the input."""
    while True:
        byte = sys.stdin.buffer.read(1)
        if not byte:
            return b""
        if byte == b"$":
            break
    body = b""
    while (byte := sys.stdin.buffer.read(1)) != b"#":
        if not byte:
            return b""
        body += byte
    sys.stdin.buffer.read(2)
    return body


def answer(body: bytes) -> bytes:
    """The reply to one packet; the empty reply says that a packet is not supported."""
    if body.startswith(b"qSupported"):
        return b"PacketSize=1000"
    if body == b"?":
        return b"S05"
    if body == b"qAttached":
        return b"1"
    if body == b"qC":
        return b"QC1"
    if body == b"qfThreadInfo":
        return b"m1"
    if body == b"qsThreadInfo":
        return b"l"
    if body[:1] == b"g":
        # General registers, rip, eflags, segments, the x87 state:
        # what GDB expects when no target description is given.
        return b"00" * 312
    if body[:1] == b"m":
        return b"00" * int(body.split(b",")[1], 16)
    if body[:1] in b"HTD" and body:
        return b"OK"
    return b""


def main() -> None:
    """Answer until GDB closes the connection or kills the target."""
    while body := read_packet():
        if body == b"k" or body.startswith(b"vKill"):
            break
        reply = answer(body)
        sys.stdout.buffer.write(b"+$" + reply + b"#" + checksum(reply))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
