// Contexts of io_setup(2). The id of a context is the address of a ring of completions that the
// kernel maps into the program; libaio reads it there.
//
// The kernel tells of a context nothing but this ring: what is in flight cannot be seen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"

namespace ckpt::state {

struct AioContext {
  Addr id;
  std::uint64_t size_bytes = 0;  // of the ring's memory
  std::uint32_t number = 0;      // the kernel's own, in the ring; at the save only
  std::uint32_t head = 0, tail = 0;
  std::vector<std::byte> events;

  [[nodiscard]] std::uint32_t places() const;
};

std::vector<AioContext> capture_aio(CaptureContext& context);

const image::Fields<AioContext>& fields_of(const AioContext* /*type*/);

/// Makes the contexts in the process, each at its place, which is reserved. What fails is a note.
void restore_aio(RestoreContext& inferior, const std::vector<AioContext>& contexts);

}  // namespace ckpt::state
