#pragma once

#include <string>
#include <vector>

#include "tools/report/html.h"

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

// The rows of a page's table as text: the first column to the left, numbers to the right.
std::string text_table(const HtmlTable& rows);

}  // namespace fulmar::tools
