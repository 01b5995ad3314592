// What a program reads about itself under /proc stays as it was: exe, cmdline, environ, auxv, comm,
// the bounds in stat, the mappings (start, end, protection, name) with [heap], [stack], [vdso] and
// [vvar], and the personality.
#include "selfcheck.h"

#include <sys/personality.h>

enum { ROOM = 1 << 16 };

static size_t slurp(const char* path, char* buffer) {
  FILE* file = fopen(path, "r");
  CHECK(file, "%s: %s", path, strerror(errno));
  size_t length = fread(buffer, 1, ROOM - 1, file);
  fclose(file);
  buffer[length] = 0;
  return length;
}

static const char* const whole_files[] = {"/proc/self/cmdline", "/proc/self/environ",
                                          "/proc/self/auxv", "/proc/self/comm"};
enum { WHOLE = 4 };
static char before[WHOLE][ROOM], now[ROOM], exe_before[4096], exe_now[4096], maps_before[ROOM],
    maps_now[ROOM];
static size_t lengths[WHOLE];
static unsigned long stat_before[52], stat_now[52];

// Of each line of maps: addresses, protection, offset, path. Device and inode of anonymous shared
// memory may change. Neighbours that only differ in where they end are merged, as the kernel is
// free to do.
static void read_maps(char* text) {
  char line[4096], path[4096], permissions[8], previous_path[4096] = "",
                                               previous_permissions[8] = "";
  unsigned long start, end, offset, previous_start = 0, previous_end = 0, hidden_end = 0;
  size_t used = 0;
  FILE* maps = fopen("/proc/self/maps", "r");
  CHECK(maps, "maps");
  text[0] = 0;
  for (;;) {
    char* got = fgets(line, sizeof line, maps);
    path[0] = permissions[0] = 0;
    start = end = offset = 0;
    if (got)
      CHECK(sscanf(line, "%lx-%lx %7s %lx %*s %*s %4095[^\n]", &start, &end, permissions, &offset,
                   path) >= 4,
            "%s", line);
    if (got && start < hidden_end) continue;
    if (got && !path[0] && start % 0x10000 == 0 && !strcmp(permissions, "rw-p") &&
        !memcmp((const void*)start, "ckptids", 7)) {
      // What translates the ids after a restore with new ones; docs/limits.md.
      hidden_end = start + ((const unsigned*)start)[41];
      continue;
    }
    if (got && previous_end == start && !path[0] && !previous_path[0] &&
        !strcmp(permissions, previous_permissions)) {
      previous_end = end;
      continue;
    }
    if (previous_end) {
      int length = snprintf(text + used, ROOM - used, "%lx-%lx %s %s\n", previous_start,
                            previous_end, previous_permissions, previous_path);
      CHECK(length > 0 && used + (size_t)length < ROOM, "maps are too long");
      used += (size_t)length;
    }
    if (!got) break;
    previous_start = start, previous_end = end;
    strcpy(previous_path, path);
    strcpy(previous_permissions, permissions);
  }
  fclose(maps);
}

static void read_stat(unsigned long* fields) {
  char text[ROOM];
  slurp("/proc/self/stat", text);
  char* at = strrchr(text, ')') + 2;
  for (int field = 2; field < 52 && at; field++) {
    fields[field] = strtoul(at, NULL, 10);
    at = strchr(at, ' ');
    if (at) at++;
  }
}

int main(void) {
  free(malloc(1000));
  read_maps(maps_before);  // once for the buffers of stdio to be mapped
  for (int i = 0; i < WHOLE; i++) lengths[i] = slurp(whole_files[i], before[i]);
  MUST(readlink("/proc/self/exe", exe_before, sizeof exe_before - 1));
  int persona = personality(0xffffffff);
  seed();
  selfcheck_start_bystanders();
  read_stat(stat_before);
  read_maps(maps_before);
  ready();
  wait_line();
  for (int i = 0; i < WHOLE; i++) {
    size_t length = slurp(whole_files[i], now);
    CHECK(length == lengths[i] && !memcmp(now, before[i], length),
          "%s differs (%zu bytes, was %zu): %.100s", whole_files[i], length, lengths[i], now);
  }
  MUST(readlink("/proc/self/exe", exe_now, sizeof exe_now - 1));
  CHECK(!strcmp(exe_before, exe_now), "exe is %.200s, was %.200s", exe_now, exe_before);
  CHECK(personality(0xffffffff) == persona, "personality is %#x, was %#x", personality(0xffffffff),
        persona);
  read_stat(stat_now);
  // startcode endcode startstack ... start_data end_data start_brk arg_start arg_end env_start
  // env_end (proc(5))
  static const int bounds[] = {26, 27, 28, 45, 46, 47, 48, 49, 50, 51};
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
    CHECK(stat_before[bounds[i] - 1] == stat_now[bounds[i] - 1],
          "field %d of stat is %#lx, was %#lx", bounds[i], stat_now[bounds[i] - 1],
          stat_before[bounds[i] - 1]);
  read_maps(maps_now);
  if (strcmp(maps_before, maps_now)) {
    say("maps before:\n%.450s", maps_before);
    size_t at = 0;
    while (maps_before[at] == maps_now[at]) at++;
    while (at && maps_now[at - 1] != '\n') at--;
    FAIL("maps differ: now %.*s, was %.*s", (int)strcspn(maps_now + at, "\n"), maps_now + at,
         (int)strcspn(maps_before + at, "\n"), maps_before + at);
  }
  return pass();
}
