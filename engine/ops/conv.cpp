#include "engine/ops.h"
#include "engine/ops/window.h"

namespace fulmar::ops {
namespace {

// Dense and depthwise convolution differ in the kernels they call and in the shape of w; the three
// products (y, dx, dw) are each other's gradients.
struct Kind {
  Window window;
  int64_t groups = 1;
  bool depthwise = false;

  const char* pick(const char* dense, const char* per_channel) const {
    return depthwise ? per_channel : dense;
  }
  Shape output(const Shape& x, const Shape& w) const {
    const std::array<int64_t, 2> taps =
        depthwise ? std::array{w[0], w[1]} : std::array{w.images(), w.height()};
    const std::array<int64_t, 2> out = window_output(x, taps, window);
    return {x[0], out[0], out[1], depthwise ? x[3] : w.channels()};
  }
};

// Every tap of w meets every pixel of y once, in each of the three products.
double product_flops(const Shape& y, const Shape& w) {
  return 2 * static_cast<double>(y.pixels()) * static_cast<double>(w.elements());
}

// The weights of a dense layer [Ci,Co] are a 1x1 kernel.
View as_kernel(const View& w) {
  return view_of(w.data, {w.shape.images(), w.shape.height(), w.shape.width(), w.shape.channels()},
                 w.type);
}

Val input_grad(Tape& tape, const Kind& kind, Val dy, Val w, const Shape& x);
Val weight_grad(Tape& tape, const Kind& kind, Val x, Val dy, const Shape& w);
Val forward(Tape& tape, const Kind& kind, Val x, Val w, Val bias);

class Conv : public Op {
 public:
  explicit Conv(const Kind& kind) : kind_(kind) {}
  std::string_view name() const override { return kind_.pick("conv2d", "depthwise_conv2d"); }

  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    const Shape &x = in[0].shape, &w = in[1].shape;
    require_rank4(in[0], "x");
    if (kind_.depthwise) {
      require(w.rank() == 3, "w must be [Kh,Kw,C], it is " + text(w));
      require(x[3] == w[2],
              "x " + text(x) + " has " + text(x[3]) + " channels, w expects " + text(w[2]));
    } else {
      require(w.rank() == 4 || w.rank() == 2,
              "w must be [Kh,Kw,Ci/groups,Co] or [Ci,Co], it is " + text(w));
      const int64_t expected = w.width() * kind_.groups, filters = w.channels();
      require(x[3] == expected,
              "x " + text(x) + " has " + text(x[3]) + " channels, w expects " + text(expected));
      require(filters % kind_.groups == 0, text(filters) + " output channels can't be split into " +
                                               text(kind_.groups) + " groups");
      if (in[2].shape.rank() > 0) require_same(in[2], Shape{filters}, "bias");
    }
    return {activation(kind_.output(x, w))};
  }
  std::vector<Val> vjp(const Vjp& v) const override {
    const Val x = v.x[0], w = v.x[1], dy = v.dy[0];
    std::vector<Val> d(v.x.size());
    if (v.wanted[0]) d[0] = input_grad(v.tape, kind_, dy, w, v.tape.shape(x));
    if (v.wanted[1]) d[1] = weight_grad(v.tape, kind_, x, dy, v.tape.shape(w));
    if (v.x.size() > 2 && v.wanted[2])
      d[2] = sum(v.tape, dy, v.tape.shape(v.x[2]), Role::parameter);
    return d;
  }
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override {
    return product_flops(out[0].shape, in[1].shape);
  }
  size_t workspace_bytes(Device& device, const RunArgs& args) const override {
    if (kind_.depthwise) return 0;
    return device.backend().conv2d_workspace(device.stream(), args.in[0], as_kernel(args.in[1]),
                                             args.in[2], args.out[0], kind_.window, kind_.groups);
  }
  void run(Device& device, const RunArgs& args) const override {
    const Backend& backend = device.backend();
    if (kind_.depthwise)
      backend.depthwise_conv2d(device.stream(), args.in[0], args.in[1], args.out[0], kind_.window);
    else
      backend.conv2d(device.stream(), args.in[0], as_kernel(args.in[1]), args.in[2], args.out[0],
                     kind_.window, kind_.groups, args.work);
  }

