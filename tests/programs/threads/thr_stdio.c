// usage: thr_stdio. A stream that is locked by a thread, twice, at the save, while others wait to
// write to it; the main thread is in a function of atexit(), inside exit().
#include "thr.h"

static FILE* stream;
static char* text;
static size_t text_bytes;
static pthread_t threads[3];

static void* holder(void* unused) {
  flockfile(stream);
  flockfile(stream);
  thr_arrive();
  thr_pass_gate(1);
  CHECK(fputs("first\n", stream) >= 0, "fputs by the holder");
  funlockfile(stream);
  CHECK(!ftrylockfile(stream), "the holder may lock it again");
  funlockfile(stream);
  fputs("second\n", stream);
  funlockfile(stream);
  return unused;
}

static void* writer(void* line) {
  thr_arrive();
  CHECK(fputs(line, stream) >= 0, "fputs");
  return line;
}

static void at_exit(void) {
  ready();
  wait_line();
  CHECK(ftrylockfile(stream), "the stream is not locked any more");
  thr_open_gate(1);
  for (int i = 0; i < 3; i++) OK(pthread_join(threads[i], NULL));
  fputs("last\n", stream);
  fflush(stream);
  CHECK(!strncmp(text, "first\nsecond\nthird", 18) && !strcmp(text + 25, "last\n"),
        "the text is %s", text);
  CHECK(!pass(), "pass");
}

int main(void) {
  stream = open_memstream(&text, &text_bytes);
  OK(pthread_create(&threads[0], NULL, holder, NULL));
  thr_wait_arrived(1);
  for (int i = 1; i < 3; i++) OK(pthread_create(&threads[i], NULL, writer, "third\n"));
  thr_wait_arrived(3);
  OK(atexit(at_exit));
  exit(0);
}
