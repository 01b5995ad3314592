// The features that GDB knows (gdb/features/i386): core, sse, linux, segments, avx. Their registers
// have numbers in the order of their description.
#include "arch/target_description.hpp"

#include <array>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "arch/xstate.hpp"

namespace ckpt::arch {

namespace {

// Where something lies in the legacy area of XSAVE (Intel SDM volume 1, 10.5.1).
constexpr std::size_t kControlAt = 0;
constexpr std::size_t kStatusAt = 2;
constexpr std::size_t kTagAt = 4;
constexpr std::size_t kOpcodeAt = 6;
constexpr std::size_t kInstructionAt = 8;
constexpr std::size_t kOperandAt = 16;
constexpr std::size_t kMxcsrAt = 24;
constexpr std::size_t kStackRegistersAt = 32;
constexpr std::size_t kVectorsAt = 160;
constexpr unsigned kUpperHalves = 2;  // the component with the upper halves of AVX's registers
constexpr std::size_t kVectorBytes = 16;
constexpr std::size_t kVectors = 16;

constexpr std::array<std::string_view, 17> kGeneral = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi",
                                                       "rbp", "rsp", "r8",  "r9",  "r10", "r11",
                                                       "r12", "r13", "r14", "r15", "rip"};
constexpr std::array<std::string_view, 7> kSmall = {"eflags", "cs", "ss", "ds", "es", "fs", "gs"};
constexpr std::array<std::string_view, 8> kFloating = {"fctrl", "fstat", "ftag",  "fiseg",
                                                       "fioff", "foseg", "fooff", "fop"};
constexpr std::array<std::string_view, 3> kLast = {"orig_rax", "fs_base", "gs_base"};

constexpr std::string_view kVectorTypes = R"(<vector id="v8bf16" type="bfloat16" count="8"/>
<vector id="v8h" type="ieee_half" count="8"/>
<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>
<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>
<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>
<union id="vec128"><field name="v8_bfloat16" type="v8bf16"/><field name="v8_half" type="v8h"/>
<field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>
<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/>
<field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/>
<field name="uint128" type="uint128"/></union>
)";

std::string described(std::string_view name, std::size_t size_bytes, std::string_view type) {
  return fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"/>\n", name, 8 * size_bytes, type);
}

std::string_view type_of(std::string_view general) {
  if (general == "rip") return "code_ptr";
  return general == "rbp" || general == "rsp" ? "data_ptr" : "int64";
}

// Collects registers in the description's order.
class Layout {
 public:
  Layout(const Registers& registers, std::span<const std::byte> xstate)
      : registers_(registers), xstate_(xstate) {}

  // Where a register's value comes from; neither for what is calculated.
  struct Origin {
    std::optional<std::size_t> general;
    std::size_t state_at = 0;
    std::size_t state_bytes = 0;
  };

  void general(std::string_view name, std::size_t size_bytes) {
    const std::size_t index = register_index(name).value();
    const Word value = get_register(registers_, index);
    origins.push_back({index, 0, 0});
    add(std::as_bytes(std::span(&value, 1)).first(size_bytes));
  }
  void state(std::size_t offset, std::size_t size_bytes) {
    std::vector<std::byte> value(size_bytes);
    if (offset + size_bytes <= xstate_.size())
      std::memcpy(value.data(), xstate_.data() + offset, size_bytes);
    origins.push_back({std::nullopt, offset, size_bytes});
    add(value);
  }
  void word(std::size_t offset, std::size_t size_bytes) {
    std::uint32_t value = 0;
    if (offset + size_bytes <= xstate_.size())
      std::memcpy(&value, xstate_.data() + offset, size_bytes);
    const bool is_set = offset == kControlAt || offset == kStatusAt || offset == kMxcsrAt;
    origins.push_back({std::nullopt, offset, is_set ? size_bytes : 0});
    add(std::as_bytes(std::span(&value, 1)));
  }
  // One bit for each register: GDB wants two.
  void tags() {
    std::uint32_t tags = 0;
    for (unsigned i = 0; i < 8; ++i) {
      const bool used =
          kTagAt < xstate_.size() && (std::to_integer<unsigned>(xstate_[kTagAt]) >> i & 1U) != 0;
      tags |= (used ? 0U : 3U) << (2 * i);
    }
    origins.push_back({});
    add(std::as_bytes(std::span(&tags, 1)));
  }

  std::vector<std::byte> bytes;
  std::vector<DescribedRegister> places;
  std::vector<Origin> origins;

 private:
  void add(std::span<const std::byte> value) {
    places.push_back({bytes.size(), value.size()});
    bytes.insert(bytes.end(), value.begin(), value.end());
  }
  const Registers& registers_;
  std::span<const std::byte> xstate_;
};

