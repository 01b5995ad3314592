// Finds instructions that read clocks, random numbers and the processor's description, and does
// what they do. Decoded by Zydis. See arch/unpredictable.hpp.
#include "arch/unpredictable.hpp"

#include <sched.h>
#include <sys/random.h>

#include <Zydis/Zydis.h>
#include <cpuid.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.hpp"

namespace ckpt::arch {

namespace {

constexpr std::byte kEscape{0x0f};
constexpr std::size_t kLongest = 15;  // bytes of an instruction

ZydisDecoder make_decoder() {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  return decoder;
}

const ZydisDecoder& decoder() {
  static const ZydisDecoder made = make_decoder();
  return made;
}

// Whether the opcode behind the escape may be one of ours. The bytes before it may be prefixes.
bool is_candidate(std::span<const std::byte> code, std::size_t at) {
  if (code[at] != kEscape || at + 1 >= code.size()) return false;
  const auto second = std::to_integer<unsigned>(code[at + 1]);
  if (second == 0x31 || second == 0xa2) return true;  // rdtsc, cpuid
  if (at + 2 >= code.size()) return false;
  const auto third = std::to_integer<unsigned>(code[at + 2]);
  // rdtscp; rdrand, rdseed and rdpid with a register
  return (second == 0x01 && third == 0xf9) || (second == 0xc7 && third >= 0xf0);
}

// The size of `code` if there is no more of them.
std::size_t next_candidate(std::span<const std::byte> code, std::size_t from) {
  while (from < code.size()) {
    const void* next =
        std::memchr(code.data() + from, std::to_integer<int>(kEscape), code.size() - from);
    if (next == nullptr) break;
    from = static_cast<std::size_t>(static_cast<const std::byte*>(next) - code.data());
    if (is_candidate(code, from)) return from;
    ++from;
  }
  return code.size();
}

std::optional<Unpredictable> kind_of(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC: return Unpredictable::clock;
    case ZYDIS_MNEMONIC_RDTSCP: return Unpredictable::clock_and_processor;
    case ZYDIS_MNEMONIC_RDPID: return Unpredictable::processor;
    case ZYDIS_MNEMONIC_RDRAND: return Unpredictable::random;
    case ZYDIS_MNEMONIC_RDSEED: return Unpredictable::seed;
    case ZYDIS_MNEMONIC_CPUID: return Unpredictable::description;
    default: return std::nullopt;
  }
}

std::optional<UnpredictableSite> site_at(std::span<const std::byte> code, std::size_t at, Addr base,
                                         std::size_t& length) {
  ZydisDecodedInstruction instruction;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
  ZydisDecoderContext context;
  const auto some = code.subspan(at, std::min(kLongest, code.size() - at));
  length = 1;  // what cannot be decoded is skipped byte by byte, as disassemblers do
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder(), &context, some.data(), some.size(),
                                                  &instruction)))
    return std::nullopt;
  length = instruction.length;
  const auto kind = kind_of(instruction.mnemonic);
  if (!kind) return std::nullopt;
  UnpredictableSite site{base + at, *kind, instruction.length, 0, 0, some.front()};
  if (*kind != Unpredictable::processor && *kind != Unpredictable::random &&
      *kind != Unpredictable::seed)
    return site;
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&decoder(), &context, &instruction, operands.data(),
                                               instruction.operand_count_visible)))
    return std::nullopt;
  const ZydisRegister target = operands.front().reg.value;
  const auto whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, target);
  const auto index = register_index(ZydisRegisterGetString(whole));
  if (!index) return std::nullopt;
  site.target = static_cast<std::uint8_t>(*index);
  site.target_bytes =
      static_cast<std::uint8_t>(ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, target) / 8);
  return site;
}

// Appends those that begin in [begin, end) of `code`.
void sweep(std::span<const std::byte> code, std::size_t begin, std::size_t end, Addr base,
           std::vector<UnpredictableSite>& found) {
  for (std::size_t at = begin; at < end;) {
    std::size_t length = 1;
    if (const auto site = site_at(code, at, base, length)) found.push_back(*site);
    at += length;
  }
}

