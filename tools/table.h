#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fulmar::tools {

// Text in aligned columns: numbers to the right, words to the left.
class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void add(std::vector<std::string> cells);  // as many as there are columns
  void add_rule() { rows_.emplace_back(); }

  // Lines without blanks at their ends; the title line and a rule first.
  std::string to_string() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  // an empty one is a rule
};

// Columns that a UTF-8 text takes on a terminal, one for each character.
int display_width(std::string_view text);

// Numbers for people, the same in every locale.
std::string with_separators(int64_t n);         // 1,260,322
std::string fixed(double value, int decimals);  // "0.9430"; "nan", "inf"
std::string rounded(double value, int digits);  // significant ones: "22.35", "1e+20"
std::string readable_bytes(uint64_t bytes);     // "1.26 GB": powers of 1000, three digits
std::string readable_count(double n);           // "1.88 G"
std::string readable_seconds(double seconds);   // "0:43", "12:07", "3:12:07"

}  // namespace fulmar::tools
