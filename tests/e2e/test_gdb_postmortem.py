"""Snapshots without a process, in GDB: print, inspect, diff;
and export, bundle, import and verify.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import processes
import pytest
from gdbsession import GdbSession
from scene import Scene, refuse, restore, save
from support import probes

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include "part.h"

struct node { int id; struct node *next; const char *label; };
struct box { int value; };
struct node *head;
struct box boxed;
int table[3000];
static int steps;

static void step(int number) {
  static int calls;
  int local = number * 10;
  struct node *made = malloc(sizeof *made);
  *made = (struct node){number, head, number % 2 ? "odd" : "even"};
  head = made;
  calls++;
  boxed.value = number + 1000;
  table[number] = local;
  count_part(number);
  steps = number;
  printf("step %d\n", number);  // here
}

int main(void) {
  int doubled = 0;
  for (int number = 1; number <= 4; number++) {
    doubled = 2 * number;
    step(number);
  }
  printf("done %d %d\n", steps, doubled);
  return 0;
}
"""
HERE = "history.c:" + str(
    next(n for n, text in enumerate(SOURCE.splitlines(), 1) if "// here" in text)
)
PART = """
static int steps;
int part_total;
void count_part(int number) {
  steps += 100;
  part_total += number;
}
"""
PRINTER = """
import gdb
class Box:
    def __init__(self, value): self.value = value
    def to_string(self): return "box of " + str(int(self.value["value"]) - 1000)
def look(value):
    return Box(value) if str(value.type) == "struct box" else None
gdb.pretty_printers.append(look)
"""


def build(scene: Scene, part: str = PART, program: str = SOURCE) -> Path:
    """The program, with a library of its own."""
    scene.write("part.h", "void count_part(int number);\n")
    scene.compile(part, "libpart.so", "-shared", "-fPIC")
    there = str(scene.directory)
    return scene.compile(
        program, "history", "-Wl,--no-as-needed", f"-L{there}", "-lpart", f"-Wl,-rpath,{there}"
    )


def trail(scene: Scene, *arguments: str) -> GdbSession:
    """The program at its third step, with the snapshots one, two, three."""
    gdb = scene.gdb(str(build(scene)), *arguments)
    gdb.execute(f"break {HERE}")
    gdb.execute("run")
    for name in ("one", "two"):
        save(gdb, name)
        gdb.execute("continue")
    save(gdb, "three")
    return gdb


def damage(image: Path, copy: Path) -> None:
    """A copy in which a byte of the memory is another one."""
    content = bytearray(image.read_bytes())
    content[content.rindex(b"/bin:/bin")] ^= 1
    copy.write_bytes(content)


def rows(text: str) -> list[list[str]]:
    """A table's cells, without its headings."""
    return [re.split(r"  +", line) for line in text.splitlines()[1:]]


def session_state(gdb: GdbSession) -> list[str]:
    """What must be the same after a look at a snapshot."""
    commands = (
        "info inferiors", "info breakpoints", "info display", "bt", "info threads", "frame",
        "info locals", "info sharedlibrary", "show sysroot", "show solib-search-path",
        "info registers", "show debug-file-directory", "show confirm", "show values", "info line",
        "show language",
    )  # fmt: skip
    printed = [gdb.execute(command) for command in commands]
    # GDB deletes displays with the symbols of any program; made again they have other numbers.
    return [re.sub(r"(?m)^\d+:( .* number)", r"N:\1", text) for text in printed]


LOOKS = {
    "print": "ckpt print steps -all",
    "print-error": "ckpt print nosuch -all",
    "print-damaged": "ckpt print steps one broken three",
    "diff": "ckpt diff one three head",
    "diff-error": "ckpt diff one three nosuch",
    "inspect-damaged": "ckpt inspect broken",
}


