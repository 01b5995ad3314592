// Holds much memory of one kind, and checks it after the save. Also the program that bench/
// measures.
//
// usage: e2e_memory MIB random|zeros|untouched [wait]
// Prints READY and calls filled(); with `wait` it then waits for a byte on stdin. Checks the
// memory, prints the nonce, PASS. Exit status 8.
//
// ckpt-build: no-static no-nopie
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "e2e_common.h"

namespace {

// xorshift64*: incompressible, and several GiB of it in a second.
std::uint64_t next(std::uint64_t& state) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 2685821657736338717ULL;
}

}  // namespace

void filled() {
  asm volatile("");  // memory is filled
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fail("usage: e2e_memory MIB random|zeros|untouched [wait]");
  }
  draw_nonce();
  std::size_t size_bytes = std::strtoull(argv[1], nullptr, 10) << 20;
  std::string kind = argv[2];
  void* memory = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    fail("mmap");
  }
  auto* words = static_cast<std::uint64_t*>(memory);
  std::size_t count = size_bytes / sizeof(std::uint64_t);
  std::uint64_t seed = nonce | 1;
  if (kind == "random") {
    std::uint64_t state = seed;
    for (std::size_t i = 0; i < count; i++) {
      words[i] = next(state);
    }
  } else if (kind == "zeros") {
    std::memset(memory, 0, size_bytes);
  }
  say("READY");
  filled();
  char go = 0;
  if (argc > 3 && read(STDIN_FILENO, &go, 1) != 1) {
    fail("read");
  }
  if (kind == "random") {
    std::uint64_t state = seed;
    for (std::size_t i = 0; i < count; i++) {
      if (words[i] != next(state)) {
        fail("the memory changed");
      }
    }
  } else if (kind == "zeros") {
    for (std::size_t i = 0; i < count; i++) {
      if (words[i] != 0) {
        fail("the memory changed");
      }
    }
  }
  say_nonce();
  say("PASS");
  return 8;
}
