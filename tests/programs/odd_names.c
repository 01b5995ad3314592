// Names of any bytes: an argument, a variable, the working directory, an open file, the thread. It
// makes the directory and the file by the variable NAME, calls the thread by it, and checks all of
// them after the restore against what it had. The names are told in hexadecimal.
#include <fcntl.h>
#include <sys/stat.h>

#include "selfcheck.h"

struct Names {
  char argument[4096], variable[4096], directory[4096], file[4096], thread[16];
};

static void tell(const char* what, const char* name) {
  char text[2 * 4096 + 1];
  size_t length = strlen(name);
  for (size_t i = 0; i < length; i++) sprintf(text + 2 * i, "%02x", (unsigned char)name[i]);
  text[2 * length] = 0;
  say("%s %s", what, text);
}

static struct Names names_now(char** argv, int fd) {
  struct Names now = {0};
  char link[64];
  strcpy(now.argument, argv[1]);
  strcpy(now.variable, getenv("NAME"));
  MUST(getcwd(now.directory, sizeof now.directory) ? 0 : -1);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  MUST(readlink(link, now.file, sizeof now.file - 1));
  MUST(prctl(PR_GET_NAME, now.thread));
  return now;
}

__attribute__((noinline)) static void named(const struct Names* names) {
  tell("argument", names->argument);
  tell("thread", names->thread);
}

int main(int argc, char** argv) {
  seed();
  CHECK(argc == 2, "one argument is wanted");
  const char* name = getenv("NAME");
  MUST(mkdir(name, 0755));
  MUST(chdir(name));
  int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0644);
  MUST(fd);
  MUST(write(fd, name, strlen(name)));
  MUST(prctl(PR_SET_NAME, name));
  struct Names before = names_now(argv, fd);
  ready();
  named(&before);
  wait_line();
  struct Names after = names_now(argv, fd);
  named(&after);
  CHECK(!memcmp(&before, &after, sizeof before), "a name is another");
  char content[4096] = "";
  MUST(pread(fd, content, sizeof content, 0));
  CHECK(!strcmp(content, name), "the file is another");
  return pass();
}
