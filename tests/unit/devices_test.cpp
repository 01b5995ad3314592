// What a descriptor leads to that is no file: devices without a state, and message queues.
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <string>

#include <gtest/gtest.h>

#include "state/files/stateless_devices.hpp"
#include "state/ipc/message_queues.hpp"
#include "support.hpp"

namespace ckpt::state {
namespace {

TEST(StatelessDevices, AreKnownByTheirNumbers) {
  for (const char* name : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}) {
    struct stat status {};
    ASSERT_EQ(::stat(name, &status), 0) << name;
    const char* known = stateless_device(status.st_rdev);
    EXPECT_EQ(std::string(known == nullptr ? "" : known), name);
  }
  EXPECT_EQ(stateless_device(::makedev(1, 11)), nullptr);  // /dev/kmsg: each reader has a place
  EXPECT_EQ(stateless_device(::makedev(5, 3)), nullptr);
}

MessageQueue some_queue() {
  MessageQueue queue;
  queue.most_messages = 2;
  queue.most_bytes = 10;
  queue.messages = {{3, "one"}, {1, std::string("\0\xff", 2)}};
  return queue;
}

TEST(MessageQueues, ComeBackFromTheRecord) {
  const auto once = image::encode(some_queue());
  EXPECT_EQ(image::decode<MessageQueue>(once).messages.at(1).bytes, some_queue().messages[1].bytes);
  EXPECT_EQ(image::encode(image::decode<MessageQueue>(once)), once);
}

TEST(MessageQueues, DamageIsSaid) {
  for (const auto& [key, value] : {std::pair("most_messages", 1), std::pair("most_messages", 0),
                                   std::pair("most_bytes", 0), std::pair("most_bytes", -1)}) {
    auto damaged = image::encode(some_queue());
    damaged[key] = value;
    test::expect_error([&] { image::decode<MessageQueue>(damaged); }, ErrorKind::damaged,
                       "a message queue");
  }
}

}  // namespace
}  // namespace ckpt::state
