"""Looks for the queue whose books do not balance, and in its history for where that began.

A script of GDB's, for `ckpt replay --script` and for `source` after a restore.
"""

import gdb


def queues():
    queue = gdb.parse_and_eval("'queue.c'::queues")
    while queue:
        yield queue.dereference()
        queue = queue["next"]


def history(queue):
    """The events, oldest first."""
    events = queue["history"]
    room = events.type.range()[1] + 1
    count = int(queue["events"])
    return [events[n % room] for n in range(max(0, count - room), count)]


def shown(event):
    kind = str(event["kind"]).removeprefix("EVENT_").lower()
    return f"{kind} by worker {int(event['worker'])}: credit {int(event['credit_before'])} -> {int(event['credit_after'])}"


for queue in queues():
    held = [int(queue["ready"]["count"]), int(queue["leased_count"]), int(queue["unsettled"])]
    credit, limit = int(queue["credit"]), int(queue["limit"])
    print(f"{queue['name'].string()}: {limit} - {' - '.join(map(str, held))} = {limit - sum(held)}, and the credit is {credit}")
    if credit + sum(held) == limit:
        continue
    before = None
    for event in history(queue):
        if before is not None and event["credit_before"] != before["credit_after"]:
            print("  ", shown(before))
            print("  ", shown(event), " <- knows nothing of the one before")
            break
        before = event