void set_low_part(Registers& registers, const UnpredictableSite& site, std::uint64_t value) {
  // Writing four bytes of a register clears the others; writing two leaves them.
  const Word before = get_register(registers, site.target);
  if (site.target_bytes == 8) set_register(registers, site.target, value);
  if (site.target_bytes == 4) set_register(registers, site.target, value & 0xffffffffU);
  if (site.target_bytes == 2)
    set_register(registers, site.target, (before & ~Word{0xffff}) | (value & 0xffffU));
}

// Without XSAVE, and so without AVX where a program asks as it should: which parts of the state
// XSAVEC writes depends on when the thread was interrupted, and the dynamic linker leaves them on
// the stack.
void describe_processor(Registers& registers) {
  constexpr unsigned kFeatures = 1;
  constexpr unsigned kXsave = 1U << 26U | 1U << 27U;  // XSAVE, OSXSAVE
  const auto leaf = static_cast<unsigned>(registers.rax);
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  __cpuid_count(static_cast<unsigned>(registers.rax), static_cast<unsigned>(registers.rcx), a, b, c,
                d);
  if (leaf == kFeatures) c &= ~kXsave;
  registers.rax = a;
  registers.rbx = b;
  registers.rcx = c;
  registers.rdx = d;
}

void read_clock(Registers& registers) {
  const std::uint64_t ticks = __rdtsc();
  registers.rax = ticks & 0xffffffffU;
  registers.rdx = ticks >> 32U;
}

void draw_random(Registers& registers, const UnpredictableSite& site) {
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != sizeof value) throw_errno("getrandom", errno);
  set_low_part(registers, site, value);
  constexpr Word kArithmetic = 0x8d5;  // OF, SF, ZF, AF, PF, CF
  registers.eflags = (registers.eflags & ~kArithmetic) | 1U;
}

}  // namespace

std::string_view unpredictable_name(Unpredictable kind) {
  constexpr std::array<std::string_view, kUnpredictableKinds> kInstructionNames = {
      "rdtsc", "rdtscp", "rdpid", "rdrand", "rdseed", "cpuid"};
  return kInstructionNames.at(static_cast<std::size_t>(kind));
}

bool may_have_unpredictable(std::span<const std::byte> code) {
  return next_candidate(code, 0) < code.size();
}

std::vector<UnpredictableSite> find_unpredictable(
    std::span<const std::byte> code, Addr at,
    const std::function<std::optional<FunctionRange>(Addr)>& function_of) {
  std::vector<UnpredictableSite> found;
  if (!function_of) {
    sweep(code, 0, code.size(), at, found);
    return found;
  }
  for (std::size_t i = next_candidate(code, 0); i < code.size(); i = next_candidate(code, i + 1)) {
    const auto function = function_of(at + i);
    if (!function || function->begin > i || function->end <= i) continue;
    const std::size_t end = std::min<std::uint64_t>(function->end, code.size());
    sweep(code, function->begin, end, at, found);
    i = end - 1;
  }
  return found;
}

void execute_unpredictable(const UnpredictableSite& site, Registers& registers) {
  switch (site.kind) {
    case Unpredictable::clock: read_clock(registers); break;
    case Unpredictable::clock_and_processor:
      read_clock(registers);
      registers.rcx = static_cast<Word>(std::max(0, ::sched_getcpu()));
      break;
    case Unpredictable::processor:
      set_low_part(registers, site, static_cast<std::uint64_t>(std::max(0, ::sched_getcpu())));
      break;
    case Unpredictable::random:
    case Unpredictable::seed: draw_random(registers, site); break;
    case Unpredictable::description: describe_processor(registers); break;
  }
  registers.rip += site.length;
}

}  // namespace ckpt::arch
