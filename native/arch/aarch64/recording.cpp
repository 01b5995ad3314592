// What recordings need of the architecture. See arch/aarch64/constants.hpp: nothing is written yet,
// so that every call is refused by its number.
#include "arch/memory_accesses.hpp"
#include "arch/position_stub.hpp"
#include "arch/syscall_rules.hpp"
#include "arch/target_description.hpp"
#include "arch/unpredictable.hpp"
#include "base/error.hpp"

namespace ckpt::arch {

namespace {

[[noreturn]] void no_recordings() {
  fail(ErrorKind::unsupported, "recordings: not supported on this architecture yet");
}

}  // namespace

const SyscallRule* syscall_rule(Word /*number*/) { return nullptr; }
std::span<const SyscallRule> syscall_rules() { return {}; }
bool is_native_call(const Registers& /*registers*/) { return false; }
MemoryCalls memory_calls() { no_recordings(); }
int clone_call() { no_recordings(); }
int emulate_calls_request() { no_recordings(); }
int emulate_calls_step_request() { no_recordings(); }
std::optional<std::size_t> first_difference(const Registers& /*expected*/,
                                            const Registers& /*found*/, bool /*at_call*/) {
  no_recordings();
}
void clear_traces_of_stepping(Registers& /*registers*/) { no_recordings(); }
Registers after_call(const Registers& /*at_entry*/, std::int64_t /*result*/) { no_recordings(); }
Registers before_call(const Registers& /*at_entry*/) { no_recordings(); }
bool shows_stepping(std::span<const std::byte> /*code*/) { no_recordings(); }
void clear_pushed_stepping(std::span<std::byte, kPushedFlagsBytes> /*flags*/) { no_recordings(); }
bool is_repeating(std::span<const std::byte> /*code*/) { no_recordings(); }

std::string target_description() { no_recordings(); }
std::vector<std::byte> described_registers(const Registers& /*registers*/,
                                           std::span<const std::byte> /*xstate*/) {
  return {};
}
DescribedRegister described_register(std::uint64_t /*number*/) { return {}; }
std::span<const std::uint8_t> expedited_registers() { return {}; }

std::optional<std::size_t> room_for_stub(std::span<const std::byte> /*code*/) {
  return std::nullopt;
}
std::optional<PositionStub> position_stub(std::span<const std::byte> /*code*/, Addr /*from*/,
                                          Addr /*at*/, const Registers& /*expected*/) {
  return std::nullopt;
}
std::optional<PositionStub> counting_stub(std::span<const std::byte> /*code*/, Addr /*from*/,
                                          Addr /*at*/, std::uint64_t /*passes*/) {
  return std::nullopt;
}
Registers registers_at_position(const Registers& /*at_hit*/,
                                std::span<const std::byte, kStubKeptBytes> /*kept*/,
                                Addr /*from*/) {
  no_recordings();
}

std::string_view unpredictable_name(Unpredictable /*kind*/) { return ""; }
bool may_have_unpredictable(std::span<const std::byte> /*code*/) { return false; }
std::vector<UnpredictableSite> find_unpredictable(
    std::span<const std::byte> /*code*/, Addr /*at*/,
    const std::function<std::optional<FunctionRange>(Addr)>& /*function_of*/) {
  return {};
}
void execute_unpredictable(const UnpredictableSite& /*site*/, Registers& /*registers*/) {
  no_recordings();
}

std::uint64_t described_register_count() { return 0; }
bool set_described_register(std::uint64_t /*number*/, std::span<const std::byte> /*value*/,
                            Registers& /*registers*/, std::span<std::byte> /*xstate*/) {
  return false;
}
std::vector<MemoryAccess> memory_accesses(std::span<const std::byte> /*code*/,
                                          const Registers& /*registers*/) {
  return {};
}

}  // namespace ckpt::arch
