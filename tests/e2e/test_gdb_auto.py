"""`ckpt auto`: snapshots that nobody asked for one by one, and that nobody else notices."""

from __future__ import annotations

import json
import os
import re
import signal

import processes
import pytest
from gdbsession import GdbSession
from scene import Scene, refuse, restore, save
from steps import READ, continue_to_end, run_to_work

# Threads in calls that end with EINTR at any stop; the main thread reads lines until one is "end".
WAITING = """
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

unsigned nonce;
volatile unsigned long spins;
static int leave[2];
static int strict;

static void fail(const char *what) {
  printf("FAIL: %s: %s\\n", what, strerror(errno));
  exit(99);
}

static void *in_epoll(void *unused) {
  struct epoll_event event = {.events = EPOLLIN};
  int fd = epoll_create1(0);
  epoll_ctl(fd, EPOLL_CTL_ADD, leave[0], &event);
  // A stop of the user's ends this call (signal(7)); the program is told when there are to be some.
  while (epoll_wait(fd, &event, 1, -1) != 1)
    if (errno != EINTR || strict) fail("epoll_wait");
  return unused;
}

static void *in_sleep(void *unused) {
  struct timespec rest = {0, 20000000};
  for (int i = 0; i < 50; i++)
    if (nanosleep(&rest, NULL) != 0) fail("nanosleep");
  return unused;
}

static void *in_loop(void *unused) {
  char byte;
  fd_set set;
  struct timeval none = {0, 0};
  do {
    for (int i = 0; i < 1000; i++) spins++;
    FD_ZERO(&set);
    FD_SET(leave[0], &set);
    none.tv_sec = none.tv_usec = 0;
  } while (select(leave[0] + 1, &set, NULL, NULL, &none) == 0);
  return unused;
}

int main(int argc, char **argv) {
  pthread_t threads[3];
  char line[100];
  strict = argc > 1;
  if (getrandom(&nonce, sizeof nonce, 0) != sizeof nonce || pipe(leave) != 0) return 99;
  pthread_create(&threads[0], NULL, in_epoll, NULL);
  pthread_create(&threads[1], NULL, in_sleep, NULL);
  pthread_create(&threads[2], NULL, in_loop, NULL);
  printf("READY\\n");
  fflush(stdout);
  for (;;) {
    ssize_t length = read(0, line, sizeof line - 1);
    if (length <= 0) fail("read");
    line[length] = 0;
    printf("got %s", line);
    fflush(stdout);
    if (strcmp(line, "end\\n") == 0) break;
  }
  if (write(leave[1], "x", 1) != 1) fail("write");
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  printf("nonce %08x\\nPASS\\n", nonce);
  return 7;
}
"""

# Something to be done that takes a while: `outer` and `inner` count to the number given.
BUSY = """
#include <stdio.h>
#include <stdlib.h>

volatile long counter;

long inner(long count) {
  for (long i = 0; i < count; i++) counter++;
  return counter;
}

long outer(long count) {
  long result = inner(count);
  return result + 1;
}

void done(void) {}

int main(int argc, char **argv) {
  long count = atol(argv[1]);
  long first = outer(count);
  long second = outer(count);
  done();
  printf("first %ld second %ld\\n", first, second);
  return 7;
}
"""


def saved_names(text: str) -> list[str]:
    """The names in the lines that saves print."""
    return re.findall(r'^Saved "([^"]+)"', text.replace("\r", ""), re.MULTILINE)


def listed(gdb: GdbSession) -> list[str]:
    """The names of all snapshots."""
    return [entry["name"] for entry in json.loads(gdb.execute("ckpt list -json"))]


def waiting(scene: Scene, *commands: str, strict: bool = False) -> GdbSession:
    """The waiting program, running, after some commands.
    With `strict` no call may fail with EINTR.
    """
    program = str(scene.compile(WAITING, "waiting", "-pthread"))
    gdb = scene.gdb("--args", program, *(["strict"] if strict else []))
    for command in commands:
        gdb.execute(command)
    gdb.start("run")
    gdb.expect("READY\r\n")
    return gdb


