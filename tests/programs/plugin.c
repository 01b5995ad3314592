// The library that plugin_host.c loads; tests copy it, and may delete the copy before a restore.
// ckpt-build: shared
#include <stdint.h>

static uint64_t counter;
static _Thread_local uint64_t value = 5;

uint64_t plugin_count(uint64_t unused) {
  (void)unused;
  return ++counter;
}

uint64_t plugin_mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  return x ^ (x >> 29);
}

// Returns the thread's old value and sets a new one.
uint64_t plugin_tls(uint64_t next) {
  uint64_t old = value;
  value = next;
  return old;
}
