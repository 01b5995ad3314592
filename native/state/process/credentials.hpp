// Credentials (credentials(7), capabilities(7)): user and group ids, supplementary groups,
// capabilities, securebits. The kernel keeps them for each thread.
//
// Root restores a program with its own credentials: one that had given up its privileges comes back
// without them. An ordinary user restores it with the user's.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "proc/status.hpp"
#include "state/context.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct Credentials {
  std::array<std::uint32_t, 4> uids{};  // real, effective, saved, file system
  std::array<std::uint32_t, 4> gids{};
  std::vector<std::uint32_t> groups;
  std::uint64_t inheritable = 0;  // bit N is capability N
  std::uint64_t permitted = 0;
  std::uint64_t effective = 0;
  std::uint64_t bounding = 0;
  std::uint64_t ambient = 0;

  bool operator==(const Credentials&) const = default;
};

Credentials credentials_of(const proc::Status& status);

const image::Fields<Credentials>& fields_of(const Credentials* /*type*/);

/// Whether this process may give a thread these credentials.
bool may_restore_credentials(const Credentials& credentials);

/// Restores the thread's credentials, as far as that is permitted, and its securebits; says what
/// was not permitted. Runs in the thread itself and changes the process's dumpable flag and the
/// thread's parent-death signal. `now`: the credentials that it has.
void restore_credentials(RestoreContext& inferior, const Credentials& credentials,
                         const Credentials& now, std::uint64_t securebits);

}  // namespace ckpt::state
