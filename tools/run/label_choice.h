#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/io/checkpoint.h"

namespace fulmar::tools {

// Which files beside pictures hold their labels by pixel, and which numbers count for nothing.
struct LabelChoice {
  std::optional<std::string> labels, pictures;  // as --labels and --pictures; none: as trained
  std::optional<std::vector<double>> ignore;    // likewise
};

// Fills in what nobody said: how a folder lies tells it, or the model's training had it so.
// Error(usage) where nothing says where labels are.
void take_from_training(LabelChoice& choice, const ModelInfo& info, const std::string& folder);

}  // namespace fulmar::tools
