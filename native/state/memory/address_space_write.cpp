// Moves the bytes of a captured address space into the file; see address_space.hpp.
//
// Several threads each take a batch, read it piece by piece into a buffer that stays in the cache,
// look for pages of zeros, hash, and write. Kernel copies in and out are most of the work, so with
// two threads one reads while the other writes.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/threads.hpp"
#include "state/memory/address_space.hpp"

namespace ckpt::state {

namespace {

constexpr std::uint64_t kChunkBytes = 1U << 20U;  // the most that one extent holds
constexpr std::uint64_t kPieceBytes = 256U << 10U;
constexpr std::uint64_t kProgressBytes = 32U << 20U;
constexpr unsigned kMostThreads = 4;

struct Chunk {
  Addr start;
  std::uint64_t size_bytes = 0;
  std::uint64_t file_offset = 0;
  bool skip_zeros = false;
  bool executable = false;
};

bool is_zero(const std::byte* page) {
  std::uint64_t any = 0;
  for (std::size_t i = 0; i < kPageSize; i += 8 * sizeof(std::uint64_t)) {
    std::array<std::uint64_t, 8> words{};
    std::memcpy(words.data(), page + i, sizeof words);
    for (const std::uint64_t word : words) any |= word;
    if (any != 0) return false;
  }
  return true;
}

// Where GDB has put breakpoint instructions, its own view of the page shows the program's bytes.
void unbreak(const CaptureContext& context, Addr address, std::span<std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kPageSize) {
    const auto page = bytes.subspan(at, kPageSize);
    if (std::search(page.begin(), page.end(), arch::kBreakpointInstruction.begin(),
                    arch::kBreakpointInstruction.end()) == page.end())
      continue;
    const std::string clean = context.read_code(address + at, kPageSize);
    if (clean.size() == kPageSize) std::memcpy(page.data(), clean.data(), kPageSize);
  }
}

void unpatch(const CaptureContext& context, Addr address, std::span<std::byte> bytes) {
  for (const auto& [at, original] : context.unpatched)
    for (Addr byte = std::max(at, address);
         byte < std::min(at + original.size(), address + bytes.size()); byte = byte + 1)
      bytes[byte - address] = original[byte - at];
}

std::vector<Chunk> cut(const AddressSpace& space, const std::vector<image::Segment>& segments) {
  std::vector<Chunk> chunks;
  std::size_t segment = 0;
  for (const Region& region : space.regions) {
    // In a file's mapping what is not stored is the file's, not zero. A huge page that was never
    // reserved must be had anew at the restore, whatever is in it.
    const bool unreserved = region.mapping.has_flag("ht") && region.mapping.has_flag("nr");
    const bool skip_zeros = !unreserved && (region.backing == Backing::anonymous ||
                                            region.backing == Backing::shared_anonymous);
    for (const auto& run : region.stored) {
      for (Addr at = run.start; at < run.end;) {
        while (segments[segment].start + segments[segment].memory_bytes <= at) ++segment;
        const std::uint64_t offset = segments[segment].file_offset + (at - segments[segment].start);
        // The page cache makes large folios of writes that are aligned in the file.
        const std::uint64_t size = std::min(kChunkBytes - offset % kChunkBytes, run.end - at);
        chunks.push_back({at, size, offset, skip_zeros, region.mapping.exec});
        at = at + size;
      }
    }
  }
  return chunks;
}

// What one thread moves at a time: a chunk, or many small ones that follow each other in the file.
using Batch = std::span<const Chunk>;

std::vector<Batch> gather(const std::vector<Chunk>& chunks) {
  std::vector<Batch> batches;
  std::uint64_t bytes = 0;
  for (const Chunk& chunk : chunks) {
    const Chunk* last = &chunk - 1;
    bytes += chunk.size_bytes;
    if (batches.empty() || bytes > kPieceBytes || last->executable != chunk.executable ||
        last->file_offset + last->size_bytes != chunk.file_offset) {
      batches.emplace_back(&chunk, 1);
      bytes = chunk.size_bytes;
    } else {
      batches.back() = Batch(batches.back().data(), batches.back().size() + 1);
    }
  }
  return batches;
}

// Moves batches, one at a time. Each thread has its own.
class Mover {
 public:
  Mover(const CaptureContext& context, image::Writer& writer)
      : context_(context), writer_(writer), buffer_(kPieceBytes) {}

  std::vector<image::Extent> move(Batch batch) {
    extents_.clear();
    open_ = false;
    if (batch.size() > 1) {
      std::vector<Part> parts;
      for (const Chunk& chunk : batch) parts.push_back({&chunk, 0, chunk.size_bytes});
      move_piece(parts);
      return extents_;
    }
    const Chunk& chunk = batch.front();
    for (std::uint64_t at = 0; at < chunk.size_bytes; at += kPieceBytes) {
      const Part part{&chunk, at, std::min(kPieceBytes, chunk.size_bytes - at)};
      move_piece(std::span(&part, 1));
    }
    return extents_;
  }

 private:
  struct Part {
    const Chunk* chunk;
    std::uint64_t at;
    std::uint64_t size_bytes;
  };

  void move_piece(std::span<const Part> parts) {
    ranges_.clear();
    std::size_t all = 0;
    for (const Part& part : parts) {
      ranges_.push_back({part.chunk->start + part.at, part.size_bytes});
      all += part.size_bytes;
    }
    context_.memory.read_bulk(ranges_, std::span(buffer_).first(all));
    std::size_t begin = 0;
    for (const Part& part : parts) {
      take(part, begin);
      begin += part.size_bytes;
    }
    flush();
  }

