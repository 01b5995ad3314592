// Lengths of x86-64 instructions, and where control goes on behind them: as much as the C library's
// functions around system calls need. Vector instructions with VEX or EVEX prefixes are not known.
#include "arch/instructions.hpp"

#include <algorithm>
#include <cstring>
#include <set>

namespace ckpt::arch {

namespace {

std::int64_t signed_byte(std::byte byte) {
  constexpr std::int64_t kSign = 0x80;
  return (std::to_integer<std::int64_t>(byte) ^ kSign) - kSign;
}

// What an opcode has behind it.
struct Shape {
  bool known = true;
  bool has_form = false;  // a ModR/M byte
  std::size_t immediate_bytes = 0;
  bool operand_sized = false;  // the immediate has two bytes with the prefix 66
};

constexpr Shape kUnknown{false};
constexpr Shape kPlain{};
constexpr Shape kForm{true, true};

constexpr Shape with_form(std::size_t immediate_bytes, bool operand_sized = false) {
  return {true, true, immediate_bytes, operand_sized};
}
constexpr Shape without_form(std::size_t immediate_bytes, bool operand_sized = false) {
  return {true, false, immediate_bytes, operand_sized};
}

// Intel's manual, volume 2, appendix A.
Shape shape_of(unsigned opcode) {
  if (opcode < 0x40) {
    const unsigned column = opcode & 7U;
    if (column < 4) return kForm;
    if (column == 4) return without_form(1);
    return column == 5 ? without_form(4, true) : kUnknown;
  }
  if (opcode >= 0x50 && opcode <= 0x5f) return kPlain;
  if (opcode >= 0x70 && opcode <= 0x7f) return without_form(1);
  if (opcode >= 0x84 && opcode <= 0x8f) return kForm;
  if (opcode >= 0x90 && opcode <= 0x99) return kPlain;
  if (opcode >= 0xb0 && opcode <= 0xb7) return without_form(1);
  if (opcode >= 0xd8 && opcode <= 0xdf) return kForm;
  switch (opcode) {
    case 0x63:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xfe:
    case 0xff: return kForm;
    case 0x68:
    case 0xa9: return without_form(4, true);
    case 0x69:
    case 0x81:
    case 0xc7: return with_form(4, true);
    case 0x6b:
    case 0x80:
    case 0x83:
    case 0xc0:
    case 0xc1:
    case 0xc6: return with_form(1);
    case 0x6a:
    case 0xa8:
    case 0xcd:
    case 0xeb: return without_form(1);
    case 0xc2: return without_form(2);
    case 0xe8:
    case 0xe9: return without_form(4);
    case 0x9b:
    case 0x9c:
    case 0x9d:
    case 0x9e:
    case 0x9f:
    case 0xa4:
    case 0xa5:
    case 0xa6:
    case 0xa7:
    case 0xaa:
    case 0xab:
    case 0xac:
    case 0xad:
    case 0xae:
    case 0xaf:
    case 0xc3:
    case 0xc9:
    case 0xcc:
    case 0xf4:
    case 0xf5:
    case 0xf8:
    case 0xf9:
    case 0xfc:
    case 0xfd: return kPlain;
    default: return kUnknown;
  }
}

// Those behind 0f.
Shape shape_of_second(unsigned opcode) {
  if (opcode >= 0x80 && opcode <= 0x8f) return without_form(4);
  if (opcode >= 0xc8 && opcode <= 0xcf) return kPlain;
  if (opcode >= 0x70 && opcode <= 0x73) return with_form(1);
  switch (opcode) {
    case 0x05:
    case 0x0b:
    case 0x31:
    case 0x77:
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa8:
    case 0xa9: return kPlain;
    case 0xa4:
    case 0xac:
    case 0xba:
    case 0xc2:
    case 0xc4:
    case 0xc5:
    case 0xc6: return with_form(1);
    case 0x04:
    case 0x06:
    case 0x07:
    case 0x08:
    case 0x09:
    case 0x0e:
    case 0x0f:
    case 0x24:
    case 0x26:
    case 0x30:
    case 0x32:
    case 0x33:
    case 0x34:
    case 0x35:
    case 0x36:
    case 0x37:
    case 0x38:
    case 0x39:
    case 0x3a: return kUnknown;
    default: return kForm;
  }
}

class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> code) : code_(code) {}