@pytest.mark.parametrize("look", sorted(LOOKS))
def test_the_session_is_as_before(watching_scene: Scene, look: str) -> None:
    """Selection, breakpoints, watchpoints on locals; hooks and handlers hear of nothing."""
    gdb = trail(watching_scene)
    snapshots = watching_scene.store / "snapshots"
    damage(snapshots / "one.ckpt", snapshots / "broken.ckpt")
    gdb.execute("up")
    gdb.execute("watch doubled")
    # Software cannot see reads.
    gdb.execute(f"{'rwatch' if probes.hardware_watchpoints() else 'watch'} part_total")
    gdb.execute("disable 3")
    gdb.execute("tbreak count_part")
    gdb.execute("display number")
    gdb.execute("print number")
    events = (
        "stop", "exited", "new_thread", "new_inferior", "inferior_deleted", "breakpoint_modified",
    )  # fmt: skip
    gdb.execute("python heard = []")
    for event in events:
        gdb.execute(f"python gdb.events.{event}.connect(lambda e: heard.append(str(e)))")
    gdb.execute("define hook-detach\necho hooked\\n\nend")
    before = session_state(gdb)
    printed = gdb.execute(LOOKS[look])
    assert "hooked" not in printed and "warning" not in printed, printed
    assert gdb.python("heard") == "[]"
    assert session_state(gdb) == before
    # The watchpoint still knows its frame, the breakpoints their places.
    gdb.execute("set scheduler-locking off")
    assert re.search(r"New value = 8", gdb.execute("continue")), gdb.report()
    assert "count_part (number=4)" in gdb.execute("continue"), gdb.report()
    gdb.execute("delete")
    assert "done 4 8" in gdb.execute("continue")
    gdb.quit()


def test_print(scene: Scene) -> None:
    gdb = trail(scene)
    found = rows(gdb.execute("ckpt print steps -all"))
    assert [(row[0], row[2]) for row in found] == [("one", "1"), ("two", "2"), ("three", "3")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row[1]) for row in found)
    assert rows(gdb.execute("ckpt print steps")) == found
    # In the frame that was selected, in the order asked for.
    found = rows(gdb.execute('ckpt print "local + 1" three one'))
    assert [(row[0], row[2]) for row in found] == [("three", "31"), ("one", "11")]
    assert rows(gdb.execute("ckpt print head->label two"))[0][2].endswith('"even"')
    assert [row[0] for row in rows(gdb.execute("ckpt print steps 't*' one"))] == [
        "two",
        "three",
        "one",
    ]
    for wrong in ("head->label two nosuch", "steps - 1", "steps nosuch*"):
        refuse(
            gdb, f"ckpt print {wrong}", "there is no snapshot.*an expression with spaces is quoted"
        )
    answers = json.loads(gdb.execute("ckpt print -json -- -steps"))
    assert [(each["name"], each["value"], each["type"], each["error"]) for each in answers] == [
        ("one", "-1", "int", ""), ("two", "-2", "int", ""), ("three", "-3", "int", ""),
    ]  # fmt: skip
    answers = json.loads(gdb.execute("ckpt print step(9) one -json"))
    assert answers[0]["value"] is None and "process" in answers[0]["error"]
    gdb.execute(f"source {scene.write('printer.py', PRINTER)}")
    assert [row[2] for row in rows(gdb.execute("ckpt print boxed -all"))] == [
        "box of 1",
        "box of 2",
        "box of 3",
    ]
    refuse(gdb, "ckpt print", "EXPR")
    refuse(gdb, "ckpt print steps one -all", "not both")
    gdb.quit()


def test_print_without_a_program(scene: Scene) -> None:
    trail(scene).quit()
    gdb = scene.gdb()
    before = gdb.execute("info inferiors")
    assert [row[2] for row in rows(gdb.execute("ckpt print part_total -all"))] == ["1", "3", "6"]
    assert gdb.execute("info inferiors") == before
    assert gdb.execute("info sharedlibrary") == "No shared libraries loaded at this time."
    gdb.quit()
    other = scene.gdb(extra={"CKPT_DIR": str(scene.directory / "empty")})
    assert other.execute("ckpt print 1").startswith("No snapshots in ")
    other.quit()


