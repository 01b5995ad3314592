// Holds something of everything that a script asks a snapshot for: symbols of every kind, a string
// that ends with its mapping, a guard page, a file that ends within a page, holes, timers,
// handlers.
#include <fcntl.h>
#include <sys/time.h>

#include "selfcheck.h"

enum { PAGE = 4096, FILE_BYTES = 6000, BIG_BYTES = 3 << 20 };

struct queue {
  uint64_t magic;
  uint64_t length;
  char label[32];
};

struct queue queue = {0, 3, "the queue"};
static uint64_t hidden = 0x1122334455667788;  // known in this file only
__thread uint64_t per_thread = 5;
uint64_t never_written[1024];

static uint64_t add_hidden(uint64_t to) { return to + hidden; }

static void on_signal(int signal) { (void)signal; }

static void* keeper(void* argument) {
  pthread_setname_np(pthread_self(), "keeper");
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  per_thread = 6;
  pthread_barrier_wait((pthread_barrier_t*)argument);
  for (;;) pause();
  return NULL;
}

int main(int argc, char** argv) {
  queue.magic = pattern(seed(), 1);
  char* edge = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(edge);
  MUST(munmap(edge + PAGE, PAGE));
  strcpy(edge + PAGE - 13, "at the edge!");
  unsigned char* big =
      mmap(NULL, BIG_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(big);
  for (size_t page = 0; page < BIG_BYTES / PAGE; page += 3)
    fill(big + page * PAGE, PAGE, seed() + page);
  // A word that begins in one page that is written and ends in one that is not.
  memcpy(big + PAGE - 3, "\xfe\xdc\xba", 3);
  const char* file = "";
  if (argc > 1) {
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    MUST(fd);
    MUST(lseek(fd, 77, SEEK_SET));
    file = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    MUST(file);
  }
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaddset(&action.sa_mask, SIGUSR2);
  MUST(sigaction(SIGUSR1, &action, NULL));
  MUST(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {3600, 0}}, NULL));
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_t thread;
  pthread_create(&thread, NULL, keeper, &barrier);
  pthread_barrier_wait(&barrier);

  say("AT %p %p %p %p %p %p", (void*)&queue, (void*)&hidden, (void*)add_hidden, (void*)edge,
      (void*)big, (const void*)file);
  ready();
  for (;;) {
    // Whatever is typed is done to the queue, so that the test can make two snapshots differ.
    wait_line();
    CHECK(add_hidden(1) == 0x1122334455667789, "hidden");
    CHECK(queue.magic == pattern(seed(), 1), "the queue");
    if (queue.length == 4) return pass();
    queue.length++;
    strcpy(queue.label, "changed");
    memset(big + PAGE, 0x5a, 10);  // was never written
    big[6 * PAGE + 100] ^= 0xff;   // two bytes,
    big[6 * PAGE + 104] ^= 0xff;   // close together
    int extra = open("/dev/null", O_RDONLY | O_CLOEXEC);
    MUST(extra);
    MUST(mmap(NULL, 5 * PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    MUST(munmap(edge, PAGE));
    say("CHANGED");
  }
}
