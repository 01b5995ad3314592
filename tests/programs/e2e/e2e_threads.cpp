// N threads, each with its own thread-local variables; the main thread counts in a loop that tests
// step through.
//
// usage: e2e_threads N [wait]        with `wait` it waits for a byte on stdin after READY
// Prints READY, five lines `step I total T`, the nonce, PASS. Exit status 7.
#include <pthread.h>
#include <unistd.h>

#include <array>

#include "e2e_common.h"

thread_local int tls_number = -1;
thread_local std::uint64_t tls_secret;

volatile long counter;
volatile long watched;

namespace {

constexpr int max_threads = 64;

struct Worker {
  pthread_t thread;
  int number;
  std::uint64_t secret;
  bool right;
};

std::array<Worker, max_threads> workers;
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
int arrived;
bool released;

}  // namespace

// Not static, and on a line of its own: the tests' breakpoints stand here.
void worker_waits(Worker* self) {
  pthread_mutex_lock(&lock);
  arrived++;
  pthread_cond_broadcast(&changed);
  while (!released) {
    pthread_cond_wait(&changed, &lock);
  }
  pthread_mutex_unlock(&lock);
  self->right = tls_number == self->number && tls_secret == self->secret;
}

static void* worker_main(void* argument) {
  auto* self = static_cast<Worker*>(argument);
  tls_number = self->number;
  tls_secret = self->secret;
  worker_waits(self);
  return nullptr;
}

int work(int step) {
  int doubled = step * 2;       // work starts
  counter = counter + doubled;  // work counts
  watched = 100 + step;         // work writes watched
  return doubled;               // work ends
}

int main(int argc, char** argv) {
  int count = argc > 1 ? std::atoi(argv[1]) : 0;
  if (count < 0 || count > max_threads) {
    fail("how many threads?");
  }
  draw_nonce();
  tls_number = 1000;
  tls_secret = nonce;
  for (int i = 0; i < count; i++) {
    workers[i].number = i + 1;
    workers[i].secret = nonce + static_cast<std::uint64_t>(i) + 1;
    if (pthread_create(&workers[i].thread, nullptr, worker_main, &workers[i]) != 0) {
      fail("pthread_create");
    }
    // One after the other, so that the order of the threads is the same in every run.
    pthread_mutex_lock(&lock);
    while (arrived <= i) {
      pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
  }
  say("READY");
  char go = 0;
  if (argc > 2 && read(STDIN_FILENO, &go, 1) != 1) {  // a test that attaches says when to go on
    fail("read");
  }
  long total = 0;
  for (int step = 1; step <= 5; step++) {
    total += work(step);
    std::printf("step %d total %ld\n", step, total);
    std::fflush(stdout);
  }
  say_nonce();
  if (total != 30 || counter != 30) {
    fail("the sum is wrong");
  }
  pthread_mutex_lock(&lock);
  released = true;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < count; i++) {
    if (pthread_join(workers[i].thread, nullptr) != 0) {
      fail("pthread_join");
    }
    if (!workers[i].right) {
      fail("a thread lost its thread-local variables");
    }
  }
  if (tls_number != 1000 || tls_secret != nonce) {
    fail("the main thread lost its thread-local variables");
  }
  say("PASS");
  return 7;
}
