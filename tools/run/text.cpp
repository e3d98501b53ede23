#include "tools/run/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace fulmar::tools {
namespace {

// "1.88", "18.8", "188", and the prefix of the power of 1000.
struct Scaled {
  std::string digits;
  std::string prefix;
};

Scaled scaled(double n) {
  static constexpr std::array<const char*, 7> prefixes{"", "k", "M", "G", "T", "P", "E"};
  size_t power = 0;
  while (n >= 999.5 && power + 1 < prefixes.size()) {
    n /= 1000;
    power++;
  }
  const int decimals = power == 0 && n == std::floor(n) ? 0 : n < 9.995 ? 2 : n < 99.95 ? 1 : 0;
  return {fixed(n, decimals), prefixes[power]};
}

}  // namespace

double shortest(double value) {
  const auto narrow = static_cast<float>(value);
  if (!std::isfinite(value) || static_cast<double>(narrow) != value) return value;
  std::array<char, 64> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), narrow).ptr;
  std::from_chars(text.data(), end, value);
  return value;
}

std::string number_text(double value) {
  std::array<char, 64> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), shortest(value)).ptr};
}

int display_width(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // not a continuation byte
  }));
}

std::string with_separators(int64_t n) {
  std::string digits = std::to_string(n);
  const int64_t first = n < 0 ? 1 : 0;
  for (int64_t at = std::ssize(digits) - 3; at > first; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string score_cell(double value) { return std::isfinite(value) ? fixed(value, 4) : "-"; }

std::string fixed(double value, int decimals) {
  std::array<char, 400> text;  // room for the largest double
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value,
                                 std::chars_format::fixed, decimals);
  return {text.data(), end.ptr};
}

std::string rounded(double value, int digits) {
  std::array<char, 400> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value,
                                 std::chars_format::general, digits);
  return {text.data(), end.ptr};
}

std::string readable_bytes(uint64_t bytes) {
  const Scaled s = scaled(static_cast<double>(bytes));
  return s.digits + " " + s.prefix + "B";
}

std::string readable_count(double n) {
  const Scaled s = scaled(n);
  return s.prefix.empty() ? s.digits : s.digits + " " + s.prefix;
}

std::string readable_seconds(double seconds) {
  const auto total = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, 1e9)));
  const auto two = [](int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  const int64_t hours = total / 3600, minutes = total / 60 % 60, rest = total % 60;
  if (hours > 0) return std::to_string(hours) + ":" + two(minutes) + ":" + two(rest);
  return std::to_string(minutes) + ":" + two(rest);
}

std::string counted(int64_t count, const std::string& one, const std::string& many) {
  return with_separators(count) + " " + (count == 1 ? one : many);
}

}  // namespace fulmar::tools
