// What makes rows: the parts that the layers of a run have in common. Compiled once per instruction
// set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_ROW_LAYERS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_ROW_LAYERS_INL_H
#undef FULMAR_KERNELS_CPU_ROW_LAYERS_INL_H
#else
#define FULMAR_KERNELS_CPU_ROW_LAYERS_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/bf16_pairs-inl.h"
#include "kernels/cpu/depthwise_tiles-inl.h"
#include "kernels/cpu/direct_row-inl.h"
#include "kernels/cpu/row_plan-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// The latest rows of a tensor; those outside of it are zeros.
struct RowRing {
  Ring ring;
  int64_t height;
  float* zeros;  // a column's room within a row of zeros
  float* at(int64_t row) const { return row < 0 || row >= height ? zeros : ring.at(row); }
};

// A zipped row's neighbours: before it stands the column before each segment, behind it the one
// after.
HWY_NOINLINE inline void set_neighbours(const RowFormat& format, float* row) {
  const D d;
  const int64_t column = format.lie.stride, end = format.columns * column;
  const auto first_lane = hn::FirstN(d, 1);
  const auto all_but_last = hn::FirstN(d, static_cast<size_t>(lanes() - 1));
  for (int64_t e = 0; e < column; e += lanes()) {
    hn::StoreU(hn::IfThenZeroElse(first_lane, hn::LoadU(d, row + end - column + e - 1)), d,
               row - column + e);
    hn::StoreU(hn::IfThenElseZero(all_but_last, hn::LoadU(d, row + e + 1)), d, row + end + e);
  }
}

// A weight of a 1x1 convolution, packed where its rows are plain, and its bias.
struct RowWeight {
  Weight plain;
  const float *w, *bias;
  int64_t inputs, outputs;
  bool zipped = false, pairs = false;  // of zipped rows; of pairs of bf16

  static int64_t bias_floats(int64_t outputs) { return padded_columns(outputs) + 2 * max_lanes; }
  static int64_t floats(const View& w) {
    return packed_elements(w.shape.width(), w.shape.channels()) + bias_floats(w.shape.channels());
  }

  HWY_INLINE RowWeight(ThreadPool& pool, const RowLayer& layer, bool of_zipped, float* memory)
      : w(layer.w.as<float>()),
        inputs(layer.w.shape.width()),
        outputs(layer.w.shape.channels()),
        zipped(of_zipped) {
    float* const table = memory + packed_elements(inputs, outputs);
    std::memset(table, 0, static_cast<size_t>(bias_floats(outputs)) * sizeof(float));
    if (layer.bias) std::memcpy(table, layer.bias.data, layer.bias.bytes());
    bias = table;
    if (!of_zipped && Weight::in_pairs(inputs, outputs)) {
      plain = pack_weight(pool, layer.w, false, memory);
      return;
    }
    const bool bf16 = layer.packed && layer.packed.type == DType::bf16;
    pairs = bf16 && multiplies_pairs(inputs);
    // What is packed in pairs serves no other product.
    const bool packed = layer.packed && (pairs || !bf16);
    if (!packed) pack_weights(pool, layer.w, 1, memory);
    plain = {packed ? layer.packed.as<float>() : memory, pairs ? inputs / 2 : inputs, outputs};
  }

  // As pack_weights, in pairs of bf16, as plain_to_plain reads it.
  static HWY_INLINE void pack_pairs(ThreadPool& pool, const View& w, uint32_t* to) {
    const int64_t depth = w.shape.width(), columns = w.shape.channels();
    const int64_t width = panel_width(columns);
    pool.run((columns + width - 1) / width, [&](int64_t task, int) {
      const int64_t c = task * width;
      pack_panel_of_pairs(w.as<float>(), depth, columns, c, to + c * (depth / 2));
    });
  }
  // Floats of memory that a product of so many pixels, or zipped columns, needs.
  int64_t pairs_floats(int64_t columns) const {
    const int64_t pixels = columns * (zipped ? lanes() : 1);
    return pairs ? rounded_up(pixels * plain.depth, max_lanes) + 2 * max_lanes : 0;
  }

