"""The regression test that the hunt for the lost update ends with. What is replayed is the snapshot
of the failure, which came as a bundle from where it happened.
"""


def test_what_had_happened(replay):
    """The snapshot: an audit found books that do not balance."""
    r = replay("books.bundle")
    assert r.signal == "SIGABRT"
    assert "queue->credit + held == queue->limit" in r.failure.assertion
    assert str(r.failure.place).startswith("queue_audit at queue.c:")
    r.select("queue_audit")
    assert r.eval(
        "queue->credit + (long) queue->ready.count + queue->leased_count + queue->unsettled"
    ) != r.eval("queue->limit")


def test_it_does_not_happen_any_more(replay):
    """The fixed program, with the same load."""
    r = replay("books.bundle", program="fixed/queued", timeout=200)
    assert r.reached and r.recorded.signal == "SIGABRT"
    r.finish()
    assert r.exit_code == 0
    assert "the books are in order" in r.output
