#include "kernels/cuda/each.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/sums.cuh"

namespace fulmar::cuda {
namespace {

// The two source positions that an output position mixes: (1 - fraction) low + fraction high.
struct Taps {
  int64_t low, high;
  float fraction;
};

// One axis of a resampling. Positions in the source are whole numbers of 1 / parts: exact, and
// without double arithmetic, of which some GPUs do little.
struct Axis {
  int64_t in, out;
  bool align_corners, nearest;

  // parts * (o + 1/2) in / out - 1/2, or parts * o (in - 1) / (out - 1), not yet clamped.
  FULMAR_DEVICE int64_t position(int64_t output) const {
    if (!align_corners) return (2 * output + 1) * in - out;
    return out == 1 ? 0 : output * (in - 1);
  }
  FULMAR_DEVICE int64_t parts() const {
    if (!align_corners) return 2 * out;
    return out == 1 ? 1 : out - 1;
  }

  FULMAR_DEVICE Taps taps(int64_t output) const {
    const int64_t of_one = parts(), last = (in - 1) * of_one, at = position(output);
    const int64_t clamped = at < 0 ? 0 : at > last ? last : at;
    if (nearest) {
      const int64_t tap = divide(2 * clamped + of_one, 2 * of_one);
      return {tap, tap, 0};
    }
    const int64_t low = divide(clamped, of_one);
    return {low, low + 1 < in ? low + 1 : low,
            static_cast<float>(clamped - low * of_one) / static_cast<float>(of_one)};
  }

  // How much an output position takes from the source position `input`.
  FULMAR_DEVICE float weight(int64_t output, int64_t input) const {
    const Taps t = taps(output);
    return (t.low == input ? 1 - t.fraction : 0) + (t.high == input ? t.fraction : 0);
  }

  // Output positions that may take something from `input`; those before and after don't: an output
  // more than one source position away doesn't.
  FULMAR_DEVICE int64_t first_output(int64_t input) const {
    return input == 0 ? 0 : bound(input - 1, -1);
  }
  FULMAR_DEVICE int64_t end_output(int64_t input) const {
    return input == in - 1 ? out : bound(input + 1, 2);
  }

 private:
  FULMAR_DEVICE int64_t bound(int64_t at, int64_t margin) const {
    int64_t output = 0;
    if (!align_corners)  // at least 0, as `at` is: -1/2 is rounded up, and the margin is wider
      output = divide((2 * at + 1) * out, 2 * in);
    else if (in > 1)
      output = divide(at * (out - 1), in - 1);
    const int64_t moved = output + margin;
    return moved < 0 ? 0 : moved > out ? out : moved;
  }
};

struct Axes {
  Axis rows, columns;
};
Axes axes_of(const Shape& in, const Shape& out, const Resize& how) {
  const bool nearest = how.interpolation == Interpolation::nearest;
  return {{in.height(), out.height(), how.align_corners, nearest},
          {in.width(), out.width(), how.align_corners, nearest}};
}

// A position of weight 0 adds nothing, be it NaN.
FULMAR_DEVICE float mix(float low, float high, float fraction) {
  return fraction == 0 ? low : (1 - fraction) * low + fraction * high;
}

template <class T>
struct Forward {
  const T* x;
  T* y;
  Extent in, out;
  Axes axes;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    const Taps r = axes.rows.taps(p.row), c = axes.columns.taps(p.column);
    const auto at = [&](int64_t row, int64_t column) {
      return load<lanes>(x + in.at(p.image, row, column) + p.channel);
    };
    const Vec<float, lanes> low_low = at(r.low, c.low), low_high = at(r.low, c.high);
    const Vec<float, lanes> high_low = at(r.high, c.low), high_high = at(r.high, c.high);
    const float down = r.fraction, right = c.fraction;
    Vec<float, lanes> value;
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++)
      value.v[k] = mix(mix(low_low.v[k], low_high.v[k], right),
                       mix(high_low.v[k], high_high.v[k], right), down);
    store<lanes>(y + out.at(p.image, p.row, p.column) + p.channel, value);
  }
};

template <class T>
struct Gradient {
  const T* dy;
  T* dx;
  Extent in, out;
  Axes axes;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    LongSum sum[lanes];
    const int64_t end_row = axes.rows.end_output(p.row);
    const int64_t first_column = axes.columns.first_output(p.column);
    const int64_t end_column = axes.columns.end_output(p.column);
    for (int64_t row = axes.rows.first_output(p.row); row < end_row; row++) {
      const float down = axes.rows.weight(row, p.row);
      if (down == 0) continue;
      for (int64_t column = first_column; column < end_column; column++) {
        const float weight = down * axes.columns.weight(column, p.column);
        if (weight == 0) continue;
        const auto grad = load<lanes>(dy + out.at(p.image, row, column) + p.channel);
        FULMAR_UNROLL
        for (int k = 0; k < lanes; k++) sum[k].add(weight * grad.v[k]);
      }
    }
    Vec<float, lanes> total;
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) total.v[k] = sum[k].sum();
    store<lanes>(dx + in.at(p.image, p.row, p.column) + p.channel, total);
  }
};

}  // namespace

void resize(Stream& stream, const View& x, const View& y, const Resize& how) {
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const Forward<T> body{elements<T>(x), elements<T>(y), extent_of(x.shape), extent_of(y.shape),
                          axes_of(x.shape, y.shape, how)};
    each_pixel<T>(stream, "resize", y.shape, body, body.x, body.y);
  });
}

void resize_grad(Stream& stream, const View& dy, const View& dx, const Resize& how) {
  for_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    const Gradient<T> body{elements<T>(dy), elements<T>(dx), extent_of(dx.shape),
                           extent_of(dy.shape), axes_of(dx.shape, dy.shape, how)};
    each_pixel<T>(stream, "resize_grad", dx.shape, body, body.dy, body.dx);
  });
}

}  // namespace fulmar::cuda
