// The yardsticks of the benchmark: what the machine itself takes for the bytes of a snapshot.
//
// usage: plain write FILE MIB     write incompressible memory to a new file; prints the seconds
//        plain fsync FILE MIB     the same and fsync
//        plain copy MIB           copy incompressible memory into fresh anonymous memory
//        plain read FILE          read a file into fresh anonymous memory
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

// What a save writes at a time, more or less; larger pieces are no faster.
constexpr std::size_t kPieceBytes = 1 << 20;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

double now_s() {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

char* fresh(std::size_t size_bytes) {
  void* memory =
      mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  return static_cast<char*>(memory);
}

char* incompressible(std::size_t size_bytes) {
  char* memory = fresh(size_bytes);
  std::uint64_t state = 0x9e3779b97f4a7c15;
  for (std::size_t at = 0; at < size_bytes; at += sizeof state) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    std::uint64_t word = state * 2685821657736338717ULL;
    std::memcpy(memory + at, &word, sizeof word);
  }
  return memory;
}

void write_file(const char* path, std::size_t size_bytes, bool with_fsync) {
  char* memory = incompressible(size_bytes);
  double start_s = now_s();
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (fd < 0) die(path);
  for (std::size_t at = 0; at < size_bytes; at += kPieceBytes) {
    if (write(fd, memory + at, kPieceBytes) != static_cast<ssize_t>(kPieceBytes)) die("write");
  }
  if (with_fsync && fsync(fd) != 0) die("fsync");
  close(fd);
  std::printf("%.6f\n", now_s() - start_s);
}

void copy(std::size_t size_bytes) {
  char* from = incompressible(size_bytes);
  double start_s = now_s();
  char* to = fresh(size_bytes);
  std::memcpy(to, from, size_bytes);
  double end_s = now_s();
  // Looked at, so that the copy has to happen.
  if (std::memcmp(to + size_bytes - 64, from + size_bytes - 64, 64) != 0) die("copy");
  std::printf("%.6f\n", end_s - start_s);
}

void read_file(const char* path) {
  double start_s = now_s();
  int fd = open(path, O_RDONLY);
  struct stat info {};
  if (fd < 0 || fstat(fd, &info) != 0) die(path);
  auto size_bytes = static_cast<std::size_t>(info.st_size);
  char* to = fresh(size_bytes);
  for (std::size_t at = 0; at < size_bytes;) {
    ssize_t got = read(fd, to + at, size_bytes - at);
    if (got <= 0) die("read");
    at += static_cast<std::size_t>(got);
  }
  std::printf("%.6f\n", now_s() - start_s);
}

}  // namespace

int main(int argc, char** argv) {
  std::string verb = argc > 1 ? argv[1] : "";
  auto mib = [&](int at) {
    return static_cast<std::size_t>(std::strtoull(argv[at], nullptr, 10)) << 20;
  };
  if ((verb == "write" || verb == "fsync") && argc == 4) {
    write_file(argv[2], mib(3), verb == "fsync");
  } else if (verb == "copy" && argc == 3) {
    copy(mib(2));
  } else if (verb == "read" && argc == 3) {
    read_file(argv[2]);
  } else {
    std::fprintf(stderr, "usage: plain write|fsync FILE MIB | copy MIB | read FILE\n");
    return 2;
  }
}
