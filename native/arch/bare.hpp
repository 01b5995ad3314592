// System calls, new threads and what signal handlers return to, for code that has no C library
// (restart/preload/bare.hpp) and must include nothing that has one behind it.
#pragma once

#if defined(__x86_64__)
#include "arch/x86_64/bare.hpp"
#else
#error "libckpt.so cannot be built for this architecture yet"
#endif
