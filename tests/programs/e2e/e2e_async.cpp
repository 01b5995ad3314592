// C++ as people write it: std::thread, std::async, exceptions across frames and threads, condition
// variables.
//
// usage: e2e_async
// Prints READY, waits for a line, computes for a while, with GO on the way, and prints what
// came out. Exit status 9.
//
// ckpt-build: no-static no-nopie
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "e2e_common.h"

namespace {

std::mutex lock;
std::condition_variable changed;
std::map<std::string, long> results;
int running;

struct Trouble : std::runtime_error {
  Trouble(int where, std::uint64_t secret)
      : std::runtime_error("trouble"), where(where), secret(secret) {}
  int where;
  std::uint64_t secret;
};

long collatz(long n) {
  long steps = 0;
  while (n != 1) {
    n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    steps++;
  }
  return steps;
}

}  // namespace

long compute(int number) {
  long best = 0;
  for (long n = 1; n < 60'000; n++) {
    best = std::max(best, collatz(n + number));
  }
  return best;  // computed
}

static void thread_body(int number) {
  long best = compute(number);
  std::lock_guard guard(lock);
  results["thread " + std::to_string(number)] = best;
  running--;
  changed.notify_all();
}

static long throwing(int depth, int number) {
  if (depth == 0) {
    throw Trouble(number, nonce);
  }
  std::string held(100, 'x');  // has a destructor that the unwinder must run
  return throwing(depth - 1, number) + static_cast<long>(held.size());
}

void rounds(int round) {
  std::vector<std::thread> threads;
  {
    std::lock_guard guard(lock);
    running = 3;
  }
  for (int i = 0; i < 3; i++) {
    threads.emplace_back(thread_body, round * 10 + i);
  }
  std::future<long> one = std::async(std::launch::async, compute, 1000 + round);
  std::future<long> two = std::async(std::launch::async, [round] { return throwing(10, round); });
  if (round == 1) {
    say("GO");
  }
  {
    std::unique_lock guard(lock);
    changed.wait(guard, [] { return running == 0; });
  }
  results["async " + std::to_string(round)] = one.get();
  try {
    two.get();
    fail("no exception");
  } catch (const Trouble& trouble) {
    if (trouble.where != round || trouble.secret != nonce) {
      fail("another exception came out");
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

int main() {
  draw_nonce();
  say("READY");
  // The test lets it go once the debugger is there.
  if (std::getchar() == EOF) {
    fail("end of file");
  }
  for (int round = 0; round < 4; round++) {
    rounds(round);
    std::printf("round %d\n", round);
    std::fflush(stdout);
  }
  for (const auto& [name, value] : results) {
    std::printf("%s = %ld\n", name.c_str(), value);
  }
  long total = std::accumulate(results.begin(), results.end(), 0L,
                               [](long sum, auto& entry) { return sum + entry.second; });
  std::printf("total %ld\n", total);
  say_nonce();
  say("PASS");
  return 9;
}
