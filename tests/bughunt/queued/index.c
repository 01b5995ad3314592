// Messages by id: a hash table whose buckets are locked in stripes.
#include <stdlib.h>

#include "queued.h"

static pthread_mutex_t stripes[STRIPES];
static size_t counts[STRIPES];
static struct message **buckets;
static size_t bucket_count;

static size_t bucket_of(uint64_t id) {
  // Ids are consecutive; this spreads them.
  id ^= id >> 33;
  id *= 0xff51afd7ed558ccdULL;
  id ^= id >> 33;
  return (size_t)(id % bucket_count);
}

void index_open(size_t wanted) {
  bucket_count = wanted < STRIPES ? STRIPES : wanted;
  buckets = calloc(bucket_count, sizeof *buckets);
  if (!buckets) fatal("no memory for the index");
  for (int i = 0; i < STRIPES; i++) {
    pthread_mutex_init(&stripes[i], NULL);
    counts[i] = 0;
  }
}

void index_close(void) {
  free(buckets);
  buckets = NULL;
  for (int i = 0; i < STRIPES; i++) pthread_mutex_destroy(&stripes[i]);
}

void index_add(struct message *message) {
  const size_t bucket = bucket_of(message->id);
  const size_t stripe = bucket % STRIPES;
  pthread_mutex_lock(&stripes[stripe]);
  message->next = buckets[bucket];
  buckets[bucket] = message;
  counts[stripe]++;
  pthread_mutex_unlock(&stripes[stripe]);
}

// The message, or NULL. It may be gone by the time that its queue is locked: look again then.
struct message *index_find(uint64_t id) {
  const size_t bucket = bucket_of(id);
  pthread_mutex_t *lock = &stripes[bucket % STRIPES];
  pthread_mutex_lock(lock);
  struct message *message = buckets[bucket];
  while (message && message->id != id) message = message->next;
  pthread_mutex_unlock(lock);
  return message;
}

void index_remove(uint64_t id) {
  const size_t bucket = bucket_of(id);
  const size_t stripe = bucket % STRIPES;
  pthread_mutex_lock(&stripes[stripe]);
  struct message **link = &buckets[bucket];
  while (*link && (*link)->id != id) link = &(*link)->next;
  if (*link) {
    *link = (*link)->next;
    counts[stripe]--;
  }
  pthread_mutex_unlock(&stripes[stripe]);
}

size_t index_count(void) {
  size_t found = 0;
  for (int i = 0; i < STRIPES; i++) {
    pthread_mutex_lock(&stripes[i]);
    found += counts[i];
    pthread_mutex_unlock(&stripes[i]);
  }
  return found;
}
