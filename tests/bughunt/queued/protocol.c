// The protocol: one request a line, one answer a line.
//
//   PUT queue priority payload   OK id | FULL | ERROR why
//   GET queue [lease_ms]         MESSAGE id attempts payload | EMPTY
//   PEEK queue                   MESSAGE id 0 payload | EMPTY
//   ACK id                       OK | GONE
//   NACK id                      OK | GONE
//   TOUCH id lease_ms            OK | GONE
//   PURGE queue                  OK count
//   STAT queue                   STAT name ready leased credit put acked dead
//   LIST                         LIST count
//   PING                         PONG
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "queued.h"

enum { WORDS = 4 };

struct request {
  char text[LINE_BYTES];
  char *words[WORDS];
  int count;
};

// Breaks a line into at most `most` words; the last one has the rest of the line.
static void split(struct request *request, const char *line, int most) {
  strncpy(request->text, line, sizeof request->text - 1);
  request->text[sizeof request->text - 1] = 0;
  request->count = 0;
  char *at = request->text;
  while (request->count < most) {
    while (*at == ' ') at++;
    if (!*at) break;
    request->words[request->count++] = at;
    if (request->count == most) break;
    while (*at && *at != ' ') at++;
    if (*at) *at++ = 0;
  }
}

static bool read_id(const char *text, uint64_t *id) {
  char *end;
  errno = 0;
  *id = strtoull(text, &end, 10);
  return !errno && end != text && !*end && isdigit((unsigned char)*text);
}

static bool read_int(const char *text, int least, int most, int *number) {
  char *end;
  errno = 0;
  const long found = strtol(text, &end, 10);
  if (errno || end == text || *end || found < least || found > most) return false;
  *number = (int)found;
  return true;
}

static void serve_put(struct request *request, char *answer, size_t room) {
  int priority;
  if (request->count < 4 || !read_int(request->words[2], 0, 9, &priority)) {
    snprintf(answer, room, "ERROR PUT queue priority payload");
    return;
  }
  struct queue *queue = queue_find(request->words[1], true);
  const size_t bytes = strlen(request->words[3]);
  if (!queue || bytes > PAYLOAD_BYTES) {
    snprintf(answer, room, "ERROR %s", queue ? "payload too long" : "no such name");
    return;
  }
  uint64_t id;
  switch (queue_put(queue, request->words[3], bytes, priority, &id)) {
    case PUT_DONE: snprintf(answer, room, "OK %" PRIu64, id); break;
    case PUT_FULL: snprintf(answer, room, "FULL"); break;
    case PUT_NO_MEMORY: snprintf(answer, room, "ERROR no memory"); break;
  }
}

static void serve_get(struct request *request, char *answer, size_t room) {
  int lease_ms = config.lease_ms;
  struct queue *queue = request->count > 1 ? queue_find(request->words[1], false) : NULL;
  if (request->count > 2 && !read_int(request->words[2], 1, 3600000, &lease_ms)) {
    snprintf(answer, room, "ERROR GET queue [lease_ms]");
    return;
  }
  const struct message *message = queue ? queue_get(queue, lease_ms) : NULL;
  if (!message) {
    snprintf(answer, room, "EMPTY");
    return;
  }
  // It is leased to this client: nobody else changes it.
  snprintf(answer, room, "MESSAGE %" PRIu64 " %d %.*s", message->id, message->attempts, (int)message->payload_bytes,
           message->payload);
}

static void serve_peek(struct request *request, char *answer, size_t room) {
  char payload[PAYLOAD_BYTES + 1];
  uint64_t id;
  struct queue *queue = request->count > 1 ? queue_find(request->words[1], false) : NULL;
  if (queue && queue_peek(queue, payload, sizeof payload, &id))
    snprintf(answer, room, "MESSAGE %" PRIu64 " 0 %s", id, payload);
  else
    snprintf(answer, room, "EMPTY");
}

static void serve_by_id(struct request *request, char *answer, size_t room) {
  uint64_t id;
  int lease_ms = 0;
  if (request->count < 2 || !read_id(request->words[1], &id)) {
    snprintf(answer, room, "ERROR %s id", request->words[0]);
    return;
  }
  bool done;
  if (strcmp(request->words[0], "ACK") == 0) {
    done = queue_ack(id);
  } else if (strcmp(request->words[0], "NACK") == 0) {
    done = queue_nack(id);
  } else {
    if (request->count < 3 || !read_int(request->words[2], 1, 3600000, &lease_ms)) {
      snprintf(answer, room, "ERROR TOUCH id lease_ms");
      return;
    }
    done = queue_touch(id, lease_ms);
  }
  snprintf(answer, room, "%s", done ? "OK" : "GONE");
}

static void serve_purge(struct request *request, char *answer, size_t room) {
  struct queue *queue = request->count > 1 ? queue_find(request->words[1], false) : NULL;
  snprintf(answer, room, "OK %ld", queue ? queue_purge(queue) : 0L);
}

static void serve_stat(struct request *request, char *answer, size_t room) {
  struct queue *queue = request->count > 1 ? queue_find(request->words[1], false) : NULL;
  if (!queue) {
    snprintf(answer, room, "ERROR no such queue");
    return;
  }
  pthread_mutex_lock(&queue->lock);
  snprintf(answer, room, "STAT %s %zu %ld %ld %ld %ld %ld", queue->name, queue->ready.count, queue->leased_count,
           queue->credit, queue->put, queue->acked, queue->dead);
  pthread_mutex_unlock(&queue->lock);
}

static void serve_list(struct request *request, char *answer, size_t room) {
  (void)request;
  snprintf(answer, room, "LIST %zu", registry_count());
}

static void serve_ping(struct request *request, char *answer, size_t room) {
  (void)request;
  snprintf(answer, room, "PONG");
}

static const struct verb {
  const char *name;
  int words;
  void (*serve)(struct request *request, char *answer, size_t room);
} verbs[] = {
    {"PUT", 4, serve_put},     {"GET", 3, serve_get},     {"PEEK", 2, serve_peek}, {"ACK", 2, serve_by_id},
    {"NACK", 2, serve_by_id},  {"TOUCH", 3, serve_by_id}, {"PURGE", 2, serve_purge}, {"STAT", 2, serve_stat},
    {"LIST", 1, serve_list},   {"PING", 1, serve_ping},
};

void protocol_serve(const char *line, char *answer, size_t room) {
  struct request request;
  const size_t length = strcspn(line, " ");
  const int64_t began_us = now_us();
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
    if (strlen(verbs[i].name) != length || strncmp(verbs[i].name, line, length) != 0) continue;
    split(&request, line, verbs[i].words);
    verbs[i].serve(&request, answer, room);
    statistics_note(verbs[i].name, now_us() - began_us);
    return;
  }
  snprintf(answer, room, "ERROR unknown request");
}
