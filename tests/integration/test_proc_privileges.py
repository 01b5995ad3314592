"""Who the program is and what it may do: root restores it as who it was."""

from __future__ import annotations

import subprocess

import pytest
from support.checkpoint import Way, Workshop, pairwise, passed, round_trip
from support.processes import as_root

CASES = """
    root_dropped root_effective root_capabilities root_securebits root_fsuid root_one_thread
    root_groups root_not_dumpable dumpable mdwe tsc mce_kill root_memory_merge root_io_flusher
    speculation root_filter root_filters root_filter_of_thread root_filter_dropped
""".split()


def test_the_list_is_complete(workshop: Workshop) -> None:
    listed = subprocess.run(
        [workshop.program("proc_privileges"), "--list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == CASES


@pytest.mark.parametrize("way", pairwise(), ids=str)
@pytest.mark.parametrize("name", CASES)
def test_privileges(workshop: Workshop, name: str, way: Way) -> None:
    if name.startswith("root_") and not as_root():
        pytest.skip("needs root")
    # The time stamp counter is what the vdso's clocks read; the oracle would have to guess.
    saved = round_trip(workshop, "proc_privileges", name, way=way)
    lines = [
        line
        for line in saved.fidelity
        if not line.startswith("changed: fd ") and line != "Will not come back as it was:"
    ]
    assert not lines, saved.result.output


@pytest.mark.skipif(not as_root(), reason="needs root")
def test_a_filter_needs_privilege_at_the_restore(workshop: Workshop) -> None:
    """Somebody else gets a clear refusal, and never the program without its filter."""
    original = workshop.start_program("proc_privileges", "root_filter")
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    result = workshop.start([*unprivileged, *workshop.restart_command(saved.image)]).finish()
    assert (
        result.status == 125 and "seccomp filter, which only a privileged user" in result.errors
    ), f"{result}"
