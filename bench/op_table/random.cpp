#include <array>
#include <cmath>

#include "bench/op_table/op_table.h"
#include "bench/op_table/uniform.h"

namespace fulmar::op_table {
namespace {

// Draws for one case.
class Draw {
 public:
  explicit Draw(uint64_t seed) : seed_(splitmix64(seed)) {}
  int64_t between(int64_t low, int64_t high) {  // both included
    return low + static_cast<int64_t>(splitmix64(seed_ + ++count_) %
                                      static_cast<uint64_t>(high - low + 1));
  }

 private:
  uint64_t seed_, count_ = 0;
};

struct Drawn {
  Shape x;
  std::array<int64_t, 2> kernel;
  Window window;
};

// Whether every window of an axis has a tap in the picture.
bool all_windows_inside(int64_t in, int64_t kernel, const Window& w, int axis) {
  const int64_t out = window_extent(in, kernel, w.stride[axis], w.dilation[axis],
                                    w.padding[2 * axis], w.padding[2 * axis + 1]);
  for (int64_t o = 0; o < out; o++) {
    bool inside = false;
    for (int64_t tap = 0; tap < kernel; tap++) {
      const int64_t at = o * w.stride[axis] + tap * w.dilation[axis] - w.padding[2 * axis];
      inside = inside || (at >= 0 && at < in);
    }
    if (!inside) return false;
  }
  return out > 0;
}

// A window over a picture of at most 20x20; each place of it has a tap in the picture. Three of
// four have small strides and dilations: those that kernels are tuned for.
Drawn draw_window(Draw& draw, int64_t channels) {
  while (true) {
    Drawn d;
    d.x = {draw.between(1, 3), draw.between(1, 20), draw.between(1, 20), channels};
    const bool common = draw.between(0, 3) > 0;
    bool fits = true;
    for (int axis = 0; axis < 2; axis++) {
      d.kernel[axis] = common ? draw.between(1, 3) : draw.between(1, 5);
      d.window.stride[axis] = common ? draw.between(1, 2) : draw.between(1, 4);
      d.window.dilation[axis] = common ? 1 : draw.between(1, 3);
      const int64_t reach = d.window.dilation[axis] * (d.kernel[axis] - 1);
      for (int side = 0; side < 2; side++)
        d.window.padding[2 * axis + side] = draw.between(0, reach);
      fits = fits && all_windows_inside(d.x[1 + axis], d.kernel[axis], d.window, axis);
    }
    if (fits) return d;
  }
}

std::string describe(const Drawn& d) {
  const auto pair = [](const char* what, int64_t a, int64_t b) {
    return std::string(what) + std::to_string(a) + "x" + std::to_string(b);
  };
  const Window& w = d.window;
  return "x " + d.x.to_string() + pair(", kernel ", d.kernel[0], d.kernel[1]) +
         pair(", stride ", w.stride[0], w.stride[1]) +
         pair(", dilation ", w.dilation[0], w.dilation[1]) +
         pair(", padding ", w.padding[0], w.padding[1]) + pair(" and ", w.padding[2], w.padding[3]);
}

Case draw_conv(Draw& draw) {
  const int64_t groups = draw.between(0, 3) ? 1 : draw.between(2, 3);
  const int64_t inputs = draw.between(1, 24), outputs = draw.between(1, 24);
  const Drawn d = draw_window(draw, inputs * groups);
  return {"conv2d",
          describe(d) + ", to " + std::to_string(outputs * groups) + " channels in " +
              std::to_string(groups) + " groups",
          {real("x", d.x), weight("w", {d.kernel[0], d.kernel[1], inputs, outputs * groups}),
           weight("bias", {outputs * groups})},
          [=](Tape& t, std::span<const Val> x) {
            return std::vector<Val>{ops::conv2d(t, x[0], x[1], x[2], d.window, groups)};
          },
          // The gradient of a single bias is one sum of up to 1000 numbers, smaller than its parts.
          1e-5};
}

Case draw_depthwise(Draw& draw) {
  const Drawn d = draw_window(draw, draw.between(1, 40));
  return {"depthwise_conv2d",
          describe(d),
          {real("x", d.x), weight("w", {d.kernel[0], d.kernel[1], d.x[3]})},
          [=](Tape& t, std::span<const Val> x) {
            return std::vector<Val>{ops::depthwise_conv2d(t, x[0], x[1], d.window)};
          },
          1e-5};  // as above: two channels have few weights
}

Case draw_pool(Draw& draw, bool max) {
  const Drawn d = draw_window(draw, draw.between(1, 40));
  // Floats that are small integers: many windows have several maxima.
  Operand x = listed(real("x", d.x, -4, 4));
  for (double& value : x.values) value = std::round(value);
  return {max ? "max_pool" : "average_pool",
          describe(d),
          {std::move(x)},
          [=](Tape& t, std::span<const Val> in) {
            const Val y = max ? ops::max_pool(t, in[0], d.kernel, d.window)
                              : ops::average_pool(t, in[0], d.kernel, d.window);
            return max ? std::vector<Val>{y, Val{y.node, 1}} : std::vector<Val>{y};
          },
          default_tolerance};
}

Case draw_resize(Draw& draw) {
  const Shape x{draw.between(1, 2), draw.between(1, 20), draw.between(1, 20), draw.between(1, 20)};
  const int64_t height = draw.between(1, 30), width = draw.between(1, 30);
  const Resize how{draw.between(0, 1) ? Interpolation::nearest : Interpolation::bilinear,
                   draw.between(0, 1) == 1};
  return {"resize",
          "x " + x.to_string() + " to " + std::to_string(height) + "x" + std::to_string(width) +
              (how.interpolation == Interpolation::nearest ? ", nearest" : ", bilinear") +
              (how.align_corners ? ", corners" : ""),
          {real("x", x)},
          [=](Tape& t, std::span<const Val> in) {
            return std::vector<Val>{ops::resize(t, in[0], height, width, how)};
          },
          default_tolerance};
}

Case draw_norm(Draw& draw) {
  const Shape x{draw.between(1, 3), draw.between(2, 20), draw.between(1, 20), draw.between(1, 40)};
  const Shape channels{x[3]};
  const auto statistic = [&](const char* name, double low, double high) {
    return state_of(in_role(Role::statistic, real(name, channels, low, high)));
  };
  return {"batch_norm_train",
          "x " + x.to_string(),
          {real("x", x, -2, 3), weight("gamma", channels, 0.5, 1.5), weight("beta", channels),
           statistic("mean", -1, 1), statistic("var", 0.5, 1.5)},
          [](Tape& t, std::span<const Val> in) {
            const ops::RunningStatistics running{in[3], in[4], 0.9, true};
            return std::vector<Val>{ops::batch_norm_train(t, in[0], in[1], in[2], running, 1e-3)};
          },
          // Few values a channel: see batch_norm_train of two values.
          2e-4};
}

// Two operands, each with any of the result's extents or 1; a bit says which.
Case draw_pointwise(Draw& draw) {
  const Shape y{draw.between(1, 3), draw.between(1, 20), draw.between(1, 20), draw.between(1, 40)};
  Shape operands[2] = {y, y};
  const int64_t bits = draw.between(0, 255);
  for (int i = 0; i < 8; i++)
    if (bits >> i & 1) operands[i / 4][i % 4] = 1;
  return {"sub",
          operands[0].to_string() + " - " + operands[1].to_string(),
          {real("a", operands[0]), real("b", operands[1])},
          [](Tape& t, std::span<const Val> x) { return std::vector<Val>{ops::sub(t, x[0], x[1])}; },
          1e-5};  // sums of up to 1200 numbers, as above
}

Case draw_case(uint64_t seed) {
  Draw draw(seed);
  switch (draw.between(0, 7)) {
    case 0:
    case 1:
      return draw_conv(draw);
    case 2:
      return draw_depthwise(draw);
    case 3:
      return draw_pool(draw, true);
    case 4:
      return draw_pool(draw, false);
    case 5:
      return draw_norm(draw);
    case 6:
      return draw_pointwise(draw);
    default:
      return draw_resize(draw);
  }
}

}  // namespace

Case random_case(uint64_t seed) {
  Case drawn = draw_case(seed);
  for (Operand& operand : drawn.operands) operand = listed(std::move(operand));
  return drawn;
}

}  // namespace fulmar::op_table
