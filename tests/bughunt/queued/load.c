// The built-in load: clients, each with a connection and a thread of its own, that put messages and
// get, acknowledge and sometimes give back those of all, a few requests at a time without waiting for
// the answers. At the end all that was put has been acknowledged once, or was given up.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "queued.h"

enum { MOST_CLIENTS = 64, PIPELINE = 16, LOAD_QUEUES = 3 };

static const char *const queue_names[LOAD_QUEUES] = {"orders", "mail", "reports"};

struct client {
  int number;
  int fd;
  pthread_t thread;
  unsigned seed;
  char buffer[4 * LINE_BYTES];
  size_t used, start;
  long to_put, put, acked, nacked, full, empty;
  uint64_t in_hand[PIPELINE];
  int in_hand_count;
};

static struct client clients[MOST_CLIENTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long acked_in_all, wanted_in_all;

// xorshift: the same numbers for the same seed, on every machine.
static unsigned draw(struct client *client) {
  unsigned x = client->seed ? client->seed : 1;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return client->seed = x;
}

static bool is_done(void) {
  pthread_mutex_lock(&lock);
  const bool done = acked_in_all >= wanted_in_all;
  pthread_mutex_unlock(&lock);
  return done;
}

static void send_text(struct client *client, const char *text, size_t bytes) {
  while (bytes) {
    const ssize_t sent = send(client->fd, text, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) fatal("client %d: %s", client->number, strerror(errno));
    text += sent;
    bytes -= (size_t)sent;
  }
}

// The next answer, good until the next call.
static char *receive_line(struct client *client) {
  for (;;) {
    char *line = client->buffer + client->start;
    char *end = memchr(line, '\n', client->used - client->start);
    if (end) {
      *end = 0;
      client->start = (size_t)(end + 1 - client->buffer);
      return line;
    }
    memmove(client->buffer, line, client->used - client->start);
    client->used -= client->start;
    client->start = 0;
    if (client->used == sizeof client->buffer) fatal("client %d: an answer without end", client->number);
    const ssize_t got = recv(client->fd, client->buffer + client->used, sizeof client->buffer - client->used, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fatal("client %d: the server has hung up", client->number);
    client->used += (size_t)got;
  }
}

static void put_some(struct client *client) {
  char text[PIPELINE * 128];
  size_t length = 0;
  int count = 0;
  while (count < PIPELINE / 2 && client->put + count < client->to_put) {
    const char *queue = queue_names[draw(client) % LOAD_QUEUES];
    length += (size_t)snprintf(text + length, sizeof text - length, "PUT %s %u message %ld of client %d\n", queue,
                               draw(client) % 10, client->put + count, client->number);
    count++;
  }
  if (!count) return;
  send_text(client, text, length);
  int refused = 0;
  for (int i = 0; i < count; i++) {
    const char *answer = receive_line(client);
    if (strcmp(answer, "FULL") == 0)
      refused++;
    else if (strncmp(answer, "OK ", 3) != 0)
      fatal("client %d: PUT: %s", client->number, answer);
  }
  client->put += count - refused;
  client->full += refused;
}

static void get_some(struct client *client) {
  char text[PIPELINE * 64];
  size_t length = 0;
  int count = 0;
  const char *queue = queue_names[draw(client) % LOAD_QUEUES];
  while (client->in_hand_count + count < PIPELINE) {
    length += (size_t)snprintf(text + length, sizeof text - length, "GET %s\n", queue);
    count++;
  }
  if (!count) return;
  send_text(client, text, length);
  for (int i = 0; i < count; i++) {
    const char *answer = receive_line(client);
    uint64_t id;
    if (sscanf(answer, "MESSAGE %" SCNu64, &id) == 1)
      client->in_hand[client->in_hand_count++] = id;
    else if (strcmp(answer, "EMPTY") == 0)
      client->empty++;
    else
      fatal("client %d: GET: %s", client->number, answer);
  }
}

static void give_all(struct client *client) {
  char text[PIPELINE * 64] = "";
  size_t length = 0;
  bool acks[PIPELINE] = {false};
  const int count = client->in_hand_count;
  for (int i = 0; i < count; i++) {
    acks[i] = draw(client) % 50 != 0;
    length += (size_t)snprintf(text + length, sizeof text - length, "%s %" PRIu64 "\n", acks[i] ? "ACK" : "NACK",
                               client->in_hand[i]);
  }
  client->in_hand_count = 0;
  if (!count) return;
  send_text(client, text, length);
  int acked = 0;
  for (int i = 0; i < count; i++) {
    const char *answer = receive_line(client);
    if (strcmp(answer, "OK") != 0 && strcmp(answer, "GONE") != 0) fatal("client %d: ACK: %s", client->number, answer);
    if (strcmp(answer, "OK") != 0) continue;
    if (acks[i])
      acked++;
    else
      client->nacked++;
  }
  client->acked += acked;
  pthread_mutex_lock(&lock);
  acked_in_all += acked;
  pthread_mutex_unlock(&lock);
}

static void *run_client(void *data) {
  struct client *client = data;
  char name[16];
  snprintf(name, sizeof name, "client %d", client->number);
  pthread_setname_np(pthread_self(), name);
  while (!is_done()) {
    put_some(client);
    get_some(client);
    give_all(client);
  }
  close(client->fd);
  return NULL;
}

static void start_client(struct client *client, int number, long messages, unsigned seed) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fatal("socketpair: %s", strerror(errno));
  memset(client, 0, sizeof *client);
  client->number = number;
  client->fd = ends[0];
  client->to_put = messages;
  client->seed = seed * 2654435761U + (unsigned)number;
  server_adopt(ends[1]);
  if (pthread_create(&client->thread, NULL, run_client, client) != 0) fatal("no thread for client %d", number);
}

int load_run(int count, long messages, unsigned seed) {
  if (count > MOST_CLIENTS) count = MOST_CLIENTS;
  wanted_in_all = messages * count;
  for (int i = 0; i < count; i++) start_client(&clients[i], i + 1, messages, seed);
  long put = 0, acked = 0, nacked = 0, full = 0;
  for (int i = 0; i < count; i++) {
    pthread_join(clients[i].thread, NULL);
    put += clients[i].put;
    acked += clients[i].acked;
    nacked += clients[i].nacked;
    full += clients[i].full;
  }
  printf("load: %ld messages put, %ld acknowledged, %ld given back, %ld refused\n", put, acked, nacked, full);
  return put == wanted_in_all && acked == put ? 0 : 1;
}
