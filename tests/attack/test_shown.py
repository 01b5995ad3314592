"""Names in a snapshot that would drive a terminal: whatever in a record is a text is shown with its
control characters escaped, or refused, by each program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.attack import TIMES, harmless, look_in_child
from support.checkpoint import Workshop
from support.forge import Forgery

pytestmark = pytest.mark.timeout(400 * TIMES)

# Escape sequences, C1 codes as characters and as a byte that is no UTF-8,
# and what turns the direction of the text.
NASTY = "\x1b[2J\x07\x7f\x9b31m\udc9b1m\u202e\r\n"


def texts(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where texts stand in a record: the table or list, and the key or index."""
    rows = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in list(rows):
        if isinstance(item, str):
            yield value, key
        else:
            yield from texts(item)


def test_each_text_of_a_record(workshop: Workshop) -> None:
    running = workshop.start_program("fd_unix", "accepted")
    image = workshop.save(running.pid, None, "--message", "a remark").image
    running.kill()
    keys = sorted({str(key) for _, key in texts(Forgery(image).record)})
    assert len(keys) > 20, keys
    for number, key in enumerate(keys):
        forged = Forgery(image)
        for table, at in texts(forged.record):
            if str(at) == key:
                table[at] += NASTY
        path = forged.write(workshop.directory / f"nasty-{number}.ckpt")
        look_in_child(path, (["info"], ["info", "--json"]))
        if number % 4 and TIMES == 1:
            continue
        restart = workshop.restart(path)
        restart.send(may_have_ended=True)
        result = restart.finish()
        for line in result.errors.splitlines():
            harmless(line)
            assert line.startswith("ckpt-restart: "), f"{key}: {result}"


def test_what_had_been_typed(workshop: Workshop) -> None:
    """It is told where there is no terminal to type it into."""
    running = workshop.start_program("exit_status", "0")
    forged = Forgery(workshop.save(running.pid).image)
    running.kill()
    forged.shared["terminal_input"] = list(NASTY.encode("utf-8", "surrogateescape"))
    restart = workshop.restart(forged.write(workshop.directory / "typed.ckpt"))
    restart.send(may_have_ended=True)
    result = restart.finish()
    (line,) = [line for line in result.errors.splitlines() if "typed before the save" in line]
    harmless(line)
    assert "\\x9b" in line and "\\u202e" in line, line


def test_the_lines_of_a_save(workshop: Workshop, tmp_path: Path) -> None:
    """Of a program with such a name in such a directory."""
    directory = tmp_path / NASTY.replace("\n", "")
    directory.mkdir()
    program = directory / "threads\x1b[1m\udc9b"
    program.write_bytes(workshop.program("threads", ".static").read_bytes())
    program.chmod(0o700)
    running = workshop.start([program, "2"], directory=directory)
    running.ready()
    # Where it can be, the file has such a name, too.
    for target in ((), (directory / "saved\x1b]0;x\x07.ckpt",), (directory / "none" / "x",)):
        tool = workshop.start([workshop.build / "bin" / "ckpt-save", str(running.pid), *target])
        result = tool.finish()
        assert (result.status == 0) == (target[-1:] != (directory / "none" / "x",)), f"{result}"
        assert not re.search(
            "[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.output + result.errors
        ), f"{result}"
