"""Names of any bytes, through ckpt-save and ckpt-restart:
arguments, environment, directory, files, threads.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from support.checkpoint import Workshop, passed
from support.odd_names import NAMES


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=NAMES, argument=NAMES)
def test_names_come_back(workshop: Workshop, name: bytes, argument: bytes) -> None:
    directory = Path(workshop.new_image()).with_suffix(".d")
    directory.mkdir()
    program = workshop.start(
        [workshop.program("odd_names"), os.fsdecode(argument)],
        environment={"NAME": os.fsdecode(name)},
        directory=directory,
    )
    program.ready()
    told = program.expect("argument "), program.expect("thread ")
    assert told == (argument.hex(), name[:15].hex())
    image = workshop.save(program.pid).image
    program.send()
    passed(program.finish(), program.nonce)
    for _ in range(2):
        restart = workshop.restart(image)
        restart.send()
        result = restart.finish()
        passed(result, program.nonce)
        assert f"argument {argument.hex()}" in result.output
    # What is shown of it does not drive the terminal, and as data it is exact.
    ckpt: list[str | Path] = [workshop.build / "bin" / "ckpt", "info", image]
    shown = subprocess.run(
        ckpt, env={**os.environ, **workshop.environment}, capture_output=True, check=True
    ).stdout
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", shown), shown
    shown.decode()
    data = subprocess.run(
        [*ckpt, "--json"],
        env={**os.environ, **workshop.environment},
        capture_output=True,
        check=True,
    )
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", data.stdout)
    known = json.loads(data.stdout)["process"]
    assert known["cwd"].encode("utf-8", "surrogateescape").endswith(name)


def test_what_the_programs_print_does_not_drive_the_terminal(workshop: Workshop) -> None:
    """Names of snapshots, in what is said of them and in errors."""
    directory = Path(workshop.new_image()).with_suffix(".d")
    directory.mkdir()
    program = workshop.start(
        [workshop.program("odd_names"), "x"], environment={"NAME": "x"}, directory=directory
    )
    program.ready()
    name = b"\x1b[31m\n\r\x7f\xff\xc2\x9b\xe2\x80\xae\xed\xb3\xbf gr\xc3\xb6\xc3\x9fe"
    shown = rb"\x1b[31m\n\r\x7f\xff\x9b\u202e\xed\xb3\xbf gr" + "öße".encode()
    bin_directory = workshop.build / "bin"
    environment = {**os.environ, **workshop.environment}

    def said(*words: str | bytes, status: int) -> bytes:
        done = subprocess.run(words, env=environment, capture_output=True, check=False)
        assert done.returncode == status, done
        return done.stdout + done.stderr

    image = os.fsencode(directory) + b"/" + name
    assert b"/" + shown + b": " in said(
        str(bin_directory / "ckpt-save"), str(program.pid), image, status=0
    )
    assert b"/" + shown + b" exists" in said(
        str(bin_directory / "ckpt-save"), str(program.pid), image, status=1
    )
    os.unlink(image)
    for words in (
        (b"ckpt-restart", image),
        (b"ckpt-restart", b"--no-such-" + name),
        (b"ckpt-save", name, image),
    ):
        done = said(
            os.fsencode(bin_directory) + b"/" + words[0],
            *words[1:],
            status=2 if words[0] == b"ckpt-save" else 125,
        )
        assert shown in done and not re.search(rb"[\x00-\x09\x0b-\x1f\x7f\xff]", done), done
    program.send()
    passed(program.finish(), program.nonce)