  // From pixels to pixels, some columns of them.
  template <class Rows>
  HWY_INLINE void plain_to_plain(int64_t pixels, const LeftBlock& left, bool relu, const Rows& out,
                                 int64_t first_column, int64_t last_column,
                                 [[maybe_unused]] float* memory) const {
    const AheadByTile none{left.data, 0, 0};
#if HWY_TARGET == HWY_AVX3
    if (pairs) {
      round_pixels(left.data, left.stride, pixels, inputs, reinterpret_cast<uint16_t*>(memory));
      if (to_16<false>(memory, pixels, relu, out)) return;
      const Block block{pixels, first_column, last_column, 0, plain.depth, {true, true}};
      const Panels panels{plain.data, plain.depth, plain.columns};
      const LeftBlock rounded{memory, plain.depth};
      if (relu)
        multiply<Left::rows, MultiplyPairs>(block, rounded, panels, none, out,
                                            AddBiasRectify{bias});
      else
        multiply<Left::rows, MultiplyPairs>(block, rounded, panels, none, out, AddBias{bias});
      return;
    }
#endif
    multiply_weight(pixels, left, plain, bias, out, none, first_column, last_column, relu);
  }
  // From zipped columns, `step` floats apart, to zipped columns.
  HWY_INLINE void zipped_to_zipped(const float* x, int64_t step, int64_t columns, bool relu,
                                   float* y, const float** taps,
                                   [[maybe_unused]] float* memory) const {
#if HWY_TARGET == HWY_AVX3
    if (pairs) {
      const auto rounded = reinterpret_cast<uint32_t*>(memory);
      round_columns(x, step, columns, inputs, rounded);
      const auto at = reinterpret_cast<const uint32_t**>(taps);
      return columns_to_columns(rounded, inputs / 2 * lanes(), columns, relu, y, at, plain.data,
                                panel_width(outputs));
    }
#endif
    columns_to_columns(x, step, columns, relu, y, taps, w, outputs);
  }
  // From zipped columns to pixels `stride` floats apart; lanes are `segment` pixels apart.
  HWY_INLINE void zipped_to_plain(const float* x, int64_t step, int64_t columns, bool relu,
                                  float* y, int64_t stride, int64_t segment,
                                  [[maybe_unused]] float* memory) const {
#if HWY_TARGET == HWY_AVX3
    if (pairs) {
      round_columns(x, step, columns, inputs, reinterpret_cast<uint32_t*>(memory));
      const auto place = [&](int64_t p) { return y + p / 16 * stride + p % 16 * segment * stride; };
      if (to_16<true>(memory, columns * 16, relu, place)) return;
      return columns_to_pixels<MultiplyPairs>(memory, inputs / 2 * lanes(), columns, relu, y,
                                              stride, segment);
    }
#endif
    columns_to_pixels<MultiplyFloats>(x, step, columns, relu, y, stride, segment);
  }

