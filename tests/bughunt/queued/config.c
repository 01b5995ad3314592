// Settings: from a file with lines NAME = VALUE, and from the command line, which comes last.
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "queued.h"

struct config config;

void config_defaults(struct config *into) {
  memset(into, 0, sizeof *into);
  into->log_level = LOG_INFO;
  into->workers = 4;
  into->credit = 1000;
  into->audit_ms = 20;
  into->lease_ms = 5000;
  into->max_attempts = 5;
  into->seed = 1;
}

static bool read_number(const char *text, long least, long most, long *number) {
  char *end;
  errno = 0;
  const long found = strtol(text, &end, 10);
  if (errno || end == text || *end || found < least || found > most) return false;
  *number = found;
  return true;
}

static bool read_level(const char *text, enum log_level *level) {
  static const char *const names[] = {"debug", "info", "warning", "error"};
  for (int i = 0; i <= LOG_ERROR; i++)
    if (strcmp(text, names[i]) == 0) {
      *level = (enum log_level)i;
      return true;
    }
  return false;
}

// Sets one setting; false for a name that there is not, or a value that it cannot have.
static bool set(struct config *into, const char *name, const char *value) {
  long number;
  if (strcmp(name, "socket") == 0) {
    into->socket_path = strdup(value);
  } else if (strcmp(name, "journal") == 0) {
    into->journal_path = strdup(value);
  } else if (strcmp(name, "log") == 0) {
    into->log_path = strdup(value);
  } else if (strcmp(name, "log-level") == 0) {
    return read_level(value, &into->log_level);
  } else if (strcmp(name, "workers") == 0) {
    if (!read_number(value, 1, 64, &number)) return false;
    into->workers = (int)number;
  } else if (strcmp(name, "credit") == 0) {
    return read_number(value, 1, LONG_MAX, &into->credit);
  } else if (strcmp(name, "audit-ms") == 0) {
    if (!read_number(value, 1, 3600000, &number)) return false;
    into->audit_ms = (int)number;
  } else if (strcmp(name, "lease-ms") == 0) {
    if (!read_number(value, 1, 3600000, &number)) return false;
    into->lease_ms = (int)number;
  } else if (strcmp(name, "max-attempts") == 0) {
    if (!read_number(value, 1, 1000, &number)) return false;
    into->max_attempts = (int)number;
  } else if (strcmp(name, "recover") == 0) {
    into->recover = strcmp(value, "yes") == 0;
    return into->recover || strcmp(value, "no") == 0;
  } else {
    return false;
  }
  return true;
}

static char *trimmed(char *text) {
  while (isspace((unsigned char)*text)) text++;
  char *end = text + strlen(text);
  while (end > text && isspace((unsigned char)end[-1])) *--end = 0;
  return text;
}

bool config_read_file(struct config *into, const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) return false;
  char line[LINE_BYTES];
  for (int number = 1; fgets(line, sizeof line, file); number++) {
    char *text = trimmed(line);
    if (!*text || *text == '#') continue;
    char *equals = strchr(text, '=');
    if (!equals) fatal("%s:%d: no \"=\" in it", path, number);
    *equals = 0;
    if (!set(into, trimmed(text), trimmed(equals + 1))) fatal("%s:%d: %s: no such setting or value", path, number, trimmed(text));
  }
  fclose(file);
  return true;
}

static _Noreturn void usage(const char *program) {
  fprintf(stderr,
          "usage: %s [--config FILE] [--NAME VALUE]... [--load CLIENTS MESSAGES] [--seed N]\n"
          "NAME: socket journal log log-level workers credit audit-ms lease-ms max-attempts recover\n",
          program);
  exit(2);
}

void config_read_arguments(struct config *into, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    long number;
    if (strncmp(word, "--", 2) != 0 || i + 1 >= argc) usage(argv[0]);
    if (strcmp(word, "--config") == 0) {
      if (!config_read_file(into, argv[++i])) fatal("%s: %s", argv[i], strerror(errno));
    } else if (strcmp(word, "--load") == 0) {
      if (i + 2 >= argc || !read_number(argv[i + 1], 1, 64, &number)) usage(argv[0]);
      into->clients = (int)number;
      if (!read_number(argv[i + 2], 1, LONG_MAX, &into->messages)) usage(argv[0]);
      i += 2;
    } else if (strcmp(word, "--seed") == 0) {
      if (!read_number(argv[++i], 0, UINT_MAX, &number)) usage(argv[0]);
      into->seed = (unsigned)number;
    } else {
      if (!set(into, word + 2, argv[i + 1])) usage(argv[0]);
      i++;
    }
  }
}
