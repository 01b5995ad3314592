// What is not written yet. See arch/aarch64/constants.hpp.
#include <vector>

#include "arch/code.hpp"
#include "arch/debug_registers.hpp"
#include "arch/instructions.hpp"
#include "arch/loop.hpp"
#include "arch/signal_frame.hpp"
#include "arch/way_back.hpp"
#include "arch/xstate.hpp"
#include "base/error.hpp"

namespace ckpt::arch {

namespace {

[[noreturn]] void not_yet(const char* what) {
  fail(ErrorKind::unsupported, "{}: not supported on this architecture yet", what);
}

}  // namespace

std::optional<std::uint32_t> last_number_loaded(std::span<const std::byte> /*code*/,
                                                bool (* /*is_wanted*/)(std::uint64_t number)) {
  return std::nullopt;
}

bool is_direct_call(std::span<const std::byte> /*code*/) { return false; }

bool is_instruction_set(std::string_view /*flag*/) { return true; }

// -- loop.hpp, way_back.hpp --

void enter_loop(Registers& /*registers*/, Addr /*entry*/, const LoopRun& /*run*/) {
  not_yet("loop");
}

std::span<const std::byte> loop_code() noexcept { return {}; }
std::span<const std::byte> back_code() noexcept { return {}; }
std::size_t loop_run_offset() noexcept { return 0; }
std::size_t loop_end_offset() noexcept { return 0; }
std::size_t loop_syscall_offset() noexcept { return 0; }
std::size_t loop_once_offset() noexcept { return 0; }
std::size_t loop_park_offset() noexcept { return 0; }
std::size_t loop_tiles_offset() { not_yet("tiles"); }
std::array<std::byte, 64> tile_configuration() { not_yet("tiles"); }

std::vector<std::byte> way_back_frame(Addr /*at*/, const GoingOn& /*to*/, std::uint64_t /*mask*/,
                                      std::span<const std::byte> /*xstate*/) {
  not_yet("way back");
}

Addr way_back_stack(Addr /*frame*/) { not_yet("way back"); }

std::uint64_t way_back_bytes(std::size_t /*xstate_bytes*/) { not_yet("way back"); }

// -- signal_frame.hpp --

std::optional<Registers> signal_registers(std::span<const std::byte> /*bytes*/) {
  return std::nullopt;
}

std::size_t signal_register_offset(std::string_view /*name*/) { not_yet("signal frames"); }

// -- xstate.hpp --

const XstateLayout& own_xstate_layout() {
  static const XstateLayout none;
  return none;
}

XstateLayout presumed_xstate_layout(std::span<const std::byte> /*xstate*/) { return {}; }

bool is_possible(const XstateComponent& /*component*/) { return false; }

std::uint64_t live_components(std::span<const std::byte> /*xstate*/) { return 0; }

std::string components_not_in(std::span<const std::byte> /*made*/,
                              std::span<const std::byte> /*before*/,
                              const XstateLayout& /*layout*/) {
  return {};
}

std::string lost_components(std::span<const std::byte> /*xstate*/, const XstateLayout& /*saved*/,
                            const XstateLayout& /*own*/) {
  return {};
}

std::vector<std::byte> convert_xstate(std::span<const std::byte> saved,
                                      const XstateLayout& /*saved_layout*/,
                                      std::span<const std::byte> /*model*/,
                                      const XstateLayout& /*own*/) {
  return {saved.begin(), saved.end()};
}

std::vector<std::byte> area_for_debuggers(std::span<const std::byte> area,
                                          const XstateLayout& /*layout*/) {
  return {area.begin(), area.end()};
}

std::optional<std::vector<std::byte>> convert_signal_state(std::span<const std::byte> /*frame*/,
                                                           const XstateLayout& /*saved*/,
                                                           const XstateLayout& /*own*/) {
  return std::nullopt;
}

std::uint64_t state_save_bytes(const XstateLayout& /*layout*/) { return 0; }

std::vector<StateSave> find_state_saves(std::span<const std::byte> /*code*/) { return {}; }

// -- debug_registers.hpp --

void set_debug_registers(Tid /*tid*/, Addr /*data*/, Addr /*code*/) { not_yet("debug registers"); }

void ckpt_probe_code() {}

// -- code.hpp --

std::vector<std::byte> function_of_nothing() { not_yet("code"); }

std::vector<std::byte> function_of_syscall(std::uint32_t /*number*/) { not_yet("code"); }

std::vector<std::byte> function_of_getrandom() { not_yet("code"); }

std::array<std::byte, kFarJumpBytes> far_jump(Addr /*target*/) { not_yet("code"); }

// -- instructions.hpp --

std::optional<Instruction> decode(std::span<const std::byte> /*code*/) { return std::nullopt; }

std::optional<Reached> reach(std::span<const std::byte> /*code*/, Addr /*begin*/, Addr /*from*/) {
  return std::nullopt;
}

bool has_target_within(std::span<const std::byte> /*code*/, Addr /*begin*/, Addr /*first*/,
                       Addr /*end*/) {
  return true;
}

bool is_padding(std::span<const std::byte> /*code*/) { return false; }

std::optional<MovedRun> move_run(std::span<const std::byte> /*code*/, Addr /*from*/, Addr /*to*/,
                                 std::size_t /*least*/) {
  return std::nullopt;
}

std::optional<Movable> movable_instruction(std::span<const std::byte> /*code*/) {
  return std::nullopt;
}

std::array<std::byte, kPatchBytes> jump_to(Addr /*from*/, Addr /*to*/) { not_yet("code"); }

std::optional<std::vector<std::byte>> move_instructions(std::span<const std::byte> /*code*/,
                                                        Addr /*from*/, Addr /*to*/,
                                                        std::size_t& /*moved_bytes*/) {
  return std::nullopt;
}

std::optional<NumberLoad> number_load(std::span<const std::byte> /*code*/, bool /*any_form*/) {
  return std::nullopt;
}

std::vector<std::size_t> find_syscall_bytes(std::span<const std::byte> /*code*/) { return {}; }

Clone3Code clone3_code() { return {}; }

std::vector<std::byte> flight_stub(Addr /*at*/, Addr /*flight_code*/) { not_yet("code"); }

std::vector<std::byte> result_stub(Addr /*at*/, Addr /*translation*/) { not_yet("code"); }

void pad_code(std::vector<std::byte>& code, std::size_t size) { code.resize(size); }

}  // namespace ckpt::arch
