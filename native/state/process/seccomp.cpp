#include "state/process/seccomp.hpp"

#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.hpp"

namespace ckpt::state {

namespace {

using image::Json;

// <linux/ptrace.h> clashes with <sys/ptrace.h>.
constexpr int kGetFilter = 0x420c;    // PTRACE_SECCOMP_GET_FILTER
constexpr int kGetMetadata = 0x420d;  // PTRACE_SECCOMP_GET_METADATA, Linux 4.16
constexpr std::uint64_t kMostFilters = 4096;

struct Metadata {
  std::uint64_t index = 0;
  std::uint64_t flags = 0;
};

long request(int what, Tid lwp, std::uint64_t address, void* data) {
  return ::syscall(SYS_ptrace, what, lwp, address, data);
}

}  // namespace

std::optional<std::vector<SeccompFilter>> read_filters(Tid lwp) {
  std::vector<SeccompFilter> filters;
  // 0 is the one that was set first (get_nth_filter() in kernel/seccomp.c; ptrace(2) has it
  // reversed).
  for (std::uint64_t index = 0; index < kMostFilters; ++index) {
    const long length = request(kGetFilter, lwp, index, nullptr);
    if (length < 0 && errno == ENOENT && index > 0) return filters;
    if (length <= 0 || length > BPF_MAXINSNS) return std::nullopt;
    SeccompFilter filter;
    filter.code.resize(static_cast<std::size_t>(length));
    if (request(kGetFilter, lwp, index, filter.code.data()) != length) return std::nullopt;
    Metadata metadata{index, 0};
    if (request(kGetMetadata, lwp, sizeof metadata, &metadata) >= 0)
      filter.flags = static_cast<std::uint32_t>(metadata.flags);
    filters.push_back(std::move(filter));
  }
  return std::nullopt;
}

namespace {

struct FilterCode {
  using Code = std::vector<sock_filter>;

  static Json write(const Code& code) {
    return image::pack_bytes(code.data(), code.size() * sizeof(sock_filter));
  }
  static Code read(const Json& json) {
    const auto bytes = image::unpack_bytes(json);
    if (bytes.empty() || bytes.size() % sizeof(sock_filter) != 0 ||
        bytes.size() > BPF_MAXINSNS * sizeof(sock_filter))
      image::damaged("a seccomp filter");
    Code code(bytes.size() / sizeof(sock_filter));
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(code.data()));
    return code;
  }
  static Json type(image::Catalog& /*catalog*/) { return "bytes"; }
};

}  // namespace

const image::Fields<SeccompFilter>& fields_of(const SeccompFilter* /*type*/) {
  using Field = image::Field<SeccompFilter>;
  static const image::Fields<SeccompFilter> fields = {
      "seccomp_filter",
      {{"flags", &SeccompFilter::flags, "SECCOMP_FILTER_FLAG_LOG or 0"},
       Field::as<FilterCode>("code", &SeccompFilter::code, "`struct sock_filter`, 8 bytes each")}};
  return fields;
}

void set_filters(tracee::Inferior& inferior, const std::vector<SeccompFilter>& filters) {
  for (const auto& filter : filters) {
    const auto code = inferior.put(std::as_bytes(std::span(filter.code)));
    sock_fprog program{};
    program.len = static_cast<unsigned short>(filter.code.size());
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
    program.filter = reinterpret_cast<sock_filter*>(code.at().value);
    inferior.call("set a seccomp filter again", SYS_seccomp,
                  {SECCOMP_SET_MODE_FILTER, filter.flags & SECCOMP_FILTER_FLAG_LOG,
                   inferior.put_value(program)});
  }
}

}  // namespace ckpt::state
