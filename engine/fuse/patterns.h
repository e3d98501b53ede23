#pragma once

#include <optional>

#include "engine/fuse/pattern.h"

namespace fulmar {

// add(max_pool(relu(batch_norm_train(z))), conv2d 1x1 of stride 2)
std::optional<Match> fuse_pool_skip(const Graph& graph, int node);
// conv2d 1x1 (depthwise_conv2d 3x3), with the channel sums of what it gives
std::optional<Match> fuse_separable(const Graph& graph, int node);

}  // namespace fulmar
