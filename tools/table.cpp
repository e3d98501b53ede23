#include "tools/table.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "kernels/error.h"

namespace fulmar::tools {
namespace {

constexpr const char* gap = "  ";

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

int display_width(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // not a continuation byte
  }));
}

void Table::add(std::vector<std::string> cells) {
  if (cells.size() != columns_.size()) usage_error("a table row has the wrong number of cells");
  rows_.push_back(std::move(cells));
}

std::string Table::to_string() const {
  std::vector<int> widths;
  for (const Column& column : columns_) widths.push_back(display_width(column.title));
  for (const auto& row : rows_)
    for (size_t c = 0; c < row.size(); c++) widths[c] = std::max(widths[c], display_width(row[c]));

  std::string text;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (size_t c = 0; c < columns_.size(); c++) {
      const std::string& cell = cell_of(c);
      const auto blanks = static_cast<size_t>(widths[c] - display_width(cell));
      if (c > 0) line += gap;
      if (columns_[c].align == Align::right) line += std::string(blanks, ' ') + cell;
      if (columns_[c].align == Align::left) line += cell + std::string(blanks, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  std::vector<std::string> rules;
  for (int width : widths) rules.emplace_back(static_cast<size_t>(width), '-');

  add_line([&](size_t c) -> const std::string& { return columns_[c].title; });
  add_line([&](size_t c) -> const std::string& { return rules[c]; });
  for (const auto& row : rows_)
    add_line([&](size_t c) -> const std::string& { return row.empty() ? rules[c] : row[c]; });
  return text;
}

std::string with_separators(int64_t n) {
  std::string digits = std::to_string(n);
  const int64_t first = n < 0 ? 1 : 0;
  for (int64_t at = std::ssize(digits) - 3; at > first; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

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

}  // namespace fulmar::tools
