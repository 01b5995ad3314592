// Messages come from a pool: blocks of them are allocated at a time, and none is given back to the
// system before the end.
#include <stdlib.h>
#include <string.h>

#include "queued.h"

enum { BLOCK_MESSAGES = 256 };

struct block {
  struct block *next;
  struct message messages[BLOCK_MESSAGES];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks;
static struct message *unused;
static size_t in_use, made, most;
static uint64_t last_id;

void pool_open(size_t limit) {
  most = limit;
  in_use = made = 0;
  last_id = 0;
}

void pool_close(void) {
  while (blocks) {
    struct block *next = blocks->next;
    free(blocks);
    blocks = next;
  }
  unused = NULL;
}

// Makes more messages; with the lock held. False when there may not be more.
static bool grow(void) {
  if (made + BLOCK_MESSAGES > most) return false;
  struct block *block = calloc(1, sizeof *block);
  if (!block) return false;
  block->next = blocks;
  blocks = block;
  for (size_t i = 0; i < BLOCK_MESSAGES; i++) {
    block->messages[i].next = unused;
    unused = &block->messages[i];
  }
  made += BLOCK_MESSAGES;
  return true;
}

struct message *message_new(const char *payload, size_t bytes, int priority) {
  if (bytes > PAYLOAD_BYTES) return NULL;
  pthread_mutex_lock(&lock);
  if (!unused && !grow()) {
    pthread_mutex_unlock(&lock);
    return NULL;
  }
  struct message *message = unused;
  unused = message->next;
  in_use++;
  message->id = ++last_id;
  pthread_mutex_unlock(&lock);
  message->state = FREE;
  message->priority = priority;
  message->attempts = 0;
  message->lease_until_ms = 0;
  message->queue = NULL;
  message->next = message->previous_leased = message->next_leased = NULL;
  message->heap_at = 0;
  message->payload_bytes = (uint16_t)bytes;
  memcpy(message->payload, payload, bytes);
  return message;
}

void message_free(struct message *message) {
  pthread_mutex_lock(&lock);
  message->state = FREE;
  message->queue = NULL;
  message->next = unused;
  unused = message;
  in_use--;
  pthread_mutex_unlock(&lock);
}

size_t pool_in_use(void) {
  pthread_mutex_lock(&lock);
  const size_t found = in_use;
  pthread_mutex_unlock(&lock);
  return found;
}
