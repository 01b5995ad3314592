#include "ids/frames.hpp"

#include <linux/futex.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/error.hpp"
#include "ids/id_use.hpp"
#include "libc/elf_symbols.hpp"

namespace ckpt::ids {

namespace {

using arch::kDwarfValues;
using arch::kRedZoneBytes;

arch::Word value_of(const tracee::Registers& registers, std::size_t number) {
  return arch::get_register(registers, arch::dwarf_register(number));
}

std::string name_of(std::size_t number) {
  return std::string(arch::register_names()[arch::dwarf_register(number)]);
}

// Reads a section's bytes; past the end it gives zeros and is not good any more.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::size_t at, std::size_t end)
      : bytes_(bytes), at_(at), end_(std::min(end, bytes.size())), good_(at <= end_) {}

  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool more() const { return good_ && at_ < end_; }
  [[nodiscard]] std::size_t at() const { return at_; }

  template <typename T>
  T fixed() {
    T value{};
    if (!good_ || end_ - at_ < sizeof value) {
      good_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::uint64_t unsigned_number() { return leb128().first; }
  std::int64_t signed_number() {
    const auto [value, bits] = leb128();
    const bool negative = bits > 0 && bits < 64 && ((value >> (bits - 1)) & 1U) != 0;
    return static_cast<std::int64_t>(negative ? value | (~std::uint64_t{0} << bits) : value);
  }
  void skip(std::uint64_t count) {
    good_ = good_ && count <= end_ - at_;
    if (good_) at_ += count;
  }
  /// A pointer in one of the encodings of DW_EH_PE_*; `base` is the section's address.
  std::uint64_t pointer(unsigned encoding, Addr base) {
    constexpr unsigned kFormat = 0x0f;
    constexpr unsigned kRelation = 0xf0;
    constexpr unsigned kToItself = 0x10;
    const std::uint64_t here = base.value + at_;
    std::uint64_t value = 0;
    switch (encoding & kFormat) {
      case 0x0:
      case 0x4:
      case 0xc: value = fixed<std::uint64_t>(); break;
      case 0x2: value = fixed<std::uint16_t>(); break;
      case 0x3: value = fixed<std::uint32_t>(); break;
      case 0xa: value = static_cast<std::uint64_t>(fixed<std::int16_t>()); break;
      case 0xb: value = static_cast<std::uint64_t>(fixed<std::int32_t>()); break;
      default: good_ = false;
    }
    const unsigned relation = encoding & kRelation;
    if (relation != 0 && relation != kToItself) good_ = false;
    return relation == kToItself ? value + here : value;
  }

 private:
  std::pair<std::uint64_t, unsigned> leb128() {
    constexpr unsigned kBits = 7;
    constexpr unsigned kMostBits = 63;
    std::uint64_t value = 0;
    for (unsigned bits = 0; bits <= kMostBits; bits += kBits) {
      const auto byte = fixed<std::uint8_t>();
      value |= std::uint64_t{byte & 0x7fU} << bits;
      if ((byte & 0x80U) == 0) return {value, bits + kBits};
    }
    good_ = false;
    return {0, 0};
  }

  std::span<const std::byte> bytes_;
  std::size_t at_;
  std::size_t end_;
  bool good_;
};

struct Common {  // a CIE
  std::uint64_t code_factor = 1;
  std::int64_t data_factor = 1;
  unsigned encoding = 0;
  bool has_data = false;
  std::size_t program = 0;
  std::size_t end = 0;
};

std::optional<Common> read_common(std::span<const std::byte> section, std::size_t at) {
  Cursor head(section, at, section.size());
  const auto length = head.fixed<std::uint32_t>();
  Common common;
  common.end = head.at() + length;
  Cursor cursor(section, head.at(), common.end);
  if (!head.good() || cursor.fixed<std::uint32_t>() != 0) return std::nullopt;
  const auto version = cursor.fixed<std::uint8_t>();
  std::string augmentation;
  while (const char c = cursor.fixed<char>()) augmentation += c;
  common.code_factor = cursor.unsigned_number();
  common.data_factor = cursor.signed_number();
  if (version == 1)
    cursor.fixed<std::uint8_t>();
  else
    cursor.unsigned_number();
  for (const char c : augmentation) switch (c) {
      case 'z':
        common.has_data = true;
        cursor.unsigned_number();
        break;
      case 'R': common.encoding = cursor.fixed<std::uint8_t>(); break;
      case 'L': cursor.fixed<std::uint8_t>(); break;
      case 'P': {
        const unsigned format = cursor.fixed<std::uint8_t>() & 0x0fU;
        cursor.pointer(format, {});
        break;
      }
      case 'S': break;  // a signal handler's frame
      default: return std::nullopt;
    }
  common.program = cursor.at();
  if (!cursor.good()) return std::nullopt;
  return common;
}

// Runs call frame instructions up to the one that is about code beyond `instruction`.
class Machine {
 public:
  Machine(const Common& common, std::uint64_t begin, std::uint64_t instruction)
      : common_(common), at_(begin), instruction_(instruction) {}

  /// False when the code says something that FrameRules cannot hold.
  bool run(Cursor cursor) {
    while (cursor.more() && at_ <= instruction_ && step(cursor)) {
    }
    return valid_ && cursor.good();
  }
  void begin_function() { initial_ = rules; }
  [[nodiscard]] bool has_base() const { return has_base_; }

  FrameRules rules;

 private:
  void set(std::uint64_t number, std::optional<std::int64_t> offset) {
    if (number < arch::kDwarfColumns) rules.saved.at(number) = offset;
  }
  void set_base(std::uint64_t number, std::int64_t offset) {
    valid_ = valid_ && number < kDwarfValues;
    rules.base_register = static_cast<std::size_t>(number);
    rules.base_offset = offset;
    has_base_ = true;
  }
  void restore(std::uint64_t number) {
    if (number < arch::kDwarfColumns) rules.saved.at(number) = initial_.saved.at(number);
  }
  std::int64_t factored(std::uint64_t number) const {
    return static_cast<std::int64_t>(number) * common_.data_factor;
  }
  void advance(std::uint64_t count) { at_ += count * common_.code_factor; }

  bool step(Cursor& cursor) {
    const auto byte = cursor.fixed<std::uint8_t>();
    const std::uint64_t low = byte & 0x3fU;
    switch (byte & 0xc0U) {
      case 0x40: advance(low); return true;
      case 0x80: set(low, factored(cursor.unsigned_number())); return true;
      case 0xc0: restore(low); return true;
      default: break;
    }
    std::uint64_t number = 0;
    switch (low) {
      case 0x00: break;                                         // nop
      case 0x02: advance(cursor.fixed<std::uint8_t>()); break;  // advance_loc1, 2, 4
      case 0x03: advance(cursor.fixed<std::uint16_t>()); break;
      case 0x04: advance(cursor.fixed<std::uint32_t>()); break;
      case 0x05:  // offset_extended
        number = cursor.unsigned_number();
        set(number, factored(cursor.unsigned_number()));
        break;
      case 0x06: restore(cursor.unsigned_number()); break;  // restore_extended
      case 0x07:                                            // undefined
      case 0x08: set(cursor.unsigned_number(), {}); break;  // same_value
      case 0x0a: stack_.push_back(rules); break;            // remember_state
      case 0x0b:                                            // restore_state
        valid_ = valid_ && !stack_.empty();
        if (!valid_) break;
        rules = stack_.back();
        stack_.pop_back();
        break;
      case 0x0c:  // def_cfa
        number = cursor.unsigned_number();
        set_base(number, static_cast<std::int64_t>(cursor.unsigned_number()));
        break;
      case 0x0d: set_base(cursor.unsigned_number(), rules.base_offset); break;
      case 0x0e:  // def_cfa_offset
        rules.base_offset = static_cast<std::int64_t>(cursor.unsigned_number());
        break;
      case 0x11:  // offset_extended_sf
        number = cursor.unsigned_number();
        set(number, cursor.signed_number() * common_.data_factor);
        break;
      case 0x12:  // def_cfa_sf
        number = cursor.unsigned_number();
        set_base(number, cursor.signed_number() * common_.data_factor);
        break;
      case 0x13: rules.base_offset = cursor.signed_number() * common_.data_factor; break;
      case 0x2e: cursor.unsigned_number(); break;  // GNU_args_size
      default: valid_ = false;                     // expressions and the like
    }
    return valid_;
  }

  const Common& common_;
  std::uint64_t at_;
  std::uint64_t instruction_;
  FrameRules initial_;
  std::vector<FrameRules> stack_;
  bool valid_ = true;
  bool has_base_ = false;
};

}  // namespace

std::optional<FrameRules> FrameTable::find(Addr instruction) const {
  constexpr std::uint32_t kLong = 0xffffffff;  // 64-bit DWARF, which is not used here
  const std::span<const std::byte> section(section_);
  for (std::size_t at = 0; at < section.size();) {
    Cursor head(section, at, section.size());
    const auto length = head.fixed<std::uint32_t>();
    if (!head.good() || length == kLong) return std::nullopt;
    const std::size_t body = head.at();
    if (length > section.size() - body) return std::nullopt;
    at = body + length;
    if (length == 0) continue;
    Cursor cursor(section, body, at);
    const auto back = cursor.fixed<std::uint32_t>();
    if (back == 0 || back > body) continue;
    const auto common = read_common(section, body - back);
    if (!common) continue;
    const std::uint64_t begin = cursor.pointer(common->encoding, address_);
    const std::uint64_t range = cursor.pointer(common->encoding & 0x0fU, address_);
    if (!cursor.good() || instruction.value - begin >= range) continue;
    if (common->has_data) cursor.skip(cursor.unsigned_number());
    Machine machine(*common, begin, instruction.value);
    if (!machine.run(Cursor(section, common->program, common->end))) return std::nullopt;
    machine.begin_function();
    if (!machine.run(Cursor(section, cursor.at(), at)) || !machine.has_base()) return std::nullopt;
    machine.rules.begin = Addr{begin};
    machine.rules.size_bytes = range;
    return machine.rules;
  }
  return std::nullopt;
}

std::optional<FrameRules> Frames::find(Addr instruction) {
  if (!std::exchange(read_, true)) {
    for (const auto& object : library_.objects) {
      try {
        if (auto section = libc::read_section(object.path, ".eh_frame"))
          tables_.emplace_back(std::move(section->bytes), Addr{object.bias + section->address});
      } catch (const Error&) {  // NOLINT(bugprone-empty-catch): as if it had none
      }
    }
  }
  const auto [known, is_new] = known_.try_emplace(instruction.value);
  for (auto table = tables_.begin(); is_new && !known->second && table != tables_.end(); ++table)
    known->second = table->find(instruction);
  return known->second;
}

namespace {

// A word that is the id, or the id with the flags of a lock word.
bool holds_id(std::uint64_t word, Tid id) {
  constexpr std::uint64_t kIdBits = FUTEX_TID_MASK;
  constexpr std::uint64_t kFlags = 0xffffffffU & ~kIdBits;
  return (word & ~kFlags) == static_cast<std::uint64_t>(id);
}

// A kernel clock that counts the CPU time of a process or thread: the id inverted, over three bits
// that say which (include/linux/posix-timers.h). The two lowest bits set: a descriptor's.
constexpr unsigned kClockBits = 3;
constexpr unsigned kDescriptorClock = 3;

// Ids as small are numbers of signals and the like, too.
constexpr Tid kLeastAskedId = 65;

using Matches = std::function<bool(std::uint64_t)>;

// What matches in the frames up to `last`; all of them are the library's.
OwnCopies collect(const tracee::Registers& registers, const tracee::Memory& memory,
                  const Frame* last, const Matches& matches) {
  OwnCopies copies;
  const RegisterSet plain = plain_arguments(registers, memory);
  for (std::size_t i = 0; i < kDwarfValues; ++i)
    if (!plain[i] && (!arch::is_kept_for_caller(i) || (last != nullptr && last->used[i])) &&
        matches(value_of(registers, i)))
      copies.registers.push_back(name_of(i));
  if (last == nullptr) return copies;
  std::set<Addr> of_program;
  for (std::size_t i = 0; i < kDwarfValues; ++i)
    if (last->used[i])
      for (const std::uint64_t half : {0, 4}) of_program.insert(last->program_at[i] + half);
  // Below the stack pointer is also the function's.
  const Addr begin = registers.sp() - kRedZoneBytes;
  std::vector<std::uint32_t> words((last->end - begin) / sizeof(std::uint32_t));
  const std::size_t got = memory.read_some(begin, std::as_writable_bytes(std::span(words)));
  words.resize(got / sizeof words[0]);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const Addr at = begin + i * sizeof words[i];
    if (matches(words[i]) && of_program.count(at) == 0) copies.words.push_back(at);
  }
  return copies;
}

// Who has put a value where it is decides whether it may be an id: a register that functions keep
// for their callers is that of the innermost one that has saved its caller's, and what that one has
// saved belongs to the next.
class OwnCopyFinder {
 public:
  OwnCopyFinder(const tracee::Registers& registers, const tracee::Memory& memory,
                std::span<const Frame> frames, OwnId own)
      : registers_(registers), memory_(memory), frames_(frames), own_(own) {
    for (const Frame& frame : frames) looking_.push_back(looks(frame));
  }

