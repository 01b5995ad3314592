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
    return (
        f"{kind} by worker {int(event['worker'])}: "
        f"credit {int(event['credit_before'])} -> {int(event['credit_after'])}"
    )


def lost(events, at):
    """What has changed the credit since it was what the event `at` takes it for."""
    known = events[at]["credit_before"]
    since = next((n for n in range(at - 1, -1, -1) if events[n]["credit_after"] == known), at - 2)
    return [
        each for each in events[since + 1 : at] if each["credit_before"] != each["credit_after"]
    ]


for queue in queues():
    # Ready, leased, and acknowledged but not settled.
    held = [int(queue["ready"]["count"]), int(queue["leased_count"]), int(queue["unsettled"])]
    credit, limit = int(queue["credit"]), int(queue["limit"])
    print(
        f"{queue['name'].string()}: {limit} - {' - '.join(map(str, held))} = {limit - sum(held)}, "
        f"and the credit is {credit}"
    )
    if credit + sum(held) == limit:
        continue
    events = history(queue)
    for at in range(1, len(events)):
        if events[at]["credit_before"] != events[at - 1]["credit_after"]:
            for each in lost(events, at):
                print("  ", shown(each))
            print("  ", shown(events[at]), " <- knows nothing of the above")
            break
