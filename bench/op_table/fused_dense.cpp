#include <array>
#include <string>
#include <vector>

#include "bench/op_table/fused_network.h"

namespace fulmar::op_table {
namespace {

struct Taps {
  int64_t kernel = 1, stride = 1, groups = 1, dilation = 1;
  bool bias = false;
};

// A dense convolution, padded as 'same' at stride 1.
Val conv(Network& n, const std::string& name, Val x, int64_t outputs, const Taps& taps = {}) {
  const int64_t inputs = n.channels(x), pad = taps.dilation * (taps.kernel / 2);
  Window window;
  window.stride = {taps.stride, taps.stride};
  window.dilation = {taps.dilation, taps.dilation};
  window.padding = {pad, pad, pad, pad};
  const Val w =
      n.weight(name + "/kernel", {taps.kernel, taps.kernel, inputs / taps.groups, outputs});
  const Val b = taps.bias ? n.weight(name + "/bias", {outputs}) : Val{};
  return ops::conv2d(n.tape(), x, w, b, window, taps.groups);
}

// A block of a residual network, whose shortcut is projected where the shapes differ.
Val bottleneck(Network& n, Val x, int64_t width, int64_t outputs, int64_t stride, bool train) {
  Val y = n.normalised("norm1", conv(n, "conv1", x, width), train);
  y = n.normalised("norm2", conv(n, "conv2", y, width, {3, stride}), train);
  y = n.norm("norm3", conv(n, "conv3", y, outputs), train);
  Val past = x;
  if (stride > 1 || n.channels(x) != outputs)
    past = n.norm("norm4", conv(n, "conv4", x, outputs, {1, stride}), train);
  return ops::relu(n.tape(), ops::add(n.tape(), past, y));
}

// A level of a U-Net, whose activation is pooled, and read by the way up as well.
Val level(Network& n, Val x, int64_t outputs) {
  Val y = n.normalised("norm1", conv(n, "conv1", x, outputs, {3, 1, 1, 1, true}));
  y = n.normalised("norm2", conv(n, "conv2", y, outputs, {3, 1, 1, 1, true}));
  Window halves;
  halves.stride = {2, 2};
  const Shape shape = n.tape().shape(y);
  Val down = ops::max_pool(n.tape(), y, {2, 2}, halves);
  down = n.normalised("norm3", conv(n, "conv3", down, outputs, {3}));
  const Val up =
      ops::resize(n.tape(), down, shape.height(), shape.width(), {Interpolation::nearest});
  return ops::concat(n.tape(), std::array{y, up});
}

struct Size {
  Shape x;
  int64_t outputs;
  double tolerance = 1e-5;
};

// Odd sizes, one row, one column, channels that fill no vector; two blocks of the depth; rows that
// fill several tasks.
const Size sizes[] = {{{2, 12, 16, 8}, 8},    {{1, 5, 7, 2}, 3, 2e-4},   {{2, 7, 5, 5}, 12},
                      {{1, 1, 9, 8}, 16},     {{1, 9, 1, 16}, 8},        {{3, 3, 2, 3}, 5, 1e-4},
                      {{1, 41, 37, 6}, 20},   {{2, 13, 14, 40}, 34},     {{2, 8, 8, 130}, 20},
                      {{1, 33, 31, 20}, 130}, {{1, 6, 140, 12}, 33},     {{2, 16, 16, 64}, 64},
                      {{3, 19, 17, 400}, 12}, {{1, 4, 4, 17}, 700, 2e-5}};

// Large enough to halve.
bool halves(const Size& s) { return s.x.height() > 2 && s.x.width() > 2; }

}  // namespace

void add_dense_fused_cases(std::vector<Case>& cases) {
  for (const Size& s : sizes) {
    const auto add = [&](const char* op, const std::string& how, const Body& body) {
      const std::string what = s.x.to_string() + " to " + std::to_string(s.outputs) + ", ";
      cases.push_back(network_case(op, what + how, body, s.tolerance));
    };
    const auto x = [s](Network& n) { return n.operand(real("x", s.x, -2, 3)); };
    add("norm_relu", "alone", [=](Network& n) { return n.normalised("norm", x(n)); });
    add("norm_relu", "given statistics",
        [=](Network& n) { return n.normalised("norm", x(n), false); });
    add("norm_relu", "skip", [=](Network& n) {
      const Val z = n.norm("norm", x(n));
      return ops::relu(n.tape(), ops::add(n.tape(), z, n.operand(real("skip", s.x))));
    });
    add("norm_relu", "both normalised", [=](Network& n) {
      const Val z = n.norm("norm", x(n));
      const Val past = n.norm("past", n.operand(real("skip", s.x)));
      return ops::relu(n.tape(), ops::add(n.tape(), z, past));
    });
    add("convolution", "its sums", [=](Network& n) {
      return n.normalised("norm", conv(n, "conv", x(n), s.outputs, {1, 1, 1, 1, true}));
    });
    add("convolution", "normalised",
        [=](Network& n) { return conv(n, "conv", n.normalised("norm", x(n)), s.outputs, {3}); });
    add("convolution", "given statistics", [=](Network& n) {
      const Val a = n.normalised("norm", x(n), false);
      return conv(n, "conv", a, s.outputs, {3, 1, 1, 1, true});
    });
    add("convolution", "bottleneck",
        [=](Network& n) { return bottleneck(n, x(n), s.outputs, s.x.channels(), 1, true); });
    if (!halves(s)) continue;
    add("convolution", "level of a U-Net", [=](Network& n) { return level(n, x(n), s.outputs); });
    add("convolution", "stride 2", [=](Network& n) {
      const Val a = n.normalised("norm1", x(n));
      return n.normalised("norm2", conv(n, "conv", a, s.outputs, {3, 2}));
    });
    for (const bool train : {true, false})
      add(train ? "convolution" : "norm_relu",
          std::string("projected bottleneck") + (train ? "" : ", given statistics"),
          [=](Network& n) { return bottleneck(n, x(n), 8, s.outputs, 2, train); });
  }
  const auto add = [&](const char* what, const Shape& shape, const Taps& taps, int64_t outputs) {
    cases.push_back(network_case(
        "convolution", what,
        [=](Network& n) {
          const Val a = n.normalised("norm1", n.operand(real("x", shape, -2, 3)));
          return n.normalised("norm2", conv(n, "conv", a, outputs, taps));
        },
        1e-5));
  };
  add("two groups", {2, 9, 11, 10}, {3, 1, 2}, 14);
  add("four groups, stride 2", {2, 9, 12, 40}, {3, 2, 4}, 24);
  add("dilation 2", {2, 9, 11, 24}, {3, 1, 1, 2}, 20);
  add("7x7 of stride 3", {2, 17, 22, 6}, {7, 3}, 33);
  // Some pixels lie in no window.
  add("1x1 of stride 2", {2, 9, 12, 24}, {1, 2}, 20);
  add("3x3 of stride 2, dilation 2", {2, 11, 14, 18}, {3, 2, 1, 2}, 33);
  add("2x2 of stride 2", {2, 8, 10, 36}, {2, 2}, 20);
}

}  // namespace fulmar::op_table
