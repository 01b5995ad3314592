"""What the commands print: sizes, times, tables, fidelity reports, and their JSON."""

from __future__ import annotations

import json
import re
import time
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence

from .. import native
from ..records import Fidelity, Record
from ..store.finding import Found
from ..store.store import Collected, Deleted, Entry

# Not one character: not every terminal shows that.
_ELLIPSIS = "..."
_LEAST_PLACE = 12
_MOST_NAMES = 10

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """`count` bytes for people: "812 bytes", "1.2 MiB"."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{int(count)} {_UNITS[0]}" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"


def moment(unix_s: float) -> str:
    """A time of day in the user's time zone: "2026-11-20 23:41:02"."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"


def counted(count: int, noun: str) -> str:
    """ "1 thread", "4 threads"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """`text` with control characters shown, so that a snapshot from elsewhere cannot drive the
    terminal.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def shown(text: str) -> str:
    """Our own lines for the terminal: as `printable`, but with their line breaks and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    # A byte that is no UTF-8 is itself, and not the surrogate that stands for it.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    import unicodedata  # seldom needed

    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def cut(text: str, width: Optional[int]) -> str:
    """`text` in at most `width` columns (None: as it is), with an ellipsis where something is
    missing.
    """
    if width is None or columns(text) <= width:
        return text
    kept = text[: max(width - len(_ELLIPSIS), 0)]
    while kept and columns(kept) + len(_ELLIPSIS) > width:
        kept = kept[:-1]
    return (kept + _ELLIPSIS)[: max(width, 0)]


def aligned(rows: Sequence[Sequence[str]]) -> List[str]:
    """A table: a line per row. A column without any text is left out."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(*rows)]
    return [
        "  ".join(
            cell + " " * (width - columns(cell)) for cell, width in zip(row, widths) if width
        ).rstrip()
        for row in rows
    ]


def stopped(place: str) -> str:
    """Where a snapshot is, in a sentence: "stopped by SIGABRT in audit at queue.c:290"."""
    if re.match(r"SIG[A-Z0-9]+( in | at |$)|signal \d", place):
        return f"stopped by {printable(place)}"
    return f"stopped {somewhere(printable(place))}"


def somewhere(place: str) -> str:
    """ "in audit at queue.c:290", "at 0x4662b6 in gawk"."""
    return f"{'at' if place.startswith('0x') else 'in'} {place}"


def saved(
    name: str, file_bytes: int, seconds: float, threads: int, place: str, width: Optional[int]
) -> str:
    """The line after a save, in `width` columns if it can be done by leaving out from its end."""
    where = f", {stopped(place)}" if place else ""
    line = f'Saved "{name}": {size(file_bytes)}'
    for part in (f" in {seconds:.2f} s", f", {counted(threads, 'thread')}", where):
        room = None if width is None else width - columns(line)
        if part is where and room is not None and room >= len(", stopped in ") + _LEAST_PLACE:
            part = cut(part, room)
        if room is not None and columns(part) > room:
            break
        line += part
    return line


def fidelity(found: Iterable[Fidelity], verbose: bool = False) -> List[str]:
    """The fidelity report, worst first; empty when everything will come back as it was. Lines that
    say the same of many are one, unless `verbose`.
    """
    lines = _merged(
        [
            f"{each.severity}: {each.object}: {each.kind}: {each.text}"
            for each in sorted(found, key=lambda each: each.rank)
        ],
        verbose,
    )
    return (
        ["Will not come back as it was:", *(f"  {printable(line)}" for line in lines)]
        if lines
        else []
    )


def notes(found: Iterable[str], verbose: bool = False) -> List[str]:
    """Lines about what a save or a restore has found."""
    return [f"note: {printable(line)}" for line in _merged(list(found), verbose)]


def _merged(lines: List[str], verbose: bool) -> List[str]:
    if verbose:
        return lines
    merged = native.core.merge_similar([line.encode("utf-8", "surrogateescape") for line in lines])
    return [line.decode("utf-8", "surrogateescape") for line in merged]


