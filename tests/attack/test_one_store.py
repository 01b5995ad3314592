"""A saver, a restorer and a deleter on one store at once: nobody takes away what another needs, and
nothing stays that is not needed.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.attack import TIMES
from support.checkpoint import Workshop, passed
from support.processes import Running

pytestmark = pytest.mark.timeout(400 * TIMES)

# What a restorer may be told whose snapshot has been deleted meanwhile.
_GONE = (
    "no such file", "there is no", "is not what it was", "is in no store", "not in the store",
    "kept", "cannot be read",
)  # fmt: skip


class Together:
    """Runs parts at the same time until each has done its share;
    the first failure of one is the test's.
    """

    def __init__(self) -> None:
        self._failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def add(self, part: Callable[[], None]) -> None:
        def run() -> None:
            try:
                part()
            except BaseException as error:
                self._failures.append(error)

        self._threads.append(threading.Thread(target=run))

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]


def test_saver_restorer_deleter(
    workshop: Workshop, times: Callable[[int], int], build_dir: Path
) -> None:
    programs = [
        workshop.start_program(name, *words) for name, words in (("threads", ("2",)), ("storm", ()))
    ]
    ckpt = build_dir / "bin" / "ckpt"
    environment = {**os.environ, **workshop.environment}
    snapshots = workshop.store / "snapshots"
    shares = times(6)
    saved: list[str] = []
    restored = [0]

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(words),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def save(program: Running) -> Callable[[], None]:
        def part() -> None:
            for number in range(shares):
                name = f"s-{program.pid}-{number}"
                done = run(ckpt, "save", str(program.pid), name)
                assert done.returncode == 0, done
                saved.append(name)

        return part

    def restore() -> None:
        for number in range(shares):
            names = saved[-3:]
            if not names:
                continue
            image = snapshots / f"{names[number % len(names)]}.ckpt"
            restart = subprocess.Popen(
                [build_dir / "bin" / "ckpt-restart", "--store", workshop.store, image],
                env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            output, errors = restart.communicate("go\n", timeout=120)
            if restart.returncode == 125:
                assert (
                    not output and any(word in errors for word in _GONE) and not image.exists()
                ), (output, errors)
            else:
                assert restart.returncode == 0 and "PASS" in output, (
                    restart.returncode,
                    output,
                    errors,
                )
                restored[0] += 1

    def delete() -> None:
        for number in range(2 * shares):
            if number % 3 == 0:
                done = run(ckpt, "gc")
                assert done.returncode == 0 or "in use" in done.stderr, done
            elif len(saved) > 4:
                done = run(ckpt, "delete", "-y", saved.pop(0))
                assert done.returncode == 0, done

    (workshop.store / "snapshots").mkdir(parents=True)
    workshop.store.chmod(0o700)
    together = Together()
    for part in (*map(save, programs), restore, delete):
        together.add(part)
    together.run()
    for program in programs:
        program.send()
        passed(program.finish(), program.nonce)
    # What is left is whole, and no more is left than it needs.
    done = run(ckpt, "verify")
    assert done.returncode == 0, done
    assert {path.stem for path in snapshots.iterdir()} == set(saved)
    done = run(ckpt, "delete", "-y", "--all")
    assert done.returncode == 0, done
    left = [path for path in workshop.store.rglob("*") if not path.is_dir()]
    assert not left, left
    print(f"{2 * shares} saves, {restored[0]} restores")