def test_every_so_often_while_the_program_runs(scene: Scene) -> None:
    gdb = waiting(scene, "ckpt auto every 100ms", strict=True)
    # The first ones may come before it is READY.
    gdb.expect(r'Saved "waiting-auto-\d+"')
    gdb.type_line("one")
    gdb.expect("got one\r\n")
    # Half a line typed before a save, half of it after: the terminal's input is the program's.
    gdb.type("he")
    gdb.expect(r'Saved "waiting-auto-\d+".*\r\n')
    gdb.expect(r'Saved "waiting-auto-\d+".*\r\n')
    gdb.type_line("llo")
    gdb.expect("got hello\r\n")
    gdb.expect(r'Saved "waiting-auto-\d+".*\r\n')
    gdb.start("end")
    printed = gdb.wait_prompt()
    nonce = re.search(r"nonce (\w+)\nPASS", printed)
    assert nonce and "exited with code 07" in printed
    # What the user has seen: the program's lines, GDB's about threads,
    # and one line for each snapshot.
    ran = gdb.transcript.replace("\r", "").split("\nREADY\n")[1].split("\nnonce")[0]
    others = re.sub(r'Saved "waiting-auto-\d+": .*\n|\[Thread .* exited\]\n', "", ran + "\n")
    assert re.sub(r"\s", "", others) == "onegotonehellogothelloendgotend", ran
    # Any of them is a snapshot like others.
    name = listed(gdb)[-1]
    gdb.execute("ckpt auto off")
    restore(gdb, name)
    gdb.start("continue")
    gdb.type_line("end")
    assert f"nonce {nonce[1]}\nPASS" in gdb.wait_prompt()
    gdb.quit()


@pytest.mark.parametrize("language", ["ada", "fortran", "modula-2", "pascal", "rust"])
def test_in_a_language_other_than_c(scene: Scene, language: str) -> None:
    gdb = waiting(scene, f"set language {language}", "ckpt auto every 50ms")
    gdb.expect(r'Saved "waiting-auto-\d+".*\r\n')
    gdb.expect(r'Saved "waiting-auto-\d+".*\r\n')
    gdb.type_line("end")
    assert "PASS" in gdb.wait_prompt()
    gdb.quit()


def test_the_trail_is_bounded_and_nothing_else_is_deleted(scene: Scene) -> None:
    gdb = waiting(scene, "ckpt auto every 100ms -keep 2")
    gdb.expect('Saved "waiting-auto-3"')
    gdb.interrupt()
    save(gdb, "mine")
    save(gdb, "waiting-auto-900")
    # The interruption may have come between a save and its deletion.
    gdb.execute("ckpt auto -keep 2")
    before = [name for name in listed(gdb) if name not in ("mine", "waiting-auto-900")]
    assert len(before) == 2
    # One of the trail that the user has replaced is not of the trail any more.
    save(gdb, f"{before[1]} -force")
    gdb.start("continue")
    for _ in range(4):
        gdb.expect(r'Saved "waiting-auto-9\d\d"')
    gdb.interrupt()
    gdb.execute("ckpt auto -keep 2")
    names = listed(gdb)
    assert {"mine", "waiting-auto-900", before[1]} < set(names) and before[0] not in names
    assert len([name for name in names if re.fullmatch(r"waiting-auto-9\d\d", name)]) == 3
    trail = [name for name in names if re.fullmatch(r"waiting-auto-9\d[1-9]", name)]
    # By size: one is always kept.
    gdb.execute("ckpt auto -bytes 1")
    assert set(listed(gdb)) == {"mine", "waiting-auto-900", before[1], trail[-1]}
    assert "no more than 1 bytes" in gdb.execute("ckpt auto")
    gdb.execute("kill")
    gdb.quit()


def test_a_user_interrupts_the_program_as_ever(scene: Scene) -> None:
    gdb = waiting(scene, "ckpt auto every 50ms")
    for _ in range(5):
        gdb.expect(r'Saved "waiting-auto-\d+"')
        # Ctrl-C may come just while GDB saves.
        assert re.search("received signal SIGINT|ckpt auto: interrupted", gdb.interrupt())
        assert gdb.value("spins") != "0"
        gdb.start("continue")
    gdb.start("end")
    assert "PASS" in gdb.wait_prompt()
    gdb.quit()


