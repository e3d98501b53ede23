#pragma once

#include <string>

#include "engine/io/checkpoint.h"

namespace fulmar::exchange {

// What was written, for people.
struct Exported {
  int64_t tensors = 0, values = 0;
};

// Weights and statistics in PyTorch's terms (torch_names.h), float32, as safetensors that
// load_state_dict takes strictly, or as arrays of an .npz. Whole or not at all. Error(file) as
// AtomicFile.
Exported export_safetensors(const std::string& path, const ModelInfo& info, Model& model);
Exported export_npz(const std::string& path, const ModelInfo& info, Model& model);

}  // namespace fulmar::exchange
