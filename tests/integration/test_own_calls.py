"""System calls with ids that a program makes past its C library: the save names them, and Go's
runtime gets the new ids.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import Workshop, compile_c, notes, passed

# A library whose function asks for the id by itself, and a program that loads it,
# if it is named, and remembers its id.
PLUGIN = """
int own_pid(void);
int own_pid(void) {
  long result = 39;
  __asm__ volatile("mov $39, %%eax\\nsyscall" : "=a"(result) : : "rcx", "r11", "memory");
  return (int)result;
}
"""
HOST = """
#include "selfcheck.h"
#include <dlfcn.h>
int main(int count, char** words) {
  if (count > 1) CHECK(dlopen(words[1], RTLD_NOW), "%s", dlerror());
  const int pid = getpid();
  ready();
  wait_line();
  CHECK(getpid() == pid, "another id");
  return pass();
}
"""
GO = """
package main

{cgo}
import (
    "bufio"
    "fmt"
    "os"
    "os/signal"
    "runtime"
    "syscall"
    "time"
)

func main() {{
    {use}
    nonce := fmt.Sprintf("%016x", time.Now().UnixNano())
    signals := make(chan os.Signal, 1)
    signal.Notify(signals, syscall.SIGUSR1)
    fmt.Println("READY " + nonce)
    bufio.NewReader(os.Stdin).ReadString('\\n')
    // The runtime interrupts a goroutine that computes by a signal to its thread.
    runtime.GOMAXPROCS(2)
    done := false
    go func() {{ for !done {{ }} }}()
    for i := 0; i < 20; i++ {{
        runtime.GC()
    }}
    done = true
    syscall.Kill(os.Getpid(), syscall.SIGUSR1)
    <-signals
    fmt.Println("PASS " + nonce)
}}
"""
CGO = """
// #include <unistd.h>
import "C"
"""


def own(lines: list[str]) -> list[str]:
    """The lines of a report about ids."""
    return [line for line in lines if line.startswith("changed: process: ids: ")]


@pytest.mark.parametrize("loaded", [True, False])
def test_a_library_that_asks_by_itself(workshop: Workshop, loaded: bool) -> None:
    library = compile_c(PLUGIN, workshop.directory / "plugin.so", "-shared", "-fPIC")
    host = compile_c(
        HOST, workshop.directory / "host", f"-I{Path(__file__).parents[1] / 'programs'}", "-pthread"
    )
    running = workshop.start([host, *([library] if loaded else [])])
    running.ready()
    saved = workshop.save(running.pid)
    wanted = (
        f"changed: process: ids: {library} makes system calls with ids by itself (getpid): "
        "if it must come back "
    )
    assert [line.startswith(wanted) for line in own(saved.fidelity)] == [
        True
    ] * loaded, saved.fidelity
    running.send()
    passed(running.finish(), running.nonce)
    restart = workshop.restart(saved.image, "--ids", "virtual")
    restart.send()
    passed(restart.finish(), running.nonce)


@pytest.mark.skipif(shutil.which("go") is None, reason="go is not there (golang-go)")
@pytest.mark.parametrize("with_c", [True, False], ids=["cgo", "pure"])
def test_go(workshop: Workshop, with_c: bool) -> None:
    source = workshop.directory / "main.go"
    source.write_text(GO.format(cgo=CGO, use="C.getpid()") if with_c else GO.format(cgo="", use=""))
    program = workshop.directory / "program"
    variables = {
        "GOCACHE": str(workshop.directory / "cache"),
        "CGO_ENABLED": str(int(with_c)),
        "GO111MODULE": "off",
    }
    subprocess.run(
        ["go", "build", "-o", program, source], env={**os.environ, **variables}, check=True
    )
    running = workshop.start([program])
    running.ready()
    oracle.wait_asleep(running.pid)
    saved = workshop.save(running.pid)
    (line,) = own(saved.fidelity)
    if with_c:
        assert (
            f" {program} makes system calls with ids by itself (" in line and "getpid, " in line
        ), line
        assert line.endswith(
            ": if it must come back with new ids, Go's runtime goes by the new ones, "
            "and os.Getpid() gives them"
        )
    else:
        assert " it is a program of Go's runtime without a C library: " in line, line
    running.send()
    passed(running.finish(), running.nonce)
    restart = workshop.restart(saved.image, "--ids", "virtual")
    restart.send()
    result = restart.finish()
    passed(result, running.nonce)
    assert len(notes(result)) == (not with_c), result
