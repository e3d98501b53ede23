#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/taps.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/depthwise.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/depthwise-inl.h"
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

Scratch<float> weight_tiles(const View& w) {
  const int64_t channels = w.shape.channels(), taps = w.shape.elements() / channels;
  const int64_t width = weight_tile(channels);
  Scratch<float> tiles(static_cast<size_t>(taps * width));
  for (int64_t t = 0; t < taps; t++)
    for (int64_t i = 0; i < width; i++)
      tiles[t * width + i] = w.as<float>()[t * channels + i % channels];
  return tiles;
}

// y at every position: the sum over the taps that reach it. Forward and input gradient differ in
// their taps only.
void depthwise_correlate(Stream& stream, const View& x, const View& w, const View& y,
                         const AxisTaps& rows, const AxisTaps& columns,
                         const Scratch<AxisTaps::Run>& runs) {
  const int64_t channels = y.shape.channels(), width = y.shape.width(), height = y.shape.height();
  const int64_t kernel_width = w.shape[1], tile = weight_tile(channels);
  const int64_t x_row = x.shape.width() * channels, x_height = x.shape.height();
  const Scratch<float> tiles = weight_tiles(w);
  const float* weights = tiles.data();
  // Several rows a task: neighbours read the same input rows.
  const int64_t grain = rows_per_chunk(width * channels, 2 * elementwise_grain);
  for_chunks(stream, y.shape.images() * height, grain,
             [&](int64_t begin, int64_t end, int worker) HWY_ATTR {
               const OutputRows<float> output(stream, worker, y);
               Scratch<DepthwiseTap> taps(static_cast<size_t>(w.shape[0] * kernel_width));
               for (int64_t row = begin; row < end; row++) {
                 const float* image = x.as<float>() + row / height * x_height * x_row;
                 float* out = output.begin(row);
                 for (const AxisTaps::Run& run : runs) {
                   int64_t count = 0;
                   for (const AxisTap& r : rows.of(row % height))
                     for (const AxisTap& c : columns.of(run.first))
                       taps[count++] = {image + r.source * x_row + c.source * channels,
                                        weights + (r.k * kernel_width + c.k) * tile};
                   correlate_run(taps.data(), count, out + run.first * channels, run.count,
                                 channels, run.source_step, run.step);
                 }
                 output.end(row);
               }
             });
}

// Sums of the weight gradient while a chunk of rows goes by: float for a while, then double.
struct WeightSums {
  static constexpr int64_t most_added = 256;  // float additions before a flush
  float* recent;                              // [taps][tile]
  double* total;                              // [taps][tile]
  int64_t elements, tile, added;

  void flush() {
    for (int64_t i = 0; i < elements; i++) {
      total[i] += static_cast<double>(recent[i]);
      recent[i] = 0;
    }
    added = 0;
  }
  void expect(int64_t additions) {
    if (added + additions > most_added) flush();
    added += additions;
  }
};

struct GradTap {
  const float* x;  // what the run's first pixel reads
  int64_t tap;
};

// Adds dy * x over vectors of type d, every tap.
template <class DX>
HWY_INLINE void accumulate_all(DX d, const Scratch<GradTap>& taps, int64_t tap_count,
                               const float* dy, int64_t dy_stride, int64_t at, int64_t x_stride,
                               int64_t channel, int64_t count, const WeightSums& sums) {
  for (int64_t first = 0; first < tap_count; first += most_taps) {
    const float* x[most_taps];
    float* sum[most_taps];
    const int64_t some = std::min<int64_t>(most_taps, tap_count - first);
    for (int64_t t = 0; t < some; t++) {
      x[t] = taps[first + t].x + at;
      sum[t] = sums.recent + taps[first + t].tap * sums.tile + channel;
    }
    accumulate_some(d, some, dy, dy_stride, x, x_stride, count, sum);
  }
}

void accumulate_run(const Scratch<GradTap>& taps, int64_t tap_count, const float* dy,
                    const AxisTaps::Run& run, int64_t channels, WeightSums& sums) {
  sums.expect(run.count);
  if (run.is_dense()) {
    walk_dense(
        run.count * channels, channels,
        [&](const Walk& walk, int64_t apart) HWY_ATTR {
          accumulate_all(D(), taps, tap_count, dy + walk.at, apart, walk.at, apart, walk.channel,
                         walk.vectors, sums);
        },
        [&](auto d, int64_t e, int64_t channel)
            HWY_ATTR { accumulate_all(d, taps, tap_count, dy + e, 0, e, 0, channel, 1, sums); });
    return;
  }
  const int64_t x_stride = run.source_step * channels;
  for_channels(channels, [&](auto d, int64_t c) HWY_ATTR {
    accumulate_all(d, taps, tap_count, dy + c, channels, c, x_stride, c, run.count, sums);
  });
}

