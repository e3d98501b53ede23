#include "model/explain/receptive_field.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
#include <string>
#include <variant>

#include "engine/ops.h"
#include "engine/ops/conv.h"
#include "engine/ops/pool.h"
#include "engine/ops/shape.h"
#include "kernels/error.h"

namespace fulmar::model::explain {
namespace {

// Of one axis: the pixels that are seen, and how far the views of neighbours lie apart.
struct Field {
  double seen = 0, step = 0;  // seen 0: none
  bool all = false;
};

Field join(const Field& a, const Field& b) {
  if (a.seen == 0 && !a.all) return b;
  if (b.seen == 0 && !b.all) return a;
  return {std::max(a.seen, b.seen), std::max(a.step, b.step), a.all || b.all};
}

// Through a window of taps.
Field through(Field f, int64_t kernel, int64_t stride, int64_t dilation) {
  f.seen += f.seen > 0 ? static_cast<double>((kernel - 1) * dilation) * f.step : 0;
  f.step *= static_cast<double>(stride);
  return f;
}

Field through(const Node& node, const Tape& tape, Field f, int axis) {
  const auto a = static_cast<size_t>(axis);
  const auto extent = [&](const Shape& s) { return axis == 0 ? s.height() : s.width(); };
  if (const auto* conv = as<ops::Conv>(node)) {
    const Shape& w = tape.shape(node.inputs[1]);
    const Window& window = conv->how.window;
    return through(f, w[axis], window.stride[a], window.dilation[a]);
  }
  if (const auto* pool = as<ops::MaxPool>(node))
    return through(f, pool->kernel[a], pool->window.stride[a], pool->window.dilation[a]);
  if (const auto* pool = as<ops::AveragePool>(node))
    return through(f, pool->kernel[a], pool->window.stride[a], pool->window.dilation[a]);
  const int64_t before = extent(tape.shape(node.inputs[0])), after = extent(node.outputs[0].shape);
  if (const auto* resize = as<ops::ResizeOp>(node)) {
    const double ratio = static_cast<double>(before) / static_cast<double>(after);
    if (resize->how.interpolation == Interpolation::bilinear) f.seen += f.step;
    f.step *= ratio;
    return f;
  }
  // Neither pixels one by one nor windows: sums over them, other shapes.
  const bool mixes = as<ops::Sum>(node) || as<ops::Reshape>(node) || as<ops::Transpose>(node);
  if (mixes && before != after) f.all = true;
  return f;
}

}  // namespace

std::vector<int64_t> receptive_fields(const Tape& tape, Val input) {
  const Shape& whole = tape.shape(input);
  std::vector<std::array<Field, 2>> fields(static_cast<size_t>(tape.size()));
  std::vector<int64_t> all(static_cast<size_t>(tape.size()), 0);
  for (int n = input.node; n < tape.size(); n++) {
    const Node& node = tape.node(n);
    for (int axis = 0; axis < 2; axis++) {
      Field& own = fields[static_cast<size_t>(n)][static_cast<size_t>(axis)];
      if (n == input.node) own = {1, 1, false};
      Field from;
      for (const Val x : node.inputs)
        if (x) from = join(from, fields[static_cast<size_t>(x.node)][static_cast<size_t>(axis)]);
      if (from.seen > 0 && !node.outputs.empty()) own = through(node, tape, from, axis);
    }
    const auto& [rows, columns] = fields[static_cast<size_t>(n)];
    const double seen = std::max(rows.seen, columns.seen);
    const auto longest = static_cast<double>(std::max(whole.height(), whole.width()));
    const bool none = rows.all || columns.all || seen == 0 || seen >= 2 * longest;
    all[static_cast<size_t>(n)] = none ? 0 : static_cast<int64_t>(std::ceil(seen));
  }
  return all;
}

int64_t widest_field(const Network& network) {
  constexpr int64_t side = 1 << 14;  // larger than any window; nothing runs
  Tape tape;
  std::map<std::string, Val> inputs;
  for (const std::string& name : network.inputs()) {
    const auto& attributes = network.call(name).attributes;
    const auto channels = attributes.find("channels");
    const auto* count =
        channels == attributes.end() ? nullptr : std::get_if<int64_t>(&channels->second);
    if (!count) usage_error("the network's input '" + name + "' doesn't say its channels");
    inputs[name] = ops::input(tape, "/" + name, {{1, side, side, *count}});
  }
  const std::map<std::string, Val> outputs = record(network, tape, inputs, {Mode::eval});
  const std::vector<int64_t> seen = receptive_fields(tape, inputs.at(network.inputs()[0]));
  int64_t widest = 0;
  for (const auto& [name, value] : outputs) {
    const int64_t own = seen[static_cast<size_t>(value.node)];
    if (own == 0) return 0;
    widest = std::max(widest, own);
  }
  return widest;
}

int64_t side_of_share(std::span<const float> map, int64_t height, int64_t width, int64_t row,
                      int64_t column, double share) {
  // The sum by distance: how far a square around the pixel must reach to have it.
  std::vector<double> rings(static_cast<size_t>(std::max(height, width)), 0.0);
  double all = 0;
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++) {
      const auto value = static_cast<double>(map[static_cast<size_t>(y * width + x)]);
      rings[static_cast<size_t>(std::max(std::abs(y - row), std::abs(x - column)))] += value;
      all += value;
    }
  if (!(all > 0)) return 0;
  double sum = 0;
  for (size_t reach = 0; reach < rings.size(); reach++) {
    sum += rings[reach];
    if (sum >= share * all) return 2 * static_cast<int64_t>(reach) + 1;
  }
  return 2 * std::ssize(rings) - 1;
}

double effective_side(std::span<const float> map) {
  constexpr double least = 1 - 0.9545;
  const auto largest = static_cast<double>(*std::max_element(map.begin(), map.end()));
  const auto above = std::count_if(map.begin(), map.end(), [&](float value) {
    return static_cast<double>(value) > least * largest;
  });
  return std::sqrt(static_cast<double>(above));
}

}  // namespace fulmar::model::explain
