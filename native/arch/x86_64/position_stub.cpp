// See arch/position_stub.hpp. The stub's data come first: rax and the flags as they were, then the
// expected registers. A pass takes about a nanosecond, a breakpoint many microseconds.
#include "arch/position_stub.hpp"

#include <array>
#include <cstring>

namespace ckpt::arch {

namespace {

struct ComparedRegister {
  Word user_regs_struct::*member;
  std::byte prefix;
  std::byte form;
};

// rax first, since it is free once it is kept; then `cmp expected(%rip), register`.
constexpr std::byte kWide{0x48};
constexpr std::byte kWideUpper{0x4c};
constexpr std::array<ComparedRegister, 16> kCompared = {{
    {&user_regs_struct::rax, kWide, std::byte{0x05}},
    {&user_regs_struct::rcx, kWide, std::byte{0x0d}},
    {&user_regs_struct::rdx, kWide, std::byte{0x15}},
    {&user_regs_struct::rbx, kWide, std::byte{0x1d}},
    {&user_regs_struct::rsp, kWide, std::byte{0x25}},
    {&user_regs_struct::rbp, kWide, std::byte{0x2d}},
    {&user_regs_struct::rsi, kWide, std::byte{0x35}},
    {&user_regs_struct::rdi, kWide, std::byte{0x3d}},
    {&user_regs_struct::r8, kWideUpper, std::byte{0x05}},
    {&user_regs_struct::r9, kWideUpper, std::byte{0x0d}},
    {&user_regs_struct::r10, kWideUpper, std::byte{0x15}},
    {&user_regs_struct::r11, kWideUpper, std::byte{0x1d}},
    {&user_regs_struct::r12, kWideUpper, std::byte{0x25}},
    {&user_regs_struct::r13, kWideUpper, std::byte{0x2d}},
    {&user_regs_struct::r14, kWideUpper, std::byte{0x35}},
    {&user_regs_struct::r15, kWideUpper, std::byte{0x3d}},
}};

constexpr std::size_t kFlagsAt = sizeof(Word);
constexpr std::size_t kDataBytes = kStubKeptBytes + kCompared.size() * sizeof(Word);

class Assembler {
 public:
  explicit Assembler(const Registers& expected) : bytes_(kStubKeptBytes) {
    for (const auto& compared : kCompared) {
      const Word value = expected.*compared.member;
      const auto bytes = std::as_bytes(std::span(&value, 1));
      bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
  }
  void add(std::initializer_list<unsigned> code) {
    for (const unsigned byte : code) bytes_.push_back(static_cast<std::byte>(byte));
  }
  void add(std::span<const std::byte> code) {
    bytes_.insert(bytes_.end(), code.begin(), code.end());
  }
  // The distance from behind these four bytes to `offset` in the stub.
  void add_distance_to(std::size_t offset) {
    const auto distance = static_cast<std::int32_t>(static_cast<std::int64_t>(offset) -
                                                    static_cast<std::int64_t>(size()) - 4);
    add(std::as_bytes(std::span(&distance, 1)));
  }
  void set_distance_at(std::size_t place) {
    const auto distance = static_cast<std::int32_t>(size() - place - 4);
    std::memcpy(bytes_.data() + place, &distance, sizeof distance);
  }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

void keep_accumulator_and_flags(Assembler& code) {
  code.add({0x48, 0x89, 0x05});  // mov %rax, kept
  code.add_distance_to(0);
  code.add({0x9f});              // lahf
  code.add({0x0f, 0x90, 0xc0});  // seto %al
  code.add({0x48, 0x89, 0x05});  // mov %rax, kept flags
  code.add_distance_to(kFlagsAt);
  code.add({0x48, 0x8b, 0x05});  // mov kept, %rax
  code.add_distance_to(0);
}

void put_back_accumulator_and_flags(Assembler& code) {
  code.add({0x48, 0x8b, 0x05});  // mov kept flags, %rax
  code.add_distance_to(kFlagsAt);
  code.add({0x04, 0x7f});        // add $0x7f, %al: overflows if it was set
  code.add({0x9e});              // sahf
  code.add({0x48, 0x8b, 0x05});  // mov kept, %rax
  code.add_distance_to(0);
}

void compare_all(Assembler& code) {
  std::vector<std::size_t> exits;
  for (std::size_t i = 0; i < kCompared.size(); ++i) {
    const auto& compared = kCompared.at(i);
    const std::array<std::byte, 3> compare = {compared.prefix, std::byte{0x3b}, compared.form};
    code.add(compare);
    code.add_distance_to(kStubKeptBytes + i * sizeof(Word));
    code.add({0x0f, 0x85});  // jne
    exits.push_back(code.size());
    code.add({0, 0, 0, 0});
  }
  code.add(kBreakpointInstruction);
  for (const std::size_t exit : exits) code.set_distance_at(exit);
}

}  // namespace

std::optional<std::size_t> room_for_stub(std::span<const std::byte> code) {
  const auto moved = move_run(code, Addr{0}, Addr{kPageSize}, kPatchBytes);
  return moved ? std::optional(moved->original_bytes) : std::nullopt;
}

namespace {

// What has been decided when the breakpoint is behind us: the program goes on.
std::optional<PositionStub> finished(Assembler assembler, std::span<const std::byte> code,
                                     Addr from, Addr at) {
  PositionStub stub;
  stub.behind_hit = at + assembler.size();
  put_back_accumulator_and_flags(assembler);
  const auto moved = move_run(code, from, at + assembler.size(), kPatchBytes);
  if (!moved) return std::nullopt;
  for (const auto& place : moved->places)
    stub.moved.push_back({place.original, assembler.size() + place.moved});
  assembler.add(moved->bytes);
  stub.bytes = assembler.take();
  stub.jump = jump_to(from, at + kDataBytes);
  return stub;
}

}  // namespace

std::optional<PositionStub> position_stub(std::span<const std::byte> code, Addr from, Addr at,
                                          const Registers& expected) {
  Assembler assembler(expected);
  keep_accumulator_and_flags(assembler);
  compare_all(assembler);
  return finished(std::move(assembler), code, from, at);
}

std::optional<PositionStub> counting_stub(std::span<const std::byte> code, Addr from, Addr at,
                                          std::uint64_t passes) {
  // The counter has the place of the first register that is compared elsewhere.
  Registers count{};
  count.*kCompared.front().member = passes;
  Assembler assembler(count);
  keep_accumulator_and_flags(assembler);
  assembler.add({0x48, 0xff, 0x0d});  // decq counter
  assembler.add_distance_to(kStubKeptBytes);
  assembler.add({0x75, 0x01});  // jne, over the breakpoint
  assembler.add(kBreakpointInstruction);
  return finished(std::move(assembler), code, from, at);
}

Registers registers_at_position(const Registers& at_hit,
                                std::span<const std::byte, kStubKeptBytes> kept, Addr from) {
  constexpr Word kLowFlags = 0xd5;  // SF, ZF, AF, PF, CF, as lahf has them
  constexpr unsigned kOverflowShift = 11;
  Word flags = 0;
  Registers registers = at_hit;
  std::memcpy(&registers.rax, kept.data(), sizeof registers.rax);
  std::memcpy(&flags, kept.data() + kFlagsAt, sizeof flags);
  registers.eflags &= ~(kLowFlags | Word{1} << kOverflowShift);
  registers.eflags |= (flags >> 8U & kLowFlags) | (flags & 1U) << kOverflowShift;
  registers.set_pc(from);
  return registers;
}

}  // namespace ckpt::arch
