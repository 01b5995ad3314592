// The main function: opens everything in order, serves until it is told to end, or until the load is
// done, and closes everything in the opposite order.
#include <signal.h>
#include <stdlib.h>

#include "queued.h"

static void block_signals(sigset_t *ends) {
  sigemptyset(ends);
  sigaddset(ends, SIGTERM);
  sigaddset(ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, ends, NULL);
}

static void print_queue(struct queue *queue, void *to) {
  pthread_mutex_lock(&queue->lock);
  fprintf(to, "queue %s: %zu ready, %ld leased, %ld put, %ld acknowledged, %ld given up, room for %ld of %ld\n",
          queue->name, queue->ready.count, queue->leased_count, queue->put, queue->acked, queue->dead,
          queue->credit + queue->unsettled, queue->limit);
  pthread_mutex_unlock(&queue->lock);
}

int main(int argc, char **argv) {
  sigset_t ends;
  config_defaults(&config);
  config_read_arguments(&config, argc, argv);
  setvbuf(stdout, NULL, _IOLBF, 0);
  log_open(config.log_path, config.log_level);
  block_signals(&ends);
  pool_open(1 << 20);
  index_open(4096);
  registry_open();
  if (config.recover && config.journal_path) journal_recover(config.journal_path);
  journal_open(config.journal_path);
  server_open(config.socket_path, config.workers);
  housekeeping_open(config.audit_ms);
  int status = 0;
  if (config.clients) {
    status = load_run(config.clients, config.messages, config.seed);
  } else {
    int number;
    sigwait(&ends, &number);
    log_line(LOG_INFO, "signal %d: ending", number);
  }
  housekeeping_close();
  server_close();
  audit_all();
  journal_close();
  registry_each(print_queue, stdout);
  if (config.log_level == LOG_DEBUG) statistics_print(stderr);
  printf("the books are in order\n");
  registry_close();
  index_close();
  pool_close();
  log_close();
  return status;
}
