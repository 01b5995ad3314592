"""What a process looks like from outside, and how two such looks differ.

The oracle never asks the code under test: it reads /proc/PID/{maps,smaps,status,fdinfo,mem} itself
and gets registers from the small program `register_dump`. A process is looked at while all its
threads sleep in system calls, so that nothing changes under the look.

Two looks at a program, before the save and after the restore, must be the same but for a short
list:

- `[vvar]` and `[vsyscall]` belong to the kernel and cannot be read;
- the first 32 bytes of a thread's rseq area (rseq(2)): the kernel writes the CPU's number there
  whenever it likes;
- with new ids, the words that held the thread's id: in glibc's `struct pthread` and as owner of a
  held lock. Such a word is excused only if it held an old id of this process and now holds the new
  id of the same thread (the flag bits of a robust or PI lock word aside);
- inode and device of anonymous shared memory, which is another object;
- with new ids, the mapping that translates the remembered ones, and jumps into it: five bytes of
  code each, that begin a function of the C library. Nothing else in code is excused.
"""

from __future__ import annotations

import dataclasses
import os
import re
import struct
import subprocess
from pathlib import Path
from typing import TypeVar

from .processes import describe, read_text, state_of, system_call_of, threads_of, wait_until

PAGE = 4096
# Larger mappings are reservations: read only where the page table has something.
_LARGE_BYTES = 8 << 20
_UNREADABLE = ("[vvar]", "[vvar_vclock]", "[vsyscall]")
# Of VmFlags in smaps: protections a mapping may get, growing, locking, and advice. Not `ac`, `sd`
# and the like, which say what the kernel has done so far.
_VM_FLAGS = {
    "rd", "wr", "ex", "sh", "gd", "lo", "sr", "rr", "dc", "nr", "ht", "wf", "dd", "hg", "nh", "mg",
    "dp",
}  # fmt: skip
# owner word of a lock: waiters, owner died (futex(2)).
_FUTEX_FLAGS = 0xC0000000


@dataclasses.dataclass(frozen=True)
class Mapping:
    """One line of maps, merged with neighbours that differ in nothing."""

    start: int
    end: int
    permissions: str
    offset: int
    name: str
    flags: frozenset[str]

    def __str__(self) -> str:
        flags = " ".join(sorted(self.flags))
        return (
            f"{self.start:x}-{self.end:x} {self.permissions} {self.offset:x} "
            f"{self.name or '[anonymous]'} ({flags})"
        )


@dataclasses.dataclass(frozen=True)
class Thread:
    """What belongs to one thread."""

    tid: int
    name: str
    blocked: str
    pending: str
    # sp and pc inside a system call; the call's number may become restart_syscall
    call: tuple[int, int] | None
    registers: str = ""
    extended: str = ""
    mask: str = ""
    rseq: int = 0
    robust_list: int = 0


@dataclasses.dataclass
class Look:
    """One look at a process."""

    pid: int
    mappings: list[Mapping]
    memory: dict[int, bytes]  # by start address of a readable stretch
    threads: list[Thread]  # lowest id first: the order in which they were made
    process: dict[str, str]
    files: dict[int, str]
    links: dict[str, str]


def _maps(pid: int) -> list[Mapping]:
    found: list[Mapping] = []
    header: tuple[int, int, str, int, str] | None = None
    for line in read_text(f"/proc/{pid}/smaps").splitlines():
        words = line.split(None, 5)
        if "-" in words[0] and len(words) >= 5 and not words[0].endswith(":"):
            start, _, end = words[0].partition("-")
            header = (
                int(start, 16),
                int(end, 16),
                words[1],
                int(words[2], 16),
                words[5] if len(words) > 5 else "",
            )
        elif words[0] == "VmFlags:" and header:
            start_, end_, permissions, offset, name = header
            if name.startswith(("/dev/zero", "/SYSV")):
                name = "[shared anonymous]"
            flags = frozenset(line.split()[1:]) & _VM_FLAGS
            if name.startswith("["):
                offset = 0
            last = found[-1] if found else None
            if (
                last
                and last.end == start_
                and (last.permissions, last.name, last.flags) == (permissions, name, flags)
                and (
                    not name
                    or name == "[heap]"
                    or (name[0] == "/" and last.offset + (last.end - last.start) == offset)
                )
            ):
                found[-1] = dataclasses.replace(last, end=end_)
            else:
                found.append(Mapping(start_, end_, permissions, offset if name else 0, name, flags))
    return found