def test_the_snapshots_own_binaries(scene: Scene) -> None:
    """The executable is gone, and the library another one: what is shown is what it was."""
    trail(scene).quit()
    (scene.directory / "history").unlink()
    scene.compile(
        "int part_total = 77; int more[100] = {1};\nvoid count_part(int n) { (void)n; }",
        "libpart.so",
        "-shared",
        "-fPIC",
    )
    gdb = scene.gdb()
    sysroot = gdb.execute("show sysroot")
    assert [row[2] for row in rows(gdb.execute("ckpt print part_total -all"))] == ["1", "3", "6"]
    assert re.search(r"part_total \(libpart.c\): 1 -> 6", gdb.execute("ckpt diff one three"))
    assert gdb.execute("show sysroot") == sysroot
    assert "in inferior" in gdb.execute("ckpt inspect two")
    assert gdb.value("part_total") == "3"
    assert "step (number=2)" in gdb.execute("bt")
    assert gdb.execute("show sysroot") == sysroot
    scratch = scene.store / "scratch"
    assert list(scratch.iterdir()) != []
    number = gdb.python("gdb.selected_inferior().num")
    for command in ("detach", "inferior 1", f"remove-inferiors {number}"):
        gdb.execute(command)
    assert list(scratch.iterdir()) == []
    gdb.execute("ckpt inspect two")
    gdb.quit()
    assert list(scratch.iterdir()) == []


def test_beside_a_restored_program_with_other_libraries(scene: Scene) -> None:
    """A restored program has a sysroot of its own, which is not that of the others."""
    gdb = trail(scene)
    gdb.quit()
    build(scene, PART.replace("+= number", "+= 10 * number"))
    gdb = scene.gdb()
    restore(gdb, "two")
    libraries = gdb.execute("info sharedlibrary")
    sysroot = gdb.execute("show sysroot")
    assert [row[2] for row in rows(gdb.execute("ckpt print part_total -all"))] == ["1", "3", "6"]
    assert gdb.execute("info sharedlibrary") == libraries
    assert gdb.execute("show sysroot") == sysroot
    gdb.execute("break count_part")
    assert "count_part (number=3)" in gdb.execute("continue")
    gdb.execute("delete")
    assert "done 4 8" in gdb.execute("continue")
    gdb.quit()


def test_inspect(scene: Scene) -> None:
    gdb = trail(scene)
    pid = gdb.inferior_pid
    backtrace = gdb.execute("bt")
    printed = gdb.execute("ckpt inspect one")
    match = re.match(
        (
            r'Inspecting "one", saved .*, in inferior (\d+): 1 thread; "inferior 1" goes back\n'
            r"#0  step"
        ),
        printed,
    )
    assert match, printed
    assert gdb.value("steps") == "1" and gdb.value("local") == "10"
    assert "step (number=1)" in gdb.execute("bt")
    refuse(gdb, "ckpt save", "core file")
    assert "not being run" in gdb.execute("continue")
    second = json.loads(gdb.execute("ckpt inspect two -json"))
    assert second["name"] == "two" and second["threads"] == 1
    assert gdb.value("steps") == "2"
    gdb.execute("inferior 1")
    assert gdb.inferior_pid == pid and gdb.execute("bt") == backtrace
    assert "step (number=4)" in gdb.execute("continue")
    for number in (match[1], second["inferior"]):
        gdb.execute(f"inferior {number}")
        gdb.execute("detach")
        gdb.execute("inferior 1")
        gdb.execute(f"remove-inferiors {number}")
    assert "done 4 8" in gdb.execute("continue")
    refuse(gdb, "ckpt inspect", "NAME")
    refuse(gdb, "ckpt inspect nosuch", "nosuch")
    gdb.quit()


