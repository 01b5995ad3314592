// How long requests take: a histogram for each verb, with buckets that double.
#include <inttypes.h>
#include <string.h>

#include "queued.h"

enum { VERBS = 16 };

static struct {
  char name[8];
  struct histogram histogram;
} verbs[VERBS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int verb_count;

static struct histogram *find(const char *verb) {
  for (int i = 0; i < verb_count; i++)
    if (strcmp(verbs[i].name, verb) == 0) return &verbs[i].histogram;
  if (verb_count == VERBS) return NULL;
  strncpy(verbs[verb_count].name, verb, sizeof verbs->name - 1);
  return &verbs[verb_count++].histogram;
}

void statistics_note(const char *verb, int64_t took_us) {
  int bucket = 0;
  while (bucket < BUCKETS - 1 && took_us >> bucket) bucket++;
  pthread_mutex_lock(&lock);
  struct histogram *histogram = find(verb);
  if (histogram) {
    histogram->count++;
    histogram->sum_us += (uint64_t)took_us;
    histogram->buckets[bucket]++;
    if ((uint64_t)took_us > histogram->worst_us) histogram->worst_us = (uint64_t)took_us;
  }
  pthread_mutex_unlock(&lock);
}

// The time in which `part` of a hundred requests were served, rounded up to a bucket.
static uint64_t within_us(const struct histogram *histogram, unsigned part) {
  uint64_t left = (histogram->count * part + 99) / 100;
  for (int bucket = 0; bucket < BUCKETS; bucket++) {
    if (histogram->buckets[bucket] >= left) return UINT64_C(1) << bucket;
    left -= histogram->buckets[bucket];
  }
  return histogram->worst_us;
}

void statistics_print(FILE *to) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < verb_count; i++) {
    const struct histogram *histogram = &verbs[i].histogram;
    fprintf(to, "%-6s %8" PRIu64 " requests, mean %" PRIu64 " us, 99%% within %" PRIu64 " us, worst %" PRIu64 " us\n",
            verbs[i].name, histogram->count, histogram->count ? histogram->sum_us / histogram->count : 0,
            within_us(histogram, 99), histogram->worst_us);
  }
  pthread_mutex_unlock(&lock);
}