  // A part, which begins there in the buffer.
  void take(const Part& part, std::size_t begin) {
    const Chunk& chunk = *part.chunk;
    const auto bytes = std::span(buffer_).subspan(begin, part.size_bytes);
    if (chunk.executable && context_.read_code) unbreak(context_, chunk.start + part.at, bytes);
    unpatch(context_, chunk.start + part.at, bytes);
    for (std::size_t page = 0; page < bytes.size();) {
      if (chunk.skip_zeros && is_zero(bytes.data() + page)) {
        close();
        page += kPageSize;
        continue;
      }
      std::size_t end = page + kPageSize;
      while (end < bytes.size() && !(chunk.skip_zeros && is_zero(bytes.data() + end)))
        end += kPageSize;
      write(begin + page, end - page, chunk.file_offset + part.at + page);
      extend(chunk, part.at + page, bytes.subspan(page, end - page));
      page = end;
    }
    if (part.at + part.size_bytes == chunk.size_bytes) close();
  }

  // Later, with what follows it in the buffer and so in the file.
  void write(std::size_t begin, std::size_t size_bytes, std::uint64_t file_offset) {
    if (begin != unwritten_begin_ + unwritten_bytes_) flush();
    if (unwritten_bytes_ == 0) {
      unwritten_begin_ = begin;
      unwritten_offset_ = file_offset;
    }
    unwritten_bytes_ += size_bytes;
  }

  void flush() {
    if (unwritten_bytes_ != 0)
      writer_.write_memory(std::span(buffer_).subspan(unwritten_begin_, unwritten_bytes_),
                           unwritten_offset_);
    unwritten_bytes_ = 0;
  }

  void extend(const Chunk& chunk, std::uint64_t at, std::span<const std::byte> run) {
    if (!open_) {
      extents_.push_back({chunk.start + at, chunk.file_offset + at, 0, 0});
      digest_.reset();
      open_ = true;
    }
    digest_.update(run);
    extents_.back().size_bytes += run.size();
  }

  void close() {
    if (open_) extents_.back().digest = digest_.value();
    open_ = false;
  }

  const CaptureContext& context_;
  image::Writer& writer_;
  std::vector<std::byte> buffer_;
  std::vector<tracee::Memory::Range> ranges_;
  std::size_t unwritten_begin_ = 0, unwritten_bytes_ = 0;
  std::uint64_t unwritten_offset_ = 0;
  std::vector<image::Extent> extents_;
  Digest64 digest_;
  bool open_ = false;
};

// All batches by all threads. Whatever calls back (progress, GDB's view of code) is for the calling
// thread only, which is GDB's main one.
class Crew {
 public:
  Crew(const std::vector<Chunk>& chunks, CaptureContext& context, image::Writer& writer)
      : batches_(gather(chunks)), context_(context), writer_(writer), moved_(batches_.size()) {
    for (const Chunk& chunk : chunks) total_ += chunk.size_bytes;
  }

  std::vector<image::Extent> work() {
    Mover mover(context_, writer_);
    for (std::size_t i = 0; i < batches_.size(); ++i)
      if (is_code(i)) take(mover, i);
    std::vector<std::thread> helpers = hire();
    try {
      for (std::size_t i = next_++; i < batches_.size() && !stop_; i = next_++) {
        if (!is_code(i)) take(mover, i);
        report();
      }
    } catch (...) {
      failed(std::current_exception());
    }
    for (auto& helper : helpers) helper.join();
    if (problem_) std::rethrow_exception(problem_);
    std::vector<image::Extent> extents;
    for (const auto& some : moved_) extents.insert(extents.end(), some.begin(), some.end());
    return extents;
  }

 private:
  void take(Mover& mover, std::size_t index) {
    moved_[index] = mover.move(batches_[index]);
    for (const Chunk& chunk : batches_[index]) done_ += chunk.size_bytes;
  }

  // What GDB may have written breakpoints into.
  [[nodiscard]] bool is_code(std::size_t index) const { return batches_[index].front().executable; }

  std::vector<std::thread> hire() {
    const auto most =
        std::min<std::uint64_t>(std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads),
                                total_ / kProgressBytes + 1);
    return start_threads(static_cast<unsigned>(most - 1), [this] {
      try {
        Mover mover(context_, writer_);
        for (std::size_t i = next_++; i < batches_.size() && !stop_; i = next_++)
          if (!is_code(i)) take(mover, i);
      } catch (...) {
        failed(std::current_exception());
      }
    });
  }

  void report() {
    const std::uint64_t done = done_;
    if (!context_.progress || done - reported_ < kProgressBytes) return;
    reported_ = done;
    if (!context_.progress(done, total_)) fail(ErrorKind::interrupted, "interrupted");
    fault_point("save-memory");
  }

  void failed(std::exception_ptr problem) {
    const std::scoped_lock lock(mutex_);
    if (!problem_) problem_ = std::move(problem);
    stop_ = true;
  }

  std::vector<Batch> batches_;
  CaptureContext& context_;
  image::Writer& writer_;
  std::vector<std::vector<image::Extent>> moved_;  // by batch
  std::uint64_t total_ = 0;
  std::uint64_t reported_ = 0;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::uint64_t> done_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::exception_ptr problem_;
};

}  // namespace

std::vector<image::Extent> write_pages(const AddressSpace& space, CaptureContext& context,
                                       image::Writer& writer,
                                       const std::vector<image::Segment>& segments) {
  const std::vector<Chunk> chunks = cut(space, segments);
  auto extents = Crew(chunks, context, writer).work();
  fault_point("save-memory");
  return extents;
}

}  // namespace ckpt::state
