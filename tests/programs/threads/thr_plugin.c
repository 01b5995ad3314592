// The library that thr_loader.c loads: its constructor runs a function of the program's.
// ckpt-build: shared
extern void thr_in_constructor(void) __attribute__((weak));

__attribute__((constructor)) static void begin(void) {
  if (thr_in_constructor) thr_in_constructor();
}

int thr_plugin_answer(void);
int thr_plugin_answer(void) { return 42; }
