#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/io/checkpoint.h"
#include "tools/exchange/export_weights.h"

namespace fulmar::exchange {

// The network of a model as an ONNX file (opset 17): inputs are what the network sees, float32
// [N,C,H,W] with any N, scaled as the model's preprocessing has it; outputs are the network's by
// their names, maps [N,C,H,W] and vectors [N,C]. Extents are those of the model's crop, or
// `extents` (rows, columns). The metadata holds the preprocessing and the task. Whole or not at
// all. Error(usage) for a layer that opset 17 has no word for, for extents of a network with
// several inputs, and where nothing says how large pictures are.
Exported export_onnx(const std::string& path, const ModelInfo& info, Model& model,
                     std::optional<std::array<int64_t, 2>> extents);

}  // namespace fulmar::exchange