  OwnCopies find() {
    const RegisterSet plain = plain_arguments(registers_, memory_);
    for (std::size_t i = 0; i < kDwarfValues; ++i)
      if (!plain[i] && holds_id(value_of(registers_, i), own_.id) && may_hold(i))
        copies_.registers.push_back(name_of(i));
    if (!frames_.empty()) look_at_stack();
    return std::move(copies_);
  }

 private:
  bool looks(const Frame& frame) const {
    constexpr std::uint64_t kMostBytes = 64U << 10U;
    if (!own_.field || frame.rules.size_bytes > kMostBytes) return true;
    std::vector<std::byte> code(frame.rules.size_bytes);
    if (memory_.read_some(frame.rules.begin, code) != code.size()) return true;
    return looks_at_id(code, *own_.field);
  }

  // Whether a function, `depth` or one further out, may have left the id in the register.
  bool may_come(std::size_t reg, std::size_t depth) const {
    for (; depth < frames_.size(); ++depth)
      if (frames_[depth].rules.saved.at(reg)) return looking_[depth];
    return false;
  }
  bool may_hold(std::size_t reg) const {
    if (arch::is_kept_for_caller(reg)) return may_come(reg, 0);
    return looking_.empty() || looking_.front();
  }

  void look_at_stack() {
    // Below the stack pointer is also the function's.
    constexpr std::uint64_t kWordBytes = sizeof(std::uint64_t);
    const Addr begin{(registers_.sp().value - kRedZoneBytes) & ~(kWordBytes - 1)};
    std::vector<std::uint64_t> words((frames_.back().end - begin) / kWordBytes);
    words.resize(memory_.read_some(begin, std::as_writable_bytes(std::span(words))) / kWordBytes);
    std::size_t depth = 0;
    for (std::size_t i = 0; i < words.size(); ++i) {
      const Addr at = begin + i * kWordBytes;
      while (at >= frames_[depth].end) ++depth;
      if (is_place(words[i], at, depth)) copies_.words.push_back(at);
      if (is_upper_place(words[i], at, depth)) copies_.words.push_back(at + kWordBytes / 2);
    }
  }