def test_a_watchpoint_in_software_still_stops(scene: Scene) -> None:
    gdb = scene.gdb("--args", str(scene.compile(BUSY, "busy")), "3000")
    gdb.execute("set can-use-hw-watchpoints 0")
    gdb.execute("break inner")
    gdb.execute("run")
    gdb.execute("delete")
    gdb.execute("watch counter if counter == 500 || counter == 1500")
    gdb.execute("ckpt auto every 50ms")
    # GDB steps through the program, which gets little of a busy machine between two saves.
    printed = gdb.execute("continue", timeout_s=180)
    assert "New value = 500" in printed and saved_names(printed)
    assert "New value = 1500" in gdb.execute("continue", timeout_s=180)
    assert gdb.value("counter") == "1500"
    gdb.execute("kill")
    gdb.quit()


# Most of the time is spent in a function that a breakpoint's condition calls.
ASKING = """
#include <time.h>

static void spin(long milliseconds) {
  struct timespec begin, now;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - begin.tv_sec) * 1000 + \
(now.tv_nsec - begin.tv_nsec) / 1000000 < milliseconds);
}

int slow(void) {
  spin(300);
  return 0;
}

void tick(void) {}

void done(void) {}

int main(void) {
  for (int i = 0; i < 10; i++) {
    tick();
    spin(300);
  }
  done();
  return 7;
}
"""


def test_a_signal_in_a_condition_is_sent_again(scene: Scene) -> None:
    gdb = scene.gdb(str(scene.compile(ASKING, "asking")))
    gdb.execute("break tick if slow()")
    gdb.execute("break done")
    gdb.execute("ckpt auto every 100ms")
    printed = gdb.execute("run", timeout_s=180)
    assert "done ()" in printed
    # Ten conditions, in each of which a signal comes, and after each time for a save.
    assert len(saved_names(printed)) >= 3, printed
    gdb.execute("kill")
    gdb.quit()


def test_stepping_is_not_disturbed(scene: Scene) -> None:
    count = 30_000_000
    gdb = scene.gdb("--args", str(scene.compile(BUSY, "busy")), str(count))
    gdb.execute("break inner")
    gdb.execute("run")
    gdb.execute("ckpt auto every 50ms -keep 3")
    printed = gdb.execute("finish")
    assert f"Value returned is $1 = {count}" in printed and not saved_names(printed)
    gdb.execute("delete")
    printed = gdb.execute("next")
    assert "return result + 1" in printed
    printed = gdb.execute("finish")
    assert f"Value returned is $2 = {count + 1}" in printed
    gdb.execute("next")
    printed = gdb.execute("next")
    assert "done()" in printed and gdb.value("second") == str(2 * count + 1)
    assert not saved_names(gdb.transcript)
    gdb.execute("kill")
    gdb.quit()


def test_continue_is_interrupted_where_stepping_was_not(scene: Scene) -> None:
    gdb = scene.gdb("--args", str(scene.compile(BUSY, "busy")), "200000000")
    gdb.execute("break outer")
    gdb.execute("run")
    gdb.execute("ckpt auto every 50ms -keep 1000")
    gdb.execute("next")
    gdb.execute("delete")
    printed = gdb.execute("continue")
    assert saved_names(printed) and "first 200000000 " not in printed
    assert "first 200000001 second 400000001" in printed
    assert re.fullmatch(
        (
            r"Continuing\.\n(Saved \"busy-auto-\d+\": .*\n)+first .*\n"
            r"\[Inferior 1 \(process \d+\) exited with code 07\]"
        ),
        printed,
    ), printed
    name = saved_names(printed)[0]
    gdb.execute("ckpt auto off")
    restore(gdb, name)
    assert "first 200000001 second 400000001" in gdb.execute("continue")
    gdb.quit()


def test_scripts_and_hooks_do_not_see_the_stops(scene: Scene) -> None:
    script = scene.write(
        "watch.py",
        """
import gdb
seen = []
gdb.events.stop.connect(lambda event: seen.append("stop"))
gdb.events.cont.connect(lambda event: seen.append("cont"))
""",
    )
    gdb = scene.gdb("--args", str(scene.compile(BUSY, "busy")), "100000000")
    gdb.execute(f"source {script}")
    gdb.execute("define hook-stop\npython seen.append('hook-stop')\nend")
    gdb.execute("define hook-finish\npython seen.append('hook-finish')\nend")
    gdb.execute("break inner")
    gdb.execute("run")
    gdb.execute("ckpt auto every 50ms")
    gdb.execute("python seen.clear()")
    gdb.execute("delete")
    gdb.execute("tbreak done")
    printed = gdb.execute("continue")
    assert saved_names(printed) and "Temporary breakpoint" in printed
    assert gdb.python("seen") == "['cont', 'hook-stop', 'stop']"
    gdb.execute("ckpt auto off")
    gdb.execute("python seen.clear()")
    gdb.execute("finish")
    assert gdb.python("seen") == "['hook-finish', 'cont', 'hook-stop', 'stop']"
    gdb.execute("kill")
    gdb.quit()


