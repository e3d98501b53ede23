#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d_direct_weight_grad.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/norm_grad-inl.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/zipped-inl.h"
#include "kernels/cpu/zipped_picture-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

constexpr int gradient_outputs = HWY_TARGET == HWY_AVX3 ? 8 : 4;
// Columns whose products a lane adds up in float before they go into a sum in double.
constexpr int64_t float_columns = 1024;

struct GradientRow {
  const ZippedConv& conv;
  const float* const* taps;
  const float* dy;  // zipped
  float* sums;      // a vector for each weight
  Fetch next_x, next_dy, next_z;
};

// sums of weights (k, o) to (k + inputs, o + outputs) += x * dy over the row's columns
template <int inputs, int outputs>
HWY_NOINLINE void gradient_tile(const GradientRow& row, int64_t k, int64_t o) {
  const D d;
  const int64_t step = row.conv.column_step(), all = row.conv.outputs * lanes();
  float* const sums = row.sums + k * all + o * lanes();
  V sum[inputs][outputs];
  const float* x[inputs];
#pragma GCC unroll 8
  for (int i = 0; i < inputs; i++) {
    x[i] = row.taps[k + i];
#pragma GCC unroll 8
    for (int j = 0; j < outputs; j++) sum[i][j] = hn::Load(d, sums + i * all + j * lanes());
  }
  const float* dy = row.dy + o * lanes();
  Fetch next_x = row.next_x, next_dy = row.next_dy, next_z = row.next_z;
  for (int64_t column = 0; column < row.conv.columns; column++, dy += all) {
    next_x.step_far();
    next_dy.step_far();
    next_z.step_far();
    V value[inputs];
#pragma GCC unroll 8
    for (int i = 0; i < inputs; i++) {
      value[i] = hn::Load(d, x[i]);
      x[i] += step;
    }
#pragma GCC unroll 8
    for (int j = 0; j < outputs; j++) {
      const V gradient = kept(hn::Load(d, dy + j * lanes()));
#pragma GCC unroll 8
      for (int i = 0; i < inputs; i++) sum[i][j] = hn::MulAdd(value[i], gradient, sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < inputs; i++) {
#pragma GCC unroll 8
    for (int j = 0; j < outputs; j++) hn::Store(sum[i][j], d, sums + i * all + j * lanes());
  }
}

template <int outputs>
HWY_INLINE void gradient_channels(GradientRow& row, int64_t o) {
  const int64_t depth = row.conv.depth();
  int64_t k = 0;
  for (; k + 3 <= depth; k += 3) {
    gradient_tile<3, outputs>(row, k, o);
    row.next_x = row.next_x.after(row.conv.columns);
    row.next_dy = row.next_dy.after(row.conv.columns);
    row.next_z = row.next_z.after(row.conv.columns);
  }
  for (; k < depth; k++) gradient_tile<1, outputs>(row, k, o);
}

HWY_INLINE void gradient_row(GradientRow row) {
  const int64_t all = row.conv.outputs;
  int64_t o = 0;
  for (; o + gradient_outputs <= all; o += gradient_outputs) {
    gradient_channels<gradient_outputs>(row, o);
    row.next_x = row.next_dy = row.next_z = {};
  }
  for (; o + 4 <= all; o += 4) gradient_channels<4>(row, o);
  for (; o + 2 <= all; o += 2) gradient_channels<2>(row, o);
  if (o < all) gradient_channels<1>(row, o);
}

// Not where a row has so few columns that sums are fetched and put back all the time, or where they
// leave L1: then patches cost less (measured with 16 outputs, and with 2 columns; 2026-11-30).
bool gradient_is_direct(const View& dy, const View& dw, const Window& window, int64_t groups) {
  constexpr int64_t most_outputs = 15, least_columns = 4, most_sums = int64_t{1} << 14;
  const ZippedConv conv(dw, dy, window);
  return conv.outputs <= most_outputs && conv.columns >= least_columns && conv.suits(groups) &&
         dw.shape.elements() * max_lanes <= most_sums;
}

// Adds the lanes' sums to `total` and empties them.
void flush_sums(float* sums, int64_t weights, double* total) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> narrow;
  for (int64_t i = 0; i < weights; i++) {
    auto sum = hn::Zero(d);
    for (int64_t l = 0; l < max_lanes; l += static_cast<int64_t>(hn::Lanes(d)))
      sum = hn::Add(sum, hn::PromoteTo(d, hn::Load(narrow, sums + i * max_lanes + l)));
    total[i] += hn::GetLane(hn::SumOfLanes(d, sum));
  }
  std::memset(sums, 0, static_cast<size_t>(weights * max_lanes) * sizeof(float));
}

// totals: a sum of each task for each weight
void gradient_target(ThreadPool& pool, const Loaded& x, const Cotangent& cotangent, const View& dw,
                     const Window& window, int64_t tasks, double* totals) {
  const ZippedConv conv(x.shape(), dw, cotangent.dy, window);
  const ZippedSource source(x);
  const FlatCotangent dy(cotangent, conv.outputs);
  const int64_t weights = dw.shape.elements(), lines = (conv.lines() + tasks - 1) / tasks;
  const int64_t row_floats = conv.out_width * conv.outputs;
  const size_t bytes = static_cast<size_t>(conv.ring_floats() + 3 * conv.y_row() +
                                           weights * max_lanes + source.row_floats()) *
                           sizeof(float) +
                       static_cast<size_t>(conv.depth()) * sizeof(float*);
  pool.run(tasks, [&](int64_t task, int worker) HWY_ATTR {
    float* const memory = static_cast<float*>(pool.scratch(worker, bytes));
    float* const zipped = memory + conv.ring_floats();
    float* const edge = zipped + conv.y_row();
    float* const made = edge + conv.y_row();
    float* const sums = made + conv.y_row();
    float* const picture_row = sums + weights * max_lanes;
    const auto taps = reinterpret_cast<const float**>(picture_row + source.row_floats());
    WarpColumns warp_columns;
    double* const total = totals + task * weights;
    std::fill_n(total, weights, 0.0);
    std::memset(sums, 0, static_cast<size_t>(weights * max_lanes) * sizeof(float));
    ZippedRows rows = source.rows(conv, memory);
    int64_t columns = 0;
    for (int64_t line = task * lines; line < std::min(conv.lines(), (task + 1) * lines); line++) {
      source.find_taps(rows, line, taps, warp_columns, picture_row);
      zip_row(dy.at(line * row_floats, row_floats, made), row_floats, 0, conv.y_count, conv.y_count,
              edge, zipped);
      const int64_t steps = conv.columns * std::max<int64_t>(conv.depth() / 3, 1);
      const auto next = [&](const float* of) {
        if (!of || line + 1 == conv.lines()) return Fetch();
        return Fetch(of + (line + 1) * row_floats, row_floats, steps);
      };
      gradient_row(
          {conv, taps, zipped, sums, source.next(rows, steps), next(dy.dy()), next(dy.z())});
      columns += conv.columns;
      if (columns + conv.columns <= float_columns) continue;
      flush_sums(sums, weights, total);
      columns = 0;
    }
    flush_sums(sums, weights, total);
  });
  for (int64_t i = 0; i < weights; i++) {
    double sum = 0;
    for (int64_t task = 0; task < tasks; task++) sum += totals[task * weights + i];
    dw.as<float>()[i] = static_cast<float>(sum);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {
namespace {

// Tasks, each with sums of its own: by shape alone.
int64_t gradient_tasks(const View& dy) {
  constexpr int64_t most = 64;
  return std::clamp<int64_t>(dy.shape.images() * dy.shape.height() / 4, 1, most);
}

}  // namespace

HWY_EXPORT(gradient_is_direct);
HWY_EXPORT(gradient_target);

bool conv2d_weight_grad_is_direct(const View& dy, const View& dw, const Window& window,
                                  int64_t groups) {
  return HWY_DYNAMIC_DISPATCH(gradient_is_direct)(dy, dw, window, groups);
}

size_t conv2d_direct_weight_grad_workspace(const View& dy, const View& dw) {
  return static_cast<size_t>(gradient_tasks(dy) * dw.shape.elements()) * sizeof(double);
}

void conv2d_direct_weight_grad(Stream& stream, const Loaded& x, const Cotangent& dy, const View& dw,
                               const Window& window, void* work) {
  HWY_DYNAMIC_DISPATCH(gradient_target)
  (*stream.pool, x, dy, dw, window, gradient_tasks(dy.dy), static_cast<double*>(work));
}

}  // namespace fulmar::cpu
#endif
