// Blocks in one system call until the test lets it go, and finds fault with every answer that a
// stop must not give.
//
// usage: e2e_blocking read|poll|sleep|futex|pipe
// Prints READY, the nonce, PASS. Exit status 3.
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>

#include "e2e_common.h"

namespace {

std::int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::string read_line() {
  std::string line;
  char byte = 0;
  for (;;) {
    ssize_t got = read(STDIN_FILENO, &byte, 1);
    if (got < 0) {
      std::printf("FAIL: read: %s\n", std::strerror(errno));
      std::fflush(stdout);
      std::exit(99);
    }
    if (got == 0) {
      fail("read: end of file");
    }
    if (byte == '\n') {
      return line;
    }
    line += byte;
  }
}

void block_in_poll() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (poll(&input, 1, -1) != 1) {
    fail("poll was interrupted");
  }
}

void block_in_sleep() {
  timespec length{1, 500'000'000};
  std::int64_t before = monotonic_ns();
  if (nanosleep(&length, nullptr) != 0) {
    fail("nanosleep was interrupted");
  }
  if (monotonic_ns() - before < 1'500'000'000LL) {
    fail("nanosleep was too short");
  }
}

void* reader(void* line) {
  *static_cast<std::string*>(line) = read_line();
  return nullptr;
}

// The main thread waits in a futex (pthread_join) for a thread that waits in read.
void block_in_futex() {
  pthread_t thread{};
  std::string line;
  if (pthread_create(&thread, nullptr, reader, &line) != 0 || pthread_join(thread, nullptr) != 0) {
    fail("pthread");
  }
  std::printf("line %s\n", line.c_str());
}

void* pipe_reader(void* end) {
  char byte = 0;
  if (read(*static_cast<int*>(end), &byte, 1) != 1 || byte != 'x') {
    fail("the pipe's reader was interrupted");
  }
  return nullptr;
}

// One thread blocks in a pipe inside the process, the other in the terminal.
void block_in_pipe() {
  int ends[2];
  pthread_t thread{};
  if (pipe(ends) != 0 || pthread_create(&thread, nullptr, pipe_reader, &ends[0]) != 0) {
    fail("pipe");
  }
  std::printf("line %s\n", read_line().c_str());
  if (write(ends[1], "x", 1) != 1 || pthread_join(thread, nullptr) != 0) {
    fail("write to the pipe");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fail("usage: e2e_blocking read|poll|sleep|futex|pipe");
  }
  draw_nonce();
  std::string mode = argv[1];
  say("READY");
  if (mode == "read") {
    std::printf("line %s\n", read_line().c_str());
  } else if (mode == "poll") {
    block_in_poll();
    std::printf("line %s\n", read_line().c_str());
  } else if (mode == "sleep") {
    block_in_sleep();
  } else if (mode == "futex") {
    block_in_futex();
  } else if (mode == "pipe") {
    block_in_pipe();
  } else {
    fail("which call?");
  }
  say_nonce();
  say("PASS");
  return 3;
}
