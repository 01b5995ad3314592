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
  explicit Forged(const Json& record, std::uint32_t version = image::kFormatVersion)
      : fd_(::memfd_create("forged", MFD_CLOEXEC)) {
    write_all(fd_.get(), test::forge_image(record, version), "memfd");
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
  const Json& image = record.at("processes").at(0);
  const Json& shared = record.at("shared");
  Json program = image::encode(snapshot.saved.program);
  for (const auto& [key, value] : program.items()) EXPECT_EQ(image.at("program").at(key), value);
  EXPECT_EQ(shared, image::encode(snapshot.shared));
  EXPECT_EQ(image.at("memory"), image::encode(snapshot.saved.space));
  EXPECT_EQ(image.at("descriptors"), image::encode(snapshot.saved.descriptors));
  EXPECT_EQ(image.at("signals"), image::encode(snapshot.saved.signals));
  EXPECT_EQ(image.at("children"), image::encode(snapshot.saved.children));
  EXPECT_EQ(image.at("clocks"), image::encode(snapshot.saved.clocks.value()));
  EXPECT_EQ(image.at("timers"), image::encode(snapshot.saved.timers));
  EXPECT_EQ(image.at("process"), image::encode(snapshot.saved.process));
  ASSERT_EQ(snapshot.saved.threads.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_EQ(image.at("threads").at(i), image::encode(snapshot.saved.threads[i]));
}

// As version 1 had it: the image of the one process was the record, and shared memory was known by
// its name.
Json version_1_of(Json record) {
  Json image = record.at("processes").at(0);
  Json shared = record.at("shared");
  for (auto& mapping : image.at("memory").at("mappings")) {
    const bool is_shared = !mapping.at("shared").is_null();
    mapping["sharing"] =
        is_shared ? shared.at("memory").at(mapping.at("shared").get<std::size_t>()).at("name")
                  : Json("");
    mapping.erase("shared");
  }
  record["files"] = {{"descriptors", image.at("descriptors")},
                     {"descriptions", shared.at("descriptions")}};
  image.erase("descriptors");
  record.update(image);
  record["sysv"] = shared.at("sysv");
  record["terminal_input"] = shared.at("terminal_input");
  record["extents"] = Json(record.at("extents").at(0));
  record["format"] = 1;
  record.erase("shared");
  record.erase("processes");
  return record;
}

TEST(Record, OfVersion1IsRead) {
  const Json now = sample_record();
  const Forged file(version_1_of(now), 1);
  const Snapshot snapshot(file.path());
  EXPECT_EQ(snapshot.reader.record().at("shared"), now.at("shared"));
  EXPECT_EQ(snapshot.reader.record().at("processes"), now.at("processes"));
  EXPECT_EQ(snapshot.reader.record().at("format"), 1);
  EXPECT_EQ(snapshot.shared.memory.size(), 1U);
  EXPECT_EQ(snapshot.shared.terminal_input.size(), 3U);
}

TEST(Record, OfSeveralProcessesIsRefused) {
  Json record = sample_record();
  record["processes"].push_back(record["processes"][0]);
  record["extents"].push_back(Json::binary({}));
  const Forged file(record);
  try {
    const Snapshot snapshot(file.path());
    ADD_FAILURE() << "it was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported) << error.what();
    EXPECT_NE(std::string(error.what()).find("2 processes"), std::string::npos) << error.what();
  }
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
           {"/processes/0/threads", Json::array()},
           {"/processes/0/threads/0/tid", 0},
           {"/processes/0/threads/0/tid", -5},
           {"/processes/0/threads/0/held_signal", 65},
           {"/processes/0/threads/0/held_signal", -1},
           {"/processes/0/threads/0/xstate", Json::binary({1, 2, 3})},
           {"/processes/0/threads/0/stop_info", Json::binary({1, 2, 3})},
           {"/processes/0/memory/mappings/0/start", 1},
           {"/processes/0/memory/mappings/0/end", 0x400000},
           {"/processes/0/memory/mappings/0/end", 0x600000},
           {"/processes/0/memory/mappings/1/start", 0x400000},
           {"/processes/0/memory/mappings/0/offset", 5},
           {"/processes/0/memory/mappings/0/page_size", 3},
           {"/processes/0/memory/mappings/0/page_size", 1U << 20U},
           {"/processes/0/memory/mappings/0/page_size", 1ULL << 50U},
           {"/processes/0/memory/mappings/0/file/huge_page_size", 3},
           {"/processes/0/memory/mappings/0/file/huge_page_size", 4096},
           {"/processes/0/memory/mappings/0/file/huge_page_size", 2U << 20U},
           {"/processes/0/memory/mappings/0/prot", "rw"},
           {"/processes/0/memory/mappings/0/backing", "unheard of"},
           {"/processes/0/memory/mappings/0/file", nullptr},
           {"/processes/0/memory/mappings/1/guards", {{0x500000, 0x500000}}},
           {"/processes/0/memory/mappings/1/guards", {{0x400000, 0x501000}}},
           {"/processes/0/memory/bounds/brk", UINT64_MAX},
           {"/processes/0/memory/auxv", Json::binary({1})},
           {"/processes/0/descriptors/0/fd", -1},
           {"/processes/0/descriptors/1/fd", 0},
           {"/processes/0/descriptors/0/description", 99},
           {"/shared/descriptions/4/details/entries/0/description", 99},
           {"/shared/descriptions/4/details/entries/0/fd", -1},
           {"/shared/descriptions/5/details/watches/0/number", 0},
           {"/shared/descriptions/6/details/role", "unheard of"},
           {"/shared/descriptions/6/details/queue/0/descriptors", {99}},
           {"/shared/descriptions/6/details/options/0/value",
            Json::binary(std::vector<std::uint8_t>(70000))},
           {"/shared/descriptions/6/details/name", Json::binary(std::vector<std::uint8_t>(200))},
           {"/shared/descriptions/7/details/remaining", {1, 1000000000}},
           {"/shared/descriptions/9/details/marks/0/type", 1},
           {"/shared/descriptions/9/details/marks/0/mask", 0x10000},
           {"/shared/descriptions/1/locks/0/kind", "unheard of"},
           {"/shared/descriptions/1/locks/0/start", -1},
           {"/shared/descriptions/3/owner/signal", 65},
           {"/shared/descriptions/0/kind", "unheard of"},
           {"/shared/descriptions/0/stream", 3},
           {"/shared/descriptions/1/file", nullptr},
           {"/processes/0/signals/actions/0/signal", 0},
           {"/processes/0/clocks/monotonic/0", -1},
           {"/processes/0/clocks/monotonic/0", INT64_MAX},
           {"/processes/0/clocks/boottime/1", 1'000'000'000},
           {"/processes/0/children/0/pid", 0},
           {"/processes/0/children/0/remembered", -3},
           {"/processes/0/children/0/group", -1},
           {"/processes/0/children/0/code", CLD_STOPPED},
           {"/processes/0/children/0/status", 256},
           {"/processes/0/children/0/exit_signal", 65},
           {"/processes/0/children/1/status", SIGCONT},
           {"/processes/0/program/mode", 04755},
           {"/shared/sysv/semaphores/0/id", -1},
           {"/shared/sysv/semaphores/0/mode", 01777},
           {"/shared/sysv/semaphores/0/values", Json::array()},
           {"/shared/sysv/queues/0/messages/0/type", 0},
           {"/shared/sysv/queues/0/id", -1},
           {"/processes/0/timers/interval/2/0/0", -1},
           {"/processes/0/timers/interval/0/0/1", 1'000'000},
           {"/processes/0/timers/posix/0/id", -1},
           {"/processes/0/timers/posix/0/signal", 65},
           {"/processes/0/timers/posix/0/notify", 3},
           {"/processes/0/timers/posix/0/remaining/1", 1'000'000'000},
           {"/processes/0/timers/posix/0/interval/0", INT64_MAX},
           {"/processes/0/timers/posix/1/id", 0},
           {"/processes/0/timers/posix/1/target", -1},
           {"/processes/0/signals/actions/0/signal", 65},
           {"/shared/terminal_input", "text"},
           {"/shared/terminal_input", {104, 256}},
           {"/shared/terminal_input", {-1}},
           {"/shared/terminal_input", std::vector<int>(4097)},
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
