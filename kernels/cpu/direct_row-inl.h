// A row of a dense convolution, or of its gradient by the input, on zipped rows: pixels are lanes,
// weights are broadcast. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_DIRECT_ROW_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_DIRECT_ROW_INL_H
#undef FULMAR_KERNELS_CPU_DIRECT_ROW_INL_H
#else
#define FULMAR_KERNELS_CPU_DIRECT_ROW_INL_H
#endif

#include "kernels/cpu/bf16_pairs-inl.h"
#include "kernels/cpu/stores-inl.h"
#include "kernels/cpu/zipped-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Channels of y of a tile of two columns: most accumulators that the registers hold.
constexpr int direct_outputs = HWY_TARGET == HWY_AVX3 ? 8 : 4;
// Columns of a tile of fewer channels. Fewer accumulators would wait for each other.
constexpr int direct_columns(int outputs) {
  const int least = 2 * direct_outputs / outputs;
  return outputs == direct_outputs ? 2 : least >= 8 ? 8 : least >= 4 ? 4 : 2;
}

// y[column][o] = bias[o] + sum over k of taps[k][column] w[k][o], all but w and bias vectors of
// zipped rows; T: of floats, of bytes, or of pairs of bf16, as which weights lie too.
template <class T>
struct DirectRowOf {
  const T* const* taps;  // where the first column's value k lies
  int64_t depth;
  const float *w, *bias;  // bias: nullptr or a value for each output channel
  int64_t outputs, columns;
  int64_t x_step, y_step;  // elements from a column to the next
  float* y;
  Fetch next;                // a step for each column pair and weight of one channel tile
  int64_t w_step = outputs;  // from a k to the next
};
using DirectRow = DirectRowOf<float>;

HWY_INLINE V load_value(const float* p) { return hn::Load(D(), p); }
HWY_INLINE V load_value(const uint8_t* p) {
  const hn::Rebind<uint8_t, D> narrow;
  return hn::ConvertTo(D(), hn::PromoteTo(hn::RebindToSigned<D>(), hn::Load(narrow, p)));
}
HWY_INLINE V load_value(const uint32_t* p) {
  return hn::BitCast(D(), hn::Load(hn::RebindToUnsigned<D>(), p));
}

template <class T>
struct DirectMultiply {
  using type = MultiplyFloats;
};
#if HWY_TARGET == HWY_AVX3
template <>
struct DirectMultiply<uint32_t> {
  using type = MultiplyPairs;
};
#endif

// What becomes of a sum.
struct KeepSum {
  HWY_INLINE V operator()(V sum) const { return sum; }
};
// max(+0, sum), and NaN where it is.
struct RectifySum {
  HWY_INLINE V operator()(V sum) const {
    return hn::IfThenZeroElse(hn::Le(sum, hn::Zero(D())), sum);
  }
};

// Columns [i, i + columns) of output channels [o, o + outputs).
template <int columns, int outputs, class T, class Finish>
HWY_INLINE void direct_tile(const DirectRowOf<T>& row, int64_t i, int64_t o, const Finish& finish,
                            Fetch& next) {
  const D d;
  V sum[columns][outputs];
#pragma GCC unroll 8
  for (int j = 0; j < outputs; j++) {
    const V bias = hn::Set(d, row.bias ? row.bias[o + j] : 0.0F);
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) sum[c][j] = bias;
  }
  const float* w = row.w + o;
  for (int64_t k = 0; k < row.depth; k++, w += row.w_step) {
    for (int c = 0; c < columns; c += 2) next.step();
    const T* const x = row.taps[k] + i * row.x_step;
    V value[columns];
#pragma GCC unroll 8
    for (int c = 0; c < columns; c++) value[c] = load_value(x + c * row.x_step);
#pragma GCC unroll 8
    for (int j = 0; j < outputs; j++) {
      const V weight = hn::Set(d, w[j]);
#pragma GCC unroll 8
      for (int c = 0; c < columns; c++)
        sum[c][j] = DirectMultiply<T>::type::add(value[c], weight, sum[c][j]);
    }
  }
  float* const y = row.y + i * row.y_step + o * lanes();
#pragma GCC unroll 8
  for (int c = 0; c < columns; c++) {
#pragma GCC unroll 8
    for (int j = 0; j < outputs; j++)
      hn::Store(finish(sum[c][j]), d, y + c * row.y_step + j * lanes());
  }
}

// Output channels [o, o + outputs) of a row of an even number of columns.
template <int outputs, class T, class Finish>
HWY_NOINLINE void direct_channels(const DirectRowOf<T>& given, int64_t o, const Finish& finish) {
  const DirectRowOf<T> row = given;  // in registers: no store of y may change it
  constexpr int columns = direct_columns(outputs);
  Fetch next = row.next;
  int64_t i = 0;
  for (; i + columns <= row.columns; i += columns)
    direct_tile<columns, outputs>(row, i, o, finish, next);
  if constexpr (columns > 2)
    for (; i < row.columns; i += 2) direct_tile<2, outputs>(row, i, o, finish, next);
}

template <class T, class Finish>
HWY_INLINE void direct_row_of(DirectRowOf<T> row, const Finish& finish) {
  int64_t o = 0;
  for (; o + direct_outputs <= row.outputs; o += direct_outputs) {
    direct_channels<direct_outputs>(row, o, finish);
    row.next = {};  // once is enough
  }
  if (direct_outputs > 4 && o + 4 <= row.outputs) {
    direct_channels<4>(row, o, finish);
    row.next = {};
    o += 4;
  }
  switch (row.outputs - o) {
    case 3:
      return direct_channels<3>(row, o, finish);
    case 2:
      return direct_channels<2>(row, o, finish);
    case 1:
      return direct_channels<1>(row, o, finish);
  }
}

template <class Finish = KeepSum>
HWY_INLINE void direct_row(const DirectRow& row, const Finish& finish = {}) {
  direct_row_of(row, finish);
}

// The first `floats` floats of a zipped row of `count` vectors, into memory, or past the caches;
// then hwy::FlushStream() is the caller's. `plain` has room for the row.
HWY_INLINE void store_zipped(const float* zipped, int64_t count, int64_t floats, bool past_caches,
                             float* plain, float* to) {
  const bool whole = floats == count * max_lanes;
  const auto copy = [](V v) HWY_ATTR { return v; };
  unzip(zipped, count, whole && !past_caches ? to : plain);
  if (past_caches)
    transform(PartOf<Streamed>(), floats, to, copy, plain);
  else if (!whole)
    transform(Cached(), floats, to, copy, plain);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
