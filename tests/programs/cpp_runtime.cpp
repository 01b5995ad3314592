// C++: std::thread, exceptions thrown and caught across the restore (the unwinder finds its tables
// through dl_iterate_phdr), std::async, thread_local objects with destructors,
// std::condition_variable, iostreams.
#include "selfcheck.h"

#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::mutex guard;
static std::condition_variable changed;
static bool go_on;
static int destroyed;

struct Counted {
  std::string text = "thread_local";
  ~Counted() {
    CHECK(text == "thread_local", "a thread_local object changed");
    std::lock_guard lock(guard);
    destroyed++;
  }
};
static thread_local Counted counted;

struct Deep : std::runtime_error {
  using std::runtime_error::runtime_error;
  std::vector<int> values{1, 2, 3};
};

[[noreturn]] static void throw_deep(int depth) {
  std::unique_ptr<std::string> cleaned_up = std::make_unique<std::string>("unwound");
  if (depth) throw_deep(depth - 1);
  throw Deep("nonce " + std::string(selfcheck_nonce));
}

static void wait_go() {
  std::unique_lock lock(guard);
  changed.wait(lock, [] { return go_on; });
}

int main() {
  seed();
  std::map<int, std::string> map;
  for (int i = 0; i < 1000; i++) map[i] = std::to_string(i * 3);
  std::vector<std::thread> threads;
  std::vector<int> caught(4);
  for (int i = 0; i < 4; i++)
    threads.emplace_back([i, &caught] {
      counted.text.reserve(100);
      try {
        try {
          throw_deep(i);
        } catch (const Deep&) {
          wait_go();  // the exception in flight is part of the state
          throw;
        }
      } catch (const Deep& e) {
        caught[static_cast<size_t>(i)] =
            e.values[2] == 3 && std::string(e.what()).ends_with(selfcheck_nonce);
      }
    });
  std::future<uint64_t> result = std::async(std::launch::async, [] {
    wait_go();
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 100000; i++) sum += pattern(seed(), i);
    return sum;
  });
  std::future<void> failing = std::async(std::launch::async, [] {
    wait_go();
    throw std::out_of_range("from a task");
  });

  try {
    throw_deep(5);
  } catch (const Deep& e) {
    ready();
    wait_line();
    CHECK(std::string(e.what()) == "nonce " + std::string(selfcheck_nonce), "what() is %s",
          e.what());
  }

  {
    std::lock_guard lock(guard);
    go_on = true;
  }
  changed.notify_all();
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 4; i++)
    CHECK(caught[static_cast<size_t>(i)], "thread %d did not catch its exception", i);
  CHECK(destroyed == 4, "%d thread_local objects were destroyed", destroyed);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < 100000; i++) sum += pattern(seed(), i);
  CHECK(result.get() == sum, "std::async");
  try {
    failing.get();
    FAIL("no exception from std::async");
  } catch (const std::out_of_range& e) {
    CHECK(std::string(e.what()) == "from a task", "what() is %s", e.what());
  }
  for (int i = 0; i < 1000; i++) CHECK(map[i] == std::to_string(i * 3), "map[%d]", i);
  try {
    throw_deep(50);
  } catch (const std::exception& e) {
    CHECK(std::string(e.what()).starts_with("nonce"), "exceptions after the restore");
  }
  return pass();
}
