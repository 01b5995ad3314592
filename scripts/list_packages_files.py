#!/usr/bin/python3
"""Lists the files of installed packages and of all that they depend on,
each followed by a NUL, for tar.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_UNNEEDED = re.compile(
    r"/usr/share/(doc|man|locale|info|lintian|i18n)/|/usr/lib/python3[^/]*/(test|idlelib|lib2to3)/"
)


def closure(names: list[str]) -> list[str]:
    """The packages and, as far as they are installed, what they depend on."""
    form = "${db:Status-Abbrev}\t${Package}\t${Provides}\t${Depends}, ${Pre-Depends}\n"
    rows = subprocess.run(
        ["dpkg-query", "-W", "-f", form], check=True, capture_output=True, text=True
    ).stdout
    needs: dict[str, list[str]] = {}
    provided: dict[str, str] = {}
    for row in rows.splitlines():
        state, name, provides, depends = row.split("\t")
        if not state.startswith("ii"):
            continue
        words = [re.split(r"[ (:]", choice.strip())[0] for choice in re.split(r"[,|]", depends)]
        needs[name] = [word for word in words if word]
        for word in provides.split(","):
            provided.setdefault(re.split(r"[ (:]", word.strip())[0], name)
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        name = name if name in needs else provided.get(name, "")
        if name and name not in found:
            found[name] = None
            waiting += needs[name]
    return list(found)


def main() -> None:
    """The program."""
    listed = subprocess.run(
        ["dpkg", "-L", *closure(sys.argv[1:])], check=True, capture_output=True, text=True
    ).stdout
    files = {
        line for line in listed.splitlines() if line.startswith("/") and not _UNNEEDED.search(line)
    }
    # What only a package's scripts have made: links to alternatives, compiled modules.
    files |= {
        str(link)
        for link in Path("/usr/bin").iterdir()
        if link.is_symlink() and "alternatives" in os.readlink(link)
    }
    for name in sorted(files):
        path = Path(name)
        if path.is_dir() and not path.is_symlink():
            continue
        if path.suffix == ".py":
            compiled = sorted(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))
            sys.stdout.write("".join(f"{each}\0" for each in compiled))
        if path.exists() or path.is_symlink():
            sys.stdout.write(f"{name}\0")


main()