  // The register that a function has saved for its caller there.
  std::optional<std::size_t> saved_at(Addr at, std::size_t depth) const {
    const Frame& frame = frames_[depth];
    for (std::size_t i = 0; i < frame.rules.saved.size(); ++i)
      if (frame.rules.saved.at(i) &&
          at == frame.end + static_cast<std::uint64_t>(*frame.rules.saved.at(i)))
        return i;
    return std::nullopt;
  }
  bool is_place(std::uint64_t word, Addr at, std::size_t depth) const {
    const auto saved = saved_at(at, depth);
    if (saved)
      return *saved < kDwarfValues && holds_id(word, own_.id) && may_come(*saved, depth + 1);
    return looking_[depth] && holds_id(word & kLowHalf, own_.id) && !is_pointer(word);
  }
  bool is_upper_place(std::uint64_t word, Addr at, std::size_t depth) const {
    return !saved_at(at, depth) && looking_[depth] && holds_id(word >> kHalfBits, own_.id) &&
           !is_pointer(word);
  }
  // Half of a pointer may be anything.
  bool is_pointer(std::uint64_t word) const {
    std::array<std::byte, 1> byte{};
    return word >> kHalfBits != 0 && memory_.read_some(Addr{word}, byte) == byte.size();
  }

  static constexpr unsigned kHalfBits = 32;
  static constexpr std::uint64_t kLowHalf = 0xffffffffU;