def as_json(value: Any) -> str:
    """Any value that JSON has a form for, and paths, as text for people and programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _ids(ids: str) -> str:
    return "ids kept" if ids == "saved" else "new ids"


def restored(record: Record, name: str, pid: int, ids: str, seconds: float) -> str:
    """The line after a restore."""
    return (
        f'Restored "{name}", saved {moment(record.created)}: process {pid}, '
        f'{counted(len(record.threads), "thread")} ({_ids(ids)}), in {seconds:.2f} s'
    )


def named(names: Sequence[str]) -> str:
    """The names of snapshots; of many the first ones and their number."""
    if len(names) > _MOST_NAMES:
        return f"{counted(len(names), 'snapshot')} ({named(names[: _MOST_NAMES - 2])}, ...)"
    return ", ".join(f'"{name}"' for name in names)


def deleted(done: Deleted) -> List[str]:
    """The lines after a deletion."""
    lines = [f"Deleted {named(done.names)}: {size(done.freed_bytes)} freed"]
    if done.kept_because:
        lines.append(f"note: {done.kept_because}")
    return lines


def collected(done: Collected) -> str:
    """The line after a collection that was made."""
    if not done.objects and not done.freed_bytes:
        return "Nothing to remove: every kept file is needed."
    files = counted(done.objects, "kept file")
    return f"Removed {files} that no snapshot needs: {size(done.freed_bytes)} freed"


def exported(path: str, disk_bytes: int, missing: Sequence[str]) -> List[str]:
    """The lines after an export."""
    return [f"Wrote {path}: {size(disk_bytes)}", *_not_kept(missing, "is not in it")]


def bundled(
    path: str, size_bytes: int, objects: int, debug_files: int, missing: Sequence[str]
) -> List[str]:
    """The lines after a bundle was written."""
    return [
        f"Wrote {path}: {size(size_bytes)}, {counted(objects, 'file')} of the program, "
        f"{counted(debug_files, 'file')} of debug information",
        *_not_kept(missing, "is not in it, and must be the same where it is restored"),
    ]


def _not_kept(paths: Sequence[str], what: str) -> List[str]:
    return [
        f"note: {printable(path)} {what}: its content was not kept at the save" for path in paths
    ]


def inspected(record: Record, name: str, inferior: int, before: int) -> str:
    """The line after a snapshot was opened in `inferior`; `before` was the selected one."""
    return (
        f'Inspecting "{name}", saved {moment(record.created)}, in inferior {inferior}: '
        f"{counted(len(record.threads), 'thread')}; \"inferior {before}\" goes back"
    )


class Verified(NamedTuple):
    """A snapshot that was compared with its digests; `problem` is "" for a good one."""

    name: str
    good: bool
    problem: str


def verified(results: Sequence[Verified]) -> List[str]:
    """The lines of `ckpt verify`."""
    return [f"{each.name}: {'good' if each.good else each.problem}" for each in results]


# -- ckpt print ------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What an expression is in a snapshot: `value` and `type`, or `error`, one line. `created` is
    in Unix seconds, 0 when the snapshot cannot be read.
    """

    name: str
    created: float
    value: Optional[str]
    type: Optional[str]
    error: str


def answers(found: Sequence[Answer]) -> List[str]:
    """`ckpt print`: one line per snapshot."""
    rows: List[Sequence[str]] = [("Name", "Saved", "Value")]
    for each in found:
        saved_at = moment(each.created) if each.created else ""
        value = each.value if each.value is not None else f"error: {each.error}"
        rows.append((each.name, saved_at, " ".join(value.split())))
    return aligned(rows)


# -- ckpt find -------------------------------------------------------------------------------------


def found(entries: Sequence[Entry], done: Found, last: bool) -> List[str]:
    """`ckpt find` for people."""
    looked = f"{done.asked} of {counted(len(entries), 'snapshot')} looked at"
    if done.at is None:
        ends = [entries[0].name, entries[-1].name] if len(entries) > 1 else [entries[0].name]
        return [f"It is not true in {' or '.join(named([each]) for each in ends)}; {looked}."]
    entry = entries[done.at]
    which = "last" if last else "first"
    lines = [f'{named([entry.name])} is the {which}: saved {moment(entry.created)}']
    if entry.record is not None and entry.record.place:
        lines[0] += f", {stopped(entry.record.place)}"
    if done.beside is None:
        other = "There is none behind it" if last else "There is none before it"
        other += " in which it is not true"
    else:
        other = f"In {named([entries[done.beside].name])} it is not true"
    between = f", and has no value in {done.silent} between" if done.silent else ""
    return [*lines, f"{other}{between}; {looked}."]


def found_table(entries: Sequence[Entry], done: Found) -> Dict[str, Any]:
    """`ckpt find -json`."""
    index, beside = done.at, done.beside
    return {
        "name": None if index is None else entries[index].name,
        "created": None if index is None else entries[index].created,
        "beside": None if beside is None else entries[beside].name,
        "silent": done.silent,
        "asked": done.asked,
        "snapshots": len(entries),
    }


# -- ckpt threads ----------------------------------------------------------------------------------


