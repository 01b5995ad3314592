// The events of a recording by their numbers. A recording may be larger than memory: of its chunks
// only those that were needed last are held.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "recording/file.hpp"
#include "recording/marks.hpp"

namespace ckpt::recording {

class History {
 public:
  /// Reads the whole file once. Throws Error.
  explicit History(const std::string& path);

  [[nodiscard]] const Start& start() const { return reader_.start(); }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  /// Event `index`, of events(). Throws Error: damaged, for a file that has changed since.
  std::shared_ptr<const Event> event(std::uint64_t index);
  /// The kernel's id that each thread had; made up, and no other thread's, where it is not known.
  [[nodiscard]] const std::map<std::uint32_t, Tid>& thread_ids() const { return thread_ids_; }
  [[nodiscard]] const Marks& marks() const { return marks_; }

 private:
  using Chunk = std::vector<std::shared_ptr<const Event>>;
  struct Held {
    std::uint64_t first = 0;
    Chunk events;
  };

  void scan();
  void note_thread_id(const Event& event);
  void add_thread_id(std::uint32_t thread, std::int64_t tid);
  const Held& chunk_at(std::uint64_t first);

  Reader reader_;
  std::map<std::uint64_t, std::uint64_t> chunks_;  // the first event of each: where it begins
  std::uint64_t events_ = 0;
  std::map<std::uint32_t, Tid> thread_ids_;
  Marks marks_;
  std::list<Held> held_;  // used last first
};

}  // namespace ckpt::recording
