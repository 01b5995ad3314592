"""Thread ids of a container, which are as small as operations, flags and counts:
only what is an id becomes a new one.
"""

from __future__ import annotations

import pytest
from support.checkpoint import Workshop
from support.probes import namespaces
from support.processes import as_root

# In a PID namespace of its own, in which any id can be had: the program sleeps in a lock function,
# is saved, goes on, and is restored with new ids. Expects BUILD, the program, its case, and ids;
# prints what was not well.
SCRIPT = """
build=$1 program=$2 name=$3
shift 3
mkfifo line
for id; do
    rm -f image ready
    mkfifo ready
    echo $((id - 1)) > /proc/sys/kernel/ns_last_pid
    CKPT_TEST_THREADS=4 "$program" "$name" < line > ready &
    pid=$!
    [ $pid = $id ] || { echo "id $id could not be had: $pid"; exit 1; }
    exec 5> line 6< ready
    read -r word nonce <&6
    until grep -q '^202 ' /proc/$pid/syscall && grep -q '^State:.S' /proc/$pid/status; do :; done
    "$build/bin/ckpt-save" $pid image > saved 2>&1 || { cat saved; exit 1; }
    echo >&5
    exec 5>&-
    read -r line <&6
    wait $pid || echo "$id: status $? of the original"
    [ "$line" = "PASS $nonce" ] || echo "$id: the original says $line"
    line=$(echo | "$build/bin/ckpt-restart" --ids virtual image 2>&1) || \
echo "$id: status $? of the restored"
    case $line in *"PASS $nonce"*) ;; *) echo "$id: the restored says $line" ;; esac
    exec 6<&-
done
echo over
"""

# What the C library has in registers and on the stack beside the id: the states of locks, bits of
# counts, the numbers of futex operations and of the call.
NUMBERS = [2, 4, 5, 6, 8, 11, 16, 64, 128, 129, 137, 202, 256, 265, 389, 393]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    [
        "mutex", "mutex_timedlock", "mutex_pi", "rwlock", "cond", "cond_timedwait", "sem",
        "barrier", "join",
    ],
)  # fmt: skip
def test_ids_like_numbers(workshop: Workshop, name: str) -> None:
    kinds = [
        "--pid",
        "--fork",
        "--mount-proc",
        *(["--mount"] if as_root() else ["--map-root-user", "--mount"]),
    ]
    if not namespaces(*kinds):
        pytest.skip("no PID namespace can be had")
    arguments = [str(workshop.build), str(workshop.program("blocked")), name, *map(str, NUMBERS)]
    user = [] if as_root() else ["--user"]
    result = workshop.start(
        ["unshare", *user, *kinds, "--kill-child", "bash", "-c", SCRIPT, "bash", *arguments]
    ).finish()
    assert (result.status, result.output) == (0, "over\n"), f"{result}"
