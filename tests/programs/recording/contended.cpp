// Four threads that wait for each other at a lock, and one that waits for them at a condition. The
// result depends on the order in which they get the lock.
// ckpt-build: no-nopie no-static
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

static std::mutex mutex;
static std::condition_variable all_done;
static unsigned long order = 0;
static int done = 0;

static void work(unsigned long index) {
  for (int i = 0; i < 300; ++i) {
    const std::lock_guard<std::mutex> guard(mutex);
    order = order * 31 + index;
    if (i % 50 == 0) std::this_thread::yield();
  }
  const std::lock_guard<std::mutex> guard(mutex);
  ++done;
  all_done.notify_one();
}

int main() {
  std::vector<std::thread> threads;
  for (unsigned long i = 0; i < 4; ++i) threads.emplace_back(work, i);
  {
    std::unique_lock<std::mutex> guard(mutex);
    all_done.wait(guard, [] { return done == 4; });
  }
  for (auto& thread : threads) thread.join();
  std::printf("%lu\n", order);
}
