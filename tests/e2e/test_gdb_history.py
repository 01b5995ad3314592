"""A store with many snapshots: lists that fit, and the way from one snapshot to another."""

from __future__ import annotations

import json
import re

from gdbsession import GdbSession
from scene import Scene, refuse, restore, save

SOURCE = r"""
#include <assert.h>
#include <stdio.h>

int total;

static void audit(int number) {
  assert(number < 6);  // dies
}

void step(int number) {
  total += number;  // here
  audit(number);
}

int main(void) {
  for (int number = 1; number <= 9; number++) step(number);
  printf("total %d\n", total);
  return 0;
}
"""


def line(mark: str) -> str:
    """Where the line with that comment is."""
    found = next(n for n, text in enumerate(SOURCE.splitlines(), 1) if f"// {mark}" in text)
    return f"ledger.c:{found}"


HERE, DIES = line("here"), line("dies")


def ledger(scene: Scene) -> GdbSession:
    """The program at its first step."""
    gdb = scene.gdb(str(scene.compile(SOURCE, "ledger")))
    gdb.execute(f"break {HERE}")
    assert "step (number=1)" in gdb.execute("run"), gdb.report()
    return gdb


def listed(gdb: GdbSession, arguments: str = "") -> list[str]:
    """The names that a list has, in its order, with what stands before them."""
    lines = gdb.execute(f"ckpt list {arguments}".rstrip()).splitlines()
    start = lines[0].index("Name")
    return [text[:start].strip() + re.split(r"\s+\d{4}-", text[start:])[0] for text in lines[1:-1]]


def test_list(scene: Scene) -> None:
    """Places, the star, the tree, some of them, and no line too long."""
    gdb = ledger(scene)
    remark = "the first of all, with a remark that does not fit into a terminal of eighty columns"
    assert save(gdb, f'one -m "{remark}"').stop == f"step at {HERE}"
    gdb.execute("continue")
    save(gdb, "two")
    assert listed(gdb) == ["one", "two"]
    gdb.execute("kill")
    restore(gdb, "one")
    assert listed(gdb) == ["*one", "two"]
    gdb.execute("next")
    save(gdb, "other")
    restore(gdb, "other")
    gdb.execute("delete")
    assert "SIGABRT" in gdb.execute("continue")
    # Not where the C library is, but where the program is in trouble.
    assert save(gdb, "crash").stop == f"SIGABRT in audit at {DIES}"
    assert listed(gdb, "-tree") == ["one", "*`- other", "   `- crash", "two"]
    assert listed(gdb, "o* two") == ["one", "two", "*other"]
    assert listed(gdb, "-newest 1") == ["crash"]
    assert listed(gdb, "-program ledger -newest 2") == ["*other", "crash"]
    for none in ("-program other", "nosuch*"):
        assert gdb.execute(f"ckpt list {none}") == f"No such snapshots in {scene.store}."
    found = json.loads(gdb.execute("ckpt list -json"))
    assert [
        (each["name"], each["current"], (each["parent"] or {}).get("name")) for each in found
    ] == [
        ("one", False, None),
        ("two", False, None),
        ("other", True, "one"),
        ("crash", False, "other"),
    ]
    assert found[3]["place"] == f"SIGABRT in audit at {DIES}" and "pthread_kill" in found[3]["stop"]
    lines = gdb.execute("ckpt list").splitlines()
    assert remark in lines[1] and lines[-1].startswith("4 snapshots, ")
    gdb.execute("set width 80")
    lines = gdb.execute("ckpt list").splitlines()
    assert (
        max(map(len, lines)) <= 80
        and "the first of all..." in lines[1]
        and "SIGABRT in audit" in lines[4]
    )
    name = "a-name-that-is-rather-long-and-leaves-no-room"
    assert len(gdb.execute(f"ckpt save {name}").splitlines()[0]) <= 80
    gdb.execute("set width 0")
    gdb.execute("kill")
    assert "*" not in gdb.execute("ckpt list")
    gdb.quit()


def trail(scene: Scene) -> GdbSession:
    """The program after its fifth step, with the snapshots s1 to s5."""
    gdb = ledger(scene)
    for number in range(1, 6):
        save(gdb, f"s{number}")
        if number < 5:
            gdb.execute("continue")
    gdb.execute("next")
    return gdb


def at(gdb: GdbSession) -> tuple[str, str]:
    """The snapshot that the program came from, and what it has counted."""
    return gdb.execute("output $_ckpt").strip('"'), gdb.value("total")


