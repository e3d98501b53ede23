#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fulmar::tools {

// A CSV file (RFC 4180) whose first row names the columns.
struct CsvTable {
  std::string path;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  // as many cells each as there are columns
  std::vector<int64_t> lines{};                // where each row begins in the file, from 1

  std::optional<size_t> find(const std::string& column) const;
  // Error(file) naming line, column and cell: no finite number.
  double number(size_t row, size_t column) const;
  bool is_number(size_t row, size_t column) const;
};

// Error(file) naming the line: a file that can't be read, a row with another number of cells, a
// quote that doesn't end, a column without a name or twice.
CsvTable read_csv_table(const std::string& path);

}  // namespace fulmar::tools
