// What the kernel tells nobody, or what cannot be made again: it is named when the program is saved.
#include "fd.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

static int client = -1, server = -1;

static void corked(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof at;
  const int on = 1;
  MUST(server = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(bind(server, (struct sockaddr*)&at, sizeof at));
  MUST(getsockname(server, (struct sockaddr*)&at, &bytes));
  MUST(client = socket(AF_INET, SOCK_DGRAM, 0));
  MUST(connect(client, (struct sockaddr*)&at, sizeof at));
  MUST(setsockopt(client, IPPROTO_UDP, UDP_CORK, &on, sizeof on));
  put_bytes(client, "half of it");
}
static void check_corked(void) {
  const int off = 0;
  expect_nothing(server);
  put_bytes(client, "all of it");
  MUST(setsockopt(client, IPPROTO_UDP, UDP_CORK, &off, sizeof off));
  expect_bytes(server, "all of it");
}

static void open_removed(int flags) {
  char path[300];
  seed();
  snprintf(path, sizeof path, "%s/d-%.8s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
           selfcheck_nonce);
  MUST(mkdir(path, 0700));
  MUST(client = open(path, flags | O_DIRECTORY));
  MUST(rmdir(path));
}
static void removed_directory(void) { open_removed(O_RDONLY); }
static void removed_place(void) { open_removed(O_PATH); }
static void check_removed(void) {
  char byte;
  CHECK(read(client, &byte, 1) == -1 && errno == EBADF, "read: %s", strerror(errno));
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"corked", corked, check_corked},
      {"removed_directory", removed_directory, check_removed},
      {"removed_place", removed_place, check_removed},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
