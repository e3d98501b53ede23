#include <limits>
#include <string>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/taps.h"
#include "kernels/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/max_pool.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

struct PoolTap {
  const float* source;    // what the run's first pixel reads
  const uint8_t* argmax;  // in the gradient
  int32_t index;          // row * kernel width + column
};

// body(taps, count, row, run, the row's output) for every run of columns in every row of y.
template <class Body>
void for_pool_runs(Stream& stream, const View& y, const View& x, const uint8_t* argmax,
                   std::array<int64_t, 2> kernel, const AxisTaps& rows, const AxisTaps& columns,
                   const Scratch<AxisTaps::Run>& runs, const Body& body) {
  const int64_t channels = y.shape.channels(), height = y.shape.height();
  const int64_t x_row = x.shape.width() * channels, x_height = x.shape.height();
  const float* source = x.as<float>();
  const int64_t grain = rows_per_chunk(y.shape.width() * channels, elementwise_grain);
  for_chunks(stream, y.shape.images() * height, grain,
             [&](int64_t begin, int64_t end, int worker) HWY_ATTR {
               const OutputRows<float> output(stream, worker, y);
               Scratch<PoolTap> taps(static_cast<size_t>(kernel[0] * kernel[1]));
               for (int64_t row = begin; row < end; row++) {
                 float* out = output.begin(row);
                 for (const AxisTaps::Run& run : runs) {
                   int64_t count = 0;
                   for (const AxisTap& r : rows.of(row % height))
                     for (const AxisTap& c : columns.of(run.first)) {
                       const int64_t at =
                           (row / height * x_height + r.source) * x_row + c.source * channels;
                       taps[count++] = {source + at, argmax ? argmax + at : nullptr,
                                        static_cast<int32_t>(r.k * kernel[1] + c.k)};
                     }
                   body(taps.data(), count, row, run, out);
                 }
                 output.end(row);
               }
             });
}

template <class DX>
HWY_INLINE void max_of_taps(DX d, const PoolTap* taps, int64_t count, int64_t at, float* y,
                            uint8_t* argmax) {
  const hn::RebindToSigned<DX> di;
  const hn::Rebind<uint8_t, DX> d8;
  auto best = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto index = hn::Zero(di);
  for (int64_t t = 0; t < count; t++) {
    const auto x = hn::LoadU(d, taps[t].source + at);
    const auto k = hn::Set(di, taps[t].index);
    if (t == 0) {
      best = x;
      index = k;
      continue;
    }
    // A NaN beats every number, and nothing beats the first NaN.
    const auto wins = hn::Or(hn::Gt(x, best), hn::And(hn::IsNaN(x), hn::Not(hn::IsNaN(best))));
    best = hn::IfThenElse(wins, x, best);
    index = hn::IfThenElse(hn::RebindMask(di, wins), k, index);
  }
  hn::StoreU(best, d, y);
  hn::StoreU(hn::DemoteTo(d8, index), d8, argmax);
}

void max_pool_forward(Stream& stream, const View& x, const View& y, const View& argmax,
                      std::array<int64_t, 2> kernel, const AxisTaps& rows, const AxisTaps& columns,
                      const Scratch<AxisTaps::Run>& runs) {
  const int64_t channels = y.shape.channels(), width = y.shape.width();
  const auto body = [&](const PoolTap* taps, int64_t count, int64_t row, const AxisTaps::Run& run,
                        float* out) HWY_ATTR {
    uint8_t* index = argmax.as<uint8_t>() + row * width * channels;
    for (int64_t p = 0; p < run.count; p++) {
      const int64_t from = p * run.source_step * channels, to = (run.first + p) * channels;
      for_channels(channels, [&](auto d, int64_t c) HWY_ATTR {
        max_of_taps(d, taps, count, from + c, out + to + c, index + to + c);
      });
    }
  };
  for_pool_runs(stream, y, x, nullptr, kernel, rows, columns, runs, body);
}

template <class DX>
HWY_INLINE void sum_of_winners(DX d, const PoolTap* taps, int64_t count, int64_t at, float* dx) {
  const hn::RebindToSigned<DX> di;
  const hn::Rebind<uint8_t, DX> d8;
  auto sum = hn::Zero(d);
  for (int64_t t = 0; t < count; t++) {
    const auto winner = hn::PromoteTo(di, hn::LoadU(d8, taps[t].argmax + at));
    const auto won = hn::RebindMask(d, hn::Eq(winner, hn::Set(di, taps[t].index)));
    sum = hn::Add(sum, hn::IfThenElseZero(won, hn::LoadU(d, taps[t].source + at)));
  }
  hn::StoreU(sum, d, dx);
}

void max_pool_backward(Stream& stream, const View& dy, const View& argmax, const View& dx,
                       std::array<int64_t, 2> kernel, const AxisTaps& rows, const AxisTaps& columns,
                       const Scratch<AxisTaps::Run>& runs) {
  const int64_t channels = dx.shape.channels();
  const auto body = [&](const PoolTap* taps, int64_t count, int64_t, const AxisTaps::Run& run,
                        float* out) HWY_ATTR {
    for (int64_t p = 0; p < run.count; p++) {
      const int64_t from = p * run.source_step * channels;
      const int64_t to = (run.first + p * run.step) * channels;
      for_channels(channels, [&](auto d, int64_t c) HWY_ATTR {
        sum_of_winners(d, taps, count, from + c, out + to + c);
      });
    }
  };
  for_pool_runs(stream, dx, dy, argmax.as<uint8_t>(), kernel, rows, columns, runs, body);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(max_pool_forward);
HWY_EXPORT(max_pool_backward);

namespace {

constexpr int64_t pixels_per_run = 64;

void check_kernel(std::array<int64_t, 2> kernel) {
  if (kernel[0] * kernel[1] > max_pool_taps)
    usage_error("max_pool: a window of " + std::to_string(kernel[0]) + "x" +
                std::to_string(kernel[1]) + " has more than the " + std::to_string(max_pool_taps) +
                " taps that argmax can name");
}

}  // namespace

void max_pool(Stream& stream, const View& x, const View& y, const View& argmax,
              std::array<int64_t, 2> kernel, const Window& w) {
  check_kernel(kernel);
  const AxisTaps rows = AxisTaps::window(y.shape.height(), x.shape.height(), kernel[0], w.stride[0],
                                         w.dilation[0], w.padding[0]);
  const AxisTaps columns = AxisTaps::window(y.shape.width(), x.shape.width(), kernel[1],
                                            w.stride[1], w.dilation[1], w.padding[2]);
  HWY_DYNAMIC_DISPATCH(max_pool_forward)
  (stream, x, y, argmax, kernel, rows, columns, columns.runs(1, w.stride[1], pixels_per_run));
}

void max_pool_grad(Stream& stream, const View& dy, const View& argmax, const View& dx,
                   std::array<int64_t, 2> kernel, const Window& w) {
  check_kernel(kernel);
  const AxisTaps rows = AxisTaps::transposed(dx.shape.height(), dy.shape.height(), kernel[0],
                                             w.stride[0], w.dilation[0], w.padding[0]);
  const AxisTaps columns = AxisTaps::transposed(dx.shape.width(), dy.shape.width(), kernel[1],
                                                w.stride[1], w.dilation[1], w.padding[2]);
  HWY_DYNAMIC_DISPATCH(max_pool_backward)
  (stream, dy, argmax, dx, kernel, rows, columns, columns.runs(w.stride[1], 1, pixels_per_run));
}

}  // namespace fulmar::cpu
#endif