// partial [chunks][taps][channels], chunks of `grain` rows of dy
void depthwise_weight_sums(Stream& stream, const View& x, const View& dy, const View& dw,
                           const AxisTaps& rows, const AxisTaps& columns,
                           const Scratch<AxisTaps::Run>& runs, int64_t grain, double* partial) {
  const int64_t channels = dy.shape.channels(), width = dy.shape.width();
  const int64_t height = dy.shape.height(), kernel_width = dw.shape[1];
  const int64_t all_taps = dw.shape[0] * kernel_width, tile = weight_tile(channels);
  const int64_t x_row = x.shape.width() * channels, x_height = x.shape.height();
  for_chunks(
      stream, dy.shape.images() * height, grain,
      [&](int64_t begin, int64_t end, int worker) HWY_ATTR {
        const int64_t elements = all_taps * tile;
        auto* total = static_cast<double*>(stream.pool->scratch(
            worker, static_cast<size_t>(elements) * (sizeof(double) + sizeof(float))));
        WeightSums sums{reinterpret_cast<float*>(total + elements), total, elements, tile, 0};
        std::fill_n(sums.total, elements, 0.0);
        std::fill_n(sums.recent, elements, 0.0f);
        Scratch<GradTap> taps(static_cast<size_t>(all_taps));
        for (int64_t row = begin; row < end; row++) {
          const float* image = x.as<float>() + row / height * x_height * x_row;
          const float* g = dy.as<float>() + row * width * channels;
          for (const AxisTaps::Run& run : runs) {
            int64_t count = 0;
            for (const AxisTap& r : rows.of(row % height))
              for (const AxisTap& c : columns.of(run.first))
                taps[count++] = {image + r.source * x_row + c.source * channels,
                                 r.k * kernel_width + c.k};
            accumulate_run(taps, count, g + run.first * channels, run, channels, sums);
          }
        }
        sums.flush();
        double* out = partial + begin / grain * all_taps * channels;
        std::fill_n(out, all_taps * channels, 0.0);
        for (int64_t t = 0; t < all_taps; t++)
          for (int64_t i = 0; i < tile; i++)
            out[t * channels + i % channels] += total[t * tile + i];
      });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(depthwise_correlate);
HWY_EXPORT(depthwise_weight_sums);

namespace {

AxisTaps window_taps(int axis, const View& x, const View& y, const View& w, const Window& window) {
  const bool column = axis == 1;
  return AxisTaps::window(column ? y.shape.width() : y.shape.height(),
                          column ? x.shape.width() : x.shape.height(), w.shape[axis],
                          window.stride[axis], window.dilation[axis], window.padding[2 * axis]);
}

AxisTaps transposed_taps(int axis, const View& dx, const View& dy, const View& w,
                         const Window& window) {
  const bool column = axis == 1;
  return AxisTaps::transposed(column ? dx.shape.width() : dx.shape.height(),
                              column ? dy.shape.width() : dy.shape.height(), w.shape[axis],
                              window.stride[axis], window.dilation[axis], window.padding[2 * axis]);
}

// Rows of dy that make a chunk of the weight gradient: at most 64 chunks, none very small.
int64_t weight_grad_grain(const View& dy) {
  const int64_t rows = dy.shape.images() * dy.shape.height();
  return std::max((rows + 63) / 64,
                  rows_per_chunk(dy.shape.width() * dy.shape.channels(), elementwise_grain));
}

// Pixels in about 8 KiB: vectors of one group of channels are far apart, and all groups of a
// stretch of memory should be done while it is in cache.
int64_t pixels_per_run(const View& w) {
  return std::clamp<int64_t>(2048 / w.shape.channels(), 8, 256) / 4 * 4;
}

}  // namespace

void depthwise_conv2d(Stream& stream, const View& x, const View& w, const View& y,
                      const Window& window) {
  const AxisTaps columns = window_taps(1, x, y, w, window);
  HWY_DYNAMIC_DISPATCH(depthwise_correlate)
  (stream, x, w, y, window_taps(0, x, y, w, window), columns,
   columns.runs(1, window.stride[1], pixels_per_run(w)));
}

void depthwise_conv2d_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                                 const Window& window) {
  const AxisTaps columns = transposed_taps(1, dx, dy, w, window);
  HWY_DYNAMIC_DISPATCH(depthwise_correlate)
  (stream, dy, w, dx, transposed_taps(0, dx, dy, w, window), columns,
   columns.runs(window.stride[1], 1, pixels_per_run(w)));
}

size_t depthwise_conv2d_weight_grad_workspace(Stream&, const View&, const View& dy, const View& dw,
                                              const Window&) {
  const int64_t grain = weight_grad_grain(dy), rows = dy.shape.images() * dy.shape.height();
  return static_cast<size_t>((rows + grain - 1) / grain * dw.shape.elements()) * sizeof(double);
}

void depthwise_conv2d_weight_grad(Stream& stream, const View& x, const View& dy, const View& dw,
                                  const Window& window, void* work) {
  const AxisTaps columns = window_taps(1, x, dy, dw, window);
  const int64_t grain = weight_grad_grain(dy), rows = dy.shape.images() * dy.shape.height();
  auto* partial = static_cast<double*>(work);
  HWY_DYNAMIC_DISPATCH(depthwise_weight_sums)
  (stream, x, dy, dw, window_taps(0, x, dy, dw, window), columns,
   columns.runs(1, window.stride[1], pixels_per_run(dw)), grain, partial);
  const int64_t elements = dw.shape.elements();
  for (int64_t i = 0; i < elements; i++) {
    double sum = 0;
    for (int64_t chunk = 0; chunk * grain < rows; chunk++) sum += partial[chunk * elements + i];
    dw.as<float>()[i] = static_cast<float>(sum);
  }
}

}  // namespace fulmar::cpu
#endif
