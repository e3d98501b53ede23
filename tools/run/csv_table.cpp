#include "tools/run/csv_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace fulmar::tools {
namespace {

constexpr uint64_t max_file_bytes = uint64_t{1} << 30;

[[noreturn]] void refuse(const std::string& path, int64_t line, const std::string& why) {
  file_error(path + ":" + std::to_string(line) + ": " + why);
}

// The rows of a text, with the lines that they begin in.
class Reader {
 public:
  Reader(const std::string& path, const std::string& text) : path_(path), text_(text) {
    if (text_.rfind("\xEF\xBB\xBF", 0) == 0) at_ = 3;  // spreadsheets write a byte order mark
  }

  bool ended() const { return at_ >= text_.size(); }
  int64_t line() const { return line_; }

  std::vector<std::string> row() {
    std::vector<std::string> cells;
    for (;;) {
      cells.push_back(cell());
      if (ended()) return cells;
      const char end = text_[at_++];
      if (end == ',') continue;
      if (end == '\r' && !ended() && text_[at_] == '\n') at_++;
      line_++;
      return cells;
    }
  }

 private:
  std::string cell() {
    if (ended() || text_[at_] != '"') {
      const size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
      std::string cell = text_.substr(at_, end - at_);
      at_ = end;
      return cell;
    }
    std::string cell;
    const int64_t began = line_;
    for (at_++; !ended(); at_++) {
      if (text_[at_] == '"') {
        at_++;
        if (ended() || text_[at_] != '"') break;
      } else if (text_[at_] == '\n') {
        line_++;
      }
      cell += text_[at_];
      if (at_ + 1 == text_.size()) refuse(path_, began, "a quote that doesn't end; close it");
    }
    if (!ended() && text_.find_first_of(",\r\n", at_) != at_)
      refuse(path_, line_, "text behind a closed quote; write quotes within a cell twice");
    return cell;
  }

  const std::string& path_;
  const std::string& text_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

std::optional<double> number_in(const std::string& cell) {
  const size_t first = cell.find_first_not_of(" \t");
  if (first == std::string::npos) return std::nullopt;
  const size_t last = cell.find_last_not_of(" \t");
  const char *begin = cell.data() + first, *end = cell.data() + last + 1;
  double value = 0;
  const auto [at, reason] = std::from_chars(begin, end, value);
  if (reason != std::errc{} || at != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

std::optional<size_t> CsvTable::find(const std::string& column) const {
  const auto found = std::find(columns.begin(), columns.end(), column);
  if (found == columns.end()) return std::nullopt;
  return static_cast<size_t>(found - columns.begin());
}

bool CsvTable::is_number(size_t row, size_t column) const {
  return number_in(rows[row][column]).has_value();
}

double CsvTable::number(size_t row, size_t column) const {
  const std::optional<double> value = number_in(rows[row][column]);
  if (!value)
    refuse(path, lines[row],
           "'" + rows[row][column] + "' in the column '" + columns[column] +
               "' is no number; write one with a decimal point, or leave the column out "
               "(--columns)");
  return *value;
}

CsvTable read_csv_table(const std::string& path) {
  const std::string text = read_file(path, max_file_bytes);
  Reader reader(path, text);
  CsvTable table;
  table.path = path;
  if (!reader.ended()) table.columns = reader.row();
  for (const std::string& name : table.columns) {
    if (name.empty()) refuse(path, 1, "a column without a name; the first row must name them");
    if (std::count(table.columns.begin(), table.columns.end(), name) > 1)
      refuse(path, 1, "two columns are called '" + name + "'; rename one");
  }
  while (!reader.ended()) {
    const int64_t line = reader.line();
    std::vector<std::string> cells = reader.row();
    if (cells.size() == 1 && cells[0].empty()) continue;  // an empty line
    if (cells.size() != table.columns.size())
      refuse(path, line,
             std::to_string(cells.size()) + " cells, and the first row names " +
                 std::to_string(table.columns.size()) + " columns; separate cells with commas");
    table.rows.push_back(std::move(cells));
    table.lines.push_back(line);
  }
  if (table.rows.empty()) file_error(path + ": a table without rows; it needs one a picture");
  return table;
}

}  // namespace fulmar::tools
