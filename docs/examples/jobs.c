// jobs [LOG]: three worker threads work through ten jobs; the main thread reports each result on
// standard output and in LOG. The ticket is drawn at random, so that a program that was merely
// started again would show another one.
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { workers = 3, jobs = 10 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int offered, taken, done;
static long total;
static unsigned ticket;
static FILE *logfile;

static void *worker(void *unused) {
  pthread_mutex_lock(&lock);
  for (;;) {
    while (taken == offered) pthread_cond_wait(&changed, &lock);
    long job = ++taken;
    total += job * job;
    done++;
    pthread_cond_broadcast(&changed);
  }
  return unused;
}

void report(int job) {
  printf("job %d done, total %ld, ticket %u\n", job, total, ticket);
  if (logfile) fprintf(logfile, "job %d %ld\n", job, total);
}

int main(int argc, char **argv) {
  const struct timespec pause = {0, 300000000};
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc > 1) logfile = fopen(argv[1], "w");
  if (logfile) setvbuf(logfile, NULL, _IOLBF, 0);
  getrandom(&ticket, sizeof ticket, 0);
  ticket %= 1000000;
  printf("process %d, ticket %u\n", getpid(), ticket);
  for (int i = 0; i < workers; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, worker, NULL);
  }
  for (int job = 1; job <= jobs; job++) {
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&lock);
    offered = job;
    pthread_cond_broadcast(&changed);
    while (done < job) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    report(job);
  }
  return 0;
}
