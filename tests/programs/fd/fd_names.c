// Local sockets whose names no longer lead to their files: these have been removed or renamed, or
// the working directory is another one.
#include "fd.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static int one = -1, two = -1, client = -1, server = -1;
static struct sockaddr_un name_of_one, name_of_two, name_of_client;
static char place[200];

static struct sockaddr_un address(const char* path) {
  struct sockaddr_un is = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof is.sun_path) SKIP("%s is too long", path);
  strcpy(is.sun_path, path);
  return is;
}
static struct sockaddr_un bound_name(int fd) {
  struct sockaddr_un is = {0};
  socklen_t bytes = sizeof is;
  MUST(getsockname(fd, (struct sockaddr*)&is, &bytes));
  return is;
}
static int bind_to(int type, const char* path) {
  const struct sockaddr_un is = address(path);
  int fd = socket(AF_UNIX, type, 0);
  MUST(fd);
  unlink(path);
  CHECK(!bind(fd, (const struct sockaddr*)&is, sizeof is), "bind %s: %s", path, strerror(errno));
  if (type != SOCK_DGRAM) MUST(listen(fd, 3));
  return fd;
}
static int try_connect(int type, const char* path) {
  const struct sockaddr_un is = address(path);
  int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
  MUST(fd);
  if (!connect(fd, (const struct sockaddr*)&is, sizeof is)) return fd;
  MUST(close(fd));
  return -1;
}
static int connect_to(int type, const char* path) {
  int fd = try_connect(type, path);
  CHECK(fd >= 0, "connect %s: %s", path, strerror(errno));
  return fd;
}
static void expect_name(int fd, const struct sockaddr_un* was) {
  const struct sockaddr_un is = bound_name(fd);
  CHECK(!strcmp(is.sun_path, was->sun_path), "its name is \"%s\", was \"%s\"", is.sun_path,
        was->sun_path);
}
static void expect_no_file(const char* path) {
  struct stat status;
  CHECK(lstat(path, &status) == -1 && errno == ENOENT, "%s is there", path);
}
static void expect_served(int listening, const char* path) {
  int mine = connect_to(SOCK_STREAM, path);
  CHECK(readable(listening), "another socket is behind %s", path);
  int theirs = accept(listening, NULL, NULL);
  put_bytes(mine, "served");
  expect_bytes(theirs, "served");
}
static const char* absolute(const char* file) {
  MUST(getcwd(place, sizeof place) ? 0 : -1);
  CHECK(strlen(place) + strlen(file) + 2 < sizeof place, "set-up: the working directory");
  strcat(strcat(place, "/"), file);
  return place;
}

