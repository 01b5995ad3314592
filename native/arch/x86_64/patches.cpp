// Instructions that are moved, and what is put in their stead. See arch/instructions.hpp.
#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <initializer_list>

#include "arch/boundary_layout.hpp"
#include "arch/instructions.hpp"

namespace ckpt::arch {

namespace {

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append(std::vector<std::byte>& to, std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) to.push_back(static_cast<std::byte>(byte));
}

}  // namespace

std::array<std::byte, kPatchBytes> jump_to(Addr from, Addr to) {
  std::array<std::byte, kPatchBytes> bytes{std::byte{0xe9}};
  const auto distance = static_cast<std::int32_t>(to.value - (from.value + kPatchBytes));
  std::memcpy(bytes.data() + 1, &distance, sizeof distance);
  return bytes;
}

std::optional<std::vector<std::byte>> move_instructions(std::span<const std::byte> code, Addr from,
                                                        Addr to, std::size_t& moved_bytes) {
  std::vector<std::byte> moved;
  moved_bytes = 0;
  while (moved_bytes < kPatchBytes) {
    const auto one = movable_instruction(code.subspan(moved_bytes));
    if (!one || moved_bytes + one->length > kMostMovedBytes) return std::nullopt;
    const auto bytes = code.subspan(moved_bytes, one->length);
    if (one->is_short_jump) {
      // From the new place the target is out of a byte's reach: the same jump with four.
      const auto distance = std::to_integer<std::int8_t>(bytes[1]);
      moved.insert(moved.end(), {std::byte{0x0f}, (bytes[0] & std::byte{0x0f}) | std::byte{0x80}});
      const Addr after = to + moved.size() + sizeof(std::int32_t);
      const Addr target = from + moved_bytes + one->length + static_cast<std::uint64_t>(distance);
      const auto adjusted = static_cast<std::int64_t>(target.value - after.value);
      const auto longer = static_cast<std::int32_t>(adjusted);
      if (longer != adjusted || target < from + kPatchBytes) return std::nullopt;
      const auto added = std::as_bytes(std::span(&longer, 1));
      moved.insert(moved.end(), added.begin(), added.end());
      moved_bytes += one->length;
      continue;
    }
    moved.insert(moved.end(), bytes.begin(), bytes.end());
    if (one->displacement_at != 0) {
      std::int32_t distance = 0;
      std::byte* at = moved.data() + moved_bytes + one->displacement_at;
      std::memcpy(&distance, at, sizeof distance);
      const std::int64_t adjusted = distance + static_cast<std::int64_t>(from.value - to.value);
      distance = static_cast<std::int32_t>(adjusted);
      if (distance != adjusted) return std::nullopt;
      std::memcpy(at, &distance, sizeof distance);
    }
    moved_bytes += one->length;
  }
  const auto back = jump_to(to + moved.size(), from + moved_bytes);
  moved.insert(moved.end(), back.begin(), back.end());
  return moved;
}

std::optional<Movable> movable_instruction(std::span<const std::byte> code) {
  std::size_t at = 0;
  const auto byte = [&](std::size_t i) {
    return i < code.size() ? std::to_integer<unsigned>(code[i]) : 0U;
  };
  if (byte(0) == 0xf3 && byte(1) == 0x0f && byte(2) == 0x1e && byte(3) == 0xfa)
    return Movable{4, 0};  // endbr64
  bool segment = false;
  if (byte(at) == 0x64) {  // fs:
    segment = true;
    ++at;
  }
  unsigned rex = 0;
  if ((byte(at) & 0xf0U) == 0x40) rex = byte(at++);
  const unsigned opcode = byte(at++);
  std::size_t immediate = 0;
  if (opcode >= 0x70 && opcode <= 0x7f && at == 1 && code.size() >= 2)
    return Movable{2, 0, true};                                 // jump if
  if (opcode >= 0x50 && opcode <= 0x57) return Movable{at, 0};  // push
  if (opcode >= 0xb8 && opcode <= 0xbf)                         // mov register, immediate
    return (rex & 8U) != 0 ? Movable{at + 8, 0} : Movable{at + 4, 0};
  if (opcode == 0x3d)
    return at + 4 <= code.size() ? std::optional(Movable{at + 4, 0}) : std::nullopt;
  switch (opcode) {
    case 0x80:  // arithmetic with an immediate byte
    case 0x83:
    case 0xc0:
    case 0xc1:
    case 0xc6: immediate = 1; break;
    case 0x81:
    case 0xc7: immediate = 4; break;
    case 0x01:
    case 0x03:
    case 0x09:
    case 0x0b:
    case 0x21:
    case 0x23:
    case 0x29:
    case 0x2b:
    case 0x31:
    case 0x33:
    case 0x38:
    case 0x39:
    case 0x3a:
    case 0x3b:
    case 0x63:
    case 0x84:
    case 0x85:
    case 0x88:
    case 0x89:
    case 0x8a:
    case 0x8b:
    case 0x8d: break;
    default: return std::nullopt;
  }
  const unsigned form = byte(at++);
  const unsigned mode = form >> 6U;
  const unsigned base = form & 7U;
  Movable result;
  if (mode != 3) {
    unsigned index_base = base;
    if (base == 4) index_base = byte(at++) & 7U;  // a scale-index-base byte follows
    if (mode == 0 && base == 5 && !segment) result.displacement_at = at;
    if (mode == 2 || (mode == 0 && (base == 5 || (base == 4 && index_base == 5)))) at += 4;
    if (mode == 1) at += 1;
  }
  result.length = at + immediate;
  if (result.length > code.size()) return std::nullopt;
  return result;
}

