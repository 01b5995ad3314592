// queued: a message queue server. Clients speak a line protocol over local sockets; messages wait in
// named queues, by priority, are leased to consumers, and are gone when they are acknowledged. What
// happens is written to a journal, from which the queues can be rebuilt.
//
// Threads: one that accepts and polls (server.c), workers that serve requests (server.c), the journal's
// writer (journal.c), and housekeeping, which expires leases and audits the books (housekeeping.c).
//
// Locks, in the order in which they may be taken: registry, queue, index stripe, pool, journal, log.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum {
  QUEUE_NAME_BYTES = 32,
  PAYLOAD_BYTES = 120,
  LINE_BYTES = 512,
  HISTORY_EVENTS = 16384,
  STRIPES = 16,
  SETTLE_BATCH = 8,
};

// --- log.c ---------------------------------------------------------------------------------------

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

void log_open(const char *path, enum log_level least);
void log_close(void);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

// --- config.c ------------------------------------------------------------------------------------

struct config {
  const char *socket_path;   // NULL: no listening socket
  const char *journal_path;  // NULL: no journal
  const char *log_path;      // NULL: standard error
  enum log_level log_level;
  int workers;
  long credit;  // how many messages each queue may hold
  int audit_ms;
  int lease_ms;
  int max_attempts;
  bool recover;
  // The built-in load: see load.c.
  int clients;
  long messages;
  unsigned seed;
};

extern struct config config;

void config_defaults(struct config *into);
bool config_read_file(struct config *into, const char *path);
void config_read_arguments(struct config *into, int argc, char **argv);

// --- message.c: messages and the pool they come from ----------------------------------------------

enum message_state { FREE, READY, LEASED, DEAD };

struct queue;

struct message {
  uint64_t id;
  enum message_state state;
  int priority;
  int attempts;
  int64_t lease_until_ms;
  struct queue *queue;
  struct message *next;      // in the pool, or in an index bucket's chain
  struct message *previous_leased, *next_leased;
  size_t heap_at;            // its place in the queue's heap
  uint16_t payload_bytes;
  char payload[PAYLOAD_BYTES];
};

void pool_open(size_t limit);
void pool_close(void);
struct message *message_new(const char *payload, size_t bytes, int priority);
void message_free(struct message *message);
size_t pool_in_use(void);

// --- index.c: messages by id -----------------------------------------------------------------------

void index_open(size_t buckets);
void index_close(void);
void index_add(struct message *message);
struct message *index_find(uint64_t id);
void index_remove(uint64_t id);
size_t index_count(void);

// --- heap.c: ready messages by priority, then age ---------------------------------------------------

struct heap {
  struct message **items;
  size_t count, room;
};

void heap_open(struct heap *heap);
void heap_close(struct heap *heap);
void heap_push(struct heap *heap, struct message *message);
struct message *heap_top(const struct heap *heap);
struct message *heap_pop(struct heap *heap);
void heap_remove(struct heap *heap, struct message *message);
bool heap_is_sound(const struct heap *heap);

// --- queue.c ---------------------------------------------------------------------------------------

enum event_kind { EVENT_NONE, EVENT_PUT, EVENT_GET, EVENT_ACK, EVENT_NACK, EVENT_SETTLE, EVENT_EXPIRE, EVENT_DEAD };

// What happened to a queue's credit lately, for whoever has to find out why it is wrong.
struct event {
  enum event_kind kind;
  uint32_t serial;
  uint64_t message;
  long credit_before, credit_after;
  int worker;
};

struct queue {
  char name[QUEUE_NAME_BYTES];
  pthread_mutex_t lock;
  struct heap ready;
  struct message *leased;  // the newest lease first
  long leased_count;
  // Room for new messages: limit - ready - leased - unsettled, at any time.
  long credit;
  long limit;
  // Acknowledged, and not yet given back to the credit.
  long unsettled;
  long put, got, acked, nacked, expired, dead, settled, refused;
  uint64_t bytes;
  struct event history[HISTORY_EVENTS];
  uint32_t events;
  struct queue *next;  // in the registry
};

enum put_result { PUT_DONE, PUT_FULL, PUT_NO_MEMORY };

void registry_open(void);
void registry_close(void);
struct queue *queue_find(const char *name, bool make);
void registry_each(void (*visit)(struct queue *queue, void *data), void *data);
size_t registry_count(void);

enum put_result queue_put(struct queue *queue, const char *payload, size_t bytes, int priority, uint64_t *id);
struct message *queue_get(struct queue *queue, int lease_ms);
bool queue_peek(struct queue *queue, char *payload, size_t room, uint64_t *id);
bool queue_ack(uint64_t id);
bool queue_nack(uint64_t id);
bool queue_touch(uint64_t id, int lease_ms);
long queue_purge(struct queue *queue);
int queue_expire(struct queue *queue, int64_t now_ms);
void queue_audit(struct queue *queue);
void queue_restore(struct queue *queue, uint64_t id, const char *payload, size_t bytes, int priority);
const char *event_name(enum event_kind kind);

// --- journal.c -------------------------------------------------------------------------------------

enum record_kind { RECORD_PUT = 'P', RECORD_ACK = 'A', RECORD_SETTLE = 'S', RECORD_DEAD = 'D' };

void journal_open(const char *path);
void journal_close(void);
void journal_write(enum record_kind kind, const char *queue, uint64_t id, const char *payload, size_t bytes, int extra);
long journal_recover(const char *path);
uint64_t journal_records(void);
uint32_t checksum(const void *data, size_t bytes);

// --- protocol.c ------------------------------------------------------------------------------------

// The answer to one request; a line without its end.
void protocol_serve(const char *line, char *answer, size_t room);

// --- server.c --------------------------------------------------------------------------------------

void server_open(const char *socket_path, int workers);
void server_adopt(int fd);  // serve a connection that somebody else has made
void server_close(void);
extern _Thread_local int worker_number;

// --- housekeeping.c ----------------------------------------------------------------------------------

void housekeeping_open(int audit_ms);
void housekeeping_close(void);
void audit_all(void);
extern long audits_done;

// --- statistics.c ------------------------------------------------------------------------------------

enum { BUCKETS = 24 };

struct histogram {
  uint64_t count, sum_us, worst_us;
  uint64_t buckets[BUCKETS];
};

void statistics_note(const char *verb, int64_t took_us);
void statistics_print(FILE *to);

// --- load.c ------------------------------------------------------------------------------------------

// Runs clients against the server, in this process; 0 when they have seen what they had to.
int load_run(int clients, long messages, unsigned seed);

// --- time --------------------------------------------------------------------------------------------

static inline int64_t now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static inline int64_t now_ms(void) { return now_us() / 1000; }
