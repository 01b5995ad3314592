// usage: thr_cxx. std::jthread with stop tokens, a pool with a queue, promises, shared locks held
// at the save, exceptions that cross threads, thread_local destructors. ckpt-cflags: -std=c++20
extern "C" {
#include "thr.h"
}
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <vector>

static std::atomic<int> destroyed{0};
struct Local {
  ~Local() { ++destroyed; }
  int value = 5;
};
static thread_local Local local;

class Pool {
 public:
  explicit Pool(int size) {
    for (int i = 0; i < size; i++)
      workers_.emplace_back([this](std::stop_token token) { run(token); });
  }
  std::future<int> submit(std::function<int()> work) {
    std::packaged_task<int()> task(std::move(work));
    auto result = task.get_future();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
    return result;
  }

 private:
  void run(std::stop_token token) {
    local.value++;
    thr_arrive();
    std::unique_lock<std::mutex> lock(mutex_);
    while (changed_.wait(lock, token, [this] { return !tasks_.empty(); })) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::packaged_task<int()>> tasks_;
  std::vector<std::jthread> workers_;
};

int main() {
  std::recursive_mutex recursive;
  std::shared_mutex shared;
  std::timed_mutex timed;
  recursive.lock();
  recursive.lock();
  shared.lock();
  timed.lock();
  {
    Pool pool(4);
    std::promise<int> promise;
    auto waiting = std::async(std::launch::async, [&] { return promise.get_future().get() + 1; });
    std::atomic<bool> told{false};
    std::jthread token_watcher([&](std::stop_token token) {
      thr_arrive();
      std::mutex own;
      std::condition_variable_any never;
      std::unique_lock<std::mutex> lock(own);
      never.wait(lock, token, [] { return false; });
    });
    // Here, not in the thread: that one may be woken, and take its callback back, before its turn.
    std::stop_callback note(token_watcher.get_stop_token(), [&] { told = true; });
    std::thread reader([&] {
      thr_arrive();
      std::shared_lock<std::shared_mutex> lock(shared);
    });
    thr_wait_arrived(6);
    ready();
    wait_line();
    CHECK(!timed.try_lock_for(std::chrono::milliseconds(1)), "a held timed mutex is free");
    timed.unlock();
    shared.unlock();
    reader.join();
    for (int i = 0; i < 2; i++) recursive.unlock();
    std::vector<std::future<int>> results;
    for (int i = 0; i < 100; i++)
      results.push_back(pool.submit([i] {
        if (i == 50) throw std::runtime_error("the fiftieth");
        return i * i;
      }));
    for (int i = 0; i < 100; i++) {
      try {
        CHECK(results[static_cast<size_t>(i)].get() == i * i && i != 50, "task %d", i);
      } catch (const std::runtime_error&) {
        CHECK(i == 50, "task %d threw", i);
      }
    }
    promise.set_value(41);
    CHECK(waiting.get() == 42, "async");
    token_watcher.request_stop();
    token_watcher.join();
    CHECK(told, "the stop callback");
  }
  CHECK(destroyed == 4, "%d thread_local destructors", destroyed.load());
  return pass();
}