static void listen_and_remove(const char* path) {
  one = bind_to(SOCK_STREAM, path);
  name_of_one = bound_name(one);
  client = connect_to(SOCK_STREAM, path);
  MUST(server = accept(one, NULL, NULL));
  put_bytes(client, "data");
  MUST(unlink(path));
}
static void removed(void) { listen_and_remove("gone"); }
static void check_connected(void) {
  expect_name(server, &name_of_one);
  expect_bytes(server, "data");
  put_bytes(server, "answer");
  expect_bytes(client, "answer");
}
static void check_removed(void) {
  expect_name(one, &name_of_one);
  expect_no_file(name_of_one.sun_path);
  CHECK(try_connect(SOCK_STREAM, name_of_one.sun_path) == -1, "it can be connected to");
  check_connected();
}
static void removed_absolute(void) { listen_and_remove(absolute("gone-too")); }
// Where the name was, something else is now.
static void removed_replaced(void) {
  if (geteuid() != 0) SKIP("only root can give it its name beside the file");
  listen_and_remove(absolute("gone-for-a-file"));
  MUST(two = open(place, O_RDWR | O_CREAT | O_TRUNC, 0600));
  put_bytes(two, "a file");
}
static void check_removed_replaced(void) {
  expect_name(one, &name_of_one);
  MUST(two = open(place, O_RDONLY));
  expect_bytes(two, "a file");
  check_connected();
}
static void removed_waiting(void) {
  one = bind_to(SOCK_STREAM, "gone-waiting");
  name_of_one = bound_name(one);
  client = connect_to(SOCK_STREAM, "gone-waiting");
  MUST(unlink("gone-waiting"));
}
static void check_removed_waiting(void) {
  expect_name(one, &name_of_one);
  expect_no_file("gone-waiting");
  CHECK(readable(one), "nobody waits to be accepted");
  MUST(server = accept(one, NULL, NULL));
  put_bytes(client, "at last");
  expect_bytes(server, "at last");
}
static void removed_datagrams(void) {
  one = bind_to(SOCK_DGRAM, "gone-datagrams");
  name_of_one = bound_name(one);
  client = connect_to(SOCK_DGRAM, "gone-datagrams");
  MUST(unlink("gone-datagrams"));
  put_bytes(client, "one");
}
static void check_removed_datagrams(void) {
  expect_name(one, &name_of_one);
  expect_no_file("gone-datagrams");
  expect_bytes(one, "one");
  put_bytes(client, "two");
  expect_bytes(one, "two");
}
static void removed_directory(void) {
  MUST(mkdir("place", 0755) && errno != EEXIST ? -1 : 0);
  listen_and_remove("place/../place/deep");
  MUST(rmdir("place"));
}
static void renamed(void) {
  unlink("after");
  one = bind_to(SOCK_STREAM, "before");
  name_of_one = bound_name(one);
  client = connect_to(SOCK_STREAM, "before");
  MUST(server = accept(one, NULL, NULL));
  put_bytes(client, "data");
  MUST(chmod("before", 0640));
  MUST(rename("before", "after"));
}
static void check_renamed(void) {
  struct stat status;
  expect_name(one, &name_of_one);
  expect_no_file("before");
  CHECK(!stat("after", &status) && (status.st_mode & 0777) == 0640, "its mode");
  check_connected();
  expect_served(one, "after");
}
static void renamed_absolute(void) {
  one = bind_to(SOCK_STREAM, absolute("absolute-before"));
  name_of_one = bound_name(one);
  MUST(rename("absolute-before", "absolute-after"));
}
static void check_renamed_absolute(void) {
  expect_name(one, &name_of_one);
  expect_no_file("absolute-before");
  expect_served(one, "absolute-after");
}
static void relative(void) {
  MUST(mkdir("inner", 0755) && errno != EEXIST ? -1 : 0);
  MUST(chdir("inner"));
  one = bind_to(SOCK_STREAM, "relative");
  name_of_one = bound_name(one);
  MUST(chdir(".."));
}
static void check_relative(void) {
  expect_name(one, &name_of_one);
  expect_no_file("relative");
  expect_served(one, "inner/relative");
}
// Two of one name; the file is the first one's.
static void swapped(void) {
  one = bind_to(SOCK_STREAM, "swapped");
  MUST(rename("swapped", "swapped-aside"));
  two = bind_to(SOCK_STREAM, "swapped");
  MUST(client = connect_to(SOCK_STREAM, "swapped"));
  MUST(server = accept(two, NULL, NULL));
  MUST(rename("swapped-aside", "swapped"));
  name_of_one = bound_name(one);
  name_of_two = bound_name(two);
  put_bytes(client, "data");
}
static void check_swapped(void) {
  expect_name(one, &name_of_one);
  expect_name(two, &name_of_two);
  expect_served(one, "swapped");
  CHECK(!readable(two), "the second is found, too");
  check_connected();
}
// What has been accepted keeps the name, and the file stays, which leads nowhere.
static void closed_listening(void) {
  one = bind_to(SOCK_STREAM, "closed-listening");
  name_of_one = bound_name(one);
  client = socket(AF_UNIX, SOCK_STREAM, 0);
  unlink("named-client");
  name_of_client = address("named-client");
  MUST(bind(client, (struct sockaddr*)&name_of_client, sizeof name_of_client));
  name_of_client = bound_name(client);
  MUST(connect(client, (struct sockaddr*)&name_of_one, sizeof name_of_one));
  MUST(server = accept(one, NULL, NULL));
  put_bytes(client, "data");
  MUST(close(one));
}
static void check_closed_listening(void) {
  struct stat status;
  struct sockaddr_un peer = {0};
  socklen_t bytes = sizeof peer;
  expect_name(client, &name_of_client);
  MUST(getpeername(client, (struct sockaddr*)&peer, &bytes));
  CHECK(!strcmp(peer.sun_path, name_of_one.sun_path), "the peer's name is \"%s\"", peer.sun_path);
  check_connected();
  CHECK(!stat("closed-listening", &status) && S_ISSOCK(status.st_mode), "the file is gone");
  CHECK(try_connect(SOCK_STREAM, "closed-listening") == -1 && errno == ECONNREFUSED,
        "it leads somewhere");
}
static void given_away(void) {
  if (geteuid() != 0) SKIP("only root can give files away");
  one = bind_to(SOCK_STREAM, "given-away");
  MUST(chown("given-away", 4711, 4712));
  MUST(chmod("given-away", 0660));
}
static void check_given_away(void) {
  struct stat status;
  MUST(stat("given-away", &status));
  CHECK(status.st_uid == 4711 && status.st_gid == 4712, "owner %u, group %u", status.st_uid,
        status.st_gid);
  CHECK((status.st_mode & 0777) == 0660, "mode %o", status.st_mode & 0777);
}

int main(int argc, char** argv) {
  static const struct subject subjects[] = {
      {"removed", removed, check_removed},
      {"removed_absolute", removed_absolute, check_removed},
      {"removed_replaced", removed_replaced, check_removed_replaced},
      {"removed_waiting", removed_waiting, check_removed_waiting},
      {"removed_datagrams", removed_datagrams, check_removed_datagrams},
      {"removed_directory", removed_directory, check_removed},
      {"renamed", renamed, check_renamed},
      {"renamed_absolute", renamed_absolute, check_renamed_absolute},
      {"relative", relative, check_relative},
      {"swapped", swapped, check_swapped},
      {"closed_listening", closed_listening, check_closed_listening},
      {"given_away", given_away, check_given_away},
      {NULL, NULL, NULL}};
  return run_subject(argc, argv, subjects);
}
