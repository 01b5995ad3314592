#include "arch/code.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <span>

namespace ckpt::arch {

namespace {

class Code {
 public:
  Code& put(std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) bytes_.push_back(static_cast<std::byte>(byte));
    return *this;
  }
  template <typename T>
  Code& put_value(T value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace

std::vector<std::byte> function_of_nothing() {
  Code code;
  return code.put({0x48, 0xc7, 0xc0}).put_value(std::int32_t{-ENOSYS}).put({0xc3}).bytes();
}

std::vector<std::byte> function_of_syscall(std::uint32_t number) {
  Code code;
  return code.put({0xb8}).put_value(number).put({0x0f, 0x05, 0xc3}).bytes();
}

std::vector<std::byte> function_of_getrandom() {
  auto code = Code().put({0x49, 0x83, 0xf8, 0xff, 0x74, 8}).bytes();  // cmp $-1, %r8; je
  for (const auto& more : {function_of_syscall(SYS_getrandom), function_of_nothing()})
    code.insert(code.end(), more.begin(), more.end());
  return code;
}

std::array<std::byte, kFarJumpBytes> far_jump(Addr target) {
  // r11 is a scratch register that no argument is passed in (System V ABI, figure 3.4).
  const auto code =
      Code().put({0x49, 0xbb}).put_value(target.value).put({0x41, 0xff, 0xe3}).bytes();
  std::array<std::byte, kFarJumpBytes> bytes{};
  std::copy(code.begin(), code.end(), bytes.begin());
  return bytes;
}

}  // namespace ckpt::arch
