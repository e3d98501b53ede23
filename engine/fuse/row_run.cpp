#include "engine/fuse/row_run.h"

#include <string>

#include "engine/fuse/windows.h"
#include "engine/ops.h"
#include "engine/shape_rules.h"
#include "kernels/warp.h"

namespace fulmar::ops {
namespace {

using Kind = RowLayer::Kind;
using Layer = RowRun::Layer;

const char* name_of(Kind kind) {
  constexpr const char* names[] = {"warp", "conv2d", "separable", "pool_skip"};
  return names[static_cast<size_t>(kind)];
}

// What a layer gives for its operands' infos or shapes: x, then its weights.
ValueInfo output_of(const Layer& layer, const Shape& x, std::span<const ValueInfo> weights) {
  const Shape& w = weights[layer.kind == Kind::separable ? 1 : 0].shape;
  switch (layer.kind) {
    case Kind::warp:
      return activation({x[0], layer.warp->height, layer.warp->width, x[3]});
    case Kind::conv: {
      const auto extent = [&](int axis) {
        const auto a = static_cast<size_t>(axis);
        return window_extent(x[axis + 1], w[axis], layer.window.stride[a], layer.window.dilation[a],
                             layer.window.padding[2 * a], layer.window.padding[2 * a + 1]);
      };
      return activation({x[0], extent(0), extent(1), w[3]});
    }
    case Kind::separable:
      return activation({x[0], x[1], x[2], w[3]});
    default:
      return activation({x[0], (x[1] + 1) / 2, (x[2] + 1) / 2, x[3]});
  }
}

// Calls body(layer, its number, its first weight's number among the operands).
template <class Body>
void for_layers(const RowRun& run, const Body& body) {
  auto at = static_cast<size_t>(run.inputs);
  for (size_t l = 0; l < run.layers.size(); l++) {
    body(run.layers[l], l, at);
    at += run.layers[l].weights();
  }
}

std::vector<Shape> shapes_of(const RowRun& run, std::span<const ValueInfo> in) {
  std::vector<Shape> shapes;
  for (int i = 0; i < run.inputs; i++) shapes.push_back(in[static_cast<size_t>(i)].shape);
  for_layers(run, [&](const Layer& layer, size_t, size_t at) {
    shapes.push_back(output_of(layer, shapes[static_cast<size_t>(layer.x)], in.subspan(at)).shape);
  });
  return shapes;
}

// The layers as the kernel takes them.
std::vector<RowLayer> prepared(const RowRun& run, const RunArgs& args) {
  std::vector<Shape> shapes;
  for (int i = 0; i < run.inputs; i++) shapes.push_back(args.in[static_cast<size_t>(i)].shape);
  std::vector<RowLayer> layers;
  for_layers(run, [&](const Layer& layer, size_t, size_t at) {
    RowLayer now;
    now.kind = layer.kind;
    now.x = layer.x;
    now.skip = layer.skip;
    now.relu = layer.relu;
    now.window = layer.window;
    std::vector<ValueInfo> weights;
    for (size_t i = 0; i < layer.weights(); i++) weights.push_back({args.in[at + i].shape});
    now.y = output_of(layer, shapes[static_cast<size_t>(layer.x)], weights).shape;
    shapes.push_back(now.y);
    if (layer.kind == Kind::warp) {
      now.samples = args.in[at].as<const WarpSample>();
      now.warp = &layer.warp->how;
    } else {
      if (layer.kind == Kind::separable) now.depthwise = args.in[at++];
      now.w = args.in[at];
      now.bias = args.in[at + 1];
      if (layer.kind != Kind::conv) now.packed = args.in[at + 2];
    }
    layers.push_back(now);
  });
  return layers;
}

}  // namespace

Attributes RowRun::attributes() const {
  std::string all;
  for (const Layer& layer : layers)
    all +=
        (all.empty() ? "" : " ") + std::string(name_of(layer.kind)) + (layer.relu ? "+relu" : "");
  return {{"layers", all}};
}

std::vector<ValueInfo> RowRun::infer(std::span<const ValueInfo> in) const {
  std::vector<Shape> shapes;
  for (int i = 0; i < inputs; i++) {
    require(in[static_cast<size_t>(i)].shape.rank() == 4, "x must be a tensor [N,H,W,C]");
    shapes.push_back(in[static_cast<size_t>(i)].shape);
  }
  for_layers(*this, [&](const Layer& layer, size_t, size_t at) {
    const Shape& x = shapes[static_cast<size_t>(layer.x)];
    if (layer.kind == Kind::separable) require_same(in[at], Shape{3, 3, x[3]}, "depthwise");
    if (layer.kind == Kind::conv) {
      const Shape& w = in[at].shape;
      require(w.rank() == 4 && w[2] == x[3],
              "w " + text(w) + " must be [Kh,Kw,Ci,Co] of x " + text(x));
    }
    const Shape y = output_of(layer, x, in.subspan(at)).shape;
    if (layer.kind == Kind::separable)
      require_same(in[at + 1], Shape{1, 1, x[3], y[3]}, "pointwise");
    if (layer.kind == Kind::pool_skip) {
      const Shape& skip = shapes[static_cast<size_t>(layer.skip)];
      require_same(in[at], Shape{1, 1, skip[3], x[3]}, "w");
      require(skip[0] == x[0] && skip[1] == x[1] && skip[2] == x[2],
              "the skip's x " + text(skip) + " must have the pixels of x " + text(x));
    }
    shapes.push_back(y);
  });
  return {activation(shapes.back())};
}

double RowRun::flops(std::span<const ValueInfo> in, std::span<const ValueInfo>) const {
  const std::vector<Shape> shapes = shapes_of(*this, in);
  double sum = 0;
  for_layers(*this, [&](const Layer& layer, size_t l, size_t at) {
    const Shape& y = shapes[static_cast<size_t>(inputs) + l];
    const auto pixels = static_cast<double>(y.pixels());
    if (layer.kind == Kind::warp) return;
    if (layer.kind == Kind::separable)
      sum +=
          2 * pixels * static_cast<double>(in[at].shape.elements() + in[at + 1].shape.elements());
    else
      sum += 2 * pixels * static_cast<double>(in[at].shape.elements());
  });
  return sum;
}

size_t RowRun::workspace_bytes(Device& device, const RunArgs& args) const {
  const std::vector<RowLayer> layers_now = prepared(*this, args);
  return device.backend().fused->row_run_workspace(
      device.stream(), args.in.first(static_cast<size_t>(inputs)), layers_now, args.out[0]);
}

void RowRun::run(Device& device, const RunArgs& args) const {
  const std::vector<RowLayer> layers_now = prepared(*this, args);
  device.backend().fused->row_run(device.stream(), args.in.first(static_cast<size_t>(inputs)),
                                  layers_now, args.out[0], args.work);
}

std::vector<Val> RowRun::compose(Tape& tape, std::span<const Val> operands) const {
  std::vector<Val> values(operands.begin(), operands.begin() + inputs);
  for_layers(*this, [&](const Layer& layer, size_t, size_t at) {
    const Val x = values[static_cast<size_t>(layer.x)];
    Val y;
    if (layer.kind == Kind::warp) {
      y = tape.append(layer.warp, {x, operands[at]});
    } else if (layer.kind == Kind::conv) {
      y = conv2d(tape, x, operands[at], operands[at + 1], layer.window);
    } else if (layer.kind == Kind::separable) {
      const Val d = depthwise_conv2d(tape, x, operands[at], separable_window());
      y = conv2d(tape, d, operands[at + 1], operands[at + 2], {});
    } else {
      const Val pooled = max_pool(tape, x, fused_taps, pool_window(tape.shape(x)));
      const Val skip = conv2d(tape, values[static_cast<size_t>(layer.skip)], operands[at],
                              operands[at + 1], skip_window());
      y = add(tape, pooled, skip);
    }
    values.push_back(layer.relu ? relu(tape, y) : y);
  });
  return {values.back()};
}

std::vector<ValueInfo> PackRowWeight::infer(std::span<const ValueInfo> in) const {
  const Shape& w = in[0].shape;
  require(w.rank() == 4 && w[0] == 1 && w[1] == 1, "w must be [1,1,Ci,Co], it is " + text(w));
  return {activation({packed_elements(w[2], w[3])})};
}

void PackRowWeight::run(Device& device, const RunArgs& args) const {
  device.backend().fused->pack_row_weight(device.stream(), args.in[0], args.out[0]);
}

}  // namespace fulmar::ops
