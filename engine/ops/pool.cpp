#include <algorithm>

#include "engine/ops.h"
#include "engine/ops/window.h"

namespace fulmar::ops {
namespace {

using Taps = std::array<int64_t, 2>;

Shape pool_output(const ValueInfo& x, const Taps& kernel, const Window& window) {
  require_rank4(x, "x");
  const std::array<int64_t, 2> out = window_output(x.shape, kernel, window);
  return {x.shape[0], out[0], out[1], x.shape[3]};
}

class MaxPoolGrad : public Op {
 public:
  MaxPoolGrad(const Taps& kernel, const Window& window, const Shape& x)
      : kernel_(kernel), window_(window), x_(x) {}
  std::string_view name() const override { return "max_pool_grad"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo>) const override {
    return {activation(x_)};
  }
  void run(Device& device, const RunArgs& args) const override {
    device.backend().max_pool_grad(device.stream(), args.in[0], args.in[1], args.out[0], kernel_,
                                   window_);
  }

 private:
  Taps kernel_;
  Window window_;
  Shape x_;
};

// Outputs y and argmax (u8 tap numbers).
class MaxPool : public Op {
 public:
  MaxPool(const Taps& kernel, const Window& window) : kernel_(kernel), window_(window) {}
  std::string_view name() const override { return "max_pool"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    const Shape y = pool_output(in[0], kernel_, window_);
    require(kernel_[0] * kernel_[1] <= max_pool_taps,
            "a window has at most " + text(max_pool_taps) + " taps, " + text(kernel_[0]) + "x" +
                text(kernel_[1]) + " given");
    require_pixels(in[0].shape.height(), y.height(), 0);
    require_pixels(in[0].shape.width(), y.width(), 1);
    return {activation(y), {y, Role::index, DType::u8}};
  }
  std::vector<Val> vjp(const Vjp& v) const override {
    return {v.tape.append(std::make_shared<MaxPoolGrad>(kernel_, window_, v.tape.shape(v.x[0])),
                          {v.dy[0], v.y[1]})};
  }
  void run(Device& device, const RunArgs& args) const override {
    device.backend().max_pool(device.stream(), args.in[0], args.out[0], args.out[1], kernel_,
                              window_);
  }

 private:
  // A window without a pixel would have no maximum.
  void require_pixels(int64_t in, int64_t out, size_t axis) const {
    const int64_t stride = window_.stride[axis], dilation = window_.dilation[axis];
    const int64_t padding = window_.padding[2 * axis];
    const auto require_pixel = [&](int64_t o) {
      const int64_t first = o * stride - padding;
      const int64_t tap = first < 0 ? (dilation - first - 1) / dilation : 0;  // first inside
      require(tap < kernel_[axis] && first + tap * dilation < in,
              std::string("the window at ") + (axis == 0 ? "row " : "column ") + text(o) +
                  " of the output has no pixel of x: padding or dilation are too large");
    };
    // A window that begins on a pixel has it; the last begins furthest behind them.
    for (int64_t o = 0; o < out && o * stride < padding; o++) require_pixel(o);
    require_pixel(out - 1);
  }

  Taps kernel_;
  Window window_;
};

class AveragePoolGrad : public Op {
 public:
  AveragePoolGrad(const Taps& kernel, const Window& window, const Shape& x)
      : kernel_(kernel), window_(window), x_(x) {}
  std::string_view name() const override { return "average_pool_grad"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo>) const override {
    return {activation(x_)};
  }
  std::vector<Val> vjp(const Vjp& v) const override {
    return {average_pool(v.tape, v.dy[0], kernel_, window_)};
  }
  void run(Device& device, const RunArgs& args) const override {
    device.backend().average_pool_grad(device.stream(), args.in[0], args.out[0], kernel_, window_);
  }

 private:
  Taps kernel_;
  Window window_;
  Shape x_;
};

class AveragePool : public Op {
 public:
  AveragePool(const Taps& kernel, const Window& window) : kernel_(kernel), window_(window) {}
  std::string_view name() const override { return "average_pool"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    return {activation(pool_output(in[0], kernel_, window_))};
  }
  std::vector<Val> vjp(const Vjp& v) const override {
    return {v.tape.append(std::make_shared<AveragePoolGrad>(kernel_, window_, v.tape.shape(v.x[0])),
                          {v.dy[0]})};
  }
  void run(Device& device, const RunArgs& args) const override {
    device.backend().average_pool(device.stream(), args.in[0], args.out[0], kernel_, window_);
  }

 private:
  Taps kernel_;
  Window window_;
};

// The gradient of a resize, and by `adjoint` the resize itself: each is the other's.
class ResizeOp : public Op {
 public:
  ResizeOp(const Resize& how, const Shape& out, bool adjoint)
      : how_(how), out_(out), adjoint_(adjoint) {}
  std::string_view name() const override { return adjoint_ ? "resize_grad" : "resize"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    require_rank4(in[0], "x");
    for (const Shape& shape : {in[0].shape, out_})
      for (int axis = 0; axis < shape.rank(); axis++)
        require(shape[axis] > 0, "a picture without pixels can't be resized");
    return {activation(out_)};
  }
  std::vector<Val> vjp(const Vjp& v) const override {
    return {v.tape.append(std::make_shared<ResizeOp>(how_, v.tape.shape(v.x[0]), !adjoint_),
                          {v.dy[0]})};
  }
  void run(Device& device, const RunArgs& args) const override {
    const auto kernel = adjoint_ ? device.backend().resize_grad : device.backend().resize;
    kernel(device.stream(), args.in[0], args.out[0], how_);
  }

 private:
  Resize how_;
  Shape out_;
  bool adjoint_;
};

}  // namespace

std::array<int64_t, 2> same_padding(int64_t in, int64_t kernel, int64_t stride, int64_t dilation) {
  require_window({kernel, kernel}, {{stride, stride}, {dilation, dilation}, {}});
  const int64_t out = (in + stride - 1) / stride;
  const int64_t total = std::max<int64_t>(0, (out - 1) * stride + dilation * (kernel - 1) + 1 - in);
  return {total / 2, total - total / 2};
}

Val max_pool(Tape& tape, Val x, std::array<int64_t, 2> kernel, const Window& window) {
  return tape.append(std::make_shared<MaxPool>(kernel, window),
                     {as_role(tape, x, Role::activation)});
}

Val average_pool(Tape& tape, Val x, std::array<int64_t, 2> kernel, const Window& window) {
  return tape.append(std::make_shared<AveragePool>(kernel, window),
                     {as_role(tape, x, Role::activation)});
}

Val resize(Tape& tape, Val x, int64_t height, int64_t width, const Resize& how) {
  const Shape out{tape.shape(x).images(), height, width, tape.shape(x).channels()};
  return tape.append(std::make_shared<ResizeOp>(how, out, false),
                     {as_role(tape, x, Role::activation)});
}

}  // namespace fulmar::ops
