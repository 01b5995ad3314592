#include "threads/instructions.hpp"

#include <cstring>

namespace ckpt::threads {

namespace {

// What follows an opcode. Intel's manual, volume 2, appendix A has the tables.
enum class Form : std::uint8_t { invalid, plain, modrm };
struct Shape {
  Form form = Form::invalid;
  std::size_t immediate = 0;
  bool is_branch = false;
};
constexpr std::size_t kWord = 4;  // an immediate of the operand's size, which is at most this

constexpr bool between(unsigned value, unsigned first, unsigned last) {
  return value >= first && value <= last;
}

Shape arithmetic(unsigned opcode) {
  const unsigned low = opcode & 7U;
  if (low < 4) return {Form::modrm};
  if (low == 4) return {Form::plain, 1};
  return low == 5 ? Shape{Form::plain, kWord} : Shape{};
}

Shape one_byte(unsigned opcode, bool wide) {
  if (opcode < 0x40) return arithmetic(opcode);
  if (between(opcode, 0x50, 0x5f) || between(opcode, 0x90, 0x99) || between(opcode, 0x9b, 0x9f) ||
      between(opcode, 0xa4, 0xa7) || between(opcode, 0xaa, 0xaf) || between(opcode, 0x6c, 0x6f))
    return {Form::plain};
  if (between(opcode, 0x70, 0x7f) || between(opcode, 0xe0, 0xe3) || opcode == 0xeb)
    return {Form::plain, 1, true};
  if (opcode == 0xe8 || opcode == 0xe9) return {Form::plain, kWord, true};
  if (between(opcode, 0xb0, 0xb7)) return {Form::plain, 1};
  if (between(opcode, 0xb8, 0xbf)) return {Form::plain, wide ? 8U : kWord};
  if (between(opcode, 0x84, 0x8f) || between(opcode, 0xd0, 0xd3) || between(opcode, 0xd8, 0xdf))
    return {Form::modrm};
  switch (opcode) {
    case 0x63:
    case 0xfe:
    case 0xff: return {Form::modrm};
    case 0x68:
    case 0xa9: return {Form::plain, kWord};
    case 0x6a:
    case 0xa8:
    case 0xcd: return {Form::plain, 1};
    case 0xc2: return {Form::plain, 2};
    case 0x69:
    case 0x81:
    case 0xc7: return {Form::modrm, kWord};
    case 0x6b:
    case 0x80:
    case 0x83:
    case 0xc0:
    case 0xc1:
    case 0xc6: return {Form::modrm, 1};
    case 0xc3:
    case 0xc9:
    case 0xcc:
    case 0xf4:
    case 0xf8:
    case 0xf9:
    case 0xfc:
    case 0xfd: return {Form::plain};
    default: return {};
  }
}

Shape two_bytes(unsigned opcode) {
  if (between(opcode, 0x80, 0x8f)) return {Form::plain, kWord, true};
  if (between(opcode, 0x10, 0x1f) || between(opcode, 0x28, 0x2f) || between(opcode, 0x40, 0x6f) ||
      between(opcode, 0x74, 0x76) || between(opcode, 0x7e, 0x7f) || between(opcode, 0x90, 0x9f) ||
      between(opcode, 0xad, 0xb8) || between(opcode, 0xbb, 0xc1) || between(opcode, 0xd0, 0xfe))
    return {Form::modrm};
  if (between(opcode, 0x70, 0x73) || between(opcode, 0xc4, 0xc6)) return {Form::modrm, 1};
  if (between(opcode, 0xc8, 0xcf)) return {Form::plain};
  switch (opcode) {
    case 0x01:
    case 0x0d:
    case 0xa3:
    case 0xa5:
    case 0xab:
    case 0xc3:
    case 0xc7: return {Form::modrm};
    case 0xa4:
    case 0xac:
    case 0xba:
    case 0xc2: return {Form::modrm, 1};
    case 0x05:  // syscall
    case 0x0b:  // ud2
    case 0x31:
    case 0x77:
    case 0xa2: return {Form::plain};
    default: return {};
  }
}

class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> code) : code_(code) {}

  std::optional<Instruction> run() {
    bool short_operand = false;
    for (;; ++at_) {
      const unsigned prefix = here();
      if (prefix == 0x66) short_operand = true;
      if (prefix != 0x66 && prefix != 0xf2 && prefix != 0xf3 && prefix != 0x2e && prefix != 0x3e &&
          prefix != 0x64 && prefix != 0x65 && prefix != 0xf0)
        break;
      if (at_ > kMostBytes) return std::nullopt;
    }
    bool wide = false;
    if ((here() & 0xf0U) == 0x40) wide = (next() & 8U) != 0;
    unsigned opcode = next();
    Shape shape;
    if (opcode != 0x0f) {
      shape = one_byte(opcode, wide);
      // TEST has an immediate, the others of its group have none.
      if (opcode == 0xf6 || opcode == 0xf7) {
        const bool tests = ((here() >> 3U) & 7U) < 2;
        shape = {Form::modrm, !tests ? 0U : (opcode == 0xf6 ? 1U : kWord)};
      }
    } else {
      shape = two_bytes(next());
    }
    if (shape.form == Form::invalid) return std::nullopt;
    if (shape.form == Form::modrm) skip_operand();
    if (short_operand && shape.immediate == kWord && !shape.is_branch) shape.immediate = 2;
    at_ += shape.immediate;
    if (at_ > code_.size() || at_ > kMostBytes) return std::nullopt;
    Instruction result{at_, std::nullopt};
    if (shape.is_branch) result.branch = distance(shape.immediate);
    return result;
  }

 private:
  static constexpr std::size_t kMostBytes = 15;

  [[nodiscard]] unsigned here() const {
    return at_ < code_.size() ? std::to_integer<unsigned>(code_[at_]) : 0x06U;  // which is invalid
  }
  unsigned next() {
    const unsigned value = here();
    ++at_;
    return value;
  }

  void skip_operand() {
    const unsigned form = next();
    const unsigned mode = form >> 6U;
    unsigned base = form & 7U;
    if (mode == 3) return;
    if (base == 4) {  // a scale-index-base byte follows
      base = next() & 7U;
      if (mode == 0 && base == 5) at_ += kWord;
    } else if (mode == 0 && base == 5) {
      at_ += kWord;  // from the program counter
    }
    if (mode == 1) at_ += 1;
    if (mode == 2) at_ += kWord;
  }

  [[nodiscard]] std::int32_t distance(std::size_t bytes) const {
    if (bytes == 1) return std::to_integer<std::int8_t>(code_[at_ - 1]);
    std::int32_t value = 0;
    std::memcpy(&value, code_.data() + at_ - sizeof value, sizeof value);
    return value;
  }

  std::span<const std::byte> code_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<Instruction> decode(std::span<const std::byte> code) { return Decoder(code).run(); }

}  // namespace ckpt::threads