std::optional<NumberLoad> number_load(std::span<const std::byte> code, bool any_form) {
  constexpr std::size_t kImmediate = sizeof(std::int32_t);
  std::size_t opcode = 0;
  if (!code.empty() && code[0] == std::byte{0xb8}) {  // mov $number,%eax
    opcode = 1;
  } else if (any_form && code.size() > 3 && code[0] == std::byte{0x48} &&
             code[1] == std::byte{0xc7} && code[2] == std::byte{0xc0}) {  // mov $number,%rax
    opcode = 3;
  }
  if (opcode == 0 || code.size() < opcode + kImmediate) return std::nullopt;
  NumberLoad load{0, opcode + kImmediate};
  std::memcpy(&load.number, code.data() + opcode, kImmediate);
  return load;
}

std::vector<std::size_t> find_syscall_bytes(std::span<const std::byte> code) {
  std::vector<std::size_t> found;
  std::size_t at = 0;
  const __m128i first = _mm_set1_epi8(static_cast<char>(kSyscallInstruction[0]));
  const __m128i second = _mm_set1_epi8(static_cast<char>(kSyscallInstruction[1]));
  for (; at + sizeof(__m128i) < code.size(); at += sizeof(__m128i)) {
    __m128i here;
    __m128i next;
    std::memcpy(&here, code.data() + at, sizeof here);
    std::memcpy(&next, code.data() + at + 1, sizeof next);
    auto hits = static_cast<unsigned>(_mm_movemask_epi8(
        _mm_and_si128(_mm_cmpeq_epi8(here, first), _mm_cmpeq_epi8(next, second))));
    for (; hits != 0; hits &= hits - 1)
      found.push_back(at + static_cast<std::size_t>(std::countr_zero(hits)));
  }
  for (; at + 1 < code.size(); ++at)
    if (code[at] == kSyscallInstruction[0] && code[at + 1] == kSyscallInstruction[1])
      found.push_back(at);
  return found;
}

Clone3Code clone3_code() {
  static constexpr std::array<unsigned char, 10> kCode = {0xb8, 0xb3, 0x01, 0, 0,  // mov $435,%eax
                                                          0x0f, 0x05,              // syscall
                                                          0x48, 0x85, 0xc0};       // test %rax,%rax
  constexpr std::size_t kLoadBytes = 5;
  return {std::as_bytes(std::span(kCode)), kLoadBytes, kLoadBytes + kSyscallBytes};
}

std::vector<std::byte> flight_stub(Addr at, Addr flight_code) {
  std::vector<std::byte> bytes;
  append(bytes, {0x48, 0x8d, 0x0d, 5, 0, 0, 0, 0xe9});  // lea 5(%rip),%rcx; jmp
  const Addr end = at + kStubCallAt;
  const auto distance = static_cast<std::int32_t>(flight_code.value - end.value);
  append(bytes, std::as_bytes(std::span(&distance, 1)));
  append(bytes, kSyscallInstruction);
  return bytes;
}

std::vector<std::byte> result_stub(Addr at, Addr translation) {
  std::vector<std::byte> bytes;
  append(bytes, {0x48, 0x8d, 0x64, 0x24, 0x80});  // lea -128(%rsp),%rsp
  auto call = jump_to(at + bytes.size(), translation);
  call[0] = std::byte{0xe8};
  append(bytes, call);
  append(bytes, {0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0});  // lea 128(%rsp),%rsp
  return bytes;
}

void pad_code(std::vector<std::byte>& code, std::size_t size) {
  code.resize(size, kBreakpointInstruction[0]);
}

}  // namespace ckpt::arch
