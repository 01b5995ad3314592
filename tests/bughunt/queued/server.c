// Connections: one thread polls them and hands those that have something to say to the workers; a
// worker serves all requests that have come whole, and gives the connection back.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "queued.h"

enum { EVENTS = 16, MOST_WORKERS = 64 };

struct connection {
  int fd;
  size_t used;
  char buffer[8 * LINE_BYTES];
  unsigned long requests;
  struct connection *next;  // in the list of work
};

_Thread_local int worker_number;

static int poll_fd = -1, listen_fd = -1, wake_fd = -1;
static char *listen_path;
static pthread_t poller, workers[MOST_WORKERS];
static int worker_count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_work = PTHREAD_COND_INITIALIZER;
static struct connection *first_work, *last_work;
static bool ending;
static unsigned long connections_made, requests_served;

// --- work ----------------------------------------------------------------------------------------------

static void add_work(struct connection *connection) {
  connection->next = NULL;
  pthread_mutex_lock(&lock);
  if (last_work)
    last_work->next = connection;
  else
    first_work = connection;
  last_work = connection;
  pthread_cond_signal(&has_work);
  pthread_mutex_unlock(&lock);
}

static struct connection *next_work(void) {
  pthread_mutex_lock(&lock);
  while (!first_work && !ending) pthread_cond_wait(&has_work, &lock);
  struct connection *connection = first_work;
  if (connection) {
    first_work = connection->next;
    if (!first_work) last_work = NULL;
  }
  pthread_mutex_unlock(&lock);
  return connection;
}

// --- one connection --------------------------------------------------------------------------------------

static void watch(struct connection *connection, int operation) {
  // One event at a time: a connection is with one worker only.
  struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = connection};
  if (epoll_ctl(poll_fd, operation, connection->fd, &event) != 0) fatal("epoll_ctl: %s", strerror(errno));
}

static bool send_all(int fd, const char *text, size_t bytes) {
  while (bytes) {
    const ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    text += sent;
    bytes -= (size_t)sent;
  }
  return true;
}

// Serves the requests that are in the buffer as a whole; false when the connection is over.
static bool serve_lines(struct connection *connection) {
  char answers[8 * LINE_BYTES];
  size_t filled = 0, start = 0;
  for (;;) {
    char *line = connection->buffer + start;
    char *end = memchr(line, '\n', connection->used - start);
    if (!end) break;
    *end = 0;
    if (end > line && end[-1] == '\r') end[-1] = 0;
    char answer[LINE_BYTES];
    protocol_serve(line, answer, sizeof answer - 1);
    connection->requests++;
    const size_t length = strlen(answer);
    if (filled + length + 1 > sizeof answers) {
      if (!send_all(connection->fd, answers, filled)) return false;
      filled = 0;
    }
    memcpy(answers + filled, answer, length);
    answers[filled + length] = '\n';
    filled += length + 1;
    start = (size_t)(end + 1 - connection->buffer);
  }
  memmove(connection->buffer, connection->buffer + start, connection->used - start);
  connection->used -= start;
  if (connection->used == sizeof connection->buffer) return false;  // a line without end
  return !filled || send_all(connection->fd, answers, filled);
}

static void end_connection(struct connection *connection) {
  pthread_mutex_lock(&lock);
  requests_served += connection->requests;
  pthread_mutex_unlock(&lock);
  close(connection->fd);
  free(connection);
}

static void serve(struct connection *connection) {
  const ssize_t got =
      recv(connection->fd, connection->buffer + connection->used, sizeof connection->buffer - connection->used, 0);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
    watch(connection, EPOLL_CTL_MOD);
    return;
  }
  if (got <= 0) {
    end_connection(connection);
    return;
  }
  connection->used += (size_t)got;
  if (serve_lines(connection))
    watch(connection, EPOLL_CTL_MOD);
  else
    end_connection(connection);
}

static void *work(void *number) {
  worker_number = (int)(intptr_t)number;
  char name[16];
  snprintf(name, sizeof name, "worker %d", worker_number);
  pthread_setname_np(pthread_self(), name);
  struct connection *connection;
  while ((connection = next_work())) serve(connection);
  return NULL;
}

// --- polling -----------------------------------------------------------------------------------------------

void server_adopt(int fd) {
  struct connection *connection = calloc(1, sizeof *connection);
  if (!connection) fatal("no memory for a connection");
  connection->fd = fd;
  pthread_mutex_lock(&lock);
  connections_made++;
  pthread_mutex_unlock(&lock);
  watch(connection, EPOLL_CTL_ADD);
}

static void *poll_on(void *unused) {
  pthread_setname_np(pthread_self(), "poller");
  struct epoll_event events[EVENTS];
  for (;;) {
    const int count = epoll_wait(poll_fd, events, EVENTS, -1);
    if (count < 0 && errno != EINTR) fatal("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
      if (events[i].data.ptr == &wake_fd) return unused;
      if (events[i].data.ptr == &listen_fd) {
        const int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) server_adopt(fd);
      } else {
        add_work(events[i].data.ptr);
      }
    }
  }
}

static void watch_own(int *fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, *fd, &event) != 0) fatal("epoll_ctl: %s", strerror(errno));
}

static void listen_at(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) fatal("%s: the path is too long", path);
  strcpy(address.sun_path, path);
  unlink(path);
  listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(listen_fd, 64) != 0)
    fatal("%s: %s", path, strerror(errno));
  listen_path = strdup(path);
  watch_own(&listen_fd);
}

void server_open(const char *socket_path, int count) {
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  wake_fd = eventfd(0, EFD_CLOEXEC);
  if (poll_fd < 0 || wake_fd < 0) fatal("epoll: %s", strerror(errno));
  watch_own(&wake_fd);
  if (socket_path) listen_at(socket_path);
  ending = false;
  worker_count = count;
  if (pthread_create(&poller, NULL, poll_on, NULL) != 0) fatal("no thread to poll");
  for (int i = 0; i < count; i++)
    if (pthread_create(&workers[i], NULL, work, (void *)(intptr_t)(i + 1)) != 0) fatal("no thread to work");
  log_line(LOG_INFO, "%d workers%s%s", count, socket_path ? ", listening at " : "", socket_path ? socket_path : "");
}

void server_close(void) {
  const uint64_t one = 1;
  if (write(wake_fd, &one, sizeof one) != sizeof one) fatal("eventfd: %s", strerror(errno));
  pthread_join(poller, NULL);
  pthread_mutex_lock(&lock);
  ending = true;
  pthread_cond_broadcast(&has_work);
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < worker_count; i++) pthread_join(workers[i], NULL);
  if (listen_fd >= 0) {
    close(listen_fd);
    unlink(listen_path);
    free(listen_path);
  }
  close(poll_fd);
  close(wake_fd);
  log_line(LOG_INFO, "%lu connections, %lu requests", connections_made, requests_served);
}
