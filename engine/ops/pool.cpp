#include "engine/ops/pool.h"

#include <algorithm>

#include "engine/ops.h"
#include "engine/window.h"

namespace fulmar::ops {
namespace {

using Taps = std::array<int64_t, 2>;

Shape pool_output(const ValueInfo& x, const Taps& kernel, const Window& window) {
  require_rank4(x, "x");
  const std::array<int64_t, 2> out = window_output(x.shape, kernel, window);
  return {x.shape[0], out[0], out[1], x.shape[3]};
}

// A window without a pixel would have no maximum. `in` and `out`: extents of x and y along `axis`.
void require_pixels(const MaxPool& op, int64_t in, int64_t out, size_t axis) {
  const int64_t stride = op.window.stride[axis], dilation = op.window.dilation[axis];
  const int64_t padding = op.window.padding[2 * axis];
  const auto require_pixel = [&](int64_t o) {
    const int64_t first = o * stride - padding;
    const int64_t tap = first < 0 ? (dilation - first - 1) / dilation : 0;  // first inside
    require(tap < op.kernel[axis] && first + tap * dilation < in,
            std::string("the window at ") + (axis == 0 ? "row " : "column ") + text(o) +
                " of the output has no pixel of x: padding or dilation are too large");
  };
  // A window that begins on a pixel has it; the last begins furthest behind them.
  for (int64_t o = 0; o < out && o * stride < padding; o++) require_pixel(o);
  require_pixel(out - 1);
}

Attributes described(std::array<int64_t, 2> kernel, const Window& window) {
  Attributes attributes = window_attributes(window);
  attributes["kernel"] = std::vector<int64_t>{kernel[0], kernel[1]};
  return attributes;
}

}  // namespace

std::vector<ValueInfo> MaxPoolGrad::infer(std::span<const ValueInfo>) const {
  return {activation(x)};
}

void MaxPoolGrad::run(Device& device, const RunArgs& args) const {
  device.backend().max_pool_grad(device.stream(), args.in[0], args.in[1], args.out[0], kernel,
                                 window);
}

std::vector<ValueInfo> MaxPool::infer(std::span<const ValueInfo> in) const {
  const Shape y = pool_output(in[0], kernel, window);
  require(kernel[0] * kernel[1] <= max_pool_taps, "a window has at most " + text(max_pool_taps) +
                                                      " taps, " + text(kernel[0]) + "x" +
                                                      text(kernel[1]) + " given");
  require_pixels(*this, in[0].shape.height(), y.height(), 0);
  require_pixels(*this, in[0].shape.width(), y.width(), 1);
  return {activation(y), {y, Role::index, DType::u8}};
}

std::vector<Val> MaxPool::vjp(const Vjp& v) const {
  return {v.tape.append(std::make_shared<MaxPoolGrad>(kernel, window, v.tape.shape(v.x[0])),
                        {v.dy[0], v.y[1]})};
}

void MaxPool::run(Device& device, const RunArgs& args) const {
  device.backend().max_pool(device.stream(), args.in[0], args.out[0], args.out[1], kernel, window);
}

std::vector<ValueInfo> AveragePoolGrad::infer(std::span<const ValueInfo>) const {
  return {activation(x)};
}

std::vector<Val> AveragePoolGrad::vjp(const Vjp& v) const {
  return {average_pool(v.tape, v.dy[0], kernel, window)};
}

void AveragePoolGrad::run(Device& device, const RunArgs& args) const {
  device.backend().average_pool_grad(device.stream(), args.in[0], args.out[0], kernel, window);
}

std::vector<ValueInfo> AveragePool::infer(std::span<const ValueInfo> in) const {
  return {activation(pool_output(in[0], kernel, window))};
}

std::vector<Val> AveragePool::vjp(const Vjp& v) const {
  return {v.tape.append(std::make_shared<AveragePoolGrad>(kernel, window, v.tape.shape(v.x[0])),
                        {v.dy[0]})};
}

void AveragePool::run(Device& device, const RunArgs& args) const {
  device.backend().average_pool(device.stream(), args.in[0], args.out[0], kernel, window);
}

std::vector<ValueInfo> ResizeOp::infer(std::span<const ValueInfo> in) const {
  require_rank4(in[0], "x");
  for (const Shape& shape : {in[0].shape, out})
    for (int axis = 0; axis < shape.rank(); axis++)
      require(shape[axis] > 0, "a picture without pixels can't be resized");
  return {activation(out)};
}

std::vector<Val> ResizeOp::vjp(const Vjp& v) const {
  return {
      v.tape.append(std::make_shared<ResizeOp>(how, v.tape.shape(v.x[0]), !adjoint), {v.dy[0]})};
}

void ResizeOp::run(Device& device, const RunArgs& args) const {
  const auto kernel = adjoint ? device.backend().resize_grad : device.backend().resize;
  kernel(device.stream(), args.in[0], args.out[0], how);
}

Attributes MaxPool::attributes() const { return described(kernel, window); }
Attributes MaxPoolGrad::attributes() const { return described(kernel, window); }
Attributes AveragePool::attributes() const { return described(kernel, window); }
Attributes AveragePoolGrad::attributes() const { return described(kernel, window); }
Attributes ResizeOp::attributes() const {
  return {{"interpolation",
           std::string(how.interpolation == Interpolation::nearest ? "nearest" : "bilinear")},
          {"align_corners", how.align_corners}};
}

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

Val global_max_pool(Tape& tape, Val x) {
  require_rank4(tape.info(x), "x of global_max_pool");
  constexpr int64_t most = 16;  // squared: max_pool_taps
  const int64_t height = tape.shape(x).height(), width = tape.shape(x).width();
  require(height > 0 && width > 0, "global_max_pool: x " + text(tape.shape(x)) + " has no pixels");
  if (height == 1 && width == 1) return x;
  const std::array kernel{std::min(height, most), std::min(width, most)};
  // Windows side by side from the first pixel on; the last may reach beyond the picture.
  const auto beyond = [](int64_t extent, int64_t taps) { return (taps - extent % taps) % taps; };
  const Window window{kernel, {1, 1}, {0, beyond(height, kernel[0]), 0, beyond(width, kernel[1])}};
  return global_max_pool(tape, max_pool(tape, x, kernel, window));
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
