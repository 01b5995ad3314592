"""What differs between two snapshots of one program."""

from __future__ import annotations

from collections.abc import Callable

from gdbext import Snapshot, diff
from support import oracle
from support.offline import Scene

PAGE = 4096


def test_nothing_differs_in_one_snapshot(scene: Callable[..., Scene]) -> None:
    made = scene()
    made.save("a")
    with Snapshot.open("a") as a, Snapshot.open("a") as again:
        found = diff(a, again)
        assert not found, found


def test_what_the_program_has_done_in_between(scene: Callable[..., Scene]) -> None:
    made = scene()
    oracle.wait_asleep(made.pid)
    made.save("a")
    made.change()
    oracle.wait_asleep(made.pid)
    made.save("b")
    with Snapshot.open("a") as a, Snapshot.open("b") as b:
        found = diff(a, b)
        assert not found.truncated and not found.unknown
        ranges = {each.address: each.length for each in found.ranges}
        # A counter; a text, "the queue" and "changed" with its end; bytes of a page that was never
        # written; two bytes that are close together.
        assert ranges[made.queue + 8] in (1, 17) or ranges[made.queue + 8] <= 24
        assert ranges[made.big + PAGE] == 10
        assert ranges[made.big + 6 * PAGE + 100] == 5
        assert made.big + PAGE in found.pages and made.big + 6 * PAGE in found.pages
        assert made.big not in found.pages and made.big + 2 * PAGE not in found.pages
        # Every byte that differs is in a range, and at the ends of each range bytes do differ.
        covered = {
            i for each in found.ranges for i in range(each.address, each.address + each.length)
        }
        for mapping in a.maps:
            other = b.memory.mapping_at(mapping.start)
            if (
                mapping.backing not in ("anonymous", "private-file")
                or other is None
                or other.end < mapping.end
            ):
                continue
            size = min(mapping.size, 4 << 20)
            if mapping.file is not None:
                size = min(size, max(mapping.file.size - mapping.offset, 0))
            left, right = a.read(mapping.start, size), b.read(mapping.start, size)
            differing = (
                {mapping.start + i for i in range(size) if left[i] != right[i]}
                if left != right
                else set()
            )
            assert differing <= covered
        for each in found.ranges:
            for at in (each.address, each.address + each.length - 1):
                assert a.read(at, 1) != b.read(at, 1)
        assert set(found.pages) == {at - at % PAGE for at in covered}

        gone = [each.old for each in found.mappings if each.new is None]
        added = [each.new for each in found.mappings if each.old is None]
        assert made.edge in {m.start for m in gone if m} or any(
            m.start <= made.edge < m.end for m in gone if m
        )
        assert any(m.prot == "r--s" and m.size == 5 * PAGE for m in added if m)
        (opened,) = [each for each in found.descriptors if each.old is None]
        assert opened.new is not None and opened.new.path == "/dev/null"
        assert found.threads_added == () == found.threads_gone
        assert {each.thread for each in found.registers} <= {made.pid}


def test_a_limit(scene: Callable[..., Scene]) -> None:
    made = scene()
    made.save("a")
    made.change()
    made.save("b")
    with Snapshot.open("a") as a, Snapshot.open("b") as b:
        whole = diff(a, b)
        count = len(whole.ranges)
        assert count >= 3 and diff(a, b, limit=count) == whole
        cut = diff(a, b, limit=count - 1)
        assert cut.truncated and cut.ranges == whole.ranges[:-1]


def test_other_threads(scene: Callable[..., Scene], workshop: object) -> None:
    """Two runs of a program share no thread."""
    first, second = scene(), scene()
    first.save("a")
    second.save("b")
    with Snapshot.open("a") as a, Snapshot.open("b") as b:
        found = diff(a, b)
        assert {t.tid for t in found.threads_gone} == {t.tid for t in a.threads}
        assert {t.tid for t in found.threads_added} == {t.tid for t in b.threads}
        assert found.registers == ()
