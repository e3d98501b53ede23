#include "tools/run/base64.h"

#include <algorithm>
#include <cstdint>

#include "kernels/error.h"

namespace fulmar::tools {
namespace {

constexpr std::string_view digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t word = 0;
    for (size_t i = 0; i < 3; i++)
      word = word << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; i++) text += i <= count ? digits[word >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::string from_base64(std::string_view text) {
  std::string bytes;
  bool good = text.size() % 4 == 0;
  for (size_t at = 0; at < text.size() && good; at += 4) {
    uint32_t word = 0;
    size_t count = 4;
    for (size_t i = 0; i < 4; i++) {
      const char c = text[at + i];
      const size_t digit = digits.find(c);
      const bool filling = c == '=' && i >= 2 && at + 4 == text.size();
      if (filling && count == 4) count = i;
      good = good && (filling || (digit != digits.npos && count == 4));
      word = word << 6 | (digit == digits.npos ? 0u : static_cast<uint32_t>(digit));
    }
    for (size_t i = 0; i + 1 < count; i++) bytes += static_cast<char>(word >> (16 - 8 * i) & 255);
  }
  if (!good)
    file_error("bytes written as base64 are expected, not '" + std::string(text.substr(0, 20)) +
               "…'");
  return bytes;
}

}  // namespace fulmar::tools