void add_floating(Layout& layout) {
  constexpr std::size_t kStackRegisters = 8;
  for (std::size_t i = 0; i < kStackRegisters; ++i)
    layout.state(kStackRegistersAt + i * kVectorBytes, 10);
  layout.word(kControlAt, 2);
  layout.word(kStatusAt, 2);
  layout.tags();
  layout.word(kInstructionAt + 4, 2);
  layout.word(kInstructionAt, 4);
  layout.word(kOperandAt + 4, 2);
  layout.word(kOperandAt, 4);
  layout.word(kOpcodeAt, 2);
}

// Nothing if the processor has none.
std::size_t upper_halves_at() {
  for (const auto& component : own_xstate_layout())
    if (component.number == kUpperHalves) return component.offset;
  return 0;
}

Layout laid_out(const Registers& registers, std::span<const std::byte> xstate) {
  Layout layout(registers, xstate);
  for (const auto name : kGeneral) layout.general(name, 8);
  for (const auto name : kSmall) layout.general(name, 4);
  add_floating(layout);
  for (std::size_t i = 0; i < kVectors; ++i)
    layout.state(kVectorsAt + i * kVectorBytes, kVectorBytes);
  layout.word(kMxcsrAt, 4);
  for (const auto name : kLast) layout.general(name, 8);
  if (const std::size_t upper = upper_halves_at())
    for (std::size_t i = 0; i < kVectors; ++i) layout.state(upper + i * kVectorBytes, kVectorBytes);
  return layout;
}

std::string core_feature() {
  std::string text = "<feature name=\"org.gnu.gdb.i386.core\">\n";
  for (const auto name : kGeneral) text += described(name, 8, type_of(name));
  for (const auto name : kSmall) text += described(name, 4, "int32");
  for (int i = 0; i < 8; ++i) text += described(fmt::format("st{}", i), 10, "i387_ext");
  for (const auto name : kFloating) text += described(name, 4, "int");
  return text + "</feature>\n";
}

std::string vector_feature() {
  std::string text = "<feature name=\"org.gnu.gdb.i386.sse\">\n";
  text += kVectorTypes;
  for (std::size_t i = 0; i < kVectors; ++i)
    text += described(fmt::format("xmm{}", i), kVectorBytes, "vec128");
  return text + described("mxcsr", 4, "int") + "</feature>\n";
}

std::string upper_feature() {
  if (upper_halves_at() == 0) return {};
  std::string text = "<feature name=\"org.gnu.gdb.i386.avx\">\n";
  for (std::size_t i = 0; i < kVectors; ++i)
    text += described(fmt::format("ymm{}h", i), kVectorBytes, "uint128");
  return text + "</feature>\n";
}

}  // namespace

std::string target_description() {
  return "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target>\n"
         "<architecture>i386:x86-64</architecture>\n<osabi>GNU/Linux</osabi>\n" +
         core_feature() + vector_feature() + "<feature name=\"org.gnu.gdb.i386.linux\">\n" +
         described("orig_rax", 8, "int") +
         "</feature>\n<feature name=\"org.gnu.gdb.i386.segments\">\n" +
         described("fs_base", 8, "int") + described("gs_base", 8, "int") + "</feature>\n" +
         upper_feature() + "</target>\n";
}

std::vector<std::byte> described_registers(const Registers& registers,
                                           std::span<const std::byte> xstate) {
  return laid_out(registers, xstate).bytes;
}

DescribedRegister described_register(std::uint64_t number) {
  static const auto places = laid_out(Registers{}, {}).places;
  return number < places.size() ? places[number] : DescribedRegister{};
}

std::uint64_t described_register_count() {
  static const auto count = laid_out(Registers{}, {}).places.size();
  return count;
}

namespace {

// What XSAVE's header says of each component: whether its registers are other than at the start.
void mark_in_use(std::span<std::byte> xstate, std::size_t at) {
  constexpr std::size_t kHeaderAt = 512;
  const unsigned component = at >= kHeaderAt ? kUpperHalves : at == kMxcsrAt || at >= kVectorsAt;
  xstate[kHeaderAt] |= std::byte{1} << component;
}

}  // namespace

bool set_described_register(std::uint64_t number, std::span<const std::byte> value,
                            Registers& registers, std::span<std::byte> xstate) {
  constexpr std::size_t kHeaderEnd = 576;
  static const auto layout = laid_out(Registers{}, {});
  if (number >= layout.places.size() || layout.places[number].size_bytes != value.size())
    return false;
  const auto& origin = layout.origins[number];
  if (origin.general) {
    Word word = get_register(registers, *origin.general);
    std::memcpy(&word, value.data(), value.size());
    set_register(registers, *origin.general, word);
    return true;
  }
  if (origin.state_bytes == 0) return true;
  if (xstate.size() < kHeaderEnd || origin.state_at + origin.state_bytes > xstate.size())
    return false;
  std::memcpy(xstate.data() + origin.state_at, value.data(), origin.state_bytes);
  mark_in_use(xstate, origin.state_at);
  return true;
}

std::span<const std::uint8_t> expedited_registers() {
  static constexpr std::array<std::uint8_t, 3> kNumbers = {6, 7, 16};
  return kNumbers;
}

}  // namespace ckpt::arch