class ThreadRow(NamedTuple):
    """A thread: GDB's number now and at the save (None: it is new, or was never restored), its
    name, its pthread_t (0: unknown), the id the program is shown, and the kernel's.
    """

    now: int
    then: Optional[int]
    name: str
    pthread: int
    saved_id: int
    kernel_id: int


def threads(rows: Sequence[ThreadRow]) -> List[str]:
    """`ckpt threads`: one line per thread."""
    lines: List[Sequence[str]] = [("Now", "Then", "Name", "pthread_t", "Saved id", "Kernel id")]
    lines += [
        (
            str(row.now),
            "-" if row.then is None else str(row.then),
            row.name,
            hex(row.pthread) if row.pthread else "-",
            str(row.saved_id),
            str(row.kernel_id),
        )
        for row in rows
    ]
    return aligned(lines)


def threads_json(rows: Sequence[ThreadRow]) -> List[str]:
    """`ckpt threads -json`: an array of objects."""
    return [as_json([row._asdict() for row in rows])]


# -- ckpt info -------------------------------------------------------------------------------------


class RestoredHere(NamedTuple):
    """A program that was restored in this session; `ids` is "saved" or "virtual"."""

    inferior: int
    pid: int
    ids: str


def _arguments(words: Sequence[str]) -> str:
    """As a shell takes them. A program that has written a title over its arguments leaves empty
    ones behind it.
    """
    import shlex

    last = max((n for n, word in enumerate(words) if word), default=-1)
    return " ".join(map(shlex.quote, words[: last + 1]))


def info(
    name: str,
    path: str,
    record: Record,
    here: Sequence[RestoredHere] = (),
    vdso: str = "",
    strange: Sequence[str] = (),
    verbose: bool = False,
) -> List[str]:
    """`ckpt info NAME`. `here`: what was restored from it and is still there. `vdso`: what a
    restore here does about its vdso, if anything. `strange`: what it would leave out of the
    session.
    """
    main = record.threads[0]
    facts = [
        ("Snapshot", name),
        ("Message", record.message),
        ("File", f"{path} ({size(record.file_bytes)})"),
        (
            "Saved",
            f"{moment(record.created)} on {record.hostname} (Linux {record.kernel}) "
            f"by {record.creator}",
        ),
        ("Vdso", vdso),
        ("Program", record.program),
        ("Arguments", _arguments(record.argv[1:])),
        ("Directory", record.cwd),
        (
            "Process",
            _both_ids(record.pid, main.remembered if main.tid == record.pid else record.pid),
        ),
        (
            "Ids",
            "it had been restored with new ids, and is shown those that it remembers"
            if record.has_remembered_ids
            else "",
        ),
        (
            "Restored",
            "; ".join(
                f"inferior {each.inferior}, process {each.pid} ({_ids(each.ids)})" for each in here
            ),
        ),
        ("Stopped at", record.stop),
        ("Kept files", f"{len(record.objects)}, {size(sum(each.size for each in record.objects))}"),
    ]
    width = max(len(label) for label, _ in facts) + 2
    lines = [f"{label + ':':<{width}}{printable(text)}" for label, text in facts if text]
    lines.append("Threads:")
    for thread in record.threads:
        mark = "*" if thread.tid == record.selected_tid else " "
        signal = f", signal {thread.held_signal} held" if thread.held_signal else ""
        ids = _both_ids(thread.tid, thread.remembered)
        lines.append(f"{mark} {thread.number:<4} LWP {ids} {printable(thread.name)}{signal}")
    if record.files:
        lines.append("Open files:")
        lines += [
            f"  {each.fd:<4} {printable(each.kind)}: {printable(each.path)}"
            for each in record.files
        ]
    lines += [f"note: {printable(line)}" for line in strange]
    return lines + fidelity(record.fidelity, verbose)


def _both_ids(kernel: int, remembered: int) -> str:
    return str(kernel) if kernel == remembered else f"{kernel} (remembered as {remembered})"


def info_table(
    name: str,
    path: str,
    record: Record,
    here: Sequence[RestoredHere] = (),
    strange: Sequence[str] = (),
) -> Dict[str, Any]:
    """`ckpt info NAME -json`: the whole record, with the name and the file it is under now, what
    was restored from it and is still there, and lines about what a restore would leave out.
    """
    return {
        **record.raw,
        "name": name,
        "file": path,
        "restored": [each._asdict() for each in here],
        "left_out": list(strange),
    }


def info_json(
    name: str,
    path: str,
    record: Record,
    here: Sequence[RestoredHere] = (),
    strange: Sequence[str] = (),
) -> str:
    """The same as text."""
    return as_json(info_table(name, path, record, here, strange))
