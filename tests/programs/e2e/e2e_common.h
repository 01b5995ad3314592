// What the programs of the end-to-end tests share: a nonce that only this very run knows, and plain
// answers.
#pragma once

#include <sys/random.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

// Drawn once, at random, before the save; printed after it. A program that merely ran again prints
// another one.
inline volatile std::uint64_t nonce;

[[noreturn]] inline void fail(const char* reason) {
  std::printf("FAIL: %s\n", reason);
  std::fflush(stdout);
  std::exit(99);
}

inline void draw_nonce() {
  std::uint64_t drawn = 0;
  if (getrandom(&drawn, sizeof drawn, 0) != static_cast<ssize_t>(sizeof drawn)) {
    fail("getrandom");
  }
  nonce = drawn;
}

// Flushed: stdout may be a file or a pipe, and the test waits for the line.
inline void say(const char* text) {
  std::puts(text);
  std::fflush(stdout);
}

inline void say_nonce() {
  std::printf("nonce %016llx\n", static_cast<unsigned long long>(nonce));
  std::fflush(stdout);
}
