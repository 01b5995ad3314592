// usage: thr_kept. Threads that wait in functions for locks at the save, while the program keeps
// the thread's id in every register that a function leaves alone, and around its stack frame. Those
// are the program's own, and stay what they are; the lock functions' own copies of the id do not.
#include "thr.h"

enum { CALLS = 7 };
static pthread_mutex_t plain, robust, inheriting;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t for_condition = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock;

// Calls function(a, b, c) with the id in rbx, rbp and r12 to r15 and at both ends of the own
// frame; the function's result, or 1000 and more when one of them has changed.
long call_with_id(long (*function)(void*, long, void*), void* a, long b, void* c, long id);
asm(R"(
    .globl call_with_id
    .type call_with_id, @function
call_with_id:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    push %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    push %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    push %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    push %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    push %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    sub $24, %rsp
    .cfi_adjust_cfa_offset 24
    mov %r8, (%rsp)
    mov %r8, 8(%rsp)
    not %r8
    mov %r8, 16(%rsp)
    not %r8
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %rbx
    mov %r8, %rbp
    mov %r8, %r12
    mov %r8, %r13
    mov %r8, %r14
    mov %r8, %r15
    call *%rax
    movslq %eax, %rax
    mov 16(%rsp), %rcx
    not %rcx
    mov $1001, %edx
    cmp %rcx, %rbx
    cmovne %rdx, %rax
    mov $1002, %edx
    cmp %rcx, %rbp
    cmovne %rdx, %rax
    mov $1003, %edx
    cmp %rcx, %r12
    cmovne %rdx, %rax
    mov $1004, %edx
    cmp %rcx, %r13
    cmovne %rdx, %rax
    mov $1005, %edx
    cmp %rcx, %r14
    cmovne %rdx, %rax
    mov $1006, %edx
    cmp %rcx, %r15
    cmovne %rdx, %rax
    mov $1007, %edx
    cmp %rcx, (%rsp)
    cmovne %rdx, %rax
    mov $1008, %edx
    cmp %rcx, 8(%rsp)
    cmovne %rdx, %rax
    add $24, %rsp
    .cfi_adjust_cfa_offset -24
    pop %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    pop %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    pop %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    pop %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    pop %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    pop %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    ret
    .cfi_endproc
    .size call_with_id, . - call_with_id
)");

static void make(pthread_mutex_t* mutex, int is_robust, int protocol) {
  pthread_mutexattr_t attributes;
  OK(pthread_mutexattr_init(&attributes));
  OK(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK));
  if (is_robust) OK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
  OK(pthread_mutexattr_setprotocol(&attributes, protocol));
  OK(pthread_mutex_init(mutex, &attributes));
}

#define CALL(function, a, b, c) \
  call_with_id((long (*)(void*, long, void*))(void*)(function), a, (long)(b), c, thr_id())

static void* work(void* argument) {
  long call = (long)argument, result = 0;
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += 3600;
  if (call >= 5) OK(pthread_mutex_lock(&for_condition));
  thr_arrive();
  switch (call) {
    case 0: result = CALL(pthread_mutex_lock, &plain, 0, NULL); break;
    case 1: result = CALL(pthread_mutex_lock, &robust, 0, NULL); break;
    case 2: result = CALL(pthread_mutex_lock, &inheriting, 0, NULL); break;
    case 3: result = CALL(pthread_mutex_clocklock, &robust, CLOCK_REALTIME, &end); break;
    case 4: result = CALL(pthread_rwlock_wrlock, &rwlock, 0, NULL); break;
    case 5: result = CALL(pthread_cond_wait, &condition, &for_condition, NULL); break;
    default: result = CALL(pthread_cond_timedwait, &condition, &for_condition, &end); break;
  }
  CHECK(result < 1000, "call %ld: the program's own copy of the id has changed (%ld)", call,
        result);
  CHECK(result == 0, "call %ld: %s", call, strerror((int)result));
  pthread_mutex_t* const mutexes[] = {&plain, &robust, &inheriting, &robust};
  if (call < 4) {
    IS(pthread_mutex_lock(mutexes[call]), EDEADLK);
    OK(pthread_mutex_unlock(mutexes[call]));
  } else if (call == 4) {
    IS(pthread_rwlock_wrlock(&rwlock), EDEADLK);
    OK(pthread_rwlock_unlock(&rwlock));
  } else {
    OK(pthread_mutex_unlock(&for_condition));
  }
  return NULL;
}

int main(void) {
  pthread_t threads[CALLS];
  make(&plain, 0, PTHREAD_PRIO_NONE);
  make(&robust, 1, PTHREAD_PRIO_NONE);
  make(&inheriting, 0, PTHREAD_PRIO_INHERIT);
  OK(pthread_rwlock_init(&rwlock, NULL));
  OK(pthread_mutex_lock(&plain));
  OK(pthread_mutex_lock(&robust));
  OK(pthread_mutex_lock(&inheriting));
  OK(pthread_rwlock_rdlock(&rwlock));
  for (long i = 0; i < CALLS; i++) OK(pthread_create(&threads[i], NULL, work, (void*)i));
  thr_wait_arrived(CALLS);
  ready();
  wait_line();
  OK(pthread_mutex_unlock(&plain));
  OK(pthread_mutex_unlock(&robust));
  OK(pthread_mutex_unlock(&inheriting));
  OK(pthread_rwlock_unlock(&rwlock));
  OK(pthread_mutex_lock(&for_condition));
  OK(pthread_cond_broadcast(&condition));
  OK(pthread_mutex_unlock(&for_condition));
  for (int i = 0; i < CALLS; i++) OK(pthread_join(threads[i], NULL));
  return pass();
}
