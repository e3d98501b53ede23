#include "kernels/cpu/conv2d_check.h"

#include <string>

#include "kernels/error.h"
#include "kernels/warp.h"

namespace fulmar::cpu {

void check_conv2d(const View& x, const View& w, const View& y, const Window& window,
                  int64_t groups) {
  const auto fail = [&](const std::string& what) {
    usage_error("conv2d: " + what + " (x " + x.shape.to_string() + ", w " + w.shape.to_string() +
                ", y " + y.shape.to_string() + ", " + std::to_string(groups) + " groups)");
  };
  for (const View* view : {&x, &w, &y}) {
    if (view->type != DType::f32)
      fail("the CPU computes in f32, not " + std::string(name_of(view->type)));
    if (!view->is_contiguous()) fail("operands must be contiguous");
  }
  for (int axis = 0; axis < 2; axis++)
    if (window.stride[axis] < 1 || window.dilation[axis] < 1)
      fail("stride and dilation must be at least 1");
  if (groups < 1 || x.shape.channels() != w.shape.width() * groups ||
      w.shape.channels() % groups != 0)
    fail("w must be [height, width, channels of x / groups, multiple of groups]");
  const auto extent = [&](int axis, int64_t in, int64_t kernel) {
    return window_extent(in, kernel, window.stride[axis], window.dilation[axis],
                         window.padding[2 * axis], window.padding[2 * axis + 1]);
  };
  const Shape want{x.shape.images(), extent(0, x.shape.height(), w.shape.images()),
                   extent(1, x.shape.width(), w.shape.height()), w.shape.channels()};
  const Shape got{y.shape.images(), y.shape.height(), y.shape.width(), y.shape.channels()};
  if (got != want) fail("y should be " + want.to_string());
}

void check_conv2d(const Loaded& x, const View& w, const View& y, const Window& window,
                  int64_t groups) {
  if (!x.is_sampled()) return check_conv2d(x.x, w, y, window, groups);
  const View read = view_of(nullptr, x.shape(), DType::f32);
  check_conv2d(read, w, y, window, groups);
  if (x.sampled.samples) check_warp(x.x, x.sampled.samples, read);
}

}  // namespace fulmar::cpu
