#pragma once

#include <string_view>

#include "tools/run/json.h"

namespace fulmar::tools {

// The reader of stdout has gone (`fulmar … | head`): no error; the program ends as other tools do.
struct OutputClosed {};

// Data for stdout, buffered. Error(file) where it can't be written (a full disk), OutputClosed.
void print(std::string_view text);
// One line of JSON. Bytes that are not UTF-8 (in file names) become U+FFFD.
void print_line(const Json& json);
// JSON over several lines, for people.
void print_pretty(const Json& json);
// Writes the buffered data.
void flush_output();

}  // namespace fulmar::tools
