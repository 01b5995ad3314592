// The records of io_uring and of io_setup(2): what cannot be is damage.
#include <linux/io_uring.h>

#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "state/rings/aio.hpp"
#include "state/rings/io_uring.hpp"
#include "state/rings/ring_view.hpp"

namespace ckpt::state {
namespace {

using image::Json;

IoUring some_ring() {
  IoUring ring;
  ring.setup_flags = IORING_SETUP_SQPOLL;
  ring.sq_entries = 4;
  ring.cq_entries = 16;
  ring.layout = {0, 4, 32, array_offset(64, 16), 8, 12, 44, 40, 64};
  ring.sq_head = 100;
  ring.sq_tail = 103;
  ring.cq_head = 90;
  ring.cq_tail = 99;
  ring.sq_dropped = 1;
  ring.cq_overflow = 2;
  ring.cq_flags = 1;
  ring.array.resize(4 * sizeof(std::uint32_t), std::byte{1});
  ring.cqes.resize(16 * sizeof(io_uring_cqe), std::byte{2});
  ring.sqes.resize(4 * sizeof(io_uring_sqe), std::byte{3});
  ring.files = {std::nullopt, 7, 0};
  ring.buffers = {{Addr{0x1000}, 10}, {Addr{}, 0}};
  ring.eventfd = 3;
  ring.mappings = {{Addr{0x7000}, 4096, IORING_OFF_SQES, true, true, false},
                   {Addr{0x8000}, 4096, IORING_OFF_SQ_RING, true, false, true}};
  ring.cancelled = {5, ~std::uint64_t{0}};
  return ring;
}

AioContext some_context() {
  AioContext context;
  context.id = Addr{0x5000};
  context.size_bytes = 4096;
  context.head = 126;
  context.tail = 3;
  context.events.resize(127 * 32, std::byte{4});
  return context;
}

struct Damage {
  const char* what;
  std::function<void(Json&)> make;
};

bool is_refused(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    return error.kind() == ErrorKind::damaged;
  } catch (const Json::exception&) {
    return true;  // the reader of the record says so
  }
  return false;
}

TEST(Rings, ComeBackFromTheRecord) {
  const Json once = image::encode(some_ring());
  EXPECT_EQ(once, image::encode(image::decode<IoUring>(once)));
}

TEST(Rings, DamageIsSaid) {
  const std::vector<Damage> cases = {
      {"a flag", [](Json& json) { json["setup_flags"] = IORING_SETUP_IOPOLL; }},
      {"a size that is no power of two", [](Json& json) { json["sq_entries"] = 3; }},
      {"no size", [](Json& json) { json["sq_entries"] = 0; }},
      {"a large size", [](Json& json) { json["cq_entries"] = 1U << 20U; }},
      {"more requests than completions", [](Json& json) { json["sq_entries"] = 32; }},
      {"an offset", [](Json& json) { json["layout"][1] = 5000; }},
      {"an odd offset", [](Json& json) { json["layout"][1] = 5; }},
      {"the place of the array", [](Json& json) { json["layout"][3] = 64; }},
      {"a short layout",
       [](Json& json) {
         json["layout"] = {1, 2};
       }},
      {"too much that is queued", [](Json& json) { json["sq_tail"] = 105; }},
      {"too much that is unread", [](Json& json) { json["cq_head"] = 3; }},
      {"too far", [](Json& json) { json["sq_head"] = json["sq_tail"] = 1U << 30U; }},
      {"too much in flight", [](Json& json) { json["cancelled"] = {1, 2, 3, 4, 5, 6, 7, 8}; }},
      {"short memory", [](Json& json) { json["sqes"] = image::pack_bytes("ab", 2); }},
      {"a place", [](Json& json) { json["mappings"][0]["start"] = 1; }},
      {"a length", [](Json& json) { json["mappings"][0]["size"] = 8192; }},
      {"no length", [](Json& json) { json["mappings"][0]["size"] = 0; }},
      {"what is mapped", [](Json& json) { json["mappings"][0]["offset"] = 4096; }},
      {"a large buffer", [](Json& json) { json["buffers"][0][1] = 1ULL << 40U; }},
      {"a buffer", [](Json& json) { json["buffers"][0] = 1; }},
  };
  for (const Damage& damage : cases) {
    Json json = image::encode(some_ring());
    damage.make(json);
    EXPECT_TRUE(is_refused([&] { image::decode<IoUring>(json); })) << damage.what;
  }
}

TEST(Rings, ContextsComeBackFromTheRecord) {
  const Json once = image::encode(std::vector{some_context()});
  EXPECT_EQ(once, image::encode(image::decode<std::vector<AioContext>>(once)));
}

TEST(Rings, DamageOfContextsIsSaid) {
  const std::vector<Damage> cases = {
      {"a place", [](Json& json) { json["id"] = 17; }},
      {"a size", [](Json& json) { json["size"] = 5000; }},
      {"no size", [](Json& json) { json["size"] = 0; }},
      {"a large size", [](Json& json) { json["size"] = 1ULL << 40U; }},
      {"where it begins", [](Json& json) { json["head"] = 127; }},
      {"where it ends", [](Json& json) { json["tail"] = 127; }},
      {"short memory", [](Json& json) { json["events"] = image::pack_bytes("ab", 2); }},
  };
  for (const Damage& damage : cases) {
    Json json = image::encode(std::vector{some_context()});
    damage.make(json.at(0));
    EXPECT_TRUE(is_refused([&] { image::decode<std::vector<AioContext>>(json); })) << damage.what;
  }
}

}  // namespace
}  // namespace ckpt::state
