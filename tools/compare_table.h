#pragma once

#include <string>

#include "tools/run/comparison.h"

namespace fulmar::tools {

// The trainings that a JSON file lists: "data", "common" (options as `fulmar train` takes them, by
// name), "axes" (of each option a list of values; or of any name an object of options by label),
// "seeds" and "explain"; each training is one choice from every axis. Error(file): no JSON.
// Error(usage): something that isn't known, or options that don't go together, naming the training.
ComparisonOptions read_comparison(const std::string& path);

}  // namespace fulmar::tools