 private:
#if HWY_TARGET == HWY_AVX3
  // Of pairs in memory; whether there is a kernel for so many.
  template <bool of_zipped, class Place>
  HWY_INLINE bool to_16(const float* x, int64_t pixels, bool relu, const Place& place) const {
    if (outputs != 16 || (inputs != 8 && inputs != 16)) return false;
    if (inputs == 8)
      multiply_all_to_16<4, of_zipped>(x, pixels, plain.data, bias, relu, place);
    else
      multiply_all_to_16<8, of_zipped>(x, pixels, plain.data, bias, relu, place);
    return true;
  }
#endif
  template <class T>
  HWY_INLINE void columns_to_columns(const T* x, int64_t step, int64_t columns, bool relu, float* y,
                                     const T** taps, const float* weight,
                                     int64_t weight_step) const {
    for (int64_t k = 0; k < plain.depth; k++) taps[k] = x + k * lanes();
    const DirectRowOf<T> row{taps, plain.depth,       weight, bias, outputs,    columns,
                             step, outputs * lanes(), y,      {},   weight_step};
    if (relu)
      direct_row_of(row, RectifySum());
    else
      direct_row_of(row, KeepSum());
  }
  template <class Multiply>
  HWY_INLINE void columns_to_pixels(const float* x, int64_t step, int64_t columns, bool relu,
                                    float* y, int64_t stride, int64_t segment) const {
    if (relu)
      columns_to_pixels<Multiply>(x, step, columns, y, stride, segment, AddBiasRectify{bias});
    else
      columns_to_pixels<Multiply>(x, step, columns, y, stride, segment, AddBias{bias});
  }
  template <class Multiply, class Epilogue>
  HWY_INLINE void columns_to_pixels(const float* x, int64_t step, int64_t columns, float* y,
                                    int64_t stride, int64_t segment,
                                    const Epilogue& epilogue) const {
    for (int64_t c = 0; c < outputs; c += panel_width(outputs - c))
      for_panel(outputs - c, [&](auto d, auto vectors) HWY_ATTR {
        // A column's pixels at once, where the registers hold their sums.
        constexpr int v = decltype(vectors)::value;
        constexpr int rows = v == 1 ? max_lanes : (max_lanes + 1) / 2;
        pixels_of_columns<rows, v, Multiply>(d, c, x, step, columns, y, stride, segment, epilogue);
      });
  }
  template <int rows, int vectors, class Multiply, class DX, class Epilogue>
  HWY_NOINLINE void pixels_of_columns(DX d, int64_t c, const float* x, int64_t step,
                                      int64_t columns, float* y, int64_t stride, int64_t segment,
                                      const Epilogue& epilogue) const {
    const Panels panels{plain.data, plain.depth, outputs};
    for (int64_t i = 0; i < columns; i++)
      for (int64_t m = 0; m < lanes(); m += rows) {
        const EvenRows out{y + i * stride, segment * stride};
        const StoreTile<EvenRows, Epilogue> store{out, epilogue, {true, true}, false, 0,
                                                  m,   c,        outputs - c};
        tile<Left::columns, rows, vectors, Multiply>(d, x + i * step + m, lanes(),
                                                     panels.panel(c, 0), panels.step(c),
                                                     plain.depth, Ahead{x, 0}, store);
      }
  }
};

// The largest of three, in three rows, of a vector each. Behind relu no value is below +0: then
// numbers follow the order of their bits, and NaN of either sign is the largest.
template <class DX>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<DX>> largest_of_rows(DX d, const float* const* rows,
                                                             int64_t at) {
  const hn::RebindToUnsigned<DX> bits;
  const auto load = [&](int r) HWY_ATTR { return hn::BitCast(bits, hn::LoadU(d, rows[r] + at)); };
  return hn::Max(hn::Max(load(0), load(1)), load(2));
}

// y[j] = added[j] + the largest of the columns from 2j on, for `count` columns of `column` floats,
// of which `vectors` vectors from `at` on are made. Windows share a column's largest.
template <int vectors, class DX>
HWY_NOINLINE void pool_vectors(DX d, const float* const* given, int64_t column, int64_t at,
                               int64_t count, const float* added, float* y) {
  const hn::RebindToUnsigned<DX> bits;
  const float* const rows[3] = {given[0] + at, given[1] + at, given[2] + at};
  hn::Vec<decltype(bits)> left[vectors];
  constexpr auto step = static_cast<int64_t>(hn::MaxLanes(DX()));
#pragma GCC unroll 8
  for (int v = 0; v < vectors; v++) left[v] = largest_of_rows(d, rows, v * step);
  for (int64_t j = 0; j < count; j++) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
      const int64_t e = 2 * j * column + v * step, to = at + j * column + v * step;
      const auto middle = largest_of_rows(d, rows, e + column);
      const auto right = largest_of_rows(d, rows, e + 2 * column);
      const auto best = hn::BitCast(d, hn::Max(hn::Max(left[v], middle), right));
      hn::StoreU(hn::Add(best, hn::LoadU(d, added + to)), d, y + to);
      left[v] = right;
    }
  }
}

// Floats [begin, end) of each column.
inline void pool_columns(const float* const* rows, int64_t column, int64_t begin, int64_t end,
                         int64_t count, const float* added, float* y) {
  const D d;
  int64_t c = begin;
  for (; c + 8 * lanes() <= end; c += 8 * lanes())
    pool_vectors<8>(d, rows, column, c, count, added, y);
  for (; c + 2 * lanes() <= end; c += 2 * lanes())
    pool_vectors<2>(d, rows, column, c, count, added, y);
  for_channels_from(d, c, end, [&](auto dx, int64_t at) HWY_ATTR {
    pool_vectors<1>(dx, rows, column, at, count, added, y);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
