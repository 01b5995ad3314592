// usage: thr_typed. Variables that are whole held locks, word by word, and some of them are locks:
// after a restore with new ids in GDB, only those have changed that their types say are locks, or
// that may be some. Without GDB nobody knows the types. The threads are not the main one: the names
// of its ids are better known.
#include "thr.h"

#include <threads.h>

typedef struct {
  char label[8];
  int words[10];
} Packet;
typedef union {
  pthread_mutex_t whole;
  int words[10];
} Either;

static pthread_mutex_t plain;
static struct {
  int before;
  pthread_mutex_t locks[3];
} nested;
static mtx_t c11;
static pthread_rwlock_t written;
static char pool[64] __attribute__((aligned(16)));
static Either either;

static int lookalike[10], rwlookalike[14];
static Packet packets[4];
int shown_lookalike[10];

static void make(pthread_mutex_t* mutex) {
  pthread_mutexattr_t attributes;
  OK(pthread_mutexattr_init(&attributes));
  OK(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK));
  OK(pthread_mutex_init(mutex, &attributes));
  OK(pthread_mutex_lock(mutex));
}

static int is_copy(const int* words, const int* wanted, size_t bytes, const char* what) {
  if (!memcmp(words, wanted, bytes)) return 1;
  say("%s has changed: %d %d %d, was %d %d %d", what, words[0], words[2], words[6], wanted[0],
      wanted[2], wanted[6]);
  return 0;
}

static void relock(pthread_mutex_t* mutex) {
  IS(pthread_mutex_lock(mutex), EDEADLK);
  OK(pthread_mutex_unlock(mutex));
}

static void* work(void* unused) {
  int mutex_words[10], rwlock_words[14];
  make(&plain);
  make(&nested.locks[1]);
  make((pthread_mutex_t*)pool);
  make(&either.whole);
  CHECK(mtx_init(&c11, mtx_plain | mtx_recursive) == thrd_success, "mtx_init");
  CHECK(mtx_lock(&c11) == thrd_success, "mtx_lock");
  OK(pthread_rwlock_wrlock(&written));
  memcpy(mutex_words, &plain, sizeof mutex_words);
  memcpy(rwlock_words, &written, sizeof rwlock_words);
  memcpy(lookalike, mutex_words, sizeof mutex_words);
  memcpy(shown_lookalike, mutex_words, sizeof mutex_words);
  memcpy(rwlookalike, rwlock_words, sizeof rwlock_words);
  for (int i = 0; i < 4; i++) memcpy(packets[i].words, mutex_words, sizeof mutex_words);
  // On the stack they would be found, too, and no type speaks for them.
  for (int i = 0; i < 10; i++) mutex_words[i] = ~mutex_words[i];
  for (int i = 0; i < 14; i++) rwlock_words[i] = ~rwlock_words[i];
  thr_arrive();
  thr_pass_gate(1);
  for (int i = 0; i < 10; i++) mutex_words[i] = ~mutex_words[i];
  for (int i = 0; i < 14; i++) rwlock_words[i] = ~rwlock_words[i];
  int same = is_copy(lookalike, mutex_words, sizeof lookalike, "an array");
  same &= is_copy(shown_lookalike, mutex_words, sizeof lookalike, "a global array");
  same &= is_copy(rwlookalike, rwlock_words, sizeof rwlookalike, "an array like a rwlock");
  for (int i = 0; i < 4; i++)
    same &= is_copy(packets[i].words, mutex_words, sizeof lookalike, "an array in a structure");
  CHECK(same, "what is no lock has changed");
  relock(&plain);
  relock(&nested.locks[1]);
  relock((pthread_mutex_t*)pool);
  relock(&either.whole);
  CHECK(mtx_trylock(&c11) == thrd_success, "mtx_trylock");
  for (int i = 0; i < 2; i++) CHECK(mtx_unlock(&c11) == thrd_success, "mtx_unlock");
  IS(pthread_rwlock_wrlock(&written), EDEADLK);
  OK(pthread_rwlock_unlock(&written));
  return unused;
}

int main(void) {
  pthread_t thread;
  OK(pthread_rwlock_init(&written, NULL));
  OK(pthread_create(&thread, NULL, work, NULL));
  thr_wait_arrived(1);
  ready();
  wait_line();
  thr_open_gate(1);
  OK(pthread_join(thread, NULL));
  return pass();
}
