// Seccomp filters (seccomp(2)), which each thread has a stack of. Reading them takes CAP_SYS_ADMIN,
// as saving a program under a filter does anyway.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "image/fields.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct SeccompFilter {
  std::uint32_t flags = 0;  // SECCOMP_FILTER_FLAG_LOG or none
  std::vector<sock_filter> code;
};

/// Most bytes that one filter takes in the scratch area, with the call that sets it.
inline constexpr std::uint64_t kSeccompBytes = BPF_MAXINSNS * sizeof(sock_filter) + 128;

/// The filters of a stopped thread, the first that was set first. Nothing if they cannot be read.
std::optional<std::vector<SeccompFilter>> read_filters(Tid lwp);

const image::Fields<SeccompFilter>& fields_of(const SeccompFilter* /*type*/);

/// Sets the filters in the thread, which must be suspended for it (see RemoteThread).
void set_filters(tracee::Inferior& inferior, const std::vector<SeccompFilter>& filters);

}  // namespace ckpt::state
