#include "model/explain/receptive_field.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/ops/conv.h"
#include "engine/ops/pool.h"
#include "engine/ops/shape.h"

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

}  // namespace fulmar::model::explain
