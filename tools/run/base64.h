#pragma once

#include <string>
#include <string_view>

namespace fulmar::tools {

// RFC 4648, section 4.
std::string base64(std::string_view bytes);
// The bytes of a text that base64() gave. Error(file) for other text.
std::string from_base64(std::string_view text);

}  // namespace fulmar::tools
