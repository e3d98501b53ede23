#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

namespace fulmar::tools {

using Json = nlohmann::ordered_json;

// JSON has no NaN: a number that is not finite becomes null.
inline Json number_json(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

}  // namespace fulmar::tools