 private:
  Kind kind_;
};

// Inputs dy, w; output dx, of the shape given.
class ConvInputGrad : public Op {
 public:
  ConvInputGrad(const Kind& kind, const Shape& x) : kind_(kind), x_(x) {}
  std::string_view name() const override {
    return kind_.pick("conv2d_input_grad", "depthwise_conv2d_input_grad");
  }

  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    require_same(in[0], kind_.output(x_, in[1].shape), "dy");
    return {activation(x_)};
  }
  std::vector<Val> vjp(const Vjp& v) const override {
    const Val dy = v.x[0], w = v.x[1], ddx = v.dy[0];
    return {v.wanted[0] ? forward(v.tape, kind_, ddx, w, {}) : Val{},
            v.wanted[1] ? weight_grad(v.tape, kind_, ddx, dy, v.tape.shape(w)) : Val{}};
  }
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo>) const override {
    return product_flops(in[0].shape, in[1].shape);
  }
  size_t workspace_bytes(Device& device, const RunArgs& args) const override {
    if (kind_.depthwise) return 0;
    return device.backend().conv2d_input_grad_workspace(device.stream(), args.in[0],
                                                        as_kernel(args.in[1]), args.out[0],
                                                        kind_.window, kind_.groups);
  }
  void run(Device& device, const RunArgs& args) const override {
    const Backend& backend = device.backend();
    if (kind_.depthwise)
      backend.depthwise_conv2d_input_grad(device.stream(), args.in[0], args.in[1], args.out[0],
                                          kind_.window);
    else
      backend.conv2d_input_grad(device.stream(), args.in[0], as_kernel(args.in[1]), args.out[0],
                                kind_.window, kind_.groups, args.work);
  }

 private:
  Kind kind_;
  Shape x_;
};

// Inputs x, dy; output dw, of the shape given.
class ConvWeightGrad : public Op {
 public:
  ConvWeightGrad(const Kind& kind, const Shape& w) : kind_(kind), w_(w) {}
  std::string_view name() const override {
    return kind_.pick("conv2d_weight_grad", "depthwise_conv2d_weight_grad");
  }

  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    require_same(in[1], kind_.output(in[0].shape, w_), "dy");
    return {of_role(Role::parameter, w_)};
  }
  std::vector<Val> vjp(const Vjp& v) const override {
    const Val x = v.x[0], dy = v.x[1], ddw = v.dy[0];
    return {v.wanted[0] ? input_grad(v.tape, kind_, dy, ddw, v.tape.shape(x)) : Val{},
            v.wanted[1] ? forward(v.tape, kind_, x, ddw, {}) : Val{}};
  }
  size_t workspace_bytes(Device& device, const RunArgs& args) const override {
    const Backend& backend = device.backend();
    return kind_.depthwise ? backend.depthwise_conv2d_weight_grad_workspace(
                                 device.stream(), args.in[0], args.in[1], args.out[0], kind_.window)
                           : backend.conv2d_weight_grad_workspace(
                                 device.stream(), args.in[0], args.in[1], as_kernel(args.out[0]),
                                 kind_.window, kind_.groups);
  }
  double flops(std::span<const ValueInfo> in, std::span<const ValueInfo> out) const override {
    return product_flops(in[1].shape, out[0].shape);
  }
  void run(Device& device, const RunArgs& args) const override {
    const Backend& backend = device.backend();
    if (kind_.depthwise)
      backend.depthwise_conv2d_weight_grad(device.stream(), args.in[0], args.in[1], args.out[0],
                                           kind_.window, args.work);
    else
      backend.conv2d_weight_grad(device.stream(), args.in[0], args.in[1], as_kernel(args.out[0]),
                                 kind_.window, kind_.groups, args.work);
  }

 private:
  Kind kind_;
  Shape w_;
};

Val forward(Tape& tape, const Kind& kind, Val x, Val w, Val bias) {
  std::vector<Val> inputs{as_role(tape, x, Role::activation), as_role(tape, w, Role::parameter)};
  if (!kind.depthwise) inputs.push_back(as_role(tape, bias, Role::parameter));
  return tape.append(std::make_shared<Conv>(kind), std::move(inputs));
}
Val input_grad(Tape& tape, const Kind& kind, Val dy, Val w, const Shape& x) {
  return tape.append(std::make_shared<ConvInputGrad>(kind, x), {dy, w});
}
Val weight_grad(Tape& tape, const Kind& kind, Val x, Val dy, const Shape& w) {
  return tape.append(std::make_shared<ConvWeightGrad>(kind, w), {x, dy});
}

}  // namespace

Val conv2d(Tape& tape, Val x, Val w, Val bias, const Window& window, int64_t groups) {
  require(groups >= 1, "conv2d: groups must be at least 1");
  return forward(tape, Kind{window, groups, false}, x, w, bias);
}

Val dense(Tape& tape, Val x, Val w, Val bias) {
  require(tape.shape(w).rank() == 2, "dense: w must be [Ci,Co], it is " + text(tape.shape(w)));
  return conv2d(tape, x, w, bias, {});
}

Val depthwise_conv2d(Tape& tape, Val x, Val w, const Window& window) {
  return forward(tape, Kind{window, 1, true}, x, w, {});
}

}  // namespace fulmar::ops
