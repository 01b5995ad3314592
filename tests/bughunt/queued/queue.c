// Queues, and the registry of them. A queue's credit is the room that it has for new messages: a
// message that is put takes one, and an acknowledged one gives it back. It is given back in batches,
// since each is a record in the journal.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "queued.h"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct queue *queues;
static size_t queue_count;

static const char *const event_names[] = {"none", "put", "get", "ack", "nack", "settle", "expire", "dead"};

const char *event_name(enum event_kind kind) { return event_names[kind]; }

// --- the registry -------------------------------------------------------------------------------

void registry_open(void) {
  queues = NULL;
  queue_count = 0;
}

static void queue_close(struct queue *queue) {
  struct message *message;
  while ((message = heap_pop(&queue->ready))) message_free(message);
  while ((message = queue->leased)) {
    queue->leased = message->next_leased;
    message_free(message);
  }
  heap_close(&queue->ready);
  pthread_mutex_destroy(&queue->lock);
  free(queue);
}

void registry_close(void) {
  while (queues) {
    struct queue *next = queues->next;
    queue_close(queues);
    queues = next;
  }
}

static struct queue *queue_new(const char *name) {
  struct queue *queue = calloc(1, sizeof *queue);
  if (!queue) return NULL;
  strncpy(queue->name, name, sizeof queue->name - 1);
  pthread_mutex_init(&queue->lock, NULL);
  heap_open(&queue->ready);
  queue->limit = queue->credit = config.credit;
  queue->next = queues;
  queues = queue;
  queue_count++;
  log_line(LOG_DEBUG, "new queue %s", name);
  return queue;
}

struct queue *queue_find(const char *name, bool make) {
  if (!*name || strlen(name) >= QUEUE_NAME_BYTES) return NULL;
  pthread_mutex_lock(&registry_lock);
  struct queue *queue = queues;
  while (queue && strcmp(queue->name, name) != 0) queue = queue->next;
  if (!queue && make) queue = queue_new(name);
  pthread_mutex_unlock(&registry_lock);
  return queue;
}

void registry_each(void (*visit)(struct queue *queue, void *data), void *data) {
  // Queues are never removed, and new ones come at the front: the list can be walked without the lock.
  pthread_mutex_lock(&registry_lock);
  struct queue *queue = queues;
  pthread_mutex_unlock(&registry_lock);
  for (; queue; queue = queue->next) visit(queue, data);
}

size_t registry_count(void) {
  pthread_mutex_lock(&registry_lock);
  const size_t found = queue_count;
  pthread_mutex_unlock(&registry_lock);
  return found;
}

// --- leases, with the queue's lock held ------------------------------------------------------------

static void lease(struct queue *queue, struct message *message, int lease_ms) {
  message->state = LEASED;
  message->attempts++;
  message->lease_until_ms = now_ms() + lease_ms;
  message->previous_leased = NULL;
  message->next_leased = queue->leased;
  if (queue->leased) queue->leased->previous_leased = message;
  queue->leased = message;
  queue->leased_count++;
}

static void unlease(struct queue *queue, struct message *message) {
  if (message->previous_leased)
    message->previous_leased->next_leased = message->next_leased;
  else
    queue->leased = message->next_leased;
  if (message->next_leased) message->next_leased->previous_leased = message->previous_leased;
  message->previous_leased = message->next_leased = NULL;
  queue->leased_count--;
}

static void remember(struct queue *queue, enum event_kind kind, uint64_t message, long before, long after) {
  struct event *event = &queue->history[queue->events % HISTORY_EVENTS];
  event->kind = kind;
  event->serial = queue->events++;
  event->message = message;
  event->credit_before = before;
  event->credit_after = after;
  event->worker = worker_number;
}

// The leased message with this id, its queue locked; NULL, and nothing locked, when there is none.
static struct message *lock_leased(uint64_t id) {
  struct message *message = index_find(id);
  struct queue *queue = message ? message->queue : NULL;
  if (!queue) return NULL;
  pthread_mutex_lock(&queue->lock);
  if (message->id == id && message->queue == queue && message->state == LEASED) return message;
  pthread_mutex_unlock(&queue->lock);
  return NULL;
}

// Takes the message out of the books; with the lock held.
static void forget(struct queue *queue, struct message *message) {
  index_remove(message->id);
  queue->bytes -= message->payload_bytes;
  message_free(message);
}

// --- credit ----------------------------------------------------------------------------------------

// Gives `count` acknowledged messages back to the queue's credit.
static void settle(struct queue *queue, long count) {
  const long credit = queue->credit;
  // Written before it counts, and without the lock: it may have to wait for the disk.
  journal_write(RECORD_SETTLE, queue->name, 0, NULL, 0, (int)count);
  pthread_mutex_lock(&queue->lock);
  queue->credit = credit + count;
  queue->unsettled -= count;
  queue->settled += count;
  remember(queue, EVENT_SETTLE, 0, credit, queue->credit);
  pthread_mutex_unlock(&queue->lock);
}

// --- what clients ask for -----------------------------------------------------------------------------

