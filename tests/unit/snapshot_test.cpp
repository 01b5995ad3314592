// The record of a snapshot as typed state: there and back, and when a forger has changed it.
#include <sys/mman.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/io.hpp"
#include "forge.hpp"
#include "sample.hpp"
#include "snapshot/describe.hpp"
#include "snapshot/snapshot.hpp"
#include "state/terminal/terminal_input.hpp"
#include "support.hpp"

namespace ckpt::snapshot {
namespace {

using image::Json;
using test::sample_record;

/// A forged image in memory, as a path.
class Forged {
 public:
  explicit Forged(const Json& record) : fd_(::memfd_create("forged", MFD_CLOEXEC)) {
    write_all(fd_.get(), test::forge_image(record), "memfd");
  }
  [[nodiscard]] std::string path() const { return fmt::format("/proc/self/fd/{}", fd_.get()); }

 private:
  UniqueFd fd_;
};

/// Everything that looks at a record before a restore starts anything.
void read_all(const Json& record) {
  const Forged file(record);
  const Snapshot snapshot(file.path());
  static_cast<void>(describe(snapshot.reader));
  static_cast<void>(stores_of(snapshot, {}));
  // No library of the made-up process is there, so this always ends with an Error.
  check(snapshot, state::RestoreOptions{}, true, {});
}

TEST(Record, ComesBackAsItWas) {
  const Forged file(sample_record());
  const Snapshot snapshot(file.path());
  // What is written from what was read is the same again.
  const Json& record = snapshot.reader.record();
  Json program = state::kept_file_to_json(snapshot.saved.program);
  for (const auto& [key, value] : program.items()) EXPECT_EQ(record.at("program").at(key), value);
  EXPECT_EQ(record.at("memory"), state::address_space_to_json(snapshot.saved.space));
  EXPECT_EQ(record.at("files"), state::descriptors_to_json(snapshot.saved.descriptors));
  EXPECT_EQ(record.at("signals"), state::signals_to_json(snapshot.saved.signals));
  EXPECT_EQ(record.at("children"), state::children_to_json(snapshot.saved.children));
  EXPECT_EQ(record.at("sysv"), state::sysv_objects_to_json(snapshot.saved.sysv));
  EXPECT_EQ(record.at("clocks"), state::clocks_to_json(snapshot.saved.clocks.value()));
  EXPECT_EQ(record.at("timers"), state::timers_to_json(snapshot.saved.timers));
  EXPECT_EQ(record.at("terminal_input"), state::input_to_json(snapshot.saved.terminal_input));
  EXPECT_EQ(record.at("process"), state::process_to_json(snapshot.saved.process));
  ASSERT_EQ(snapshot.saved.threads.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_EQ(record.at("threads").at(i), state::thread_to_json(snapshot.saved.threads[i]));
}

TEST(Record, IsDescribedWithoutBytes) {
  const Forged file(sample_record());
  const Json shown = describe(Snapshot(file.path()).reader);
  EXPECT_EQ(shown.at("name"), "before-crash");
  EXPECT_EQ(shown.at("program").at("object"), "0123456789abcdef0123456789abcdef");
  EXPECT_EQ(shown.at("threads").size(), 2U);
  EXPECT_EQ(shown.at("threads").at(1).at("number"), 3);
  const Json leaves = shown.flatten();
  for (const auto& [pointer, value] : leaves.items()) EXPECT_FALSE(value.is_binary()) << pointer;
}

std::vector<Json::json_pointer> places_in(const Json& value,
                                          const Json::json_pointer& here = Json::json_pointer()) {
  std::vector<Json::json_pointer> found;
  const auto descend = [&](const Json& item, const Json::json_pointer& place) {
    found.push_back(place);
    const auto inner = places_in(item, place);
    found.insert(found.end(), inner.begin(), inner.end());
  };
  if (value.is_object())
    for (const auto& [key, item] : value.items()) descend(item, here / key);
  if (value.is_array())
    // All elements of a list are read by the same lines: two of them are enough.
    for (std::size_t i = 0; i < value.size() && i < 2; ++i) descend(value[i], here / i);
  return found;
}

void expect_error_or_success(const Json& record, const std::string& what) {
  try {
    read_all(record);
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << what;
  } catch (const std::exception& error) {
    ADD_FAILURE() << what << ": " << error.what();
  }
}

TEST(Record, AMemberOfAnotherTypeOrRangeIsAnError) {
  const Json good = sample_record();
  const std::vector<Json> others = {nullptr,
                                    true,
                                    -1,
                                    0,
                                    UINT64_MAX,
                                    INT64_MIN,
                                    0.5,
                                    "",
                                    "text",
                                    std::string(5000, 'x'),
                                    Json::array(),
                                    Json::array({1}),
                                    Json::object(),
                                    Json{{"k", 1}},
                                    Json::binary({}),
                                    Json::binary({1, 2, 3})};
  Json bad = good;
  for (const auto& place : places_in(good)) {
    for (const Json& other : others) {
      bad[place] = other;
      expect_error_or_success(bad, place.to_string() + " = " + other.dump().substr(0, 40));
    }
    bad[place] = good[place];
  }
}

TEST(Record, AMissingMemberIsAnError) {
  const Json good = sample_record();
  for (const auto& place : places_in(good)) {
    Json bad = good;
    Json& parent = bad[place.parent_pointer()];
    if (!parent.is_object()) continue;
    parent.erase(place.back());
    expect_error_or_success(bad, place.to_string() + " missing");
  }
}

TEST(Record, WhatCannotBeIsDamage) {
  struct Row {
    const char* place;
    Json value;
  };
  for (const Row& row : std::vector<Row>{
           {"/threads", Json::array()},
           {"/threads/0/tid", 0},
           {"/threads/0/tid", -5},
           {"/threads/0/held_signal", 65},
           {"/threads/0/held_signal", -1},
           {"/threads/0/xstate", Json::binary({1, 2, 3})},
           {"/threads/0/stop_info", Json::binary({1, 2, 3})},
           {"/memory/mappings/0/start", 1},
           {"/memory/mappings/0/end", 0x400000},
           {"/memory/mappings/0/end", 0x600000},
           {"/memory/mappings/1/start", 0x400000},
           {"/memory/mappings/0/offset", 5},
           {"/memory/mappings/0/page_size", 3},
           {"/memory/mappings/0/page_size", 1U << 20U},
           {"/memory/mappings/0/page_size", 1ULL << 50U},
           {"/memory/mappings/0/file/huge_page_size", 3},
           {"/memory/mappings/0/file/huge_page_size", 4096},
           {"/memory/mappings/0/file/huge_page_size", 2U << 20U},
           {"/memory/mappings/0/prot", "rw"},
           {"/memory/mappings/0/backing", "unheard of"},
           {"/memory/mappings/0/file", nullptr},
           {"/memory/mappings/1/guards", {{0x500000, 0x500000}}},
           {"/memory/mappings/1/guards", {{0x400000, 0x501000}}},
           {"/memory/bounds/brk", UINT64_MAX},
           {"/memory/auxv", Json::binary({1})},
           {"/files/descriptors/0/fd", -1},
           {"/files/descriptors/1/fd", 0},
           {"/files/descriptors/0/description", 99},
           {"/files/descriptions/4/details/entries/0/description", 99},
           {"/files/descriptions/4/details/entries/0/fd", -1},
           {"/files/descriptions/5/details/watches/0/number", 0},
           {"/files/descriptions/6/details/role", "unheard of"},
           {"/files/descriptions/6/details/queue/0/descriptors", {99}},
           {"/files/descriptions/6/details/options/0/value",
            Json::binary(std::vector<std::uint8_t>(70000))},
           {"/files/descriptions/6/details/name", Json::binary(std::vector<std::uint8_t>(200))},
           {"/files/descriptions/7/details/remaining", {1, 1000000000}},
           {"/files/descriptions/9/details/marks/0/type", 1},
           {"/files/descriptions/9/details/marks/0/mask", 0x10000},
           {"/files/descriptions/1/locks/0/kind", "unheard of"},
           {"/files/descriptions/1/locks/0/start", -1},
           {"/files/descriptions/3/owner/signal", 65},
           {"/files/descriptions/0/kind", "unheard of"},
           {"/files/descriptions/0/stream", 3},
           {"/files/descriptions/1/file", nullptr},
           {"/signals/actions/0/signal", 0},
           {"/clocks/monotonic/0", -1},
           {"/clocks/monotonic/0", INT64_MAX},
           {"/clocks/boottime/1", 1'000'000'000},
           {"/children/0/pid", 0},
           {"/children/0/remembered", -3},
           {"/children/0/group", -1},
           {"/children/0/code", CLD_STOPPED},
           {"/children/0/status", 256},
           {"/children/0/exit_signal", 65},
           {"/children/1/status", SIGCONT},
           {"/program/mode", 04755},
           {"/sysv/semaphores/0/id", -1},
           {"/sysv/semaphores/0/mode", 01777},
           {"/sysv/semaphores/0/values", Json::array()},
           {"/sysv/queues/0/messages/0/type", 0},
           {"/sysv/queues/0/id", -1},
           {"/timers/interval/2/0/0", -1},
           {"/timers/interval/0/0/1", 1'000'000},
           {"/timers/posix/0/id", -1},
           {"/timers/posix/0/signal", 65},
           {"/timers/posix/0/notify", 3},
           {"/timers/posix/0/remaining/1", 1'000'000'000},
           {"/timers/posix/0/interval/0", INT64_MAX},
           {"/timers/posix/1/id", 0},
           {"/timers/posix/1/target", -1},
           {"/signals/actions/0/signal", 65},
           {"/terminal_input", "text"},
           {"/terminal_input", {104, 256}},
           {"/terminal_input", {-1}},
           {"/terminal_input", std::vector<int>(4097)},
       }) {
    Json bad = sample_record();
    bad[Json::json_pointer(row.place)] = row.value;
    const Forged file(bad);
    SCOPED_TRACE(row.place);
    test::expect_error([&] { const Snapshot snapshot(file.path()); }, ErrorKind::damaged,
                       "damaged");
  }
}

TEST(FreePlace, IsAPageBehindAHeapThatEndsWithinOne) {
  state::AddressSpace space;
  space.bounds.start_brk = Addr{0xc71c000};
  space.bounds.brk = Addr{0xc71cd40};
  const Addr place = state::find_free_place({}, space, kPageSize);
  EXPECT_GT(place, space.bounds.brk);
  EXPECT_EQ(place.value % kPageSize, 0U);
}

}  // namespace
}  // namespace ckpt::snapshot
