// usage: threads N. What belongs to one thread comes back to that thread: TLS, name, signal mask,
// alternate stack, its stack's content, its return value. And threads go on being threads: they can
// be signalled, cancelled, joined, and new ones can be made (all of which use the thread id in
// glibc's struct pthread, right also with new ids).
#include "selfcheck.h"

enum { ALTSTACK_BYTES = 64 * 1024 };

static int count, started, released;
static pthread_t threads[512];
static int signalled[512];
static int finished;
static __thread int my_index;
static __thread uint64_t my_values[64];
static pthread_key_t key;

static void on_signal(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  char here;
  stack_t stack;
  sigaltstack(NULL, &stack);
  CHECK(&here >= (char*)stack.ss_sp && &here < (char*)stack.ss_sp + stack.ss_size,
        "thread %d: its handler does not run on its alternate stack", my_index);
  CHECK(info->si_value.sival_int == 1000 + my_index, "thread %d got the signal of thread %d",
        my_index, info->si_value.sival_int - 1000);
  __atomic_store_n(&signalled[my_index], 1, __ATOMIC_SEQ_CST);
}

// Odd threads block SIGUSR2, every third blocks a real-time signal of its own: no two masks alike
// by accident.
static void mask_of(int index, sigset_t* mask) {
  sigemptyset(mask);
  if (index % 2) sigaddset(mask, SIGUSR2);
  if (index % 3 == 0) sigaddset(mask, SIGRTMIN + 1 + index % 20);
}

static void cleanup(void* argument) { *(int*)argument += 1; }

static void* body(void* argument) {
  my_index = (int)(intptr_t)argument;
  uint64_t on_stack[64];
  char name[16], now[17] = "";
  snprintf(name, sizeof name, "w%d-%.6s", my_index, selfcheck_nonce);
  MUST(prctl(PR_SET_NAME, name));
  fill(my_values, sizeof my_values, seed() + 100 + (uint64_t)my_index);
  fill(on_stack, sizeof on_stack, seed() + 700 + (uint64_t)my_index);
  pthread_setspecific(key, on_stack);
  sigset_t wanted, mask;
  mask_of(my_index, &wanted);
  pthread_sigmask(SIG_SETMASK, &wanted, NULL);
  stack_t alternate = {.ss_sp = malloc(ALTSTACK_BYTES), .ss_size = ALTSTACK_BYTES}, stack;
  MUST(sigaltstack(&alternate, NULL));
  int cleaned = 0;
  pthread_cleanup_push(cleanup, &cleaned);

  __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
  futex(&started, FUTEX_WAKE_PRIVATE, 1, NULL);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST))
    // SIGUSR1 interrupts this wait after the restore, and only then.
    if (futex(&released, FUTEX_WAIT_PRIVATE, 0, NULL) == -1 && errno == EINTR)
      CHECK(__atomic_load_n(&signalled[my_index], __ATOMIC_SEQ_CST),
            "thread %d: futex returned EINTR", my_index);

  CHECK(first_difference(my_values, sizeof my_values, seed() + 100 + (uint64_t)my_index) < 0,
        "thread %d: TLS", my_index);
  CHECK(first_difference(on_stack, sizeof on_stack, seed() + 700 + (uint64_t)my_index) < 0,
        "thread %d: stack", my_index);
  CHECK(pthread_getspecific(key) == on_stack, "thread %d: pthread_getspecific", my_index);
  CHECK(pthread_equal(pthread_self(), threads[my_index]), "thread %d: pthread_self", my_index);
  MUST(prctl(PR_GET_NAME, now));
  CHECK(!strcmp(name, now), "thread %d is named %s, was %s", my_index, now, name);
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  for (int s = 1; s < 64; s++)
    if (s != 32 && s != 33)
      CHECK(sigismember(&mask, s) == sigismember(&wanted, s), "thread %d: signal %d in the mask",
            my_index, s);
  MUST(sigaltstack(NULL, &stack));
  CHECK(stack.ss_sp == alternate.ss_sp && stack.ss_size == alternate.ss_size && stack.ss_flags == 0,
        "thread %d: alternate stack", my_index);
  __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
  if (my_index % 5 == 4) {  // these end by cancellation
    for (;;) pause();
  }
  pthread_cleanup_pop(0);
  return (void*)(uintptr_t)(my_values[0] >> 8);
}

static void* late(void* argument) { return (void*)((uintptr_t)argument + 1); }

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: threads N");
  count = atoi(argv[1]);
  CHECK(count >= 1 && count <= 500, "1 to 500 threads");
  seed();
  MUST(prctl(PR_SET_NAME, "the-main-one"));
  pthread_key_create(&key, NULL);
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  MUST(sigaction(SIGUSR1, &action, NULL));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 * 1024);
  // N counts the main thread too.
  for (int i = 1; i < count; i++)
    CHECK(!pthread_create(&threads[i], &attributes, body, (void*)(intptr_t)i), "create");
  for (int n; (n = __atomic_load_n(&started, __ATOMIC_SEQ_CST)) < count - 1;)
    futex(&started, FUTEX_WAIT_PRIVATE, n, NULL);

  ready();
  wait_line();

  char now[17] = "";
  MUST(prctl(PR_GET_NAME, now));
  CHECK(!strcmp(now, "the-main-one"), "main thread is named %s", now);
  for (int i = 1; i < count; i++) {
    pthread_getname_np(threads[i], now,
                       sizeof now);  // opens /proc/self/task/TID/comm: needs the true id
    char name[16];
    snprintf(name, sizeof name, "w%d-%.6s", i, selfcheck_nonce);
    CHECK(!strcmp(now, name), "pthread_getname_np of thread %d: %s", i, now);
    union sigval value = {.sival_int = 1000 + i};
    int error = pthread_sigqueue(threads[i], SIGUSR1, value);
    CHECK(!error, "pthread_sigqueue to thread %d: %s", i, strerror(error));
  }
  for (int i = 1; i < count; i++)
    while (!__atomic_load_n(&signalled[i], __ATOMIC_SEQ_CST)) sched_yield();
  __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
  futex(&released, FUTEX_WAKE_PRIVATE, 1 << 30, NULL);
  while (__atomic_load_n(&finished, __ATOMIC_SEQ_CST) < count - 1) sched_yield();
  for (int i = 1; i < count; i++) {
    void* result = NULL;
    if (i % 5 == 4) {
      int error = pthread_cancel(threads[i]);
      CHECK(!error, "cancel of thread %d: %s", i, strerror(error));
    }
    int error = pthread_join(threads[i], &result);
    CHECK(!error, "join of thread %d: %s", i, strerror(error));
    if (i % 5 == 4)
      CHECK(result == PTHREAD_CANCELED, "thread %d was not cancelled", i);
    else
      CHECK((uintptr_t)result == pattern(seed() + 100 + (uint64_t)i, 0) >> 8, "result of thread %d",
            i);
  }
  for (uintptr_t i = 0; i < 10; i++) {
    pthread_t thread;
    void* result;
    CHECK(!pthread_create(&thread, NULL, late, (void*)i), "pthread_create");
    CHECK(!pthread_join(thread, &result) && (uintptr_t)result == i + 1, "a thread made later");
  }
  return pass();
}