def test_back_and_forward(scene: Scene) -> None:
    """Along what one process saved, over a restore into its past,
    and along the branch that was taken.
    """
    gdb = trail(scene)
    assert gdb.execute("output $_ckpt") == "void"
    gdb.execute("set confirm on")
    # It has gone on: that is asked for, the rest of the way is not.
    gdb.start("ckpt back")
    gdb.expect(re.escape("Kill the program being debugged? (y or n) "))
    assert "ckpt back: not confirmed" in gdb.execute("n")
    gdb.start("ckpt back")
    gdb.expect(re.escape("(y or n) "))
    assert 'Restored "s5"' in gdb.execute("y")
    assert at(gdb) == ("s5", "10")
    # It stays right whatever is made of the variable,
    # and whatever a text is in the user's language.
    for language in ("c", "fortran", "pascal", "ada", "auto"):
        assert "Exception" not in gdb.execute(f"set language {language}")
        assert "Exception" not in gdb.execute("set variable $_ckpt = 5")
        shown = gdb.execute("output $_ckpt").strip("'\"")
        # What Python sets in Pascal GDB shows by its numbers there.
        assert shown == "s5" or (
            language == "pascal" and re.fullmatch(r".115, 53(, 0)?.", shown)
        ), language
    assert 'Restored "s4"' in gdb.execute("ckpt b")
    assert 'Restored "s2"' in gdb.execute("ckpt back 2")
    assert at(gdb) == ("s2", "1")
    refuse(gdb, "ckpt back 2", "only 1 snapshots? before")
    assert at(gdb) == ("s2", "1")
    assert 'Restored "s3"' in gdb.execute("ckpt forward")
    assert 'Restored "s5"' in gdb.execute("ckpt forward 2")
    refuse(gdb, "ckpt forward", 'no snapshot after "s5"')
    refuse(gdb, "ckpt back none", "N is a number")
    # A branch, and the way back to where it came from, and into the branch again.
    gdb.execute("ckpt back 3")
    gdb.execute("set confirm off")
    gdb.execute("set variable total = 100")
    gdb.execute("next")
    save(gdb, "branch")
    assert 'Restored "s2"' in gdb.execute("ckpt back")
    assert 'Restored "branch"' in gdb.execute("ckpt forward")
    assert at(gdb) == ("branch", "102")
    assert 'Restored "s1"' in gdb.execute("ckpt back 2")
    # Another session has no memory of it: the way on is that of the process.
    gdb.quit()
    again = scene.gdb()
    refuse(again, "ckpt back", "no program")
    restore(again, "s1")
    assert 'Restored "s3"' in again.execute("ckpt f 2")
    assert again.execute("kill") and again.execute("output $_ckpt") == "void"
    again.quit()


def prompt_of(gdb: GdbSession) -> str:
    """GDB's prompt, in a form that is not taken for it; the next prompt may begin behind it."""
    return (
        gdb.execute("python print(gdb.parameter('prompt').replace('gdb-e2e', 'gdb'))")
        .splitlines()[0]
        .strip()
    )


def test_the_name_in_the_prompt(scene: Scene) -> None:
    gdb = ledger(scene)
    save(gdb, "one")
    gdb.execute("set ckpt prompt on")
    gdb.execute("ckpt r one")
    assert prompt_of(gdb) == "[one] (gdb)"
    gdb.execute("next")
    assert prompt_of(gdb) == "[one+] (gdb)"
    gdb.execute("ckpt rename one other")
    assert prompt_of(gdb) == "[other+] (gdb)"
    assert "prompt is on" in gdb.execute("show ckpt")
    gdb.execute("kill")
    assert prompt_of(gdb) == "(gdb)"
    gdb.execute("ckpt restore")
    gdb.execute("set ckpt prompt off")
    assert prompt_of(gdb) == "(gdb)"
    gdb.execute("kill")
    # A prompt that the user's own hook makes goes on changing.
    gdb.execute("python prompts = iter(range(100))")
    gdb.execute("python gdb.prompt_hook = lambda current: f'{next(prompts)} (gdb' + '-e2e) '")
    gdb.execute("set ckpt prompt on")
    gdb.execute("ckpt restore")
    first, second = (re.fullmatch(r"\[other\] (\d+) \(gdb\)", prompt_of(gdb)) for _ in range(2))
    assert first and second and int(second[1]) == int(first[1]) + 1
    gdb.execute("kill")
    gdb.quit()


def test_find(scene: Scene) -> None:
    gdb = trail(scene)
    printed = gdb.execute('ckpt find "total > 2"').splitlines()
    assert re.fullmatch(
        rf'"s3" is the first: saved \d{{4}}-.*, stopped in step at {HERE}', printed[0]
    )
    assert printed[1] == 'In "s2" it is not true; 4 of 5 snapshots looked at.'
    assert gdb.execute("output $_ckpt_found") == '"s3"'
    assert gdb.execute("ckpt find -last 'number < 4'").startswith('"s3" is the last: ')
    assert "none before it" in gdb.execute("ckpt find number")
    assert (
        gdb.execute("ckpt find 'number > 9'")
        == 'It is not true in "s1" or "s5"; 2 of 5 snapshots looked at.'
    )
    assert gdb.execute("output $_ckpt_found") == "void"
    found = json.loads(gdb.execute("ckpt find -json 'number >= 2' s4 s1 s2"))
    assert (found["name"], found["beside"], found["snapshots"]) == ("s2", "s1", 3)
    refuse(gdb, "ckpt find nosuch", 'nosuch: No symbol "nosuch" in current context')
    refuse(gdb, "ckpt find total > 2", "quoted")
    refuse(gdb, "ckpt find total -first -last", "either")
    assert gdb.value("total") == "15"
    gdb.quit()
    # Without a program: the history of what was saved last.
    again = scene.gdb()
    assert '"s4" is the first' in again.execute("ckpt find 'total > 5'")
    assert again.execute("info inferiors").count("\n") == 1
    again.quit()


