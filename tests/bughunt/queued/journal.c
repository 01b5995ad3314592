// The journal: records of a fixed header and a payload, with a checksum each, collected in a buffer
// and written by a thread of their own, or by whoever finds the buffer full.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queued.h"

enum { BUFFER_BYTES = 1 << 14, FLUSH_MS = 50, MAGIC = 0x51554a31 };

struct record {
  uint32_t magic;
  uint32_t check;  // of all that follows
  uint64_t id;
  int32_t extra;
  uint16_t payload_bytes;
  uint8_t kind;
  uint8_t name_bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_t writer;
static int fd = -1;
static bool ending;
static char buffer[BUFFER_BYTES];
static size_t used;
static uint64_t records, flushes;

uint32_t checksum(const void *data, size_t bytes) {
  // FNV-1a: finds damage, and that is all that it is for.
  uint32_t found = 2166136261U;
  const unsigned char *at = data;
  while (bytes--) found = (found ^ *at++) * 16777619U;
  return found;
}

// Writes what is in the buffer; with the lock held.
static void flush(void) {
  size_t done = 0;
  while (done < used && fd >= 0) {
    const ssize_t wrote = write(fd, buffer + done, used - done);
    if (wrote < 0 && errno != EINTR) fatal("the journal: %s", strerror(errno));
    if (wrote > 0) done += (size_t)wrote;
  }
  used = 0;
  flushes++;
}

static void *write_on(void *unused) {
  pthread_mutex_lock(&lock);
  while (!ending) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += FLUSH_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
      until.tv_nsec -= 1000000000L;
      until.tv_sec++;
    }
    pthread_cond_timedwait(&wake, &lock, &until);
    if (used) flush();
  }
  pthread_mutex_unlock(&lock);
  return unused;
}

void journal_open(const char *path) {
  ending = false;
  used = 0;
  if (path) {
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) fatal("%s: %s", path, strerror(errno));
  }
  if (pthread_create(&writer, NULL, write_on, NULL) != 0) fatal("no thread for the journal");
}

void journal_close(void) {
  pthread_mutex_lock(&lock);
  ending = true;
  pthread_cond_signal(&wake);
  pthread_mutex_unlock(&lock);
  pthread_join(writer, NULL);
  pthread_mutex_lock(&lock);
  flush();
  if (fd >= 0) close(fd);
  fd = -1;
  pthread_mutex_unlock(&lock);
}

void journal_write(enum record_kind kind, const char *queue, uint64_t id, const char *payload, size_t bytes, int extra) {
  char whole[sizeof(struct record) + QUEUE_NAME_BYTES + PAYLOAD_BYTES];
  struct record record = {MAGIC, 0, id, extra, (uint16_t)bytes, (uint8_t)kind, (uint8_t)strlen(queue)};
  char *at = whole + sizeof record;
  memcpy(at, queue, record.name_bytes);
  at += record.name_bytes;
  if (bytes) memcpy(at, payload, bytes);
  const size_t size = sizeof record + record.name_bytes + bytes;
  memcpy(whole, &record, sizeof record);
  const size_t head = offsetof(struct record, id);
  record.check = checksum(whole + head, size - head);
  memcpy(whole, &record, sizeof record);
  pthread_mutex_lock(&lock);
  if (used + size > sizeof buffer) flush();
  memcpy(buffer + used, whole, size);
  used += size;
  records++;
  pthread_mutex_unlock(&lock);
}

uint64_t journal_records(void) {
  pthread_mutex_lock(&lock);
  const uint64_t found = records;
  pthread_mutex_unlock(&lock);
  return found;
}

// --- recovery -----------------------------------------------------------------------------------------

// Ids that were acknowledged or given up, as a sorted array.
struct ids {
  uint64_t *items;
  size_t count, room;
};

static int compare_ids(const void *one, const void *other) {
  const uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
  return a < b ? -1 : a > b;
}

static void add_id(struct ids *ids, uint64_t id) {
  if (ids->count == ids->room) {
    ids->room = ids->room ? 2 * ids->room : 1024;
    ids->items = realloc(ids->items, ids->room * sizeof *ids->items);
    if (!ids->items) fatal("recovery: no memory");
  }
  ids->items[ids->count++] = id;
}

// Reads the next record; false at the end, or where the journal is damaged.
static bool read_record(FILE *file, struct record *record, char *name, char *payload) {
  char whole[sizeof *record + QUEUE_NAME_BYTES + PAYLOAD_BYTES];
  if (fread(whole, sizeof *record, 1, file) != 1) return false;
  memcpy(record, whole, sizeof *record);
  if (record->magic != MAGIC || record->name_bytes >= QUEUE_NAME_BYTES || record->payload_bytes > PAYLOAD_BYTES) return false;
  const size_t rest = (size_t)record->name_bytes + record->payload_bytes;
  if (rest && fread(whole + sizeof *record, rest, 1, file) != 1) return false;
  const size_t head = offsetof(struct record, id);
  if (checksum(whole + head, sizeof *record + rest - head) != record->check) return false;
  memcpy(name, whole + sizeof *record, record->name_bytes);
  name[record->name_bytes] = 0;
  memcpy(payload, whole + sizeof *record + record->name_bytes, record->payload_bytes);
  return true;
}

// Puts back the messages that are in the journal and were not acknowledged; how many they are.
long journal_recover(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  struct record record;
  char name[QUEUE_NAME_BYTES], payload[PAYLOAD_BYTES];
  struct ids gone = {0};
  while (read_record(file, &record, name, payload))
    if (record.kind == RECORD_ACK || record.kind == RECORD_DEAD) add_id(&gone, record.id);
  if (gone.count) qsort(gone.items, gone.count, sizeof *gone.items, compare_ids);
  rewind(file);
  long restored = 0;
  while (read_record(file, &record, name, payload)) {
    if (record.kind != RECORD_PUT) continue;
    if (gone.count && bsearch(&record.id, gone.items, gone.count, sizeof record.id, compare_ids)) continue;
    struct queue *queue = queue_find(name, true);
    if (!queue) fatal("recovery: no queue %s", name);
    queue_restore(queue, record.id, payload, record.payload_bytes, record.extra);
    restored++;
  }
  free(gone.items);
  fclose(file);
  log_line(LOG_INFO, "recovered %ld messages from %s", restored, path);
  return restored;
}
