#pragma once

#include <string>
#include <string_view>

namespace fulmar::data {

// Whether a name can stand in JSON, and so in a model file.
bool is_utf8(std::string_view text);

// One key for class names that people take for one: in small letters, with letters and their
// accents apart (é as macOS writes it and as others do), without spaces at the ends. It folds Latin
// letters up to U+024F, Greek and Cyrillic ones; other characters stay.
std::string folded_name(std::string_view name);

}  // namespace fulmar::data
