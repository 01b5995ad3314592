// Stopping a process that is not traced yet, and letting it go again.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "base/types.hpp"

namespace ckpt::tracee {

class Seized {
 public:
  /// Seizes and stops every thread. Throws Error when it may not be traced, is traced already or
  /// cannot be stopped; then nothing has changed. `on_stop` is called with each thread as soon as
  /// it has stopped.
  explicit Seized(Tid pid, std::function<void(Tid)> on_stop = {});
  Seized(Seized&&) = delete;
  /// Lets every thread go on; a signal that was just being delivered is delivered.
  ~Seized();

  [[nodiscard]] const std::vector<Tid>& threads() const { return threads_; }
  /// The signal that a thread was stopped with and gets when it goes on, 0 for none.
  [[nodiscard]] int held_signal(Tid tid) const;

 private:
  bool seize_new_threads();
  void wait_until_stopped(Tid tid);
  [[nodiscard]] int still_held(Tid tid) const noexcept;
  void release() noexcept;

  Tid pid_;
  std::function<void(Tid)> on_stop_;
  std::vector<Tid> threads_;
  std::map<Tid, int> held_;
};

}  // namespace ckpt::tracee