def test_notes_names_and_deletions(scene: Scene) -> None:
    gdb = trail(scene)
    refuse(gdb, "ckpt save -m two words", 'quote several, as in -m "two words"')
    assert gdb.execute("ckpt note s1") == '"s1" has no remark.'
    assert gdb.execute('ckpt note s1 the "first  one"') == 'Noted in "s1".'
    assert gdb.execute("ckpt note s1") == "the first  one"
    assert "the first  one" in gdb.execute("ckpt list s1")
    assert gdb.execute("ckpt note s1 ''") == 'Noted in "s1".'
    assert gdb.execute("ckpt note s1") == '"s1" has no remark.'
    outside = scene.directory / "outside.ckpt"
    save(gdb, f"out -o {outside}")
    gdb.execute("ckpt note out 'of a file'")
    gdb.execute("ckpt rename out far")
    assert outside.exists() and gdb.execute(f"ckpt note {outside}") == "of a file"
    assert f"far ({outside})" in gdb.execute("ckpt list")
    assert gdb.execute("ckpt rename s1 begin") == 'Renamed "s1" to "begin".'
    for wrong, problem in (
        ("s2 s3", "already a snapshot"),
        ("s1 x", 'no snapshot "s1"'),
        ("s2 a/b", "cannot contain"),
    ):
        refuse(gdb, f"ckpt rename {wrong}", problem)
    for name in ("begin", "far"):
        assert restore(gdb, name).frame and at(gdb)[0] == name
    assert "begin: good" in gdb.execute("ckpt verify")
    refuse(gdb, "ckpt delete", "PATTERN")
    refuse(gdb, "ckpt delete s2 nosuch*", 'no snapshot "nosuch')
    refuse(gdb, "ckpt delete -older soon", "an age is")
    assert gdb.execute("ckpt delete -older 1h") == "No snapshots to delete."
    gdb.execute("set confirm on")
    for answer, text in (("n", "not confirmed"), ("maybe\nn", "Please answer y or n.")):
        gdb.start("ckpt delete s*")
        gdb.expect(re.escape('Delete "s2", "s3", "s4", "s5"? (y or n) '))
        assert text in gdb.execute(answer)
    assert len(listed(gdb)) == 6
    gdb.start("ckpt delete s*")
    gdb.expect(re.escape("(y or n) "))
    gdb.type("\x04")  # an end of file is no permission either
    assert "not confirmed" in gdb.wait_prompt()
    assert len(listed(gdb)) == 6
    gdb.execute("ckpt delete s5")  # what is named in full is not asked for
    gdb.start("ckpt delete s*")
    gdb.expect(re.escape("(y or n) "))
    assert 'Deleted "s2", "s3", "s4": ' in gdb.execute("y")
    gdb.execute("set confirm off")
    assert "every kept file is needed" in gdb.execute("ckpt gc")
    outside.unlink()
    assert listed(gdb) == ["begin"]
    (scene.store / "snapshots" / "begin.ckpt").unlink()
    assert "kept files that no snapshot needs: " in gdb.execute("ckpt gc")
    assert not list((scene.store / "objects").iterdir())
    save(gdb, "last")
    assert 'Deleted "last"' in gdb.execute("ckpt delete -all")
    gdb.execute("kill")
    gdb.quit()


def test_the_program_beside_a_snapshot(scene: Scene) -> None:
    """`ckpt diff` with the program as it is now, which is left as it is."""
    gdb = trail(scene)
    gdb.execute("set variable total = 50")
    before = (
        gdb.execute("info registers"),
        gdb.execute("info breakpoints"),
        gdb.execute("ckpt list"),
    )
    assert "  total (ledger.c): 10 -> 50" in gdb.execute("ckpt diff s5")
    assert "  total (ledger.c): 1 -> 50" in gdb.execute("ckpt diff s2 -live")
    printed = gdb.execute("ckpt diff -live s2 'total * 2'")
    assert "  total * 2: 2 -> 100" in printed and "  number (thread 1, #0 step): 2 -> 5" in printed
    assert (
        "total" in gdb.execute("ckpt diff s5 -raw")
        and json.loads(gdb.execute("ckpt diff s5 -json"))["changes"]
    )
    refuse(gdb, "ckpt diff nosuch", "no snapshot or file")
    assert (
        gdb.execute("info registers"),
        gdb.execute("info breakpoints"),
        gdb.execute("ckpt list"),
    ) == before
    assert scene.partial_files() == [] and not list((scene.store / "external").iterdir())
    gdb.execute("delete")
    gdb.execute("kill")
    refuse(gdb, "ckpt diff s5", "no program")
    gdb.quit()
