// Signals that the calling thread must not get for a while.
#pragma once

#include <csignal>
#include <initializer_list>

namespace ckpt {

/// Blocks signals in the calling thread, and puts its mask back at the end.
class SignalsBlocked {
 public:
  /// All of them: for starting threads of our own, which inherit the mask. A debugger's handlers
  /// expect to run on its main thread.
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(std::initializer_list<int> some) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : some) sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace ckpt