def test_a_restored_program_beside_its_own_snapshot(scene: Scene) -> None:
    """Both have the same process id, perhaps; the program still ends with GDB."""
    trail(scene).quit()
    gdb = scene.gdb()
    pid = restore(gdb, "two").pid
    gdb.execute("ckpt inspect two")
    number = gdb.python("gdb.selected_inferior().num")
    gdb.execute("detach")
    gdb.execute("inferior 1")
    assert f"inferior 1, process {pid}" in gdb.execute("ckpt info two")
    gdb.execute(f"remove-inferiors {number}")
    gdb.execute("ckpt inspect two")
    gdb.quit()
    assert scene.processes() == []


def test_diff(scene: Scene) -> None:
    gdb = trail(scene)
    gdb.execute(f"source {scene.write('printer.py', PRINTER)}")
    text = gdb.execute("ckpt diff one three head")
    for line in (
        "  steps (history.c): 1 -> 3",
        "  steps (libpart.c): 100 -> 300",
        "  part_total (libpart.c): 1 -> 6",
        "  step::calls (history.c): 1 -> 3",
        "  table[2] (history.c): 0 -> 20",
        "  boxed (history.c): box of 1 -> box of 3",
        "  head->id: 1 -> 3",
        "  head->next->id: (not there) -> 2",
        "  local (thread 1, #0 step): 10 -> 30",
        "  doubled (thread 1, #1 main): 2 -> 6",
    ):
        assert line in text.splitlines(), f"{line}\n{text}"
    assert "table[1]" not in text and "error" not in text
    found = json.loads(gdb.execute("ckpt diff one three head -json"))
    assert {"where": "", "name": "head->id", "old": "1", "new": "3"} in found["changes"][
        "expressions"
    ]
    assert found["raw"]["pages"] > 0
    short = gdb.execute("ckpt diff one three -limit 1")
    assert re.search(r"^  \.\.\. \d+ more \(-limit\)$", short, re.MULTILINE)
    assert json.loads(gdb.execute("ckpt diff one three -limit 1 -json"))["changes"]["truncated"]
    assert gdb.execute("ckpt diff two two") == "Nothing differs."
    raw = gdb.execute("ckpt diff one three -raw")
    assert "Memory: " in raw and "steps" in raw and "Thread" in raw
    refuse(gdb, "ckpt diff", "OLD is missing")
    refuse(gdb, "ckpt diff one three nosuch", "nosuch: No symbol")
    refuse(gdb, "ckpt diff one three -limit x", "-limit")
    refuse(gdb, "ckpt diff one three head -raw", "not both")
    gdb.quit()


CONTAINERS = r"""
#include <map>
#include <memory>
#include <string>
#include <vector>
namespace app {
struct Base { virtual ~Base() = default; int id = 1; };
struct Derived : Base { std::vector<int> list{1, 2}; };
struct Holder { int before; std::vector<int> inside; };
std::map<std::string, int> counts{{"a", 1}, {"b", 2}};
std::vector<int> same{1, 2, 3};
Holder holder{1, {5, 6}};
static std::unique_ptr<Base> owner = std::make_unique<Derived>();
}
namespace { long hidden = 5; }
struct Counter { static int total; int next() { static int calls; ++total; return ++calls; } };
int Counter::total = 0;
thread_local int local_to_thread = 3;
union Word { int i; float f; } word;
struct Flags { unsigned a : 3, b : 5; } flags;
void stop() {}
int main() {
  Counter counter;
  stop();
  app::counts["a"] = 7;
  app::holder.inside[1] = 66;
  auto derived = static_cast<app::Derived *>(app::owner.get());
  derived->list[1] = 9;
  hidden++;
  counter.next();
  local_to_thread = 4;
  word.i = 77;
  flags.b = 3;
  stop();
}
"""


