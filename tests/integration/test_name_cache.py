"""nscd's caches, which glibc maps into programs, and which are out of date after a restore."""

from __future__ import annotations

import shutil

import pytest
from support.checkpoint import Workshop, notes, passed
from support.processes import as_root, children_of, read_text

# In mounts of their own, where the daemon has the places that are built into it and nobody else
# sees it. It goes to the background when it serves, but only a moment later are its caches such
# that glibc takes them.
AROUND = """
set -e
mount -t tmpfs none /var/cache/nscd
mkdir -p /run/nscd
mount -t tmpfs none /run/nscd
printf '%s\\n' 'enable-cache passwd yes' 'shared passwd yes' \
'persistent passwd '"$2" > "$1/nscd.conf"
nscd -f "$1/nscd.conf"
shift 2
until "$1" probe; do sleep 0.01; done
status=0
"$@" || status=$?
daemon=$(cat /run/nscd/nscd.pid)
kill $daemon
while test -d /proc/$daemon; do sleep 0.01; done
exit $status
"""


@pytest.mark.skipif(not as_root(), reason="only root can start nscd")
@pytest.mark.parametrize("persistent", ["yes", "no"])
@pytest.mark.parametrize("ids", ["saved", "virtual"])
def test_out_of_date_after_a_restore(workshop: Workshop, ids: str, persistent: str) -> None:
    nscd = shutil.which("nscd", path="/usr/sbin:/usr/bin")
    assert nscd, "install nscd"
    inside = ["unshare", "--mount", "sh", "-c", AROUND, "sh", str(workshop.directory), persistent]
    original = workshop.start([*inside, workshop.program("name_cache")])
    original.ready()
    (pid,) = [
        pid
        for pid in children_of(original.pid)
        if read_text(f"/proc/{pid}/comm").startswith("name_cache")
    ]
    saved = workshop.save(pid)
    assert "nscd" not in saved.result.output
    original.send()
    result = original.finish()
    passed(result, original.nonce)
    assert "\nMAPPED\n" in result.output
    restart = workshop.restart(saved.image, "--ids", ids)
    restart.send()
    result = restart.finish()
    passed(result, original.nonce)
    assert "UNMAPPED" in result.output and not [
        line for line in notes(result) if "nscd" in line
    ], result
