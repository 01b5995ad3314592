"""Descriptors of every kind come back with what is in them.
The programs check themselves, one subject at a time.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.checkpoint import IDS, Way, Workshop, full, notes, passed, restored_pid
from support.processes import as_root
from support import oracle

SUBJECTS: dict[str, list[str]] = {
    "fd_events": """
        eventfd_count eventfd_full eventfd_semaphore eventfd_empty eventfd_duplicate
        eventfd_blocked_reader timerfd_relative timerfd_interval timerfd_short timerfd_expired
        timerfd_expired_interval timerfd_past timerfd_disarmed timerfd_absolute
        timerfd_absolute_monotonic timerfd_blocked_reader signalfd_mask signalfd_pending pidfd_self
        pidfd_zombie pidfd_ended pidfd_same
    """.split(),
    "fd_epoll": """
        level level_ready edge_reported edge_pending oneshot_armed oneshot_spent nested
        closed_number reused_number two_of_one_number change_later many empty busy_polling
        wait_epoll_wait wait_epoll_pwait wait_epoll_pwait2 wait_poll wait_ppoll wait_select
        wait_pselect
    """.split(),
    "fd_unix": """
        stream large_stream datagrams packets large_packets half_closed other_end_closed duplicate
        passed_pipe passed_own passed_socket listening_path listening_abstract backlog accepted
        waiting named_datagrams closed_sender peer_closed named_peer_closed options credentials
        peek_offset blocked_reader
        blocked_accept own_name unconnected
    """.split(),
    "fd_passed": """
        timer timer_expired lock_whole lock_bytes lock_beside event signals poll_set
        poll_set_of_passed polled_passed watches owned nested behind_bytes
    """.split(),
    "fd_names": """
        removed removed_absolute removed_replaced removed_waiting removed_datagrams
        removed_directory renamed renamed_absolute relative swapped closed_listening given_away
    """.split(),
    "fd_inet": """
        listening listening_options listening_ipv6 listening_everywhere multipath multipath_served
        multipath_connection multipath_half_closed connection urgent urgent_taken urgent_at_once
        urgent_inline connection_ipv6 large_connection without_listening half_closed shut_receiving
        waiting corked udp udp_options on_device filter multicast udp_shut udp_shut_for_sending
        udp_closed_sender udp_unbound unbound bound blocked_accept blocked_receive
    """.split(),
    "fd_tcp": """
        mapped mapped_alone mapped_half_closed mapped_waiting mapped_client both_families
        datagrams_mapped datagrams_everywhere freely freely6 itself itself6 itself_udp itself_udp6
        itself_ended options options6 options_of_used fast_open_key unsent_established
        unsent_fin_wait unsent_closing unsent_close_wait unsent_last_ack
    """.split(),
    "fd_packets": "raw raw6 ping udp_lite packet old_packet".split(),
    "fd_netlink": "members options connected".split(),
    "fd_files": """
        memfd memfd_mapped memfd_two_mappings memfd_sealed memfd_read_only nameless removed
        removed_links two_names executed nameless_place sparse enormous appending directory own_proc
        proc_of_thread proc_of_ended place_of_ended place_of_itself namespace place ended_pipes
        removed_device removed_link removed_shared removed_directory fifo fifo_nameless fifo_removed
        message_queue shared_queue blocked_queue posix_lock open_file_lock whole_lock lease
        write_lease linked marked owner inotify inotify_removed fanotify fanotify_mount
    """.split(),
    "fd_pty": """
        input permissions lines output both_ways begun ends lines_later long_lines stopped
        stopped_by_key stopped_master settings exclusive packets told told_of_flush blocked_reader
        closed_slave last_words unopened closed_master controlling
    """.split(),
}
ALL = [(program, subject) for program, subjects in SUBJECTS.items() for subject in subjects]
# The report of a program in the harness names its three standard streams,
# which are pipes, and nothing else.
USUAL = 3
# A new pseudoterminal may have another number, and a program may have remembered its name.
MAY_BE_NAMED = {"fd_pty": "pseudoterminal"}
# What nobody has opened is not looked into; what has hung up has no name.
NAMED_TIMES = {"unopened": 2, "closed_master": 0}
# Private copies, and what has the process's number in its name.
OTHER_NAMES = {
    "nameless", "fifo_nameless", "inotify_removed", "fanotify_mount", "removed", "removed_links",
    "linked", "appending", "own_proc", "message_queue", "shared_queue", "blocked_queue",
    "two_names", "nameless_place", "executed", "proc_of_thread", "proc_of_ended", "removed_shared",
}  # fmt: skip
# What only root finds the end of.
LOST_FILES = {
    "removed", "removed_absolute", "removed_waiting", "removed_datagrams", "removed_directory",
    "swapped",
}  # fmt: skip


@pytest.mark.parametrize("program", SUBJECTS)
def test_lists_are_complete(workshop: Workshop, program: str) -> None:
    assert (
        workshop.start([workshop.program(program), "--list"]).finish().output.split()
        == SUBJECTS[program]
    )


@pytest.mark.parametrize(("program", "subject"), ALL)
def test_alone(workshop: Workshop, program: str, subject: str) -> None:
    """The test itself is right: the program passes without any checkpoint."""
    running = workshop.start_program(program, subject)
    running.send()
    passed(running.finish(), running.nonce)


SEEN_ONCE = "an empty datagram waits in it: another save of this process does not see it"


@pytest.mark.parametrize("way", full(threads=(1,), ids=IDS), ids=str)
@pytest.mark.parametrize(("program", "subject"), ALL)
def test_restored(workshop: Workshop, program: str, subject: str, way: Way) -> None:
    original = workshop.start_program(program, subject, way=way)
    oracle.wait_asleep(original.pid)
    # A stop makes these calls fail with EINTR (signal(7)),
    # also the oracle's, which reads registers.
    dump = None if subject.startswith("wait_epoll") else workshop.register_dump
    ignore = {"memory"} if dump is None else set()
    if program in MAY_BE_NAMED or subject in OTHER_NAMES:
        ignore |= {"files", "maps"}
    if subject.startswith("place_of_"):
        ignore.add("cwd")  # in /proc, with a number
    before = oracle.look(original.pid, dump)
    saved = workshop.save(original.pid)
    oracle.wait_asleep(original.pid)
    said = [line for line in saved.fidelity if line != "Will not come back as it was:"]
    # Only root may open an exclusive one to see that nothing waits in it.
    unseen = sum("what waits in it to be read does not come back" in line for line in said)
    assert unseen == (subject == "exclusive" and not as_root()), saved.result.output
    if program in MAY_BE_NAMED:
        named = sum(MAY_BE_NAMED[program] in line for line in said)
        assert (
            named == NAMED_TIMES.get(subject, 1) + unseen and len(said) == USUAL + named
        ), saved.result.output
    elif program == "fd_names" and subject in LOST_FILES and not as_root():
        # Only root is told that it is removed.
        assert len(
            said
        ) == USUAL + 1 and "and cannot be found: it comes back without one" in "\n".join(
            said
        ), saved.result.output
    elif program == "fd_unix" and subject == "datagrams":
        assert len(said) == USUAL + 1 and SEEN_ONCE in said[USUAL], saved.result.output
    elif subject == "memfd_two_mappings" and not as_root():
        # With its descriptor closed only root can open it: the memory comes back, without the name.
        assert len(said) == USUAL + 2 and all(
            "/memfd:mapped comes back as shared memory" in line for line in said[USUAL:]
        )
        ignore.add("maps")
    else:
        assert len(said) == USUAL, saved.result.output
    tids = [thread.tid for thread in before.threads]
    original.kill()
    for round_ in range(3):
        restart = workshop.restart_as(way.ids, tids, saved.image)
        pid = restored_pid(restart, before)
        changed = oracle.differences(before, oracle.look(pid, dump), ignore=frozenset(ignore))
        assert not changed, "the restored program differs:\n" + "\n".join(changed)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        said = notes(result)
        if subject in {"appending", "two_names"} and round_:
            # The first restore has written to the user's own file.
            assert len(said) == 1 and "has changed since the snapshot" in said[0], f"{result}"
        elif subject == "fifo_removed" and round_:
            # The first restore has removed its name.
            assert (
                len(said) == 1 and "was removed since the save: it is made again" in said[0]
            ), f"{result}"
        elif program in ("fd_inet", "fd_tcp") and (
            not as_root() or subject.startswith("multipath")
        ):
            # The kernel keeps the ports of connections that were closed, for a minute; only root
            # can end that. Those of MPTCP are closed later, by the kernel itself.
            assert all("this end of the connection is at" in line for line in said), f"{result}"
        else:
            assert not said, f"{result}"


@pytest.mark.parametrize(("program", "subject"), ALL)
def test_not_disturbed(workshop: Workshop, program: str, subject: str) -> None:
    """Saved, it goes on as if nothing had been."""
    original = workshop.start_program(program, subject)
    oracle.wait_asleep(original.pid)
    workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)


# What says that an address belongs to the original now;
# the program then finds itself at another one.
TAKEN = ("is taken", "another process uses", "this end of the connection is at")


# In these the program itself goes to something by a name that is the original's, too: it connects
# to the address, or makes a file where the original looks for new ones.
BY_NAME = {
    ("fd_unix", "backlog"), ("fd_passed", "watches"), ("fd_unix", "blocked_accept"),
    ("fd_inet", "blocked_accept"), ("fd_files", "inotify"), ("fd_files", "fanotify"),
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize(("program", "subject"), [each for each in ALL if each not in BY_NAME])
def test_beside_the_original(workshop: Workshop, program: str, subject: str) -> None:
    """What was restored does its work, and the process that was saved, which still runs,
    then finds all as it was.
    """
    original = workshop.start_program(program, subject)
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    oracle.wait_asleep(original.pid)
    restart = workshop.restart(saved.image)
    restart.send()
    result = restart.finish()
    if not any(word in line for line in notes(result) for word in TAKEN):
        passed(result, original.nonce)
    original.send()
    passed(original.finish(), original.nonce)


def test_two_names_have_one_private_copy(workshop: Workshop) -> None:
    original = workshop.start_program("fd_files", "two_names")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    restart = workshop.restart(saved.image, "--files", "private")
    restart.send()
    passed(restart.finish(), original.nonce)


def test_a_removed_entry_that_can_be_made_nowhere(workshop: Workshop) -> None:
    """The descriptor is none that is good for anything, and the rest of the program comes back."""
    original = workshop.start_program("fd_files", "removed_link")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    open_ones = [os.readlink(each) for each in Path(f"/proc/{original.pid}/fd").iterdir()]
    taken = [Path(each.removesuffix(" (deleted)")) for each in open_ones if "deleted" in each]
    assert len(taken) == 2
    original.kill()
    for path in taken:
        path.write_text("somebody else's")
    restart = workshop.restart(saved.image, environment={"TMPDIR": "/proc"})
    restart.send()
    result = restart.finish()
    assert result.status == 1 and "FAIL" in result.output, f"{result}"
    said = notes(result)
    assert len(said) == 2, f"{result}"
    for line in said:
        assert re.fullmatch(
            r"fd \d+: make a directory for what has been removed: .*"
            r": every use of the descriptor fails with EBADF",
            line,
        ), line
    for path in taken:
        assert path.read_text() == "somebody else's"
        path.unlink()


def test_an_empty_datagram_is_seen_once(workshop: Workshop) -> None:
    """By the kernel's way of looking into a queue: the save that sees it says so."""
    original = workshop.start_program("fd_unix", "datagrams")
    for seen in (True, False):
        oracle.wait_asleep(original.pid)
        saved = workshop.save(original.pid)
        assert any(SEEN_ONCE in line for line in saved.fidelity) is seen, saved.result.output
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        assert ("PASS" in result.output) is seen, f"{result}"
    # The program itself has lost nothing.
    original.send()
    passed(original.finish(), original.nonce)