  std::optional<Instruction> run() {
    take_prefixes();
    opcode_ = take();
    two_ = opcode_ == 0x0f;
    if (two_) opcode_ = take();
    Shape shape = two_ ? shape_of_second(opcode_) : shape_of(opcode_);
    if (!two_ && (opcode_ == 0xf6 || opcode_ == 0xf7)) shape = group_three();
    if (!two_ && opcode_ >= 0xb8 && opcode_ <= 0xbf) {
      shape = without_form(wide_ ? 8 : 4, !wide_);
    } else if (!two_ && opcode_ >= 0xa0 && opcode_ <= 0xa3) {
      shape = without_form(8);
    }
    if (!shape.known || !good_) return std::nullopt;
    if (shape.has_form) take_form();
    const std::size_t immediate_at = at_;
    at_ += shape.operand_sized && short_operands_ && shape.immediate_bytes == 4
               ? 2
               : shape.immediate_bytes;
    // An instruction has no more (Intel's manual, volume 3, 2.3.11).
    constexpr std::size_t kMostBytes = 15;
    if (!good_ || at_ > code_.size() || at_ > kMostBytes) return std::nullopt;
    result_.length = at_;
    classify(immediate_at);
    return result_;
  }

 private:
  unsigned peek(std::size_t at) {
    good_ = good_ && at < code_.size();
    return good_ ? std::to_integer<unsigned>(code_[at]) : 0U;
  }
  unsigned take() { return peek(at_++); }

  void take_prefixes() {
    for (;; ++at_) {
      const unsigned byte = peek(at_);
      const bool segment = byte == 0x64 || byte == 0x65 || byte == 0x2e || byte == 0x36 ||
                           byte == 0x26 || byte == 0x3e;
      if (byte == 0x66)
        short_operands_ = true;
      else if (!segment && byte != 0xf0 && byte != 0xf2 && byte != 0xf3)
        break;
    }
    if ((peek(at_) & 0xf0U) == 0x40) wide_ = (take() & 8U) != 0;
  }

  // test, not, neg, mul and so on: only the first has an immediate.
  Shape group_three() {
    const bool test = ((peek(at_) >> 3U) & 7U) < 2;
    if (!test) return kForm;
    return opcode_ == 0xf6 ? with_form(1) : with_form(4, true);
  }

  void take_form() {
    form_ = take();
    const unsigned mode = form_ >> 6U;
    const unsigned base = form_ & 7U;
    if (mode == 3) return;
    unsigned index_base = base;
    if (base == 4) index_base = take() & 7U;
    if (mode == 0 && base == 5) result_.distance_at = at_;
    if (mode == 1) at_ += 1;
    if (mode == 2 || (mode == 0 && (base == 5 || (base == 4 && index_base == 5)))) at_ += 4;
  }

  void set_target(std::size_t at, bool is_short) {
    result_.is_short = is_short;
    if (is_short) {
      result_.distance = signed_byte(code_[at]);
      return;
    }
    std::int32_t distance = 0;
    std::memcpy(&distance, code_.data() + at, sizeof distance);
    result_.distance = distance;
    result_.distance_at = at;
  }

