"""The program `ckpt`: what the commands in GDB do to snapshots, from the shell.

    ckpt list | info | note | rename | delete | gc | diff | export | bundle | import | verify |
         save | restore | replay

Exit status: 0 done, and nothing differs; 1 the snapshots differ (diff), or one is damaged (verify);
2 wrong usage; 125 it could not be done, and one line on standard error says why. `ckpt restore`
becomes ckpt-restart, and ends as the program ends.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, NoReturn, Optional, Sequence

from .. import __version__, native
from ..errors import CkptError, StoreError, UsageError, one_line

DONE, DIFFERENT, USAGE, FAILED = 0, 1, 2, 125

Verb = Callable[[argparse.Namespace], int]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the program with `arguments` (without its name); the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What the terminal's encoding does not have, bytes that are no text among it.
            stream.reconfigure(errors="backslashreplace")
    if words[:1] in (["--complete"], ["--complete-tcsh"]):
        from . import completing

        completing.main(words)
        return DONE
    options = parser().parse_args(words)
    run: Verb = options.run
    try:
        status = run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _fail(options.verb, "interrupted", FAILED)
    except BrokenPipeError:
        # The reader has seen enough. Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UsageError as error:
        return _fail(options.verb, str(error), USAGE)
    except (CkptError, OSError) as error:
        return _fail(options.verb, one_line(str(error)), FAILED)
    except Exception as error:
        if isinstance(error, native.core.NativeError):
            return _fail(options.verb, one_line(str(error)), FAILED)
        raise


def _fail(verb: str, text: str, status: int) -> int:
    from ..text import report

    print(f"ckpt {verb}: {report.printable(text)}", file=sys.stderr)
    return status


# -- the command line ------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        from ..text import report

        print(f"{self.prog}: {report.printable(message)} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(USAGE)


def parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    whole = _Parser(
        prog="ckpt",
        description="Works on snapshots of processes, without GDB.",
        epilog="Exit status: 0 done; 1 they differ (diff), or one is damaged (verify); 2 wrong "
        "usage; 125 it could not be done.",
    )
    whole.add_argument("--version", action="version", version=f"gdb-ckpt {__version__}")
    verbs = whole.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, run: Verb, help: str, json_too: bool = True) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = verbs.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False
        )
        made.add_argument(
            "--store",
            metavar="DIR",
            type=Path,
            help="the store (default: $CKPT_DIR, $XDG_DATA_HOME/ckpt or ~/.local/share/ckpt)",
        )
        if json_too:
            made.add_argument("--json", action="store_true", help="print JSON")
        made.set_defaults(run=run)
        return made

    def snapshot(to: argparse.ArgumentParser, metavar: str = "NAME") -> None:
        to.add_argument(metavar.lower(), metavar=metavar, help="a snapshot's name, or a file")

    def force(to: argparse.ArgumentParser, what: str) -> None:
        to.add_argument("--force", action="store_true", help=f"replace {what}")

    made = verb("list", _list, "list the snapshots, oldest first")
    made.add_argument(
        "names", metavar="PATTERN", nargs="*", help="names, or patterns of names (default: all)"
    )
    made.add_argument("--newest", metavar="N", type=_count, help="the newest N of them only")
    made.add_argument(
        "--program", metavar="NAME", help="those of a program (name, path or pattern)"
    )
    made.add_argument(
        "--tree", action="store_true", help="draw which was saved after a restore of which"
    )
    snapshot(verb("info", _info, "show what a snapshot holds"))
    made = verb("diff", _diff, "show what differs between two snapshots of a program")
    snapshot(made, "OLD")
    snapshot(made, "NEW")
    made.add_argument(
        "--limit",
        metavar="N",
        type=_count,
        default=100,
        help="show at most N ranges of bytes (default: 100)",
    )
    made = verb("export", _export, "write a plain core file for other tools")
    snapshot(made)
    made.add_argument("file", metavar="FILE", type=Path, help="the core file to write")
    force(made, "FILE if it exists")
    made = verb("bundle", _bundle, "write one file with a snapshot and all that it needs")
    snapshot(made)
    made.add_argument("file", metavar="FILE", type=Path, help="the bundle to write")
    force(made, "FILE if it exists")
    made = verb("import", _import, "put a bundle's snapshot into the store")
    made.add_argument("file", metavar="FILE", type=Path, help="the bundle")
    made.add_argument("--name", metavar="NAME", help="what to call it (default: its own name)")
    force(made, "a snapshot of that name")
    made = verb("verify", _verify, "compare snapshots, and what they need, with their digests")
    made.add_argument(
        "names", metavar="NAME", nargs="*", help="names or files (default: all of the store)"
    )
    made = verb("note", _note, "keep a remark with a snapshot, or show it")
    snapshot(made)
    made.add_argument("text", metavar="TEXT", nargs="*", help="the remark ('' for none)")
    made = verb("rename", _rename, "give a snapshot another name")
    made.add_argument("old", metavar="OLD", help="a snapshot's name")
    made.add_argument("new", metavar="NEW", help="another one")
    made = verb("delete", _delete, "delete snapshots, and kept files that are no longer needed")
    made.add_argument("names", metavar="PATTERN", nargs="*", help="names, or patterns of names")
    made.add_argument("--older", metavar="AGE", help="those saved more than AGE (12h, 7d) ago")
    made.add_argument("--all", action="store_true", help="all of the store")
    made.add_argument("-y", "--yes", action="store_true", help="do not ask")
    verb("gc", _gc, "remove kept files that no snapshot needs any more")
    made = verb("save", _save, "save a running process that one may trace, and let it go on")
    made.add_argument("pid", metavar="PID", type=_count, help="the process")
    made.add_argument("name", metavar="NAME", nargs="?", help="default: PROGRAM-N")
    made.add_argument("-m", "--message", metavar="TEXT", default="", help="a remark to keep")
    made.add_argument(
        "--file-limit", metavar="BYTES", type=_count, help="keep data files up to this size"
    )
    force(made, "a snapshot of that name")
    made = verb(
        "restore", _restore, "restore a snapshot and let it run, without GDB", json_too=False
    )
    snapshot(made)
    made.add_argument(
        "options",
        metavar="OPTION",
        nargs=argparse.REMAINDER,
        help="options of ckpt-restart, after NAME",
    )
    made = verb("replay", _replay, "restore a snapshot in GDB, and compare with what was recorded")
    snapshot(made, "NAME")
    _replay_options(made)
    made = verb("completion", _completion, "print the completion for a shell", json_too=False)
    made.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh"))
    return whole


def _replay_options(to: argparse.ArgumentParser) -> None:
    to.description = (
        "Restore a snapshot in a GDB of its own, with private copies of its files, and compare "
        "what happens with what was recorded. Exit status: 0 as recorded, 1 different, 2 could "
        "not be run."
    )
    for name, metavar, help in (
        ("script", "FILE", "GDB commands to run (default: continue to the end)"),
        ("expect", "FILE", "what is expected (default: beside the script or the snapshot)"),
        ("program", "FILE", "ask another build of the program: does the failure occur again?"),
        ("at", "LOCATION", "run that program to LOCATION and not to where the snapshot was made"),
        ("stdin", "FILE", "standard input comes from FILE"),
        ("junit", "FILE", "write the result as JUnit XML, too"),
        ("gdb", "FILE", "the GDB to use (default: $CKPT_GDB, or gdb)"),
    ):
        to.add_argument(f"--{name}", metavar=metavar, help=help)
    to.add_argument("--update", action="store_true", help="record what happens as the expectation")
    to.add_argument("--gone", action="store_true", help="the failure must not occur with --program")
    to.add_argument(
        "--timeout", metavar="SECONDS", default="60", help="how long it may take (default: 60)"
    )
    to.add_argument(
        "--file",
        metavar="OLD=NEW",
        action="append",
        default=[],
        help="open NEW where the program had OLD open",
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f'not a number: "{text}"')
    return int(text)


def _show(*lines: str) -> None:
    """Print lines. Nothing in them drives the terminal, wherever it came from."""
    from ..text import report

    for line in lines:
        print(report.shown(line))


def _print_json(value: Any) -> None:
    from ..text import report

    print(report.as_json(value))


def _store(options: argparse.Namespace) -> Any:
    from ..offline.snapshot import open_store

    return open_store(options.store.expanduser().absolute() if options.store else None)


def _open(options: argparse.Namespace, name: str) -> Any:
    from ..offline.snapshot import Snapshot

    return Snapshot.open(name, store=options.store)


# -- the verbs -------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    from ..text import listing

    store = _store(options)
    entries = listing.chosen(
        store.entries(), options.names, program=options.program, newest=options.newest
    )
    rows = listing.rows(entries, None, tree=options.tree)
    if options.json:
        print(listing.as_json(rows))
    elif rows:
        _show(*listing.table(rows, _width()))
    else:
        _show(listing.nothing(str(store.root), bool(options.names or options.program)))
    return DONE


def _width() -> Optional[int]:
    """The terminal's width; None when the output is not to one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _info(options: argparse.Namespace) -> int:
    from ..debugger import sessions
    from ..offline.snapshot import describe, foreign_vdso
    from ..text import report

    store = _store(options)
    name, path = store.resolve(options.name)
    record = describe(path)
    strange = sessions.left_out_lines(store, path, record)
    if options.json:
        print(report.info_json(name, str(path), record, (), strange))
    else:
        _show(*report.info(name, str(path), record, (), foreign_vdso(path), strange))
    return DONE


