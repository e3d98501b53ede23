#include "tools/table.h"

#include <algorithm>

#include "kernels/error.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr const char* gap = "  ";

}  // namespace

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

std::string text_table(const HtmlTable& rows) {
  std::vector<Table::Column> columns;
  for (const std::string& name : rows.columns)
    columns.push_back({name, columns.empty() ? Table::Align::left : Table::Align::right});
  Table table(columns);
  for (const std::vector<std::string>& row : rows.rows) table.add(row);
  return table.to_string();
}

}  // namespace fulmar::tools
