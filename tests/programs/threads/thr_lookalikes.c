// usage: thr_lookalikes. Thousands of words that equal the threads' ids, in arrays on the heap, on
// the stack, in data and in shared memory, and mutexes and rwlocks that are almost held ones. None
// may be taken for a lock.
#include "thr.h"

enum { WORDS = 20000, HALVES = 15 };
static int data[WORDS];
static int* heap;
static int* shared;
static int ids[2];
static pthread_mutex_t halves[2][HALVES], wanted_halves[2][HALVES];
static pthread_rwlock_t rwhalves[2][5], wanted_rwhalves[2][5];

static void sow(int* words) {
  for (int i = 0; i < WORDS; i++) words[i] = ids[i % 2];
  for (int i = 0; i + 8 < WORDS; i += 16) words[i] = i % 3, words[i + 1] = 0, words[i + 3] = i % 2;
}

static void check(const int* words, const char* where) {
  static int wanted[WORDS];
  sow(wanted);
  for (int i = 0; i < WORDS; i++)
    CHECK(words[i] == wanted[i], "%s: word %d is %d, was %d", where, i, words[i], wanted[i]);
}

// Each differs in one field from a mutex that `id` holds.
static void make_halves(pthread_mutex_t* half, pthread_rwlock_t* rwhalf, int id) {
  memset(half, 0, HALVES * sizeof *half);
  for (int i = 0; i < HALVES; i++) {
    half[i].__data.__lock = 1, half[i].__data.__owner = id, half[i].__data.__nusers = 1;
    half[i].__data.__kind = PTHREAD_MUTEX_ERRORCHECK;
  }
  half[0].__data.__lock = 0;
  half[1].__data.__lock = 7;
  half[2].__data.__nusers = 0;
  half[3].__data.__count = 5;
  half[4].__data.__kind = 0x7777;
  half[5].__data.__kind = 32;  // PI: the lock word would hold the id
  half[6].__data.__kind = 16;  // robust: so would this one's
  half[7].__data.__kind = PTHREAD_MUTEX_RECURSIVE;
  half[8].__data.__spins = 3;
  half[9].__data.__elision = 3;
  half[10].__data.__list.__prev = &half[10].__data.__list;
  half[11].__data.__nusers = 0x70000000;
  half[12].__data.__kind = 32 | 64;
  half[12].__data.__lock = id;
  // As an array in the heap of an interpreter may begin: a mark, a type, a length.
  half[13].__data.__kind = half[14].__data.__kind = 0;
  half[13].__data.__nusers = 8192;
  half[14].__data.__nusers = 2;
  memset(rwhalf, 0, 5 * sizeof *rwhalf);
  for (int i = 0; i < 5; i++) {
    rwhalf[i].__data.__readers = 3, rwhalf[i].__data.__cur_writer = id;
    rwhalf[i].__data.__wrphase_futex = rwhalf[i].__data.__writers_futex = 1;
  }
  rwhalf[0].__data.__readers = 8;
  rwhalf[1].__data.__wrphase_futex = 0;
  rwhalf[2].__data.__writers_futex = 0;
  rwhalf[3].__data.__pad4 = 1;
  rwhalf[4].__data.__flags = 9;
}

static void* other(void* unused) {
  ids[1] = thr_id();
  thr_arrive();
  thr_pass_gate(1);
  return unused;
}

int main(void) {
  int stack[WORDS];
  heap = (int*)malloc(sizeof data);
  shared = (int*)mmap(NULL, sizeof data, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(heap && shared != MAP_FAILED, "memory");
  pthread_t thread;
  ids[0] = thr_id();
  OK(pthread_create(&thread, NULL, other, NULL));
  thr_wait_arrived(1);
  sow(data), sow(heap), sow(stack), sow(shared);
  for (int i = 0; i < 2; i++) make_halves(halves[i], rwhalves[i], ids[i]);
  ready();
  wait_line();
  check(data, "data"), check(heap, "heap"), check(stack, "stack"), check(shared, "shared memory");
  // Made only now: copies would have been changed just as well.
  for (int i = 0; i < 2; i++) make_halves(wanted_halves[i], wanted_rwhalves[i], ids[i]);
  for (int i = 0; i < HALVES; i++)
    for (int k = 0; k < 2; k++)
      if (halves[k][i].__data.__list.__prev)
        wanted_halves[k][i].__data.__list = halves[k][i].__data.__list;
  for (int i = 0; i < 2 * HALVES; i++)
    CHECK(!memcmp(&halves[0][i], &wanted_halves[0][i], sizeof(pthread_mutex_t)),
          "half a mutex, number %d, was changed", i);
  for (int i = 0; i < 10; i++)
    CHECK(!memcmp(&rwhalves[0][i], &wanted_rwhalves[0][i], sizeof(pthread_rwlock_t)),
          "half a rwlock, number %d, was changed", i);
  thr_open_gate(1);
  OK(pthread_join(thread, NULL));
  return pass();
}
