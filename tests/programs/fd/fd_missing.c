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

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"corked", corked, check_corked},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
