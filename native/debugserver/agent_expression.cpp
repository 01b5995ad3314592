#include "debugserver/agent_expression.hpp"

#include <array>
#include <cstring>
#include <limits>

namespace ckpt::debugserver {

namespace {

using Value = std::uint64_t;
using Signed = std::int64_t;

// Operations by their numbers.
enum class Op : std::uint8_t {
  add = 0x02,
  sub = 0x03,
  mul = 0x04,
  div_signed = 0x05,
  div_unsigned = 0x06,
  rem_signed = 0x07,
  rem_unsigned = 0x08,
  lsh = 0x09,
  rsh_signed = 0x0a,
  rsh_unsigned = 0x0b,
  log_not = 0x0e,
  bit_and = 0x0f,
  bit_or = 0x10,
  bit_xor = 0x11,
  bit_not = 0x12,
  equal = 0x13,
  less_signed = 0x14,
  less_unsigned = 0x15,
  ext = 0x16,
  ref8 = 0x17,
  ref64 = 0x1a,
  if_goto = 0x20,
  go_to = 0x21,
  const8 = 0x22,
  const64 = 0x25,
  reg = 0x26,
  end = 0x27,
  dup = 0x28,
  pop = 0x29,
  zero_ext = 0x2a,
  swap = 0x2b,
  pick = 0x32,
  rot
};

constexpr unsigned kBits = 64;

// Ends the evaluation: caught in evaluate().
struct Impossible {};

class Machine {
 public:
  Machine(std::span<const std::byte> code, const ExpressionSource& source)
      : code_(code), source_(source) {}

  Value run() {
    constexpr int kMostOperations = 10'000;
    for (int i = 0; i < kMostOperations; ++i) {
      const auto op = static_cast<Op>(operand(1));
      if (op == Op::end) return pop();
      execute(op);
    }
    throw Impossible();
  }

 private:
  void execute(Op op) {
    if (op >= Op::ref8 && op <= Op::ref64) return load(1U << (as_number(op) - as_number(Op::ref8)));
    if (op >= Op::const8 && op <= Op::const64)
      return push(operand(1U << (as_number(op) - as_number(Op::const8))));
    switch (op) {
      case Op::log_not: return push(pop() == 0 ? 1 : 0);
      case Op::bit_not: return push(~pop());
      case Op::ext: return extend(true);
      case Op::zero_ext: return extend(false);
      case Op::if_goto: {
        const auto target = operand(2);
        if (pop() != 0) at_ = target;
        return;
      }
      case Op::go_to: at_ = operand(2); return;
      case Op::reg: return push_register(operand(2));
      case Op::dup: return push(below(0));
      case Op::pop: pop(); return;
      case Op::swap: std::swap(below(0), below(1)); return;
      case Op::pick: return push(below(operand(1)));
      case Op::rot: {
        // a b c => c a b
        const Value top = below(0);
        below(0) = below(1);
        below(1) = below(2);
        below(2) = top;
        return;
      }
      default: return combine(op);
    }
  }

  void combine(Op op) {
    const Value second = pop();
    const Value first = pop();
    const auto signed_first = static_cast<Signed>(first);
    const auto signed_second = static_cast<Signed>(second);
    switch (op) {
      case Op::add: return push(first + second);
      case Op::sub: return push(first - second);
      case Op::mul: return push(first * second);
      case Op::div_signed:
        check_division(first, second);
        return push_signed(signed_first / signed_second);
      case Op::div_unsigned: check_divisor(second); return push(first / second);
      case Op::rem_signed:
        check_division(first, second);
        return push_signed(signed_first % signed_second);
      case Op::rem_unsigned: check_divisor(second); return push(first % second);
      case Op::lsh: return push(second < kBits ? first << second : 0);
      case Op::rsh_signed: return push_signed(signed_first >> std::min<Value>(second, kBits - 1));
      case Op::rsh_unsigned: return push(second < kBits ? first >> second : 0);
      case Op::bit_and: return push(first & second);
      case Op::bit_or: return push(first | second);
      case Op::bit_xor: return push(first ^ second);
      case Op::equal: return push(first == second ? 1 : 0);
      case Op::less_signed: return push(signed_first < signed_second ? 1 : 0);
      case Op::less_unsigned: return push(first < second ? 1 : 0);
      default: throw Impossible();
    }
  }

  static unsigned as_number(Op op) { return static_cast<unsigned>(op); }
  static void check_divisor(Value divisor) {
    if (divisor == 0) throw Impossible();
  }
  // The one quotient that has no number.
  static void check_division(Value first, Value divisor) {
    check_divisor(divisor);
    const bool overflows =
        first == static_cast<Value>(std::numeric_limits<Signed>::min()) && divisor == ~Value{0};
    if (overflows) throw Impossible();
  }

  // Big-endian, as in the packet.
  Value operand(unsigned bytes) {
    constexpr unsigned kBitsInByte = 8;
    if (code_.size() < bytes || at_ > code_.size() - bytes) throw Impossible();
    Value value = 0;
    while (bytes-- > 0) value = value << kBitsInByte | std::to_integer<Value>(code_[at_++]);
    return value;
  }

  void extend(bool with_sign) {
    const Value bits = operand(1);
    Value value = pop();
    if (bits == 0 || bits > kBits) throw Impossible();
    if (bits < kBits) {
      const Value sign = Value{1} << (bits - 1);
      value &= (sign << 1U) - 1;
      if (with_sign) value = (value ^ sign) - sign;
    }
    push(value);
  }

  void load(unsigned bytes) {
    std::array<std::byte, sizeof(Value)> read{};
    if (!source_.memory(Addr{pop()}, std::span(read).first(bytes))) throw Impossible();
    Value value = 0;
    std::memcpy(&value, read.data(), sizeof value);
    push(value);
  }

  void push_register(Value number) {
    const auto value = source_.register_value(number);
    if (!value) throw Impossible();
    push(*value);
  }

  Value& below(Value top) {
    if (top >= stack_.size()) throw Impossible();
    return stack_[stack_.size() - 1 - top];
  }
  Value pop() {
    const Value value = below(0);
    stack_.pop_back();
    return value;
  }
  void push(Value value) {
    constexpr std::size_t kMost = 1000;
    if (stack_.size() >= kMost) throw Impossible();
    stack_.push_back(value);
  }
  void push_signed(Signed value) { push(static_cast<Value>(value)); }

  std::span<const std::byte> code_;
  const ExpressionSource& source_;
  std::size_t at_ = 0;
  std::vector<Value> stack_;
};

}  // namespace

std::optional<std::uint64_t> evaluate(std::span<const std::byte> code,
                                      const ExpressionSource& source) {
  try {
    return Machine(code, source).run();
  } catch (const Impossible&) {
    return std::nullopt;
  }
}

}  // namespace ckpt::debugserver