  void classify(std::size_t immediate_at) {
    if (two_) {
      if (opcode_ == 0x05) result_.flow = Flow::system_call;
      if (opcode_ == 0x0b) result_.flow = Flow::end;
      if (opcode_ >= 0x80 && opcode_ <= 0x8f) {
        result_.flow = Flow::branch;
        set_target(immediate_at, false);
      }
      return;
    }
    if (opcode_ >= 0x70 && opcode_ <= 0x7f) {
      result_.flow = Flow::branch;
      set_target(immediate_at, true);
    }
    if (opcode_ == 0xe8 || opcode_ == 0xe9 || opcode_ == 0xeb) {
      result_.flow = opcode_ == 0xe8 ? Flow::call : Flow::jump;
      set_target(immediate_at, opcode_ == 0xeb);
    }
    result_.is_return = opcode_ == 0xc3 || opcode_ == 0xc2;
    if (result_.is_return || opcode_ == 0xf4) result_.flow = Flow::end;
    const unsigned which = (form_ >> 3U) & 7U;
    if (opcode_ == 0xff && (which == 2 || which == 3)) result_.flow = Flow::indirect_call;
    if (opcode_ == 0xff && (which == 4 || which == 5)) result_.flow = Flow::indirect_jump;
  }

  std::span<const std::byte> code_;
  std::size_t at_ = 0;
  bool good_ = true;
  bool short_operands_ = false;
  bool wide_ = false;
  bool two_ = false;
  unsigned opcode_ = 0;
  unsigned form_ = 0;
  Instruction result_;
};

template <typename T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// A distance of four bytes, from behind it to `target`. False if it is too far.
bool append_distance(std::vector<std::byte>& to, Addr at, Addr target) {
  const Addr end = at + to.size() + sizeof(std::int32_t);
  const auto distance = static_cast<std::int64_t>(target.value - end.value);
  append(to, static_cast<std::int32_t>(distance));
  return static_cast<std::int32_t>(distance) == distance;
}

}  // namespace

std::optional<Instruction> decode(std::span<const std::byte> code) { return Decoder(code).run(); }

std::optional<Reached> reach(std::span<const std::byte> code, Addr begin, Addr from) {
  std::set<std::uint64_t> seen;
  std::set<Addr> calls;
  std::set<Addr> callees;
  std::vector<std::uint64_t> open = {from.value - begin.value};
  while (!open.empty()) {
    const std::uint64_t at = open.back();
    open.pop_back();
    // Targets outside are other functions.
    if (at >= code.size() || !seen.insert(at).second) continue;
    const auto one = decode(code.subspan(at));
    if (!one || one->flow == Flow::indirect_jump) return std::nullopt;
    const std::uint64_t after = at + one->length;
    const std::uint64_t target = after + static_cast<std::uint64_t>(one->distance);
    if (one->flow == Flow::system_call) calls.insert(begin + at);
    if (one->flow == Flow::call) callees.insert(begin + target);
    if (one->flow == Flow::branch || one->flow == Flow::jump) open.push_back(target);
    if (one->flow != Flow::jump && one->flow != Flow::end) open.push_back(after);
  }
  return Reached{{calls.begin(), calls.end()}, {callees.begin(), callees.end()}};
}

bool has_target_within(std::span<const std::byte> code, Addr begin, Addr first, Addr end) {
  const auto is_within = [&](std::uint64_t after, std::int64_t distance) {
    const Addr target = begin + after + static_cast<std::uint64_t>(distance);
    return target > first && target < end;
  };
  std::size_t at = 0;
  while (at < code.size()) {
    const auto one = decode(code.subspan(at));
    if (!one) break;
    const bool goes =
        one->flow == Flow::branch || one->flow == Flow::jump || one->flow == Flow::call;
    if (goes && is_within(at + one->length, one->distance)) return true;
    at += one->length;
  }
  // From here on any byte may be the first of one.
  for (; at < code.size(); ++at) {
    const auto byte = std::to_integer<unsigned>(code[at]);
    const bool one_byte = byte == 0xeb || (byte & 0xf0U) == 0x70;
    if (one_byte && at + 1 < code.size() && is_within(at + 2, signed_byte(code[at + 1])))
      return true;
    std::int32_t distance = 0;
    if (at + 1 + sizeof distance > code.size()) continue;
    std::memcpy(&distance, code.data() + at + 1, sizeof distance);
    const bool four = byte == 0xe8 || byte == 0xe9 || (byte & 0xf0U) == 0x80;
    if (four && is_within(at + 1 + sizeof distance, distance)) return true;
  }
  return false;
}

