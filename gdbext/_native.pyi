"""What the native module (native/bindings/) takes and gives.

tests/unit/python/test_stub.py compares names and parameters with the module itself. `native.core` is
the loaded module.
"""

from os import PathLike
from typing import (
    Any, Callable, Dict, List, Literal, Optional, Sequence, Tuple, TypedDict, TypeVar, Union
)

from . import record_types

# Bytes done and bytes in all; False cancels.
Progress = Callable[[int, int], bool]
Buffer = Union[bytes, bytearray, memoryview]
# Bytes where a name may be no UTF-8.
Text = Union[str, bytes]
Path = Union[str, bytes, PathLike[str]]
# The name in a snapshot's record.
SaidName = Callable[[str], str]
# Name, path, and for a snapshot elsewhere when the store has learned of it, in Unix seconds.
Listed = Tuple[str, str, Optional[float]]
_Callable = TypeVar("_Callable", bound=Callable[..., Any])

class NativeError(Exception):
    kind: str
    errno: int

# iflag, oflag, cflag, lflag, cc: as a record has them, which is checked by who sets them.
TerminalModes = Dict[str, Any]

class _ThreadToSave(TypedDict):
    tid: int

class ThreadToSave(_ThreadToSave, total=False):
    number: int
    pthread: int
    held_signal: int

class TerminalInput(TypedDict):
    ours_is_the_programs: bool
    look_only: bool
    owed: List[int]

class _CaptureRequest(TypedDict):
    pid: int
    output: str
    store: str
    file_limit: int
    strict: bool
    threads: List[ThreadToSave]

class CaptureRequest(_CaptureRequest, total=False):
    overwrite: bool
    name: str
    message: str
    stop: str
    place: str
    parent: Optional[record_types.Parent]
    selected: Optional[record_types.Selection]
    attached: bool
    findings: List[record_types.Finding]
    session: Dict[str, Any]
    terminal: Optional[TerminalModes]
    input: TerminalInput

class Captured(TypedDict):
    path: str
    file_bytes: int
    seconds: float
    threads: int
    fidelity: List[record_types.Finding]

class RestoreOptions(TypedDict, total=False):
    store: str
    files: str  # auto, real, sandbox, private, strict
    ids: str  # auto, saved, virtual
    clock: str  # auto, keep
    file: List[List[str]]  # OLD, NEW
    env: List[str]
    ending: List[int]
    stdin: Optional[str]
    stdout: Optional[str]
    stderr: Optional[str]

class ChangedLibrary(TypedDict):
    path: str
    copy: str

class Validated(TypedDict):
    executable: str
    executable_replaced: bool
    libraries: List[ChangedLibrary]
    hidden: bool
    notes: List[str]

class RenewedThread(TypedDict):
    saved_tid: int
    tid: int
    number: int

class HeldSignal(TypedDict):
    tid: int
    signal: int

class Finished(TypedDict):
    threads: List[RenewedThread]
    held: List[HeldSignal]
    ids: Literal["saved", "virtual"]

class ElfSymbols(TypedDict):
    # Name, value, size in bytes, kind, whether it is local.
    symbols: List[Tuple[str, int, int, Literal["function", "object", "tls"], bool]]
    first_address: int

class StopClock:
    def __init__(self, every_s: float) -> None: ...
    def arm(self, pid: int, tid: int) -> None: ...
    def disarm(self) -> bool: ...
    def begin_anew(self) -> None: ...
    def seen(self) -> None: ...
    @property
    def on_its_way(self) -> bool: ...

class InterruptsHeld:
    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *args: object) -> None: ...

class DescribedThread(record_types.Thread):
    queued_signals: int

class DescribedMapping(TypedDict):
    start: int
    end: int
    prot: str
    offset: int
    path: str
    kind: str
    flags: List[str]
    object: Optional[str]

class DescribedFile(TypedDict):
    fd: int
    kind: str
    path: str

