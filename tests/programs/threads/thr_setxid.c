// usage: thr_setxid. As root: setresuid and setresgid reach every thread, old and new.
#include "thr.h"

enum { COUNT = 6 };
static void* work(void* argument) {
  thr_arrive();
  thr_pass_gate(1);
  uid_t real, effective, saved;
  gid_t groups[3];
  MUST(getresuid(&real, &effective, &saved));
  MUST(getresgid(&groups[0], &groups[1], &groups[2]));
  CHECK(effective == 1234 && saved == 1235, "thread %ld: uid %u", (long)argument, effective);
  CHECK(groups[1] == 4321, "thread %ld: gid %u", (long)argument, groups[1]);
  return argument;
}

int main(void) {
  if (geteuid() != 0) SKIP("only root may change its user id");
  pthread_t threads[COUNT];
  for (long i = 0; i < COUNT / 2; i++) OK(pthread_create(&threads[i], NULL, work, (void*)i));
  thr_wait_arrived(COUNT / 2);
  ready();
  wait_line();
  for (long i = COUNT / 2; i < COUNT; i++) OK(pthread_create(&threads[i], NULL, work, (void*)i));
  thr_wait_arrived(COUNT);
  MUST(setresgid((gid_t)-1, 4321, 4321));
  MUST(setresuid((uid_t)-1, 1234, 1235));
  thr_open_gate(1);
  for (int i = 0; i < COUNT; i++) OK(pthread_join(threads[i], NULL));
  return pass();
}