enum put_result queue_put(struct queue *queue, const char *payload, size_t bytes, int priority, uint64_t *id) {
  struct message *message = message_new(payload, bytes, priority);
  if (!message) return PUT_NO_MEMORY;
  pthread_mutex_lock(&queue->lock);
  if (queue->credit <= 0) {
    queue->refused++;
    pthread_mutex_unlock(&queue->lock);
    message_free(message);
    return PUT_FULL;
  }
  message->queue = queue;
  message->state = READY;
  *id = message->id;
  index_add(message);
  heap_push(&queue->ready, message);
  queue->bytes += bytes;
  queue->put++;
  remember(queue, EVENT_PUT, message->id, queue->credit, queue->credit - 1);
  queue->credit--;
  pthread_mutex_unlock(&queue->lock);
  journal_write(RECORD_PUT, queue->name, *id, payload, bytes, priority);
  return PUT_DONE;
}

struct message *queue_get(struct queue *queue, int lease_ms) {
  pthread_mutex_lock(&queue->lock);
  struct message *message = heap_pop(&queue->ready);
  if (message) {
    lease(queue, message, lease_ms);
    queue->got++;
    remember(queue, EVENT_GET, message->id, queue->credit, queue->credit);
  }
  pthread_mutex_unlock(&queue->lock);
  return message;
}

bool queue_peek(struct queue *queue, char *payload, size_t room, uint64_t *id) {
  pthread_mutex_lock(&queue->lock);
  const struct message *message = heap_top(&queue->ready);
  if (message) {
    const size_t bytes = message->payload_bytes < room - 1 ? message->payload_bytes : room - 1;
    memcpy(payload, message->payload, bytes);
    payload[bytes] = 0;
    *id = message->id;
  }
  pthread_mutex_unlock(&queue->lock);
  return message != NULL;
}

bool queue_ack(uint64_t id) {
  struct message *message = lock_leased(id);
  if (!message) return false;
  struct queue *queue = message->queue;
  unlease(queue, message);
  forget(queue, message);
  queue->acked++;
  queue->unsettled++;
  remember(queue, EVENT_ACK, id, queue->credit, queue->credit);
  const bool full = queue->unsettled % SETTLE_BATCH == 0;
  pthread_mutex_unlock(&queue->lock);
  journal_write(RECORD_ACK, queue->name, id, NULL, 0, 0);
  if (full) settle(queue, SETTLE_BATCH);
  return true;
}

// Back into the queue, or out of it when it has been tried too often; with the lock held, which is
// given up.
static void give_back(struct queue *queue, struct message *message, enum event_kind why) {
  const uint64_t id = message->id;
  unlease(queue, message);
  if (message->attempts < config.max_attempts) {
    message->state = READY;
    heap_push(&queue->ready, message);
    remember(queue, why, id, queue->credit, queue->credit);
    pthread_mutex_unlock(&queue->lock);
    return;
  }
  message->state = DEAD;
  forget(queue, message);
  queue->dead++;
  remember(queue, EVENT_DEAD, id, queue->credit, queue->credit + 1);
  queue->credit++;
  pthread_mutex_unlock(&queue->lock);
  journal_write(RECORD_DEAD, queue->name, id, NULL, 0, 0);
}

bool queue_nack(uint64_t id) {
  struct message *message = lock_leased(id);
  if (!message) return false;
  message->queue->nacked++;
  give_back(message->queue, message, EVENT_NACK);
  return true;
}

bool queue_touch(uint64_t id, int lease_ms) {
  struct message *message = lock_leased(id);
  if (!message) return false;
  struct queue *queue = message->queue;
  message->lease_until_ms = now_ms() + lease_ms;
  pthread_mutex_unlock(&queue->lock);
  return true;
}

long queue_purge(struct queue *queue) {
  pthread_mutex_lock(&queue->lock);
  long purged = 0;
  struct message *message;
  while ((message = heap_pop(&queue->ready))) {
    forget(queue, message);
    queue->credit++;
    purged++;
  }
  pthread_mutex_unlock(&queue->lock);
  return purged;
}

// --- housekeeping ------------------------------------------------------------------------------------

int queue_expire(struct queue *queue, int64_t at_ms) {
  int expired = 0;
  for (;;) {
    pthread_mutex_lock(&queue->lock);
    struct message *message = queue->leased;
    while (message && message->lease_until_ms > at_ms) message = message->next_leased;
    if (!message) {
      pthread_mutex_unlock(&queue->lock);
      return expired;
    }
    queue->expired++;
    expired++;
    give_back(queue, message, EVENT_EXPIRE);
  }
}

void queue_audit(struct queue *queue) {
  pthread_mutex_lock(&queue->lock);
  const long held = (long)queue->ready.count + queue->leased_count + queue->unsettled;
  assert(heap_is_sound(&queue->ready));
  assert(queue->credit + held == queue->limit);
  pthread_mutex_unlock(&queue->lock);
}

void queue_restore(struct queue *queue, uint64_t id, const char *payload, size_t bytes, int priority) {
  struct message *message = message_new(payload, bytes, priority);
  if (!message) fatal("recovery: no memory for message %llu", (unsigned long long)id);
  pthread_mutex_lock(&queue->lock);
  message->id = id;
  message->queue = queue;
  message->state = READY;
  index_add(message);
  heap_push(&queue->ready, message);
  queue->bytes += bytes;
  queue->credit--;
  pthread_mutex_unlock(&queue->lock);
}