def _diff(options: argparse.Namespace) -> int:
    from ..comparison import difference
    from ..comparison.compare import diff

    with _open(options, options.old) as old, _open(options, options.new) as new:
        found = diff(old, new)
        if options.json:
            _print_json(difference.table(old, new, found, options.limit))
        else:
            for line in difference.lines(old, new, found, options.limit):
                _show(line)
    return DIFFERENT if found else DONE


def _export(options: argparse.Namespace) -> int:
    from ..offline.export import export
    from ..text import report

    with _open(options, options.name) as snapshot:
        done = export(snapshot, options.file, force=options.force)
    if options.json:
        _print_json(done._asdict())
    else:
        _show(*report.exported(str(done.path), done.disk_bytes, done.missing))
    return DONE


def _bundle(options: argparse.Namespace) -> int:
    from ..offline.bundle import bundle
    from ..text import report

    with _open(options, options.name) as snapshot:
        done = bundle(snapshot, options.file, force=options.force)
    if options.json:
        _print_json(done._asdict())
    else:
        lines = report.bundled(
            str(done.path), done.size_bytes, done.objects, done.debug_files, done.missing
        )
        _show(*lines)
    return DONE


def _import(options: argparse.Namespace) -> int:
    from ..offline.bundle import import_bundle

    done = import_bundle(_store(options), options.file, name=options.name, force=options.force)
    if options.json:
        _print_json(done._asdict())
    else:
        _show(f'Imported "{done.name}"')
    return DONE


