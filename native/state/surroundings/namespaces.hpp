// Namespaces (namespaces(7)) that a restored program is put into by the process that starts it,
// which must have one thread.
#pragma once

#include <string>

namespace ckpt::state {

/// Whether this process may make namespaces of other kinds without one for users (CAP_SYS_ADMIN).
bool may_make_namespaces();

/// Whether the system lets an ordinary user have a user namespace, as far as its settings tell.
bool may_have_user_namespace();

/// A user namespace in which we are who we are, and may make namespaces of other kinds. Only once.
/// Throws Error; `what` says what it is for.
void enter_user_namespace(const std::string& what);

/// Whether that was done: our groups but the first look then as if they had no owner.
bool in_own_user_namespace();

/// Writes to a file of /proc. Throws Error.
void write_setting(const char* path, const std::string& text);

/// Whether a file of /proc holds "0".
bool is_zero_setting(const char* path);

}  // namespace ckpt::state