  const tracee::Registers& registers_;
  const tracee::Memory& memory_;
  std::span<const Frame> frames_;
  OwnId own_;
  std::vector<bool> looking_;
  OwnCopies copies_;
};

}  // namespace

std::vector<Frame> walk_frames(const tracee::Registers& registers, const tracee::Memory& memory,
                               Frames& frames) {
  constexpr std::size_t kMostFrames = 16;
  constexpr std::uint64_t kMostBytes = 64U << 10U;
  std::vector<Frame> walked;
  std::array<std::uint64_t, kDwarfValues> values{};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = value_of(registers, i);
  Frame frame;
  frame.at = registers.pc();
  while (walked.size() < kMostFrames) {
    const auto rules = frames.find(frame.lookup(walked.size()));
    if (!rules || !rules->saved[arch::kDwarfReturnAddress]) break;
    const auto base = static_cast<std::int64_t>(values.at(rules->base_register));
    frame.rules = *rules;
    frame.stack = Addr{values[arch::kDwarfStackPointer]};
    frame.end = Addr{static_cast<std::uint64_t>(base + rules->base_offset)};
    if (frame.end - registers.sp() > kMostBytes) break;
    const auto slot = [&](std::size_t i) {
      return frame.end + static_cast<std::uint64_t>(*rules->saved.at(i));
    };
    const auto read = [&](std::size_t i, std::uint64_t& value) {
      const auto bytes = std::as_writable_bytes(std::span(&value, 1));
      return memory.read_some(slot(i), bytes) == bytes.size();
    };
    bool good = read(arch::kDwarfReturnAddress, frame.back.value);
    for (std::size_t i = 0; good && i < values.size(); ++i) {
      if (!rules->saved.at(i)) continue;
      frame.used.at(i) = true;
      frame.program_at.at(i) = slot(i);
      good = read(i, values.at(i));
    }
    if (!good) break;  // a stack that is none
    values[arch::kDwarfStackPointer] = frame.end.value;
    walked.push_back(frame);
    frame.at = frame.back;
  }
  return walked;
}

OwnCopies find_own_copies(const tracee::Registers& registers, const tracee::Memory& memory,
                          const libc::Library& library, Frames& frames, OwnId own) {
  auto walked = walk_frames(registers, memory, frames);
  const auto caller = std::find_if(walked.begin(), walked.end(), [&](const Frame& frame) {
    return !library.is_locking(frame.back);
  });
  if (caller == walked.end())
    walked.clear();
  else
    walked.erase(caller + 1, walked.end());
  return OwnCopyFinder(registers, memory, walked, own).find();
}

OwnCopies find_asked_copies(const tracee::Registers& registers, const tracee::Memory& memory,
                            const libc::Library& library, Frames& frames,
                            const std::set<Tid>& ids) {
  const auto walked = walk_frames(registers, memory, frames);
  const Frame* asking = nullptr;
  const Frame* clock = nullptr;
  for (std::size_t i = 0; i < walked.size(); ++i) {
    if (library.is_asking(walked[i].lookup(i))) asking = &walked[i];
    if (library.is_clock(walked[i].lookup(i))) clock = &walked[i];
  }
  const auto is_clock = [&](std::uint64_t word) { return ids.contains(id_of_clock(word)); };
  OwnCopies copies;
  // The kernel's part of such a function (vdso) is not described.
  if (walked.empty() && library.is_clock(registers.pc()))
    copies = collect(registers, memory, nullptr, is_clock);
  if (asking != nullptr)
    copies = collect(registers, memory, asking, [&](std::uint64_t word) {
      return word >= kLeastAskedId && word >> 31U == 0 && ids.contains(static_cast<Tid>(word));
    });
  if (clock == nullptr) return copies;
  auto clocks = collect(registers, memory, clock, is_clock);
  copies.registers.insert(copies.registers.end(), clocks.registers.begin(), clocks.registers.end());
  copies.words.insert(copies.words.end(), clocks.words.begin(), clocks.words.end());
  return copies;
}

std::optional<std::size_t> general_register(std::string_view name) {
  for (std::size_t i = 0; i < kDwarfValues; ++i)
    if (name_of(i) == name) return arch::dwarf_register(i);
  return std::nullopt;
}

std::string name_of_argument(std::size_t n) { return name_of(arch::kDwarfOfArguments.at(n)); }

Tid id_of_clock(std::uint64_t clock) {
  const auto value = static_cast<std::int32_t>(clock);
  const std::uint64_t high = clock >> 32U;
  // The upper half of a register is not said to be anything.
  if (value >= 0 || (high != 0 && high != 0xffffffffU)) return 0;
  if ((clock & kDescriptorClock) == kDescriptorClock) return 0;
  return ~(value >> kClockBits);  // NOLINT(hicpp-signed-bitwise): sign-extending
}

}  // namespace ckpt::ids
