"""A snapshot as a regression test: restored in a GDB of its own, driven by a script or a test,
compared with what was recorded. Nothing of the user is touched, and no process stays behind.

    keeper       the process between us and GDB, which lets nothing stay behind (a program by
                 itself)
    starter      becomes another build of a program (a program by itself)
    client       one GDB with one restored program: requests and answers, time-outs, the transcript
    live         what tests use: run_to, eval, finish, ...
    script       a script of GDB commands, command by command
    normalise    text without what differs from run to run
    expectation  what was recorded, as text that people read; the comparison
    run          one replay from beginning to end: what `ckpt replay` does
    junit        a result as JUnit XML

GDB's side is session/serving.py. All of this runs under any Python, pytest's among others, and
needs no native module: GDB has it.
"""