def test_a_stop_signal_of_somebody_elses(scene: Scene) -> None:
    gdb = waiting(scene, "ckpt auto every 60")
    pid = next(pid for pid in scene.processes() if processes.parent_of(pid) == gdb.child.pid)
    processes.wait_in_syscall(pid, READ)
    os.kill(pid, signal.SIGSTOP)
    printed = gdb.wait_prompt()
    assert 'Thread 1 "waiting" received signal SIGSTOP, Stopped (signal).' in printed
    assert "#0 " in printed and "read" in printed
    gdb.execute("handle SIGSTOP nostop print nopass")
    gdb.start("continue")
    os.kill(pid, signal.SIGSTOP)
    gdb.expect(r'Thread \d "waiting" received signal SIGSTOP, Stopped')
    gdb.type_line("end")
    assert "PASS" in gdb.wait_prompt()
    gdb.quit()


def test_the_users_session_is_left_alone(scene: Scene) -> None:
    gdb = run_to_work(scene)
    gdb.execute("ckpt auto every 60")
    assert "$_ckpt_auto" in gdb.execute("info breakpoints")
    # What the user deletes comes back, and is not part of a snapshot's session.
    gdb.execute("delete")
    assert "$_ckpt_auto" in gdb.execute("info breakpoints")
    save(gdb, "one")
    again = scene.gdb()
    restore(again, "one")
    assert again.execute("info breakpoints").startswith("No breakpoints")
    again.execute("kill")
    again.quit()
    gdb.execute("ckpt auto off")
    assert gdb.execute("info breakpoints").startswith("No breakpoints")
    assert gdb.execute("info signals SIGSTOP").split()[5:9] == ["SIGSTOP", "Yes", "Yes", "Yes"] or (
        re.search(r"SIGSTOP\s+Yes\s+Yes\s+Yes", gdb.execute("info signals SIGSTOP"))
    )
    assert continue_to_end(gdb, 7)[-1] == "PASS"
    gdb.quit()


def test_a_detached_program_goes_on(scene: Scene) -> None:
    program = scene.spawn(str(scene.compile(WAITING, "waiting", "-pthread")))
    program.expect("READY")
    gdb = scene.gdb("-p", str(program.pid))
    gdb.execute("ckpt auto every 50ms")
    gdb.start("continue")
    gdb.expect('Saved "waiting-auto-3"')
    gdb.interrupt()
    gdb.execute("detach")
    program.child.sendline("end")
    program.expect("PASS")
    assert program.finish()[1] == 7
    gdb.quit()


