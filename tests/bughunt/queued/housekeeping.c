// Housekeeping: expires leases, and audits the books now and then.
#include "queued.h"

static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static bool ending;
static int interval_ms;
static long expired_in_all;
long audits_done;

static void expire(struct queue *queue, void *at_ms) {
  const int expired = queue_expire(queue, *(int64_t *)at_ms);
  if (expired) log_line(LOG_WARNING, "queue %s: %d leases have expired", queue->name, expired);
  expired_in_all += expired;
}

static void audit(struct queue *queue, void *unused) {
  (void)unused;
  queue_audit(queue);
}

void audit_all(void) {
  registry_each(audit, NULL);
  audits_done++;
}

static void *keep(void *unused) {
  pthread_setname_np(pthread_self(), "housekeeping");
  pthread_mutex_lock(&lock);
  while (!ending) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    const int64_t nanoseconds = until.tv_nsec + interval_ms * 1000000LL;
    until.tv_sec += nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    pthread_cond_timedwait(&wake, &lock, &until);
    pthread_mutex_unlock(&lock);
    int64_t at_ms = now_ms();
    registry_each(expire, &at_ms);
    audit_all();
    pthread_mutex_lock(&lock);
  }
  pthread_mutex_unlock(&lock);
  return unused;
}

void housekeeping_open(int audit_ms) {
  ending = false;
  interval_ms = audit_ms;
  if (pthread_create(&thread, NULL, keep, NULL) != 0) fatal("no thread for housekeeping");
}

void housekeeping_close(void) {
  pthread_mutex_lock(&lock);
  ending = true;
  pthread_cond_signal(&wake);
  pthread_mutex_unlock(&lock);
  pthread_join(thread, NULL);
}
