// usage: amx_tiles spin|block. Live AMX tiles. The kernel hands out tile registers only after
// arch_prctl(ARCH_REQ_XCOMP_PERM), and refuses to set extended state that holds tiles in a process
// without it: a restore must ask again first. (The permission also enlarges the signal frame, so it
// is process state, not just registers.)
#include "selfcheck.h"

#include <cpuid.h>
#include <sys/syscall.h>

enum { ARCH_GET_XCOMP_PERM = 0x1022, ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

struct tile_config {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes_per_row[16];
  uint8_t rows[16];
} __attribute__((packed, aligned(64)));

static int stop_spinning, spinning;
static char byte_read;
static struct tile_config config;
static uint8_t in[8][16 * 64] __attribute__((aligned(64))),
    out[8][16 * 64] __attribute__((aligned(64)));
static int block;

// Tiles are written as bytes: compilers accept the mnemonics only with -mamx-tile, assemblers
// always.
#define TILE(m) m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7)
#define LOAD(n) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n ::"r"(in[n]), "r"(64L) : "memory");
#define STORE(n) \
  __asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)" ::"r"(out[n]), "r"(64L) : "memory");

static void* subject(void* unused) {
  (void)unused;
  config.palette = 1;
  for (int i = 0; i < 8; i++) {
    config.rows[i] = (uint8_t)(16 - i);  // different shapes: the configuration is state too
    config.bytes_per_row[i] = (uint16_t)(64 - 4 * i);
  }
  struct tile_config after;
  memset(&after, 0, sizeof after);
  __asm__ volatile("ldtilecfg %0" ::"m"(config));
  TILE(LOAD)
  long result = 1;
  if (block) {
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_read), "D"(0L), "S"(&byte_read), "d"(1L)
                     : "rcx", "r11", "memory");
  } else {
    __asm__ volatile("movl $1, %0\n1: pause\ncmpl $0, %1\nje 1b\n"
                     : "+m"(spinning)
                     : "m"(stop_spinning)
                     : "memory", "cc");
  }
  __asm__ volatile("sttilecfg %0" : "=m"(after));
  TILE(STORE)
  __asm__ volatile("tilerelease");
  CHECK(result == 1, "read returned %ld", result);
  CHECK(!memcmp(&config, &after, sizeof config), "the tile configuration differs");
  for (int i = 0; i < 8; i++)
    for (int row = 0; row < config.rows[i]; row++)
      CHECK(!memcmp(in[i] + row * 64, out[i] + row * 64, config.bytes_per_row[i]),
            "tile %d, row %d differs", i, row);
  return NULL;
}

static void* releaser(void* unused) {
  wait_line();
  __atomic_store_n(&stop_spinning, 1, __ATOMIC_SEQ_CST);
  return unused;
}

int main(int argc, char** argv) {
  CHECK(argc == 2, "usage: amx_tiles spin|block");
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & (1u << 24)))
    SKIP("this CPU has no AMX tiles");
  if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA))
    SKIP("the kernel does not grant AMX: %s", strerror(errno));
  block = !strcmp(argv[1], "block");
  fill(in, sizeof in, seed());
  if (block) {
    ready();
    subject(NULL);
  } else {
    pthread_t spinner, reader;
    CHECK(!pthread_create(&spinner, NULL, subject, NULL), "pthread_create");
    while (!__atomic_load_n(&spinning, __ATOMIC_SEQ_CST)) sched_yield();
    ready();
    CHECK(!pthread_create(&reader, NULL, releaser, NULL), "pthread_create");
    pthread_join(reader, NULL);
    pthread_join(spinner, NULL);
  }
  uint64_t granted = 0;
  MUST(syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &granted));
  CHECK(granted >> XFEATURE_XTILEDATA & 1, "the AMX permission was lost (%#llx)",
        (unsigned long long)granted);
  return pass();
}