def test_every_so_many_stops(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_threads"), "2")
    gdb.execute("break work")
    gdb.execute("ckpt auto every 2 stops")
    printed = [gdb.execute("run")] + [gdb.execute("continue") for _ in range(3)]
    assert [saved_names(text) for text in printed] == [
        [],
        ["e2e_threads-auto-1"],
        [],
        ["e2e_threads-auto-2"],
    ]
    # It comes after GDB has shown where the program is.
    assert printed[1].index("work (step=2)") < printed[1].index("Saved")
    assert "auto: stop 4" in gdb.execute("ckpt list")
    gdb.execute("info threads")
    assert len(listed(gdb)) == 2
    # Breakpoint commands that let the program go on are not a stop that comes to a prompt.
    gdb.execute("ckpt auto every 1 stop")
    gdb.execute("commands 1\nsilent\ncontinue\nend")
    assert saved_names(gdb.execute("run")) == []
    gdb.quit()


def test_before_the_crash_comes_to_the_prompt(scene: Scene) -> None:
    gdb = scene.gdb("--args", scene.program("e2e_signals"), "segv")
    gdb.execute("ckpt auto on-signal")
    printed = gdb.execute("run")
    assert "received signal SIGSEGV" in printed
    assert saved_names(printed) == ["e2e_signals-auto-1"]
    assert "auto: SIGSEGV" in gdb.execute("ckpt list")
    nonce = gdb.value("/x nonce")
    gdb.execute("kill")
    gdb.quit()
    again = scene.gdb()
    restore(again, "e2e_signals-auto-1")
    assert "raise_fault" in again.execute("bt 1")
    assert again.value("/x nonce") == nonce
    # The signal is delivered, to the program's own handler.
    assert "fault at 0x1234" in again.execute("continue")
    again.quit()


def test_before_the_commands_of_a_catchpoint(scene: Scene) -> None:
    """They see the program as it was, may let it go on, and what they say is seen."""
    gdb = scene.gdb("--args", scene.program("e2e_signals"), "segv")
    gdb.execute("ckpt auto on-signal")
    gdb.execute("catch signal SIGSEGV")
    gdb.execute("commands\nsilent\nprint 6*7\ncontinue\nend")
    gdb.execute("catch signal SIGILL")
    gdb.execute("commands\nprint 7*7\nend")
    printed = gdb.execute("run")
    assert saved_names(printed) == ["e2e_signals-auto-1"]
    assert (
        printed.index("Saved ") < printed.index("$1 = 42") < printed.index("fault at 0x1234")
    ), printed
    gdb.execute("commands 1\nsilent\nnosuchcommand\nend")
    printed = gdb.execute("run")
    assert saved_names(printed) == ["e2e_signals-auto-2"]
    assert printed.endswith('Undefined command: "nosuchcommand".  Try "help".'), printed
    assert "python" not in gdb.execute("info breakpoints")
    gdb.execute("kill")
    gdb.quit()
    again = scene.gdb()
    restore(again, "e2e_signals-auto-1")
    assert "python" not in again.execute("info breakpoints")
    assert "fault at 0x1234" in again.execute("continue")
    again.quit()


def test_no_save_at_signals_that_are_not_fatal(scene: Scene) -> None:
    gdb = waiting(scene, "ckpt auto on-signal")
    gdb.interrupt()
    assert listed(gdb) == []
    gdb.execute("kill")
    gdb.quit()


def test_a_crash_in_a_script_is_saved(scene: Scene) -> None:
    script = scene.write("batch.gdb", "ckpt auto on-signal\nrun\n")
    gdb = scene.gdb("--args", scene.program("e2e_signals"), "abort")
    printed = gdb.execute(f"source {script}")
    assert "SIGABRT" in printed and saved_names(printed) == ["e2e_signals-auto-1"]
    gdb.execute("kill")
    gdb.quit()


def test_what_cannot_be_saved_is_told_once(scene: Scene) -> None:
    gdb = scene.gdb("--args", str(scene.compile(BUSY, "busy")), "100000000")
    gdb.execute("break outer")
    gdb.execute("run")
    gdb.execute("ckpt auto every 50ms")
    gdb.execute(f"set ckpt directory {scene.write('file', '')}/store")
    gdb.execute("delete 1")
    printed = gdb.execute("continue")
    assert printed.count("ckpt auto: ") == 1 and "the store " in printed
    assert "exited with code 07" in gdb.transcript
    gdb.quit()


def test_the_state_and_mistakes(scene: Scene) -> None:
    gdb = scene.gdb()
    assert gdb.execute("ckpt auto") == "Nothing is saved by itself."
    assert (
        gdb.execute("ckpt auto every 2 stops")
        == "Saving every 2 stops.\nOf the trail the newest 20 are kept."
    )
    assert gdb.execute("ckpt auto on-signal -keep 5 -bytes 2M") == (
        "Saving every 2 stops, at fatal signals.\n"
        "Of the trail the newest 5 of no more than 2.0 MiB are kept."
    )
    refuse(gdb, "ckpt auto every now", "a number of seconds")
    refuse(gdb, "ckpt auto often", "every SECONDS")
    refuse(gdb, "ckpt auto -keep 0", "-keep needs")
    refuse(gdb, "ckpt auto -bytes many", "a size")
    gdb.execute("set non-stop on")
    refuse(gdb, "ckpt auto every 5", "non-stop")
    assert "every 2 stops" in gdb.execute("ckpt auto")
    assert gdb.execute("ckpt auto off") == "Nothing is saved by itself."
    assert set(gdb.complete("ckpt auto o")) == {"off", "on-signal"} or gdb.complete(
        "ckpt auto e"
    ) == ["ckpt auto every"]
    gdb.quit()


def test_ctrl_c_leaves_the_clock_whole(scene: Scene) -> None:
    """Right after a save the clock is set anew. Wherever in that a Ctrl-C comes,
    the clock goes on and ends later.
    """
    program = scene.spawn(str(scene.compile(WAITING, "waiting", "-pthread")))
    program.expect("READY")
    gdb = scene.gdb("-p", str(program.pid))  # with a terminal of its own: Ctrl-C is always GDB's
    for turn in range(40):
        gdb.execute(f"ckpt auto every {50 + turn}ms -keep 100")
        gdb.start("continue")
        gdb.expect('Saved "waiting-auto-')
        said = gdb.interrupt()
        assert "Error" not in said and "Traceback" not in said, said
    gdb.execute("detach")
    program.child.sendline("end")
    program.expect("PASS")
    assert program.finish()[1] == 7
    gdb.quit()


# Python for GDB: what fails of the commands that are run from now on is kept in `failed`.
NOTING = """failed = []
def execute(*arguments, original=gdb.execute, **named):
    try:
        return original(*arguments, **named)
    except gdb.error as error:
        failed.append((arguments, error))
        raise
gdb.execute = execute"""


@pytest.mark.parametrize("hook", [False, True], ids=["no_hook", "hook_stop"])
def test_no_command_fails_in_the_midst_of_a_stop(scene: Scene, hook: bool) -> None:
    """One that fails has GDB take the terminal, and a Ctrl-C that comes while it stops the threads
    one by one ends that halfway: GDB then waits for ever for those that it believes to be running.
    """
    hooks = ["define hook-stop\necho hooked\\n\nend"] if hook else []
    gdb = waiting(scene, *hooks, "ckpt auto every 100ms", f"python exec({NOTING!r})")
    for _ in range(3):
        gdb.expect('Saved "waiting-auto-')
        assert "hooked" not in (gdb.child.before or "")
    gdb.interrupt()
    assert gdb.execute("python print(failed)") == "[]"
    gdb.quit()


# Python for GDB: a Ctrl-C right before the command whose turn it is,
# counted from when the program goes on.
PRESSING = """import os
wanted, left = [0], [0]
def execute(*arguments, original=gdb.execute, **named):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), 2)
    return original(*arguments, **named)
gdb.execute = execute
def going(event):
    wanted[0], left[0] = 0, wanted[0]
gdb.events.cont.connect(going)"""


def test_a_ctrl_c_at_any_command_of_a_save(scene: Scene) -> None:
    """It stops the program, and nothing of the user's is lost or left changed."""
    program = scene.spawn(str(scene.compile(WAITING, "waiting", "-pthread")))
    program.expect("READY")
    gdb = scene.gdb("-p", str(program.pid))  # with a terminal of its own: Ctrl-C is always GDB's
    gdb.execute("define hook-stop\necho hooked\\n\nend")
    gdb.execute(f"python exec({PRESSING!r})")

    def state() -> list[str]:
        shown = ("confirm", "pagination", "language", "user hook-stop", "user hook-step")
        said = [
            gdb.execute(each)
            for each in (*(f"show {name}" for name in shown), "info signals SIGSTOP")
        ]
        # Of the frame, which may be in the library's assembly.
        return [line.split("; currently ")[0] for line in said]

    gdb.execute("ckpt auto every 50ms -keep 3")
    before = state()
    for turn in range(1, 64, 2):
        gdb.execute(f"python wanted[0] = {turn}")
        printed = gdb.execute("continue")
        assert "interrupted" in printed or "SIGINT" in printed, gdb.report()
        assert (
            "Traceback" not in printed and "Error" not in printed and "Exception" not in printed
        ), printed
        assert state() == before
    gdb.execute("ckpt auto off")
    gdb.execute("detach")
    program.child.sendline("end")
    program.expect("PASS")
    assert program.finish()[1] == 7
    gdb.quit()
