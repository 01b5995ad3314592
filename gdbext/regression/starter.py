"""Becomes a program as a list says: `python -I -S starter.py LIST PROGRAM [ARGUMENT...]`.

LIST is a file with JSON: `argv`, `environ`, `cwd`, and `streams`, the paths of the standard
streams. GDB's exec wrapper in a replay of another build of a program, whose path GDB appends.
"""

import json
import os
import signal
import sys


def main() -> None:
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    program = os.path.abspath(sys.argv[2])
    for stream, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        path = plan["streams"].get(str(stream))
        if path:
            fd = os.open(path, flags | os.O_NOCTTY)
            os.dup2(fd, stream)
            os.close(fd)
    os.chdir(plan["cwd"])
    # Python ignores them, and the program would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execve(program, plan["argv"] or [program], plan["environ"])


main()
