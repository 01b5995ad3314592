// The log: lines with a level and a time since the start, to a file or standard error.
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "queued.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *stream;
static enum log_level least_level = LOG_INFO;
static int64_t started_ms;
static unsigned long lines[LOG_ERROR + 1];

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void log_open(const char *path, enum log_level least) {
  started_ms = now_ms();
  least_level = least;
  stream = stderr;
  if (!path) return;
  FILE *opened = fopen(path, "a");
  if (!opened) fatal("%s: %s", path, strerror(errno));
  setvbuf(opened, NULL, _IOLBF, 0);
  stream = opened;
}

void log_close(void) {
  pthread_mutex_lock(&lock);
  if (stream && stream != stderr) fclose(stream);
  stream = NULL;
  pthread_mutex_unlock(&lock);
}

static void write_line(enum log_level level, const char *format, va_list arguments) {
  pthread_mutex_lock(&lock);
  lines[level]++;
  if (stream) {
    const int64_t since_ms = now_ms() - started_ms;
    fprintf(stream, "[%3lld.%03lld] %s: ", (long long)since_ms / 1000, (long long)since_ms % 1000, level_names[level]);
    vfprintf(stream, format, arguments);
    fputc('\n', stream);
  }
  pthread_mutex_unlock(&lock);
}

void log_line(enum log_level level, const char *format, ...) {
  if (level < least_level) return;
  va_list arguments;
  va_start(arguments, format);
  write_line(level, format, arguments);
  va_end(arguments);
}

void fatal(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("queued: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}