bool is_padding(std::span<const std::byte> code) {
  // nop, nopl with any address, int3; a last one may not be whole.
  while (!code.empty()) {
    std::size_t at = 0;
    while (at < code.size() && (code[at] == std::byte{0x66} || code[at] == std::byte{0x2e})) ++at;
    if (at == code.size()) return true;
    if (code[at] == std::byte{0x90} || (at == 0 && code[at] == std::byte{0xcc})) {
      code = code.subspan(at + 1);
      continue;
    }
    if (code[at] != std::byte{0x0f}) return false;
    if (at + 1 == code.size()) return true;
    if (code[at + 1] != std::byte{0x1f}) return false;
    const auto one = decode(code);
    if (!one) return true;
    code = code.subspan(one->length);
  }
  return true;
}

std::optional<MovedRun> move_run(std::span<const std::byte> code, Addr from, Addr to,
                                 std::size_t least) {
  MovedRun run;
  const auto inside = [&](std::int64_t target) {
    return target >= 0 && target < static_cast<std::int64_t>(least);
  };
  while (run.original_bytes < least) {
    const auto one = decode(code.subspan(run.original_bytes));
    if (!one) return std::nullopt;
    const auto bytes = code.subspan(run.original_bytes, one->length);
    run.places.push_back({run.original_bytes, run.bytes.size()});
    run.original_bytes += one->length;
    const auto target = static_cast<std::int64_t>(run.original_bytes) + one->distance;
    const Addr wanted = from + static_cast<std::uint64_t>(target);
    switch (one->flow) {
      case Flow::next:
      case Flow::system_call: {
        run.bytes.insert(run.bytes.end(), bytes.begin(), bytes.end());
        if (one->distance_at == 0) break;
        std::byte* at = run.bytes.data() + run.bytes.size() - one->length + one->distance_at;
        std::int32_t distance = 0;
        std::memcpy(&distance, at, sizeof distance);
        const Addr end_there = from + run.original_bytes;
        const Addr end_here = to + run.bytes.size();
        const auto adjusted =
            distance + static_cast<std::int64_t>(end_there.value - end_here.value);
        distance = static_cast<std::int32_t>(adjusted);
        if (distance != adjusted) return std::nullopt;
        std::memcpy(at, &distance, sizeof distance);
        break;
      }
      case Flow::branch: {
        if (inside(target)) return std::nullopt;
        const auto condition = one->is_short ? bytes[0] : bytes[1];
        run.bytes.push_back(std::byte{0x0f});
        run.bytes.push_back((condition & std::byte{0x0f}) | std::byte{0x80});
        if (!append_distance(run.bytes, to, wanted)) return std::nullopt;
        break;
      }
      case Flow::jump:
      case Flow::end: {
        // What else would be replaced must be nothing that is ever run.
        if (!one->is_return && one->flow == Flow::end) return std::nullopt;
        if (one->flow == Flow::jump && inside(target)) return std::nullopt;
        if (run.original_bytes < least &&
            !is_padding(code.subspan(run.original_bytes, least - run.original_bytes)))
          return std::nullopt;
        if (one->is_return) {
          run.bytes.insert(run.bytes.end(), bytes.begin(), bytes.end());
          return run;
        }
        run.bytes.push_back(std::byte{0xe9});
        if (!append_distance(run.bytes, to, wanted)) return std::nullopt;
        return run;
      }
      default: return std::nullopt;  // its return address would be here
    }
  }
  run.bytes.push_back(std::byte{0xe9});
  if (!append_distance(run.bytes, to, from + run.original_bytes)) return std::nullopt;
  return run;
}

}  // namespace ckpt::arch
