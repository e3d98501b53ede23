#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/run/json.h"

// Pieces of an HTML page.
namespace fulmar::tools {

// Text for an element or for an attribute in double quotes. Bytes that are not UTF-8, and control
// characters, become U+FFFD.
std::string escaped(std::string_view text);

// <name>text</name>, the text escaped; `attributes` as they are: "class=\"x\"".
std::string element(const std::string& name, std::string_view text,
                    const std::string& attributes = "");

// <script type="application/json" id="...">: data for programs, which no browser runs.
std::string json_script(const std::string& id, const Json& json);

// A whole page in the house's style: `body` holds <header> and <main>, `numbers` the data for
// programs, in the element "numbers".
std::string html_document(const std::string& title, const std::string& body, const Json& numbers);

// A table with a caption, whose first column names the rows. Cells are text; numbers to the right.
struct HtmlTable {
  std::string caption;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
  std::vector<size_t> text_columns{};  // beside the first: these are to the left

  std::string to_string() const;
};

// A box that scrolls contents wider than the page, also by keyboard; `label` names it.
std::string scrolling(const std::string& label, const std::string& html);

// Rows of a name and what it is. Values are text.
using Facts = std::vector<std::pair<std::string, std::string>>;
std::string fact_table(const std::string& caption, const Facts& facts);

}  // namespace fulmar::tools
