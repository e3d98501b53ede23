#pragma once

#include <string>
#include <utility>
#include <vector>

namespace fulmar::model {

// Numbers with their names, in the order of the columns that they make: metrics of an epoch.
using NamedValues = std::vector<std::pair<std::string, double>>;

}  // namespace fulmar::model
