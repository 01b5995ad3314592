"""The maps of a snapshot's record, as `native.core.read_record` gives them: what can be
missing in older files is there, too. Written by scripts/record_schema.py; docs/format.md says what
they mean.

For the type checker alone: import it below `if TYPE_CHECKING`.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, TypedDict


class Action(TypedDict):
    signal: int
    handler: int
    flags: int
    restorer: int
    mask: int


class AioContext(TypedDict):
    id: int
    size: int
    head: int
    tail: int
    events: bytes


class Altstack(TypedDict):
    sp: int
    flags: int
    size: int


class Bounds(TypedDict):
    start_code: int
    end_code: int
    start_data: int
    end_data: int
    start_brk: int
    brk: int
    start_stack: int
    arg_start: int
    arg_end: int
    env_start: int
    env_end: int


class Child(TypedDict):
    pid: int
    remembered: int
    group: int
    code: int
    status: int
    exit_signal: int
    uid: int
    lived: bool
    own_session: bool


class Clocks(TypedDict):
    monotonic: List[int]
    boottime: List[int]


class Credentials(TypedDict):
    uids: List[int]
    gids: List[int]
    groups: List[int]
    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int


class Description(TypedDict):
    kind: str
    path: str
    flags: int
    offset: int
    file: Optional[File]
    stream: int
    owner: Owner
    locks: List[Lock]
    details: Any


class Descriptor(TypedDict):
    fd: int
    close_on_exec: bool
    description: int


class Epoll(TypedDict):
    entries: List[EpollEntry]
    ready: bool
    busy_polling: int


class EpollEntry(TypedDict):
    fd: int
    events: int
    data: int
    description: int


class Eventfd(TypedDict):
    count: int
    semaphore: bool


class ExtendedAttribute(TypedDict):
    name: str
    value: bytes


class Fanotify(TypedDict):
    flags: int
    event_flags: int
    marks: List[FanotifyMark]


class _FanotifyMark(TypedDict):
    type: int
    flags: int
    mask: int
    ignored_mask: int
    path: str
    inode: int
    device: int


class FanotifyMark(_FanotifyMark, total=False):
    fd: int


class _File(TypedDict):
    path: str
    deleted: bool
    in_memory: bool
    seals: int
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    uid: int
    gid: int
    object: Optional[Object]


class File(_File, total=False):
    mode: Optional[int]
    attributes: Optional[FileAttributes]
    tmpfs: bool
    huge_page_size: int


class FileAttributes(TypedDict):
    atime_ns: int
    write_hint: int
    flags: int
    extended: List[ExtendedAttribute]


class Finding(TypedDict):
    severity: str
    object: str
    kind: str
    text: str


class Host(TypedDict):
    kernel: str
    hostname: str
    boot_id: str
    cpu_flags: List[str]
    xstate: Optional[List[List[int]]]


class Image(TypedDict):
    program: Program
    process: Process
    threads: List[Thread]
    memory: Memory
    descriptors: List[Descriptor]
    signals: Signals
    timers: Timers
    children: List[Child]
    clocks: Optional[Clocks]
    own_clocks: bool
    ring_numbers: List[RingNumber]
    aio: List[AioContext]


class Inotify(TypedDict):
    watches: List[InotifyWatch]


class _InotifyWatch(TypedDict):
    number: int
    mask: int
    path: str
    inode: int
    device: int


class InotifyWatch(_InotifyWatch, total=False):
    fd: int


class IoUring(TypedDict):
    setup_flags: int
    sq_entries: int
    cq_entries: int
    layout: List[int]
    sq_head: int
    sq_tail: int
    sq_dropped: int
    cq_head: int
    cq_tail: int
    cq_overflow: int
    cq_flags: int
    array: bytes
    cqes: bytes
    sqes: bytes
    files: List[Optional[int]]
    buffers: List[List[int]]
    eventfd: Optional[int]
    mappings: List[RingMapping]
    cancelled: List[int]


class Lock(TypedDict):
    kind: str
    write: bool
    start: int
    length: int


class _Mapping(TypedDict):
    start: int
    end: int
    prot: str
    offset: int
    path: str
    flags: List[str]
    backing: str
    shared: Optional[int]
    first_page_is_extra: bool
    guards: List[List[int]]
    file: Optional[File]


class Mapping(_Mapping, total=False):
    segment: Optional[SysvSegment]
    page_size: int
    memory_policy: MemoryPolicy


class Memory(TypedDict):
    mappings: List[Mapping]
    bounds: Bounds
    auxv: bytes
    vdso_kernel: str


class MemoryPolicy(TypedDict):
    mode: int
    nodes: List[int]


class Message(TypedDict):
    priority: int
    bytes: bytes


class MessageQueue(TypedDict):
    name: str
    inode: int
    mode: int
    most_messages: int
    most_bytes: int
    messages: List[Message]


class Object(TypedDict):
    hash: str
    size: int
    name: str


class OtherProcess(TypedDict):
    pid: int
    start_ticks: int
    boot_id: str


class Owner(TypedDict):
    type: int
    id: int
    signal: int


class Parent(TypedDict):
    name: str
    created: float


class Pidfd(TypedDict):
    id: int
    thread: bool
    inode: int


class Pipe(TypedDict):
    id: int
    capacity: int
    named: bool
    device: int
    mode: int
    removed: bool
    ended: bool
    content: List[bytes]


class Place(TypedDict):
    cwd: str
    umask: int


class Process(TypedDict):
    pid: int
    ppid: int
    pgrp: int
    session: int
    own_session: bool
    own_terminal: int
    remembered: List[int]
    start_ticks: int
    uid: int
    gid: int
    umask: int
    cwd: str
    removed_cwd: Optional[RemovedEntry]
    cwd_process: Optional[OtherProcess]
    root: str
    personality: int
    rlimits: List[List[int]]
    extended_features: int
    attributes: ProcessAttributes


class ProcessAttributes(TypedDict):
    child_subreaper: bool
    huge_pages_disabled: int
    oom_score_adj: int
    dumpable: int
    mdwe: int
    memory_merge: bool
    io_flusher: bool
    memory_barriers: int
    core_filter: Optional[int]
    lock_future: int


class _Program(TypedDict):
    path: str
    deleted: bool
    in_memory: bool
    seals: int
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    uid: int
    gid: int
    object: Optional[Object]
    argv: List[str]
    environ: List[str]


class Program(_Program, total=False):
    mode: Optional[int]
    attributes: Optional[FileAttributes]
    tmpfs: bool
    huge_page_size: int


class Pseudoterminal(TypedDict):
    index: int
    modes: bytes
    size: bytes
    locked: bool
    packets: bool
    slave: int
    exclusive: bool
    hung_up: bool
    owner: Optional[List[int]]
    mode: int
    content: PtyContent


class PtyContent(TypedDict):
    lines: Optional[List[PtyLine]]
    input: bytes
    output: bytes
    echo: bytes
    stop: int
    master_stopped: bool
    status: int


class PtyLine(TypedDict):
    bytes: bytes
    marked: bool


class Record(TypedDict):
    format: int
    creator: str
    created: float
    name: str
    message: str
    stop: str
    place: str
    parent: Optional[Parent]
    store: str
    host: Host
    shared: Shared
    processes: List[Image]
    selected: Selection
    terminal_size: Any
    terminal: Any
    fidelity: List[Finding]
    session: Any
    objects: List[StoredObject]
    extents: List[bytes]


class RemovedEntry(TypedDict):
    device: int
    inode: int
    mode: int
    uid: int
    gid: int
    number: int
    target: str


class RingMapping(TypedDict):
    start: int
    size: int
    offset: int
    read: bool
    write: bool
    not_for_children: bool


class RingNumber(TypedDict):
    tid: int
    number: int
    description: int


class Rseq(TypedDict):
    area: int
    size: int
    signature: int
    flags: int
    critical_section: int


class SeccompFilter(TypedDict):
    flags: int
    code: bytes


class Selection(TypedDict):
    tid: int
    frame: int


class Shared(TypedDict):
    descriptions: List[Description]
    memory: List[SharedMemory]
    sysv: Sysv
    terminal_input: List[int]


class SharedMemory(TypedDict):
    name: str


class Signalfd(TypedDict):
    mask: int


class Signals(TypedDict):
    actions: List[Action]
    queued: List[bytes]


class Socket(TypedDict):
    id: int
    domain: int
    type: int
    protocol: int
    role: str
    interface: bytes
    name: bytes
    peer_name: bytes
    address: str
    peer_address: str
    free_name: bool
    peer: int
    backlog: int
    no_receiving: bool
    no_sending: bool
    ended: bool
    broken: bool
    over: bool
    error: int
    path_mode: int
    path_owner: int
    path_group: int
    place: bytes
    no_file: bool
    options: List[SocketOption]
    queue: List[SocketMessage]


SocketMessage = TypedDict(
    "SocketMessage",
    {
        "bytes": bytes,
        "from": bytes,
        "descriptors": List[int],
        "urgent": str,
    },
    total=False,
)


class SocketOption(TypedDict):
    level: int
    name: int
    value: bytes


class StoredObject(TypedDict):
    hash: str
    size: int
    name: str
    path: str


class Sysv(TypedDict):
    semaphores: List[SysvSemaphores]
    queues: List[SysvQueue]


class SysvMessage(TypedDict):
    type: int
    bytes: bytes


class SysvQueue(TypedDict):
    id: int
    key: int
    mode: int
    most_bytes: int
    messages: List[SysvMessage]


class SysvSegment(TypedDict):
    id: int
    size_bytes: int
    mode: int
    key: int
    removed: bool


class SysvSemaphores(TypedDict):
    id: int
    key: int
    mode: int
    values: List[int]


class _Thread(TypedDict):
    tid: int
    lwp: int
    remembered: int
    attributes: ThreadAttributes
    ended: bool
    number: int
    pthread: int
    name: str
    registers: Dict[str, int]
    xstate: bytes
    sigmask: int
    stop_info: Optional[bytes]
    held_signal: int
    queued: List[bytes]
    altstack: Altstack
    rseq: Optional[Rseq]
    tid_address: int
    id_field: int
    id_registers: List[str]
    id_words: List[int]
    lock_pointers: List[int]
    robust_list: List[int]


class Thread(_Thread, total=False):
    place: Optional[Place]
    credentials: Optional[Credentials]
    beyond_vdso: Optional[Dict[str, int]]
    seccomp: List[SeccompFilter]


class ThreadAttributes(TypedDict):
    policy: int
    sched_flags: int
    nice: int
    priority: int
    runtime_ns: int
    deadline_ns: int
    period_ns: int
    processors: List[int]
    io_priority: int
    timer_slack_ns: int
    parent_death_signal: int
    no_new_privs: bool
    securebits: int
    tsc: int
    mce_kill: int
    speculation: List[int]
    memory_policy: MemoryPolicy
    personality: Optional[int]
    login_user: Optional[int]


class Timer(TypedDict):
    id: int
    clock: int
    notify: int
    signal: int
    value: int
    target: int
    remaining: List[int]
    interval: List[int]


class Timerfd(TypedDict):
    clock: int
    set_flags: int
    expired: int
    remaining: List[int]
    interval: List[int]
    deadline: List[int]


class Timers(TypedDict):
    interval: List[List[List[int]]]
    posix: List[Timer]
