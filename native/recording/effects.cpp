#include "recording/effects.hpp"

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>

#include <fmt/format.h>

#include "recording/requests.hpp"

namespace ckpt::recording {

namespace {

// The kernel takes no more of iovec and mmsghdr at a time (UIO_MAXIOV).
constexpr std::uint64_t kMostVectors = 1024;
// Of lengths that the program has named itself and the kernel has only bounded.
constexpr std::uint64_t kMostNamedBytes = 1ULL << 20U;

class Collector {
 public:
  Collector(const tracee::Memory& memory, const arch::Registers& entry, std::int64_t result)
      : memory_(memory), entry_(entry), result_(result) {}

  void add(std::uint64_t at, std::uint64_t size_bytes) {
    if (at == 0 || size_bytes == 0) return;
    Write write = memory_now(memory_, Addr{at}, size_bytes);
    if (!write.bytes.empty()) writes_.push_back(std::move(write));
  }
  void add(const arch::Output& output);
  std::vector<Write> take() { return std::move(writes_); }

 private:
  // As much as the kernel can have filled: `left` bytes, of one entry after another.
  void add_vector(std::uint64_t at, std::uint64_t count, std::uint64_t left) {
    for (std::uint64_t i = 0; i < std::min(count, kMostVectors) && left > 0; ++i) {
      const auto vector = value_at<iovec>(at + i * sizeof(iovec));
      const auto size = std::min<std::uint64_t>(vector.iov_len, left);
      add(reinterpret_cast<std::uint64_t>(vector.iov_base), size);
      left -= size;
    }
  }
  void add_message(std::uint64_t at, std::uint64_t size_bytes) {
    const auto message = value_at<msghdr>(at);
    add(at, sizeof message);
    add(reinterpret_cast<std::uint64_t>(message.msg_name),
        std::min<std::uint64_t>(message.msg_namelen, sizeof(sockaddr_storage)));
    add(reinterpret_cast<std::uint64_t>(message.msg_control),
        std::min<std::uint64_t>(message.msg_controllen, kMostNamedBytes));
    add_vector(reinterpret_cast<std::uint64_t>(message.msg_iov), message.msg_iovlen, size_bytes);
  }
  void add_messages(std::uint64_t at) {
    for (std::uint64_t i = 0; i < std::min(succeeded(), kMostVectors); ++i) {
      const auto message = value_at<mmsghdr>(at + i * sizeof(mmsghdr));
      add(at + i * sizeof(mmsghdr), sizeof message);
      add_message(at + i * sizeof(mmsghdr), message.msg_len);
    }
  }
  // Zeros where nothing can be read: then the kernel could not read it either.
  template <typename T>
  T value_at(std::uint64_t at) const {
    T value{};
    if (at != 0) memory_.read_some(Addr{at}, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  [[nodiscard]] std::uint64_t succeeded() const {
    return result_ > 0 ? static_cast<std::uint64_t>(result_) : 0;
  }

  const tracee::Memory& memory_;
  const arch::Registers& entry_;
  std::int64_t result_;
  std::vector<Write> writes_;
};

void Collector::add(const arch::Output& output) {
  const std::uint64_t at = entry_.arg(output.pointer);
  const std::uint64_t other = entry_.arg(output.other);
  switch (output.size) {
    case arch::OutputSize::none: return;
    case arch::OutputSize::fixed: return add(at, output.unit);
    case arch::OutputSize::result: return add(at, succeeded() * output.unit);
    case arch::OutputSize::argument: return add(at, std::min(other, kMostNamedBytes) * output.unit);
    case arch::OutputSize::bits: {
      const std::uint64_t words = (std::min<std::uint64_t>(other, kMostNamedBytes) + 63) / 64;
      return add(at, words * sizeof(std::uint64_t));
    }
    case arch::OutputSize::pages:
      return add(at, std::min(page_up(other) / kPageSize, kMostNamedBytes));
    case arch::OutputSize::vector: return add_vector(at, other, succeeded());
    case arch::OutputSize::pointed:
      add(other, sizeof(socklen_t));
      return add(at, std::min<std::uint64_t>(value_at<socklen_t>(other), kMostNamedBytes));
    case arch::OutputSize::message: return add_message(at, succeeded());
    case arch::OutputSize::messages: return add_messages(at);
    case arch::OutputSize::sized_header:
      return add(at, output.unit + std::min<std::uint64_t>(value_at<std::uint32_t>(at), kPageSize));
  }
}

std::optional<std::string> why_request_refused(const arch::SyscallRule& rule,
                                               const arch::Registers& entry) {
  const auto first = static_cast<std::uint32_t>(entry.arg(0));
  const auto second = static_cast<std::uint32_t>(entry.arg(1));
  const auto unknown = [&](std::uint32_t request) {
    return fmt::format("{} with the request {:#x}, whose effect is not known", rule.name, request);
  };
  switch (rule.special) {
    case arch::Special::ioctl:
      if (!ioctl_output(second)) return unknown(second);
      break;
    case arch::Special::fcntl:
      if (!is_known_fcntl(second)) return unknown(second);
      break;
    case arch::Special::prctl:
      if (!is_known_prctl(first)) return unknown(first);
      if (first == PR_SET_SECCOMP && second == SECCOMP_MODE_STRICT)
        return "prctl with strict seccomp";
      break;
    case arch::Special::arch_prctl:
      if (!is_known_arch_prctl(first)) return unknown(first);
      break;
    case arch::Special::seccomp:
      if (first == SECCOMP_SET_MODE_STRICT) return "seccomp in strict mode";
      break;
    case arch::Special::semctl:
      if ((entry.arg(2) & 0xffU) == GETALL) return unknown(GETALL);
      break;
    default: break;
  }
  return std::nullopt;
}

}  // namespace

Write memory_now(const tracee::Memory& memory, Addr at, std::uint64_t size_bytes) {
  Write write{at, std::vector<std::byte>(size_bytes)};
  write.bytes.resize(memory.read_some(at, write.bytes));
  return write;
}

std::vector<Write> effects(const tracee::Memory& memory, const arch::SyscallRule& rule,
                           const arch::Registers& entry, std::int64_t result) {
  Collector collector(memory, entry, result);
  for (const arch::Output& output : rule.outputs) collector.add(output);
  if (rule.special == arch::Special::ioctl)
    collector.add(entry.arg(2), ioctl_output(static_cast<std::uint32_t>(entry.arg(1))).value_or(0));
  return collector.take();
}

std::optional<std::string> why_refused(const arch::SyscallRule& rule,
                                       const arch::Registers& entry) {
  if (rule.handling == arch::Handling::refuse)
    return fmt::format("{} ({})", rule.name, rule.reason);
  return why_request_refused(rule, entry);
}

}  // namespace ckpt::recording
