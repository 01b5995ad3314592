// The look over CBOR and the parser behind it must agree: what passes the first is never a surprise
// to the second.
#include "image/cbor.hpp"

#include <span>

#include <nlohmann/json.hpp>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using Json = nlohmann::json;
  if (!ckpt::image::is_plain_cbor(std::as_bytes(std::span(data, size)), {})) return 0;
  try {
    static_cast<void>(Json::from_cbor(data, data + size));
  } catch (const Json::exception&) {
    // Plain, but of a kind JSON does not have, such as a map with numbers for keys.
  }
  return 0;
}
