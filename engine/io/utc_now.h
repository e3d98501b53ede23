#pragma once

#include <string>

namespace fulmar {

// "2026-03-01T12:34:56Z".
std::string utc_now();

}  // namespace fulmar
