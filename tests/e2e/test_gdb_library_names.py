"""Libraries that the dynamic linker knows by names which are not the paths of their files.

GDB opens libraries by these names. All of them are built anew between the save and the restore,
with other addresses, or their names lead elsewhere: what GDB shows must be what is mapped.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from gdbsession import GdbSession
from scene import BUILD, Scene, restore, save
from steps import continue_to_end

HOST = """
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int by_rpath(int x);
void between(void) {}
int main(int argc, char **argv)
{
  int (*functions[16])(int) = {by_rpath};
  int count = 1;
  unsigned long nonce;
  FILE *random = fopen("/dev/urandom", "r");
  if (!random || fread(&nonce, sizeof nonce, 1, random) != 1) return 1;
  fclose(random);
  for (int i = 1; i + 1 < argc; i += 2) {
    void *library = dlopen(argv[i + 1], RTLD_NOW);
    if (!library) return printf("%s\\n", dlerror()), 2;
    if (!(functions[count++] = dlsym(library, argv[i]))) return 3;
  }
  printf("READY\\n");
  fflush(stdout);
  char byte;
  if (getenv("WAIT") && read(0, &byte, 1) != 1) return 4;
  between();
  for (int i = 0; i < count; i++) printf("value %d\\n", functions[i](i));
  printf("nonce %lx\\n", nonce);
  return 9;
}
"""
LIBRARY = "int {name}_calls;\nint {name}(int x)\n{{\n  {name}_calls++;\n  return x * 10;\n}}\n"
CHANGED = (
    "int before_{name}(int x)\n{{\n  return x ? x * before_{name}(x - 1) : 1;\n}}\n"
    "int {name}_more[100] = {{1}};\n"
)


class App:
    """An application with its libraries, in the directories that it was installed in."""

    # The function of each library, its file, and the name it is asked for by.
    # "HERE" is the directory of the test.
    LIBRARIES = {
        "by_rpath": ("app/lib/by_rpath.so", ""),
        "up": ("app/lib/up.so", "HERE/app/bin/../lib/up.so"),
        "up_from_link": ("app/lib/up_from_link.so", "HERE/tool/../lib/up_from_link.so"),
        "slashes": ("app/lib/slashes.so", "HERE//app/./lib//slashes.so"),
        "above": ("app/lib/above.so", "/../../..HERE/app/lib/above.so"),
        "linked_file": ("app/lib/linked_file.so.1", "HERE/app/lib/linked_file.so"),
        "moved": ("v1/moved.so", "HERE/current/moved.so"),
        "here": ("here.so", "./here.so"),
        "below": ("sub/below.so", "sub/../sub/./below.so"),
        "searched": ("searched/searched.so", "searched.so"),
    }

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        here = scene.directory
        for name in ("app/bin", "app/lib", "v1", "v2", "sub", "searched"):
            (here / name).mkdir(parents=True)
        (here / "tool").symlink_to("app/bin")
        (here / "current").symlink_to(here / "v1")
        (here / "app/lib/linked_file.so").symlink_to("linked_file.so.1")
        self.build()
        link = [
            "-Wl,--no-as-needed",
            str(here / "app/lib/by_rpath.so"),
            "-Wl,-rpath,$ORIGIN/../lib",
        ]
        self.program = scene.compile(HOST, "app/bin/host", *link)
        self.arguments = [
            word
            for name, (_, asked) in self.LIBRARIES.items()
            if asked
            for word in (name, asked.replace("HERE", str(here)))
        ]
        # Relative, and with an empty part: the working directory.
        self.environment = {"LD_LIBRARY_PATH": ":searched/"}

    def build(self, change: str = "") -> None:
        for name, (file, _) in self.LIBRARIES.items():
            text = change.format(name=name) + LIBRARY.format(name=name)
            self.scene.compile(text, file, "-shared", "-fPIC", f"-Wl,-soname,{Path(file).name}")

    def upgrade(self) -> None:
        """Other files under all names. One of the old files stays,
        and its name leads to another one.
        """
        v1 = self.scene.directory / "v1/moved.so"
        kept = v1.read_bytes()
        self.build(CHANGED)
        v1.rename(self.scene.directory / "v2/moved.so")
        v1.write_bytes(kept)
        current = self.scene.directory / "current"
        current.unlink()
        current.symlink_to("v2")

    def functions(self, gdb: GdbSession) -> dict[str, str]:
        """What GDB says of each function's place, by way of the library's symbols and lines."""
        return {
            name: gdb.execute(f"info line {name}").rpartition("and ends")[0]
            for name in self.LIBRARIES
        }

    def check(self, gdb: GdbSession, addresses: dict[str, str]) -> None:
        """Breakpoints in all libraries are hit, with their arguments and lines."""
        assert self.functions(gdb) == addresses
        for number, name in enumerate(self.LIBRARIES):
            gdb.execute(f"break {name}")
            stop = gdb.execute("continue")
            assert re.search(rf"{name} \(x={number}\) at .*:4", stop), gdb.report()
            assert gdb.value(f"{name}_calls") == "0"
        gdb.execute("delete")


@pytest.fixture
def app(scene: Scene) -> App:
    # With an index GDB reads of a library when it is asked,
    # and opens it again by its name, relative or not.
    scene.index_cache = False
    return App(scene)


def test_saved_in_gdb(app: App, scene: Scene) -> None:
    gdb = scene.gdb("--args", str(app.program), *app.arguments, extra=app.environment)
    gdb.execute("break between")
    assert "between ()" in gdb.execute("run"), gdb.report()
    addresses = app.functions(gdb)
    assert all("starts at address" in text for text in addresses.values()), addresses
    libraries = gdb.execute("info sharedlibrary")
    save(gdb, "app")
    gdb.execute("delete")
    expected = continue_to_end(gdb, 9)
    gdb.quit()
    app.upgrade()
    # In the same directory, where the relative names lead to other files by now.
    again = scene.gdb()
    restore(again, "app")
    app.check(again, addresses)
    # As the linker has them.
    found = re.findall(r"(\S+\.so\S*)$", again.execute("info sharedlibrary"), re.MULTILINE)
    stripped = [re.sub(r"^.*/scratch/sysroot-\d+(?=/)", "", name) for name in found]
    assert sorted(stripped) == sorted(re.findall(r"(\S+\.so\S*)$", libraries, re.MULTILINE))
    assert continue_to_end(again, 9)[-1] == expected[-1]
    restore(again, "app")
    assert app.functions(again) == addresses
    assert again.execute("pwd") == f"Working directory {scene.directory}."
    again.execute("kill")
    # Without a process: a core file.
    inspected = again.execute("ckpt inspect app")
    assert "between ()" in inspected
    assert app.functions(again) == addresses
    again.quit()
    assert list((scene.store / "scratch").iterdir()) == []


def test_saved_by_the_program(app: App, scene: Scene) -> None:
    """No GDB knew the names; and all of the application is gone."""
    program = scene.spawn(str(app.program), *app.arguments, extra={**app.environment, "WAIT": "1"})
    program.expect("READY")
    command: list[str | Path] = [
        BUILD / "bin" / "ckpt-save",
        "--store",
        scene.store,
        str(program.pid),
        scene.directory / "app.ckpt",
    ]
    subprocess.run(command, check=True, capture_output=True, env=scene.environment)
    gdb = scene.gdb("-p", str(program.pid))
    addresses = app.functions(gdb)
    gdb.execute("detach")
    gdb.quit()
    program.close()
    for name in ("app", "v1", "v2", "sub", "searched"):
        (scene.directory / name).rename(scene.directory / f"{name}.old")
    (scene.directory / "here.so").unlink()
    again = scene.gdb()
    restore(again, str(scene.directory / "app.ckpt"))
    assert app.functions(again) == addresses
    again.execute("kill")
    again.quit()
    assert list((scene.store / "scratch").iterdir()) == []
