#include "kernels/cpu/conv2d_direct.h"

#include <algorithm>

#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d_direct.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/stores-inl.h"
#include "kernels/cpu/zipped-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Output channels of a tile of two columns: most accumulators that the registers hold.
constexpr int direct_outputs = HWY_TARGET == HWY_AVX3 ? 8 : 4;

struct DirectRow {
  const ZippedConv& conv;
  const float* const* taps;
  const float *w, *bias;  // bias: nullptr or a value for each output channel
  float* y;               // zipped
  Fetch next;             // a step for each column pair and weight of one channel tile
};

// Output channels [o, o + outputs) of a row.
template <int outputs>
HWY_NOINLINE void direct_channels(const DirectRow& row, int64_t o) {
  const D d;
  const int64_t step = row.conv.column_step(), depth = row.conv.depth();
  const int64_t all = row.conv.outputs, columns = row.conv.columns;
  const float* const* const taps = row.taps;
  float* y = row.y + o * lanes();
  Fetch next = row.next;
  for (int64_t i = 0; i < columns; i += 2, y += 2 * all * lanes()) {
    V sum[outputs][2];
#pragma GCC unroll 8
    for (int j = 0; j < outputs; j++)
      sum[j][0] = sum[j][1] = hn::Set(d, row.bias ? row.bias[o + j] : 0.0F);
    const float* w = row.w + o;
    for (int64_t k = 0; k < depth; k++, w += all) {
      next.step();
      const float* const x = taps[k] + i * step;
      const V x0 = hn::Load(d, x), x1 = hn::Load(d, x + step);
#pragma GCC unroll 8
      for (int j = 0; j < outputs; j++) {
        const V weight = hn::Set(d, w[j]);
        sum[j][0] = hn::MulAdd(x0, weight, sum[j][0]);
        sum[j][1] = hn::MulAdd(x1, weight, sum[j][1]);
      }
    }
#pragma GCC unroll 8
    for (int j = 0; j < outputs; j++) {
      hn::Store(sum[j][0], d, y + j * lanes());
      hn::Store(sum[j][1], d, y + (all + j) * lanes());
    }
  }
}

HWY_INLINE void direct_row(DirectRow row) {
  const int64_t all = row.conv.outputs;
  int64_t o = 0;
  for (; o + direct_outputs <= all; o += direct_outputs) {
    direct_channels<direct_outputs>(row, o);
    row.next = {};  // once is enough
  }
  for (; o + 4 <= all; o += 4) direct_channels<4>(row, o);
  for (; o + 2 <= all; o += 2) direct_channels<2>(row, o);
  if (o < all) direct_channels<1>(row, o);
}

// Of 64 channels a zipped row leaves L1: 3x3 from 3 to 64 took twice as long as the product of
// packed patches; to 32, 0.8 of its time (2026-11-30).
bool is_direct(const View& w, const View& y, const Window& window, int64_t groups) {
  constexpr int64_t most_outputs = 32;
  const ZippedConv conv(w, y, window);
  return conv.outputs <= most_outputs && conv.suits(groups);
}

void direct_target(ThreadPool& pool, const View& x, const View& w, const View& bias, const View& y,
                   const Window& window) {
  const ZippedConv conv(x, w, y, window);
  // Enough tasks for many threads, but few rows of x that two tasks zip.
  const int64_t lines = std::clamp<int64_t>(conv.lines() / 64, 4, 32);
  const int64_t row_floats = conv.out_width * conv.outputs;
  const bool whole = conv.out_width == max_lanes * conv.columns;
  const bool past_caches = writes_past_caches(y) && row_floats % (line_bytes / sizeof(float)) == 0;
  const size_t bytes = static_cast<size_t>(conv.ring_floats() + 2 * conv.y_row()) * sizeof(float) +
                       static_cast<size_t>(conv.depth()) * sizeof(float*);
  pool.run((conv.lines() + lines - 1) / lines, [&](int64_t task, int worker) HWY_ATTR {
    float* const memory = static_cast<float*>(pool.scratch(worker, bytes));
    float* const zipped = memory + conv.ring_floats();
    float* const plain = zipped + conv.y_row();
    const auto taps = reinterpret_cast<const float**>(plain + conv.y_row());
    ZippedRows rows(conv, x, memory);
    DirectRow row{conv, taps, w.as<float>(), bias ? bias.as<float>() : nullptr, zipped, {}};
    for (int64_t line = task * lines; line < std::min(conv.lines(), (task + 1) * lines); line++) {
      rows.find_taps(line, taps);
      row.next = rows.next(conv.columns / 2 * conv.depth());
      direct_row(row);
      float* const to = y.as<float>() + line * row_floats;
      const auto copy = [](V v) HWY_ATTR { return v; };
      unzip(zipped, conv.y_count, whole && !past_caches ? to : plain);
      if (past_caches)
        transform(PartOf<Streamed>(), row_floats, to, copy, plain);
      else if (!whole)
        transform(Cached(), row_floats, to, copy, plain);
    }
    if (past_caches) hwy::FlushStream();
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(is_direct);
HWY_EXPORT(direct_target);

bool conv2d_is_direct(const View& w, const View& y, const Window& window, int64_t groups) {
  return HWY_DYNAMIC_DISPATCH(is_direct)(w, y, window, groups);
}

void conv2d_direct(Stream& stream, const View& x, const View& w, const View& bias, const View& y,
                   const Window& window) {
  HWY_DYNAMIC_DISPATCH(direct_target)(*stream.pool, x, w, bias, y, window);
}

}  // namespace fulmar::cpu
#endif
