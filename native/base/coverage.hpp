#pragma once

#ifdef CKPT_COVERAGE
extern "C" {
void __gcov_dump();   // NOLINT: libgcov's names
void __gcov_reset();  // NOLINT
}
#endif

namespace ckpt {

/// Writes what a build with CKPT_COVERAGE has counted, which libgcov does at exit(3) only: for a
/// process that may end in another way. Does nothing in other builds.
inline void write_coverage() {
#ifdef CKPT_COVERAGE
  __gcov_dump();
  __gcov_reset();  // else what is counted from here on would not be written
#endif
}

}  // namespace ckpt
