// What the programs about descriptors share. Each has many subjects, chosen by argument: one sets
// something up, waits, and looks at it again.
#pragma once
#include "../selfcheck.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct subject {
  const char* name;
  void (*set_up)(void);
  void (*check)(void);
};

// Another thread that does `body` and is known to have begun.
static pthread_t helper;
static void* (*helper_body)(void*);
SELFCHECK_UNUSED static void begin_helper(void* (*body)(void*)) {
  helper_body = body;
  if (pthread_create(&helper, NULL, body, NULL)) FAIL("set-up: pthread_create");
}
// Its result, after it has ended.
SELFCHECK_UNUSED static long end_helper(void) {
  void* result = NULL;
  if (pthread_join(helper, &result)) FAIL("pthread_join");
  return (long)result;
}

SELFCHECK_UNUSED static int readable(int fd) {
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  return poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN);
}

SELFCHECK_UNUSED static void expect_bytes(int fd, const char* text) {
  char now[4096] = {0};
  size_t length = strlen(text);
  ssize_t got = read(fd, now, sizeof now);
  CHECK(got == (ssize_t)length && !memcmp(now, text, length), "read %zd bytes \"%.*s\": not \"%s\"",
        got, got > 0 ? (int)got : 0, now, text);
}

SELFCHECK_UNUSED static void put_bytes(int fd, const char* text) {
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "set-up: write: %s",
        strerror(errno));
}

// Nothing is left to be read, and the other end is still there.
SELFCHECK_UNUSED static void expect_nothing(int fd) {
  CHECK(!readable(fd), "there is something to be read that nobody has written");
}

static char subject_line[20];  // what ended the wait
SELFCHECK_UNUSED static int run_subject(int count, char** arguments,
                                        const struct subject* subjects) {
  if (count == 2 && !strcmp(arguments[1], "--list")) {
    for (; subjects->name; subjects++) say("%s", subjects->name);
    return 0;
  }
  for (; count == 2 && subjects->name; subjects++) {
    if (strcmp(subjects->name, arguments[1])) continue;
    subjects->set_up();
    ready();
    wait_line_into(subject_line, sizeof subject_line);
    subjects->check();
    return pass();
  }
  FAIL("usage: %s SUBJECT", arguments[0]);
}
