"""A compiler launcher, as ccache is one, for a second build of the same sources in another
directory.

    compiled.py BUILD COMPILER ARGUMENT...

What has an object of the same name in the build directory BUILD is preprocessed, so that a file
that is missing is an error and the compiler's list of dependencies is written, and is that object
then. All else is compiled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def main(build: str, *command: str) -> int:
    output = command[command.index("-o") + 1] if "-o" in command else ""
    done = Path(build) / output
    if "-c" not in command or not done.is_file():
        return subprocess.run(command, check=False).returncode
    preprocess = [
        "-E" if word == "-c" else os.devnull if word == output else word for word in command
    ]
    status = subprocess.run(preprocess, check=False).returncode
    if status == 0:
        shutil.copyfile(done, output)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
