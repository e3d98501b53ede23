#pragma once

#include <array>
#include <optional>

#include "engine/fuse/pattern.h"

// Runs of ops that more than one pattern looks for.
namespace fulmar {

bool is_relu(const Node& node);
bool is_add(const Node& node);
// A dense convolution of few channels: others are faster as a product of patches.
bool is_narrow(const Graph& graph, const Node& node);

// A separable convolution 3x3 of stride 1: conv2d(depthwise_conv2d(x)).
struct SeparableRun {
  Val x, depthwise, pointwise, bias;
  std::array<int, 2> nodes;
};
// The one that ends at a node.
std::optional<SeparableRun> separable_run(const Graph& graph, int node);

// add(max_pool 3x3 of stride 2 (z), conv2d 1x1 of stride 2 (u))
struct PoolSkipRun {
  Val z, u, w, bias;
  std::array<int, 3> nodes;
};
std::optional<PoolSkipRun> pool_skip_run(const Graph& graph, int node);

}  // namespace fulmar
