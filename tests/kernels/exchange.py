"""Snapshots that go from one kernel to another; run by scripts/test_kernels.sh, here and in its
guests.

    exchange.py BUILD DIRECTORY save NAME             make snapshots of each subject, as NAME
    exchange.py BUILD DIRECTORY restore NAME...       restore those of these names, with both kinds
                                                      of ids, and in GDB
    exchange.py BUILD DIRECTORY again FROM... NAME    restore those, save what runs then as
                                                      FROM+NAME

Prints a line `ok ...` or `not ok ...` for each. qemu's processor has fewer instructions than this
one. The programs are started such that their C library, the only one to ask for instructions,
chooses none that qemu lacks, and what a processor lacks is taken out of the records.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.checkpoint import Workshop, restored_pid
from support.forge import Forgery

# Arguments of a test program each: threads with all that they have, the vdso, memory,
# handlers, timers, sockets.
SUBJECTS: dict[str, Sequence[str]] = {
    "threads": ("threads", "4"),
    "static": ("threads.static", "4"),
    "vdso": ("vdso", "calls"),
    "spin": ("vdso", "spin"),
    "handler": ("in_handler", "plain"),
    "interrupted": ("vdso", "interrupted", "3"),
    "guards": ("guards", "kept"),
    "names": ("vma_names",),
    "locks": ("robust_list",),
    "timers": ("proc_timers", "thread_id"),
    "unix": ("fd_unix", "stream"),
    "inet": ("fd_inet", "connection"),
    "epoll": ("fd_epoll", "nested"),
}
# What glibc chooses from, and qemu 7.2 does not emulate.
_TUNABLES = "glibc.cpu.hwcaps=-XSAVEC,-AVX512F,-AVX512VL,-AVX512BW,-AVX512CD,-AVX512DQ,-RTM"


class Exchange:
    """The directory with the snapshots, and the words that their programs end with."""

    def __init__(self, build: Path, directory: Path) -> None:
        self.build = build
        self.directory = directory
        self.failed = False

    @contextmanager
    def workshop(self) -> Iterator[Workshop]:
        """Its own directory, and the common store."""
        with tempfile.TemporaryDirectory() as name:
            made = Workshop(self.build, Path(name))
            made.store = self.directory / "store"
            made.environment["CKPT_DIR"] = str(made.store)
            try:
                yield made
            finally:
                made.close()

    def image(self, name: str, subject: str) -> Path:
        """The snapshot of a subject."""
        return self.directory / f"{name}-{subject}.ckpt"

    def nonce(self, name: str, subject: str) -> str:
        """What its program prints at the end."""
        return (self.directory / f"{name.partition('+')[0]}-{subject}.nonce").read_text()

    def case(self, what: str, action: Callable[[Workshop], str]) -> None:
        """Do it, and print what has come of it."""
        try:
            with self.workshop() as workshop:
                said = action(workshop)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            print(f"not ok {what}", *str(error).splitlines()[-12:], sep="\n-- ", flush=True)
            self.failed = True
        else:
            print(f"ok {what}{said}", flush=True)

    def save(self, name: str) -> None:
        """Every subject."""
        for subject, (program, *arguments) in SUBJECTS.items():

            def one(
                workshop: Workshop,
                subject: str = subject,
                program: str = program,
                arguments: list[str] = arguments,
            ) -> str:
                command: list[str | Path] = [workshop.programs / program, *arguments]
                running = workshop.start(
                    command, directory=Path("/"), environment={"GLIBC_TUNABLES": _TUNABLES}
                )
                try:
                    if "interrupted" in arguments:
                        running.expect("AT ")
                    running.ready()
                except AssertionError:
                    if "SKIP" in running.transcript():
                        return f": {running.transcript().split('SKIP ')[1].strip()}"
                    raise
                workshop.save(running.pid, self.image(name, subject), "--force")
                running.send()
                self._passed(running.finish().output, running.nonce)
                (self.directory / f"{name}-{subject}.nonce").write_text(running.nonce)
                return ""

            self.case(f"save {subject} as {name}", one)

    def restore(self, name: str, subject: str, ids: str, again: str = "") -> None:
        """One of them; with `again` it is saved once more, under that name."""

        def one(workshop: Workshop) -> str:
            image = self.usable(name, subject)
            restart = workshop.restart(image, "--ids", ids, directory=Path("/"))
            # One that does not sleep does not tell when it has been let go.
            if again and subject != "spin":
                workshop.save(restored_pid(restart), self.image(again, subject), "--force")
            restart.send(may_have_ended=True)
            result = restart.finish()
            assert result.status == 0, f"{result}"
            self._passed(result.output, self.nonce(name, subject))
            return (
                "; " + result.errors.strip().replace("ckpt-restart: note: ", "").replace("\n", "; ")
                if result.errors
                else ""
            )

        self.case(
            f"restore {subject} of {name}, {ids} ids"
            + (f", and save it as {again}" if again else ""),
            one,
        )

    def usable(self, name: str, subject: str) -> Path:
        """The snapshot, without the instructions in its record that this processor lacks: its
        program uses none of them.
        """
        image = self.image(name, subject)
        forgery = Forgery(image)
        here = Path("/proc/cpuinfo").read_text().partition("\nflags")[2].partition("\n")[0].split()
        flags: list[str] = forgery.record["host"]["cpu_flags"]
        if set(flags) <= set(here):
            return image
        forgery.record["host"]["cpu_flags"] = [flag for flag in flags if flag in here]
        return forgery.write(image.with_suffix(".fewer.ckpt"))

    def debug(self, name: str, subject: str) -> None:
        """In GDB: a call through the vdso that the program knows, with its symbols,
        and a backtrace out of it.
        """

        def one(_workshop: Workshop) -> str:
            commands = [
                "set confirm off",
                f"ckpt restore {self.usable(name, subject)}",
                "break __vdso_clock_gettime",
            ]
            commands += ["continue", "backtrace", "delete", "finish", "continue"]
            gdb = [
                "gdb",
                "-nx",
                "-batch",
                "-ex",
                f"source {Path(__file__).resolve().parents[2] / 'gdbext' / 'load.py'}",
            ]
            for command in commands:
                gdb += ["-ex", command]
            environment = {
                "CKPT_BUILD_DIR": str(self.build),
                "CKPT_DIR": str(self.directory / "store"),
                "HOME": "/root",
            }
            environment |= {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
            done = subprocess.run(
                gdb, input="\n", capture_output=True, text=True, timeout=100, env=environment
            )
            said = done.stdout + done.stderr
            for part in ("in clock_gettime ()", " in main (", f"PASS {self.nonce(name, subject)}"):
                assert part in said, f"no {part!r}:\n{said}"
            return ""

        if shutil.which("gdb"):
            self.case(f"debug {subject} of {name}", one)

    def _passed(self, output: str, nonce: str) -> None:
        assert output.splitlines()[-1:] == [f"PASS {nonce}"], output

    def subjects(self, name: str) -> list[str]:
        """Those of which there is a snapshot."""
        return [subject for subject in SUBJECTS if self.image(name, subject).exists()]


def main(build: str, directory: str, what: str, *names: str) -> int:
    """The program."""
    exchange = Exchange(Path(build), Path(directory))
    if what == "save":
        exchange.save(*names)
    elif what == "again":
        *before, here = names
        for name in before:
            for subject in exchange.subjects(name):
                exchange.restore(name, subject, "virtual", f"{name}+{here}")
    else:
        for name in names:
            found = exchange.subjects(name)
            if not found and "+" not in name:
                print(f"not ok there is no snapshot of {name}")
                exchange.failed = True
            for number, subject in enumerate(found):
                # With their own ids, as far as nobody has them here, and with new ones, in turn.
                exchange.restore(name, subject, ("auto", "virtual")[number % 2])
            if "vdso" in found:
                exchange.debug(name, "vdso")
    return 1 if exchange.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
