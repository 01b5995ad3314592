// ledger FILE [LOG]: adds up the numbers in FILE, then those on standard input, one line each, unbuffered,
// so that what was not read yet is not in memory. Prints the sums, and appends them to LOG. Ends with
// status 3 when there is one above LEDGER_LIMIT (environment, default 1000000), and dies as LEDGER_END
// says: "abort" fails an assertion, "segv" follows a null pointer, "hang" never ends.
#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum mood { CALM, BUSY };

struct entry {
  int value;
  const char *from;
};

static long total;
static long limit = 1000000;
static int exceeded;
static enum mood mood;
static double mean;
char name[16] = "ledger";
static const char *missing;
static int log_fd = -1;
static volatile sig_atomic_t signals;
static volatile int spinning;
static int terminals;

static void on_signal(int number) {
  (void)number;
  signals++;
}

static int read_line(int fd, char *line, int size) {
  int length = 0;
  while (length < size - 1) {
    if (read(fd, line + length, 1) != 1) return 0;
    if (line[length] == '\n') break;
    length++;
  }
  line[length] = 0;
  return 1;
}

static void enter(const struct entry *entry) {
  total += entry->value;
  mood = BUSY;
  terminals = isatty(1) + 2 * isatty(2);
  if (total > limit) exceeded = 1;
  printf("%s: %d, total %ld\n", entry->from, entry->value, total);
  if (log_fd >= 0) dprintf(log_fd, "%ld\n", total);
}

static void *watch(void *unused) {
  for (;;) pause();
  return unused;
}

static void finish_up(const char *how) {
  mean = total / 2.0;
  raise(SIGUSR1);
  if (how && strcmp(how, "abort") == 0) assert(total < 0);
  if (how && strcmp(how, "segv") == 0) printf("%c\n", *missing);
  if (how && strcmp(how, "hang") == 0)
    for (;;) spinning++;
  fprintf(stderr, "done, mean %.1f\n", mean);
}

int main(int argc, char **argv) {
  char line[64];
  struct entry entry = {0, "file"};
  const char *text = getenv("LEDGER_LIMIT");
  if (text) limit = atol(text);
  if (argc < 2) return 2;
  int fd = open(argv[1], O_RDONLY);
  if (fd < 0) return 2;
  if (argc > 2) log_fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0666);
  pthread_t thread;
  pthread_create(&thread, NULL, watch, NULL);
  signal(SIGUSR1, on_signal);
  while (read_line(fd, line, sizeof line)) {
    entry.value = atoi(line);
    enter(&entry);
  }
  entry.from = "input";
  while (read_line(0, line, sizeof line)) {
    entry.value = atoi(line);
    enter(&entry);
  }
  finish_up(getenv("LEDGER_END"));
  return exceeded ? 3 : 0;
}