def test_diff_of_objects(scene: Scene) -> None:
    """C++: namespaces, static members, containers whose own bytes are the
    same, bit-fields, unions.
    """
    gdb = scene.gdb(str(scene.compile(CONTAINERS, "containers", language="c++")))
    gdb.execute("break stop")
    gdb.execute("run")
    gdb.execute("up")
    save(gdb, "first")
    gdb.execute("continue")
    gdb.execute("up")
    save(gdb, "second")
    text = gdb.execute("ckpt diff first second app::owner local_to_thread")
    for line in (
        '  app::counts[abi:cxx11]["a"] (containers.cpp): 1 -> 7',
        "  app::holder.inside[1] (containers.cpp): 6 -> 66",
        "  (anonymous namespace)::hidden (containers.cpp): 5 -> 6",
        "  Counter::total (containers.cpp): 0 -> 1",
        "  Counter::next()::calls (containers.cpp): 0 -> 1",
        "  word.i (containers.cpp): 0 -> 77",
        "  flags.b (containers.cpp): 0 -> 3",
        "  app::owner.get()->list[1]: 2 -> 9",
        "  local_to_thread: 3 -> 4",
    ):
        assert line in text.splitlines(), f"{line}\n{text}"
    assert "same" not in text and '["b"]' not in text and "(bytes)" not in text
    gdb.quit()


def test_diff_of_two_runs(scene: Scene) -> None:
    """Nothing is where it was; what has the same value is not named."""
    program = build(scene)
    gdb = scene.gdb(str(program))
    gdb.execute("set disable-randomization off")
    gdb.execute(f"break {HERE} if number == 2")
    for name in ("first", "second"):
        gdb.execute("run")
        save(gdb, name)
        gdb.execute("kill")
    text = gdb.execute("ckpt diff first second head")
    for name in ("steps", "table", "boxed", "calls", "head->id", "local (", "doubled"):
        assert name not in text, text
    gdb.quit()


def test_a_diff_that_is_cut_says_so(scene: Scene) -> None:
    program = build(scene, program=SOURCE.replace("number <= 4", "number <= 2500"))
    gdb = scene.gdb(str(program))
    gdb.execute(f"break {HERE} if number == 2 || number == 2400")
    gdb.execute("run")
    save(gdb, "few")
    gdb.execute("continue")
    save(gdb, "many")
    text = gdb.execute("ckpt diff few many head", timeout_s=60)
    assert "note: head leads to too much: only a part of it was compared" in text
    assert "  head->next->next->next->id: (not there) -> 2397" in text
    gdb.quit()


def test_diff_without_debug_information(scene: Scene) -> None:
    trail(scene).quit()
    subprocess.run(["strip", "--strip-debug", str(scene.directory / "history")], check=True)
    gdb = scene.gdb(str(scene.directory / "history"))
    gdb.execute("break count_part")
    gdb.execute("run")
    save(gdb, "half-one")
    gdb.execute("continue")
    save(gdb, "half-two")
    gdb.execute("kill")
    # The library has some: what the executable has is named, and shown as it is.
    text = gdb.execute("ckpt diff half-one half-two")
    assert (
        "  part_total (libpart.c): 0 -> 1" in text
        and "  steps (bytes): 00000000 -> 01000000" in text
    ), text
    subprocess.run(["strip", "--strip-debug", str(scene.directory / "libpart.so")], check=True)
    gdb.execute("run")
    save(gdb, "bare-one")
    gdb.execute("continue")
    save(gdb, "bare-two")
    text = gdb.execute("ckpt diff bare-one bare-two")
    assert text.startswith(
        "note: there is no debug information: bytes are compared\nMemory: "
    ), text
    found = json.loads(gdb.execute("ckpt diff bare-one bare-two -json"))
    assert found["changes"] is None and found["raw"]["ranges"] > 0
    refuse(gdb, "ckpt diff bare-one bare-two head", "no debug information")
    gdb.quit()