def _present(pid: int, mapping: Mapping) -> list[tuple[int, int]]:
    """The stretches of a large mapping that have pages."""
    stretches: list[tuple[int, int]] = []
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        # A step that finds nothing in the page table costs the kernel next to nothing, but 14 TiB
        # are 3.5e9 entries: such mappings are left to the programs' own checks.
        if mapping.end - mapping.start > 4 << 30:
            return []
        pagemap.seek(mapping.start // PAGE * 8)
        data = pagemap.read((mapping.end - mapping.start) // PAGE * 8)
    for index in range(len(data) // 8):
        (entry,) = struct.unpack_from("<Q", data, index * 8)
        if entry >> 62:
            address = mapping.start + index * PAGE
            if stretches and stretches[-1][1] == address:
                stretches[-1] = (stretches[-1][0], address + PAGE)
            else:
                stretches.append((address, address + PAGE))
    return stretches


def _memory(pid: int, mappings: list[Mapping]) -> dict[int, bytes]:
    content = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for mapping in mappings:
            # What the kernel may drop (dp) is nobody's to compare.
            if mapping.name in _UNREADABLE or "dp" in mapping.flags:
                continue
            large = mapping.end - mapping.start > _LARGE_BYTES
            for start, end in _present(pid, mapping) if large else [(mapping.start, mapping.end)]:
                try:
                    mem.seek(start)
                    pieces, left = [], end - start
                    while left:
                        piece = mem.read(left)
                        if not piece:
                            break
                        pieces.append(piece)
                        left -= len(piece)
                    content[start] = b"".join(pieces)
                except OSError:
                    # PROT_NONE can be read here; what cannot (guard markers, pages behind a file's
                    # end) must not be readable afterwards either.
                    content[start] = b"unreadable"
    return content


def _registers(dump: Path, pid: int) -> dict[int, list[str]]:
    done = subprocess.run([dump, str(pid)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{describe(pid)}"
    return {int(words[0]): words[1:] for words in map(str.split, done.stdout.splitlines())}


_PROCESS_FIELDS = (
    "Umask", "Uid", "Gid", "Groups", "ShdPnd", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp",
    "CoreDumping", "THP_enabled", "Cpus_allowed",
)  # fmt: skip


def look(pid: int, register_dump: Path | None = None) -> Look:
    """Look at `pid`, all of whose threads must be asleep.

    With `register_dump` (the program of that name) registers are read too, which stops the threads
    as a debugger does: not for calls that the kernel does not restart after a stop.
    """
    mappings = _maps(pid)
    registers = _registers(register_dump, pid) if register_dump else {}
    if register_dump:
        wait_asleep(pid)  # they go back to sleep in their own time
    threads = []
    for tid in threads_of(pid):
        status = dict(
            line.split(":", 1)
            for line in read_text(f"/proc/{pid}/task/{tid}/status").splitlines()
            if ":" in line
        )
        call = system_call_of(pid, tid)
        extra = registers.get(tid)
        thread = Thread(
            tid,
            read_text(f"/proc/{pid}/task/{tid}/comm").rstrip("\n"),
            status.get("SigBlk", "").strip(),
            status.get("SigPnd", "").strip(),
            (call[1][-2], call[1][-1]) if call and call[1] else None,
        )
        if extra:
            thread = dataclasses.replace(
                thread,
                registers=extra[0],
                extended=extra[1],
                mask=extra[2],
                rseq=int(extra[3], 16),
                robust_list=int(extra[4], 16),
            )
        threads.append(thread)
    status = dict(
        line.split(":", 1) for line in read_text(f"/proc/{pid}/status").splitlines() if ":" in line
    )
    process = {field: status[field].strip() for field in _PROCESS_FIELDS if field in status}
    process["limits"] = read_text(f"/proc/{pid}/limits")
    process["timers"] = _timers(pid)
    process["personality"] = read_text(f"/proc/{pid}/personality").strip()
    for name in ("cmdline", "environ", "auxv"):
        process[name] = read_text(f"/proc/{pid}/{name}")
    files, links = {}, {}
    for fd in sorted(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")):
        try:
            files[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        text = read_text(f"/proc/{pid}/fdinfo/{fd}")
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if files[fd].startswith("/") and not files[fd].startswith("/dev/"):
            files[fd] += f" at {info.get('pos', '').strip()}, flags {info.get('flags', '').strip()}"
        else:
            # The other end of a pipe, or the terminal, is another one after a restore.
            files[fd] = files[fd].partition(":")[0] if ":[" in files[fd] else files[fd]
        files[fd] += _more_of(text)
    for name in ("exe", "cwd", "root"):
        try:
            links[name] = os.readlink(f"/proc/{pid}/{name}")
        except OSError:
            links[name] = "?"
    return Look(pid, mappings, _memory(pid, mappings), threads, process, files, links)


# What is another object's after a restore, and what runs on.
_NOT_KEPT = {
    "pos", "flags", "mnt_id", "ino", "eventfd-id", "Pid", "NSpid", "it_value", "ticks", "scm_fds",
}  # fmt: skip


def _more_of(fdinfo: str) -> str:
    """What an open file tells of itself beyond what all do."""
    found = []
    for line in fdinfo.splitlines():
        name, _, rest = line.partition(":")
        if name == "tfd":
            found.append("tfd " + " ".join(rest.split()[:5]))
        elif name.startswith("inotify wd"):
            found.append(
                " ".join(word for word in line.split() if word.startswith(("wd:", "mask:")))
            )
        elif name == "lock":
            found.append("lock " + " ".join(rest.split()[1:4]))
        elif name.strip().isdigit():  # what an io_uring has registered, by name: "pipe:[1234]"
            found.append(re.sub(r"\[\d+\]", "[]", line))
        elif name.split()[0] not in _NOT_KEPT:
            found.append(f"{name} {rest.strip()}")
    return "".join(f", {line}" for line in sorted(found))


def _timers(pid: int) -> str:
    """POSIX timers. The id in a CPU clock and in what is notified is the thread's."""
    text = read_text(f"/proc/{pid}/timers")
    return re.sub(r"(?<=[pt]id\.)\d+|(?<=ClockID: )-\d+", "N", text)


def _translation(look: Look) -> tuple[int, int]:
    """Begin and end of the mapping that translates remembered ids; 0, 0 when there is none."""
    for start, content in look.memory.items():
        for at in range(-start % 0x10000, len(content), 0x10000):
            if content[at : at + 7] == b"ckptids":
                magic, own = struct.unpack_from("<QQ", content, at)
                if own == start + at:
                    return own, own + struct.unpack_from("<I", content, at + 164)[0]
    return 0, 0


def _without(mappings: list[Mapping], hole: tuple[int, int]) -> list[Mapping]:
    return [m for m in mappings if m.end <= hole[0] or m.start >= hole[1]]


def _jumps(before: Look, after: Look, hole: tuple[int, int]) -> set[int]:
    """The addresses of bytes that are part of a jump into the translation."""
    found: set[int] = set()
    for mapping in after.mappings:
        if (
            "x" not in mapping.permissions
            or mapping.start not in after.memory
            or mapping.start not in before.memory
        ):
            continue
        old, new = before.memory[mapping.start], after.memory[mapping.start]
        at = new.find(b"\xe9")
        while at >= 0 and at + 5 <= len(new):
            target = mapping.start + at + 5 + int(struct.unpack_from("<i", new, at + 1)[0])
            if hole[0] <= target < hole[1] and old[at : at + 5] != new[at : at + 5]:
                found.update(range(mapping.start + at, mapping.start + at + 5))
            at = new.find(b"\xe9", at + 1)
    return found


def _size(content: bytes | None) -> int | None:
    return None if content is None else len(content)


def _memory_differences(before: Look, after: Look) -> list[str]:
    found = []
    hole = _translation(after)
    jumps = _jumps(before, after, hole) if hole[1] else set()
    was_hole = _translation(before)
    new_ids = {
        old.tid: new.tid for old, new in zip(before.threads, after.threads) if old.tid != new.tid
    }
    rseq_areas = [thread.rseq for thread in before.threads if thread.rseq]
    pages: list[str] = []
    for start in sorted(set(before.memory) | set(after.memory)):
        old, new = before.memory.get(start), after.memory.get(start)
        if (
            old == new
            or (old is None and hole[0] <= start < hole[1])
            or (new is None and was_hole[0] <= start < was_hole[1])
        ):
            continue
        if old is None or new is None or len(old) != len(new):
            found.append(
                f"memory at {start:x}: {_size(old)} bytes readable before, {_size(new)} after"
            )
            continue
        for page in range(0, len(old), PAGE):
            if old[page : page + PAGE] == new[page : page + PAGE]:
                continue
            for at in range(page, min(page + PAGE, len(old)), 4):
                a, b = old[at : at + 4], new[at : at + 4]
                if a == b:
                    continue
                address = start + at
                # struct rseq: cpu_id_start, cpu_id, rseq_cs, flags, node_id, mm_cid.
                if any(area <= address < area + 32 for area in rseq_areas):
                    continue
                if all(a[i] == b[i] or address + i in jumps for i in range(4)):
                    continue
                was, now = int.from_bytes(a, "little"), int.from_bytes(b, "little")
                if (
                    new_ids.get(was & ~_FUTEX_FLAGS) == now & ~_FUTEX_FLAGS
                    and was & _FUTEX_FLAGS == now & _FUTEX_FLAGS
                ):
                    continue
                pages.append(f"memory at {address:x}: {a.hex()} before, {b.hex()} after")
    if len(pages) > 12:
        pages = [*pages[:12], f"... and {len(pages) - 12} more words"]
    return found + pages


_Key = TypeVar("_Key", int, str)


def _table_differences(
    what: str, before: dict[_Key, str], after: dict[_Key, str], ignore: frozenset[str]
) -> list[str]:
    return [
        f"{what} {key}: {before.get(key)!r} before, {after.get(key)!r} after"
        for key in sorted(set(before) | set(after), key=str)
        if key not in ignore and before.get(key) != after.get(key)
    ]


def differences(before: Look, after: Look, *, ignore: frozenset[str] = frozenset()) -> list[str]:
    """What is not the same, one line each; empty when all is.
    `ignore`: any of maps, memory, files, auxv, Cpus_allowed...
    """
    found: list[str] = []
    if "maps" not in ignore:
        old = [str(m) for m in _without(before.mappings, _translation(before))]
        new = [str(m) for m in _without(after.mappings, _translation(after))]
        found += [f"mapping gone: {m}" for m in old if m not in new]
        found += [f"mapping new: {m}" for m in new if m not in old]
    if len(before.threads) != len(after.threads):
        found.append(f"{len(before.threads)} threads before, {len(after.threads)} after")
    for index, (a, b) in enumerate(zip(before.threads, after.threads)):
        for field in dataclasses.fields(Thread):
            if field.name == "tid" or field.name in ignore:
                continue
            was, now = getattr(a, field.name), getattr(b, field.name)
            if field.name == "registers":
                was, now = named_registers(was), named_registers(now)
            if was != now:
                if field.name == "extended":
                    spot = next(
                        (i for i in range(0, len(was), 2) if was[i : i + 2] != now[i : i + 2]),
                        len(was),
                    )
                    was, now = f"{was[spot:spot + 32]} at byte {spot // 2}", now[spot : spot + 32]
                found.append(
                    f"thread {index + 1} (was {a.tid}, now {b.tid}): {field.name} {was} before, "
                    f"{now} after"
                )
    found += _table_differences("process", before.process, after.process, ignore)
    found += _table_differences("link", before.links, after.links, ignore)
    if "files" not in ignore:
        found += _table_differences("fd", before.files, after.files, ignore)
    if "memory" not in ignore:
        found += _memory_differences(before, after)
    return found


_REGISTERS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
    "fs_base gs_base ds es fs gs"
).split()


def named_registers(dump: str) -> str:
    """Registers by name. Only what the program can see: a thread stopped in a call has the call's
    number in orig_rax and the kernel's private restart code in rax; whether it is about to make the
    call or has been stopped in it, it will make the same call.
    """
    if not dump:
        return ""
    values = dict(zip(_REGISTERS, struct.unpack(f"<{len(_REGISTERS)}Q", bytes.fromhex(dump))))
    call, code = values["orig_rax"], values["rax"] - (1 << 64)
    if call < 1 << 63 and code in (-512, -513, -514, -516):
        values["rax"] = -1 if code == -516 else call
        values["rip"] -= 2
    if values["rax"] == 219:  # restart_syscall
        values["rax"] = -1
    del values["orig_rax"]
    return " ".join(f"{name}={value & (1 << 64) - 1:x}" for name, value in values.items())


def all_asleep(pid: int) -> bool:
    """Whether every thread sleeps in a system call (a zombie leader counts as
    asleep) and no tracer holds it.
    """
    if "TracerPid:\t0\n" not in read_text(f"/proc/{pid}/status"):
        return False
    tids = threads_of(pid)
    for tid in tids:
        state = state_of(pid, tid)
        if state == "Z":
            continue
        call = system_call_of(pid, tid)
        if state not in "SD" or call is None or call[0] == -1:
            return False
    return bool(tids) and tids == threads_of(pid)


def wait_asleep(pid: int) -> None:
    """Return when all threads of `pid` sleep in system calls,
    which is when a look at it is steady.
    """
    wait_until(lambda: all_asleep(pid), lambda: f"all threads of {pid} asleep\n{describe(pid)}")


def positions(pid: int) -> list[tuple[int, int] | None]:
    """Where every thread sleeps: stack pointer and program counter, in the order of the ids."""
    return [
        (c[1][-2], c[1][-1]) if c and c[1] else None
        for c in (system_call_of(pid, t) for t in threads_of(pid))
    ]


Fingerprint = tuple[bytes, int, int, int] | None


def fingerprint(path: Path) -> Fingerprint:
    """Content, mtime, inode and mode of the user's file; None when there is none."""
    if not path.exists():
        return None
    status = path.stat()
    return path.read_bytes(), status.st_mtime_ns, status.st_ino, status.st_mode