class Described(TypedDict):
    """What docs/format.md has under "As `ckpt info -json` shows it"; this is what is used of it."""

    creator: str
    created: float
    name: str
    message: str
    stop: str
    place: str
    parent: Optional[record_types.Parent]
    store: str
    host: record_types.Host
    program: record_types.Program  # its `object` is a digest
    process: record_types.Process
    threads: List[DescribedThread]
    mappings: List[DescribedMapping]
    selected: record_types.Selection
    files: List[DescribedFile]
    terminal: Optional[TerminalModes]
    terminal_input: List[int]
    fidelity: List[record_types.Finding]
    session: Any
    objects: List[record_types.StoredObject]
    file_bytes: int

def describe(path: str, fd: Optional[int] = None) -> Described: ...
def record_schema() -> Dict[str, List[Dict[str, Any]]]: ...
def read_record(fd: int, path: str) -> Tuple[record_types.Record, bytes, int, int]: ...
def capture(
    request: CaptureRequest,
    progress: Optional[Progress] = None,
    read_code: Optional[Callable[[int, int], bytes]] = None,
) -> Captured: ...
def validate(
    path: str,
    options: RestoreOptions,
    progress: Optional[Progress] = None,
    fd: Optional[int] = None,
) -> Validated: ...
def finish(path: str, tids: List[int], fd: Optional[int] = None) -> Finished: ...
def verify_memory(fd: int, path: str, progress: Optional[Progress] = None) -> None: ...
def relabel(path: Text, name: Optional[Text] = None, message: Optional[Text] = None) -> None: ...
def proxied_vdso_kernel(path: str) -> str: ...
def remembered_ids(pid: int) -> Dict[int, int]: ...
def undo_interruptions(pid: int, tids: List[int]) -> None: ...
def set_exit_kill(pid: int) -> None: ...
def debug_registers() -> Optional[Tuple[bool, bool]]: ...
def write_terminal(fd: int, modes: TerminalModes) -> None: ...
def may_type(fd: int) -> bool: ...
def take_input(fd: int) -> bytes: ...
def type_input(fd: int, input: bytes, echo: bool) -> None: ...
def type_first(fd: int, input: bytes, echo: bool) -> None: ...
def cannot_type(input: bytes, no_terminal: bool) -> str: ...
def keeping_interrupts(handler: _Callable) -> _Callable: ...
def uninterrupted(function: _Callable) -> _Callable: ...
def take_interrupt() -> bool: ...
def merge_similar(lines: Sequence[bytes]) -> List[bytes]: ...
def digest64(buffer: Buffer) -> int: ...
def digest_file(fd: int, path: str) -> str: ...
def has_digest(fd: int, path: str, digest: str) -> bool: ...
def differing(
    left: Buffer, right: Optional[Buffer], join: int, limit: int
) -> List[Tuple[int, int]]: ...
def find(buffer: Buffer, wanted: bytes, start: int) -> Optional[int]: ...
def elf_symbols(path: str) -> ElfSymbols: ...
STORE_SUFFIX: str

def store_default_directory() -> str: ...
def store_layout(root: Path) -> Dict[str, str]: ...
def store_snapshot(root: Path, name: Path) -> str: ...
def store_holds(root: Path, path: Path) -> bool: ...
def store_object(root: Path, hash: Path, name: Path) -> Optional[str]: ...
def store_make_place(root: Path, hash: Path, name: Path) -> str: ...
def store_check(root: Path) -> bool: ...
def store_create(root: Path) -> None: ...
def store_hold(root: Path) -> Optional[int]: ...
def store_hold_alone(root: Path) -> Optional[int]: ...
def store_check_name(name: Path) -> None: ...
def store_list(root: Path, said: SaidName) -> List[Listed]: ...
def store_find(root: Path, name: Path, said: SaidName) -> Optional[Listed]: ...
def store_default_name(root: Path, program: Path, kind: str, said: SaidName) -> str: ...
def store_add_link(root: Path, image: Path) -> None: ...
def store_claim(root: Path, image: Path, saved_with: Path) -> None: ...
def store_claims(root: Path) -> List[str]: ...
def store_remove_links(root: Path, image: Path) -> None: ...
def store_remove_dead_links(root: Path) -> None: ...
def fault_arm(name: Optional[str]) -> None: ...
def fault_names() -> List[str]: ...
def version() -> str: ...