def _verify(options: argparse.Namespace) -> int:
    from ..offline.snapshot import verify
    from ..text import report

    store = _store(options)
    results = [verify(name, store=store.root) for name in options.names or store.names()]
    if options.json:
        _print_json([each._asdict() for each in results])
    elif results:
        _show(*report.verified(results))
    return DONE if all(each.good for each in results) else DIFFERENT


def _note(options: argparse.Namespace) -> int:
    from ..offline.snapshot import describe
    from ..store import labels
    from ..text import report

    store = _store(options)
    if options.text:
        name = labels.note(store, options.name, " ".join(options.text))
    else:
        name, path = store.resolve(options.name)
    message = " ".join(options.text) if options.text else describe(path).message
    if options.json:
        _print_json({"name": name, "message": message})
    elif options.text:
        _show(f'Noted in "{name}".')
    else:
        _show(report.printable(message) if message else f'"{name}" has no remark.')
    return DONE


def _rename(options: argparse.Namespace) -> int:
    from ..store import labels

    done = labels.rename(_store(options), options.old, options.new)
    if options.json:
        _print_json({"old": done.old, "name": done.new, "file": done.path})
    else:
        _show(f'Renamed "{done.old}" to "{done.new}".')
    return DONE


def _gc(options: argparse.Namespace) -> int:
    from ..text import report

    store = _store(options)
    if not store.check():
        raise StoreError(f"there is no store {store.root}")
    done = store.collect()
    if done.kept_because:
        raise StoreError(done.kept_because)
    if options.json:
        _print_json(done._asdict())
    else:
        _show(report.collected(done))
    return DONE


