#include "engine/ops/conv.h"

#include "engine/ops.h"
#include "engine/window.h"

namespace fulmar::ops {
namespace {

const char* pick(const Convolution& how, const char* dense, const char* per_channel) {
  return how.depthwise ? per_channel : dense;
}

Shape output(const Convolution& how, const Shape& x, const Shape& w) {
  const std::array<int64_t, 2> taps =
      how.depthwise ? std::array{w[0], w[1]} : std::array{w.images(), w.height()};
  const std::array<int64_t, 2> out = window_output(x, taps, how.window);
  return {x[0], out[0], out[1], how.depthwise ? x[3] : w.channels()};
}

Attributes described(const Convolution& how) {
  Attributes attributes = window_attributes(how.window);
  if (!how.depthwise && how.groups != 1) attributes["groups"] = how.groups;
  return attributes;
}

// Every tap of w meets every pixel of y once, in each of the three products.
double product_flops(const Shape& y, const Shape& w) {
  return 2 * static_cast<double>(y.pixels()) * static_cast<double>(w.elements());
}

// The weights of a dense layer [Ci,Co] are a 1x1 kernel.
View as_kernel(const View& w) {
  return view_of(w.data, {w.shape.images(), w.shape.height(), w.shape.width(), w.shape.channels()},
                 w.type);
}

Val forward(Tape& tape, const Convolution& how, Val x, Val w, Val bias) {
  std::vector<Val> inputs{as_role(tape, x, Role::activation), as_role(tape, w, Role::parameter)};
  if (!how.depthwise) inputs.push_back(as_role(tape, bias, Role::parameter));
  return tape.append(std::make_shared<Conv>(how), std::move(inputs));
}
Val input_grad(Tape& tape, const Convolution& how, Val dy, Val w, const Shape& x) {
  return tape.append(std::make_shared<ConvInputGrad>(how, x), {dy, w});
}
Val weight_grad(Tape& tape, const Convolution& how, Val x, Val dy, const Shape& w) {
  return tape.append(std::make_shared<ConvWeightGrad>(how, w), {x, dy});
}

}  // namespace

std::string_view Conv::name() const { return pick(how, "conv2d", "depthwise_conv2d"); }

std::vector<ValueInfo> Conv::infer(std::span<const ValueInfo> in) const {
  const Shape &x = in[0].shape, &w = in[1].shape;
  require_rank4(in[0], "x");
  if (how.depthwise) {
    require(w.rank() == 3, "w must be [Kh,Kw,C], it is " + text(w));
    require(x[3] == w[2],
            "x " + text(x) + " has " + text(x[3]) + " channels, w expects " + text(w[2]));
  } else {
    require(w.rank() == 4 || w.rank() == 2,
            "w must be [Kh,Kw,Ci/groups,Co] or [Ci,Co], it is " + text(w));
    const int64_t expected = w.width() * how.groups, filters = w.channels();
    require(x[3] == expected,
            "x " + text(x) + " has " + text(x[3]) + " channels, w expects " + text(expected));
    require(filters % how.groups == 0,
            text(filters) + " output channels can't be split into " + text(how.groups) + " groups");
    if (in[2].shape.rank() > 0) require_same(in[2], Shape{filters}, "bias");
  }
  return {activation(output(how, x, w))};
}

std::vector<Val> Conv::vjp(const Vjp& v) const {
  const Val x = v.x[0], w = v.x[1], dy = v.dy[0];
  std::vector<Val> d(v.x.size());
  if (v.wanted[0]) d[0] = input_grad(v.tape, how, dy, w, v.tape.shape(x));
  if (v.wanted[1]) d[1] = weight_grad(v.tape, how, x, dy, v.tape.shape(w));
  if (v.x.size() > 2 && v.wanted[2]) d[2] = sum(v.tape, dy, v.tape.shape(v.x[2]), Role::parameter);
  return d;
}

double Conv::flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const {
  return product_flops(out[0].shape, in[1].shape);
}

size_t Conv::workspace_bytes(Device& device, const RunArgs& args) const {
  if (how.depthwise) return 0;
  return device.backend().conv2d_workspace(device.stream(), args.in[0], as_kernel(args.in[1]),
                                           args.in[2], args.out[0], how.window, how.groups);
}

void Conv::run(Device& device, const RunArgs& args) const {
  const Backend& backend = device.backend();
  if (how.depthwise)
    backend.depthwise_conv2d(device.stream(), args.in[0], args.in[1], args.out[0], how.window);
  else
    backend.conv2d(device.stream(), args.in[0], as_kernel(args.in[1]), args.in[2], args.out[0],
                   how.window, how.groups, args.work);
}

std::string_view ConvInputGrad::name() const {
  return pick(how, "conv2d_input_grad", "depthwise_conv2d_input_grad");
}

std::vector<ValueInfo> ConvInputGrad::infer(std::span<const ValueInfo> in) const {
  require_same(in[0], output(how, x, in[1].shape), "dy");
  return {activation(x)};
}

std::vector<Val> ConvInputGrad::vjp(const Vjp& v) const {
  const Val dy = v.x[0], w = v.x[1], ddx = v.dy[0];
  return {v.wanted[0] ? forward(v.tape, how, ddx, w, {}) : Val{},
          v.wanted[1] ? weight_grad(v.tape, how, ddx, dy, v.tape.shape(w)) : Val{}};
}

double ConvInputGrad::flops(std::span<const ValueInfo> in, std::span<const ValueInfo>) const {
  return product_flops(in[0].shape, in[1].shape);
}

size_t ConvInputGrad::workspace_bytes(Device& device, const RunArgs& args) const {
  if (how.depthwise) return 0;
  return device.backend().conv2d_input_grad_workspace(
      device.stream(), args.in[0], as_kernel(args.in[1]), args.out[0], how.window, how.groups);
}

void ConvInputGrad::run(Device& device, const RunArgs& args) const {
  const Backend& backend = device.backend();
  if (how.depthwise)
    backend.depthwise_conv2d_input_grad(device.stream(), args.in[0], args.in[1], args.out[0],
                                        how.window);
  else
    backend.conv2d_input_grad(device.stream(), args.in[0], as_kernel(args.in[1]), args.out[0],
                              how.window, how.groups, args.work);
}

std::string_view ConvWeightGrad::name() const {
  return pick(how, "conv2d_weight_grad", "depthwise_conv2d_weight_grad");
}

std::vector<ValueInfo> ConvWeightGrad::infer(std::span<const ValueInfo> in) const {
  require_same(in[1], output(how, in[0].shape, w), "dy");
  return {of_role(Role::parameter, w)};
}

std::vector<Val> ConvWeightGrad::vjp(const Vjp& v) const {
  const Val x = v.x[0], dy = v.x[1], ddw = v.dy[0];
  return {v.wanted[0] ? input_grad(v.tape, how, dy, ddw, v.tape.shape(x)) : Val{},
          v.wanted[1] ? forward(v.tape, how, x, ddw, {}) : Val{}};
}

size_t ConvWeightGrad::workspace_bytes(Device& device, const RunArgs& args) const {
  const Backend& backend = device.backend();
  return how.depthwise
             ? backend.depthwise_conv2d_weight_grad_workspace(device.stream(), args.in[0],
                                                              args.in[1], args.out[0], how.window)
             : backend.conv2d_weight_grad_workspace(device.stream(), args.in[0], args.in[1],
                                                    as_kernel(args.out[0]), how.window, how.groups);
}

double ConvWeightGrad::flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const {
  return product_flops(in[1].shape, out[0].shape);
}

void ConvWeightGrad::run(Device& device, const RunArgs& args) const {
  const Backend& backend = device.backend();
  if (how.depthwise)
    backend.depthwise_conv2d_weight_grad(device.stream(), args.in[0], args.in[1], args.out[0],
                                         how.window, args.work);
  else
    backend.conv2d_weight_grad(device.stream(), args.in[0], args.in[1], as_kernel(args.out[0]),
                               how.window, how.groups, args.work);
}

Attributes Conv::attributes() const { return described(how); }
Attributes ConvInputGrad::attributes() const { return described(how); }
Attributes ConvWeightGrad::attributes() const { return described(how); }

Val conv2d(Tape& tape, Val x, Val w, Val bias, const Window& window, int64_t groups) {
  require(groups >= 1, "conv2d: groups must be at least 1");
  return forward(tape, Convolution{window, groups, false}, x, w, bias);
}

Val conv2d_transpose(Tape& tape, Val x, Val w, const Window& window, std::array<int64_t, 2> out) {
  const Shape& shape = tape.shape(w);
  require(shape.rank() == 4, "conv2d_transpose: w must be [Kh,Kw,Co,Ci], it is " + text(shape));
  return input_grad(tape, Convolution{window, 1, false}, as_role(tape, x, Role::activation),
                    as_role(tape, w, Role::parameter),
                    {tape.shape(x).images(), out[0], out[1], shape[2]});
}

Val dense(Tape& tape, Val x, Val w, Val bias) {
  require(tape.shape(w).rank() == 2, "dense: w must be [Ci,Co], it is " + text(tape.shape(w)));
  return conv2d(tape, x, w, bias, {});
}

// A dense layer's product and its two gradients are the three products of matrices.
Val product(Tape& tape, Val a, Val b, Transposed which) {
  const auto require_matrix = [&](Val x, const char* name) {
    require(tape.info(x).is_real() && tape.shape(x).rank() == 2,
            std::string("product: ") + name + " must be a matrix of floats, it is " +
                text(tape.shape(x)));
  };
  require_matrix(a, "a");
  require_matrix(b, "b");
  const Shape x = tape.shape(a), y = tape.shape(b);
  const bool both = which == Transposed::both;
  const int64_t inner = x[both || which == Transposed::a ? 0 : 1];
  require(inner == y[both || which == Transposed::b ? 1 : 0],
          "product: a " + text(x) + " and b " + text(y) + " don't fit together");
  const Convolution how;
  const auto as_row = [&](Val m) {
    const Shape& shape = tape.shape(m);
    return reshape(tape, as_role(tape, m, Role::activation), {1, 1, shape[0], shape[1]});
  };
  switch (which) {
    case Transposed::none:
      return reshape(tape, dense(tape, as_row(a), b, {}), {x[0], y[1]});
    case Transposed::a:
      return as_role(tape, weight_grad(tape, how, as_row(a), as_row(b), {x[1], y[1]}),
                     Role::activation);
    case Transposed::both:
      return transpose(tape, product(tape, b, a));
    case Transposed::b:
      break;
  }
  const Val w = as_role(tape, b, Role::parameter);
  return reshape(tape, input_grad(tape, how, as_row(a), w, {1, 1, x[0], y[0]}), {x[0], y[0]});
}

Val depthwise_conv2d(Tape& tape, Val x, Val w, const Window& window) {
  return forward(tape, Convolution{window, 1, true}, x, w, {});
}

}  // namespace fulmar::ops