def test_export_bundle_import_verify(scene: Scene) -> None:
    gdb = trail(scene)
    assert re.match(rf"Wrote {scene.directory}/one.core: ", gdb.execute("ckpt export one one.core"))
    refuse(gdb, "ckpt export one one.core", "one.core")
    assert json.loads(gdb.execute("ckpt export one one.core -force -json"))["missing"] == []
    shown = subprocess.run(
        [
            "gdb", "-nx", "-q", "-batch", "-ex", "bt",
            str(scene.directory / "history"), str(scene.directory / "one.core"),
        ],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "step (number=1)" in shown, shown
    assert re.match(
        r"Wrote .*/one.bundle: .* of the program, ", gdb.execute("ckpt bundle one one.bundle")
    )
    refuse(gdb, "ckpt bundle one one.bundle", "one.bundle")
    assert json.loads(gdb.execute("ckpt bundle one one.bundle -force -json"))["objects"] > 2
    refuse(gdb, "ckpt import one.bundle", "one")
    assert gdb.execute("ckpt import one.bundle -name again") == 'Imported "again"'
    assert (
        json.loads(gdb.execute("ckpt import one.bundle -name again -force -json"))["name"]
        == "again"
    )
    refuse(gdb, "ckpt import", "FILE")
    refuse(gdb, "ckpt export one", "FILE")
    assert gdb.execute("ckpt verify") == "again: good\none: good\nthree: good\ntwo: good"
    damage(scene.store / "snapshots" / "two.ckpt", scene.store / "snapshots" / "two.ckpt")
    lines = gdb.execute("ckpt verify one two").splitlines()
    assert lines[0] == "one: good" and lines[1].startswith("two: ") and "damaged" in lines[1], lines
    assert lines[2] == 'ckpt verify: "two" is no good'
    shown = gdb.execute("ckpt verify -json")
    found = json.loads(shown[: shown.rindex("]") + 1])
    assert {each["name"]: each["good"] for each in found} == {
        "again": True,
        "one": True,
        "three": True,
        "two": False,
    }
    restore(gdb, "again")
    assert gdb.value("steps") == "1"
    gdb.quit()


def test_completion_of_the_new_commands(scene: Scene) -> None:
    gdb = trail(scene)
    assert gdb.complete("ckpt inspect tw") == ["ckpt inspect two"]
    assert gdb.complete("ckpt print steps thr") == ["ckpt print steps three"]
    assert gdb.complete("ckpt diff one tw") == ["ckpt diff one two"]
    assert gdb.complete("ckpt print steps -a") == ["ckpt print steps -all"]
    assert gdb.complete("ckpt verify one thr") == ["ckpt verify one three"]
    scene.write("some.bundle", "")
    assert gdb.complete("ckpt import some.b") == ["ckpt import some.bundle"]
    for command, words in {
        "inspect": ["NAME", "-json"], "print": ["EXPR", "-all", "-json"],
        "diff": ["EXPR", "-limit", "-raw"], "export": ["FILE", "-force"], "bundle": ["FILE"],
        "import": ["-name NAME"], "verify": ["NAME"],
    }.items():  # fmt: skip
        text = gdb.execute(f"help ckpt {command}")
        assert all(word in text for word in words), text
    gdb.quit()


def test_an_interrupted_print_changes_nothing(scene: Scene) -> None:
    gdb = trail(scene)
    snapshots = scene.store / "snapshots"
    # Enough for it to be in the middle of them.
    for number in range(1000):
        os.link(snapshots / "one.ckpt", snapshots / f"copy{number}.ckpt")
    before = session_state(gdb)
    gdb.start("ckpt print steps -all")
    processes.wait_until(lambda: opened(gdb.child.pid, snapshots), "a snapshot is open")
    gdb.child.send("\x03")
    printed = gdb.wait_prompt()
    assert "ckpt print: interrupted" in printed, printed
    assert session_state(gdb) == before
    assert "done 4 8" in gdb.execute("delete") + gdb.execute("continue")
    gdb.quit()


def opened(pid: int, directory: Path) -> bool:
    """Whether a process has a file of the directory open."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(entry).startswith(str(directory)):
                return True
        except OSError:
            continue
    return False
