#pragma once

#include <optional>

#include "engine/fuse/pattern.h"

namespace fulmar {

// relu(batch_norm(z)), relu(batch_norm(z) + skip), relu(batch_norm(z) + batch_norm(skip))
std::optional<Match> fuse_norm_relu(const Graph& graph, int node);
// add(max_pool(relu(batch_norm_train(z))), conv2d 1x1 of stride 2)
std::optional<Match> fuse_pool_skip(const Graph& graph, int node);
// conv2d (relu(batch_norm(z))), with the channel sums of what it gives
std::optional<Match> fuse_convolution(const Graph& graph, int node);
// conv2d 1x1 (depthwise_conv2d 3x3), with the channel sums of what it gives
std::optional<Match> fuse_separable(const Graph& graph, int node);

// Inference: batch_norm(conv2d), by weights that are scaled once
std::optional<Match> fold_norm(const Graph& graph, int node);
// Inference: a layer that makes rows of rows, with relu: conv2d of few channels, or separable
std::optional<Match> rows_of_conv(const Graph& graph, int node);
// Inference: add(max_pool(relu(z)), conv2d 1x1 of stride 2)
std::optional<Match> rows_of_pool_skip(const Graph& graph, int node);
// Inference: several of these, and a warp before them, in one run
std::optional<Match> join_rows(const Graph& graph, int node);
// Inference: relu(conv2d + skip), by weights that are packed once
std::optional<Match> fuse_packed_conv(const Graph& graph, int node);

// A whole step: pointwise ops of one shape, and stores of what they give
std::optional<Match> chain_pointwise(const Graph& graph, int node);

}  // namespace fulmar