def _delete(options: argparse.Namespace) -> int:
    from ..text import listing, report

    if not (options.names or options.older or options.all):
        return _fail(
            "delete", "PATTERN, --older or --all is missing (see ckpt delete --help)", USAGE
        )
    store = _store(options)
    names = listing.condemned(store, options.names, options.older, options.all)
    # What was named in full is meant.
    if not set(names) <= set(options.names) and not options.yes:
        if not sys.stdin.isatty():
            return _fail("delete", f"{report.named(names)}: --yes deletes without asking", USAGE)
        print(report.shown(f"Delete {report.named(names)}? (y or n) "), end="", flush=True)
        if not sys.stdin.readline().strip().lower().startswith("y"):
            return _fail("delete", "not confirmed: nothing was deleted", FAILED)
    if not names:
        print(json.dumps({"names": [], "freed_bytes": 0}) if options.json else "Nothing to delete.")
        return DONE
    done = store.delete(names)
    if options.json:
        _print_json(done._asdict())
    else:
        _show(*report.deleted(done))
    return DONE


def _save(options: argparse.Namespace) -> int:
    from ..offline import saver
    from ..text import report

    made = saver.order(
        _store(options), options.pid, options.name, options.message, options.force,
        options.file_limit,
    )  # fmt: skip
    # Its progress and its errors are shown as they are.
    done = subprocess.run(
        made.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        return FAILED
    name, path, record = made.done()
    if options.json:
        _print_json(
            {
                "name": name,
                "file": path,
                "bytes": record.file_bytes,
                "threads": len(record.threads),
                "fidelity": [each._asdict() for each in record.fidelity],
            }
        )
        return DONE
    threads = report.counted(len(record.threads), "thread")
    _show(f'Saved "{name}": {report.size(record.file_bytes)}, {threads}')
    for line in report.fidelity(record.fidelity):
        _show(line)
    return DONE


def _restore(options: argparse.Namespace) -> int:
    program = native.find_program("ckpt-restart")
    store = _store(options)
    _, path = store.resolve(options.name)
    words = [str(program), "--store", str(store.root), *options.options, str(path)]
    sys.stdout.flush()
    os.execv(program, words)


def _replay(options: argparse.Namespace) -> int:
    from ..regression import run as replaying

    try:
        asked = replaying.Options(
            snapshot=options.name,
            script=options.script,
            expect=options.expect,
            timeout_s=replaying.seconds(options.timeout),
            update=options.update,
            junit=options.junit,
            program=options.program,
            at=options.at,
            gone=options.gone,
            stdin=options.stdin,
            files=tuple(replaying.pair(text) for text in options.file),
            store=options.store.expanduser().absolute() if options.store else None,
            gdb=options.gdb,
        )
    except CkptError as error:
        return _fail("replay", str(error), USAGE)
    result = replaying.replay(asked)
    if options.json:
        _print_json(result._asdict())
    elif result.status == replaying.NOT_RUN:
        return _fail("replay", result.headline, result.status)
    else:
        _show(result.headline, *result.lines)
    return result.status


def _completion(options: argparse.Namespace) -> int:
    print((Path(__file__).parent / "completions" / f"ckpt.{options.shell}").read_text(), end="")
    return DONE
