// Matrix products out of tiles. The left side is rows of floats (a tensor's own, or packed by a
// functor), the right side is packed into panels; an epilogue functor has the last word on every
// sum before it is stored. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_GEMM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_GEMM_INL_H
#undef FULMAR_KERNELS_CPU_GEMM_INL_H
#else
#define FULMAR_KERNELS_CPU_GEMM_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/gemm_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Element (m, k) at data[m * stride + k] (Left::rows) or data[k * stride + m] (Left::columns).
struct LeftBlock {
  const float* data;
  int64_t stride;
};

// Where columns [c, ...) of the right side lie, c a multiple of the widest panel's width: element
// (k, c + i) at panel(c)[k * step(c) + i], zeros up to the panel's width.
struct Panels {  // packed by panels of `depth` rows
  const float* data;
  int64_t depth, columns;
  const float* panel(int64_t c, int64_t k) const {
    return data + depth * c + k * panel_width(columns - c);
  }
  int64_t step(int64_t c) const { return panel_width(columns - c); }
};
struct PlainRight {  // a matrix as it stands; its columns must fill all panels
  const float* data;
  int64_t stride, columns;
  const float* panel(int64_t c, int64_t k) const { return data + k * stride + c; }
  int64_t step(int64_t) const { return stride; }
};

// Columns up to the end of the last panel.
HWY_INLINE int64_t padded_columns(int64_t columns) {
  const int64_t whole = columns / panel_width(columns) * panel_width(columns);
  return whole == columns ? columns : whole + panel_width(columns - whole);
}

// Where rows of the result lie.
struct EvenRows {
  float* data;
  int64_t stride;
  float* operator()(int64_t m) const { return data + m * stride; }
};
struct ScatteredRows {
  float* data;
  const int64_t* offset;
  float* operator()(int64_t m) const { return data + offset[m]; }
};

// Epilogues: the value to store for the sums of row m, columns [c, c + lanes).
struct StoreSum {
  template <class D, class V>
  HWY_INLINE V operator()(D, V sum, int64_t /*m*/, int64_t /*c*/) const {
    return sum;
  }
};
struct AddBias {
  const float* bias;  // padded to whole panels
  template <class D, class V>
  HWY_INLINE V operator()(D d, V sum, int64_t /*m*/, int64_t c) const {
    return hn::Add(sum, hn::LoadU(d, bias + c));
  }
};

// A product over part of the depth adds to what is there unless it is the first part; the epilogue
// sees the sum of all parts, with the last.
struct DepthPart {
  bool first, last;
};

template <class Rows, class Epilogue>
struct StoreTile {
  const Rows& out;
  const Epilogue& epilogue;
  DepthPart part;
  int64_t m, c, columns;  // columns: of the result from c on

  template <class D, class V, int rows, int vectors>
  HWY_INLINE void operator()(D d, V (&sum)[rows][vectors]) const {
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    if (HWY_UNLIKELY(columns < lanes * vectors)) return store_partly(d, sum);
    if (!part.first) {
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
          sum[r][v] = hn::Add(sum[r][v], hn::LoadU(d, out(m + r) + c + v * lanes));
      }
    }
    if (part.last) {
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[r][v] = epilogue(d, sum[r][v], m + r, c + v * lanes);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) hn::StoreU(sum[r][v], d, out(m + r) + c + v * lanes);
    }
  }

  // The last panel's columns don't fill its vectors: through a buffer, never past a row's end.
  template <class D, class V, int rows, int vectors>
  HWY_INLINE void store_partly(D d, V (&sum)[rows][vectors]) const {
    constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(D())), width = lanes * vectors;
    HWY_ALIGN float buffer[rows * width];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) hn::Store(sum[r][v], d, buffer + r * width + v * lanes);
    }
    HWY_ALIGN float row[width] = {};
    const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
    for (int r = 0; r < rows; r++) {
      float* const to = out(m + r) + c;
      if (!part.first) std::memcpy(row, to, bytes);
      for (int v = 0; v < vectors; v++) {
        V value = hn::Load(d, buffer + r * width + v * lanes);
        if (!part.first) value = hn::Add(value, hn::Load(d, row + v * lanes));
        if (part.last) value = epilogue(d, value, m + r, c + v * lanes);
        hn::Store(value, d, row + v * lanes);
      }
      std::memcpy(to, row, bytes);
    }
  }
};

// out(m)[c] = epilogue(sum over k in [begin, end) of left(m, k - begin) right(k, c)) for m in
// [0, rows), c in [first_column, last_column); first_column a multiple of the widest panel's width.
template <Left left, class Right, class Rows, class Epilogue>
HWY_INLINE void multiply(const LeftBlock& a, int64_t rows, const Right& b, int64_t first_column,
                         int64_t last_column, int64_t begin, int64_t end, DepthPart part,
                         const Rows& out, const Epilogue& epilogue) {
  for (int64_t c = first_column; c < last_column; c += panel_width(b.columns - c)) {
    const float* const panel = b.panel(c, begin);
    const int64_t step = b.step(c);
    for_panel(b.columns - c, [&](auto d, auto vectors) HWY_ATTR {
      for_tiles<vectors>(rows, [&](auto tile_height, int64_t m) HWY_ATTR {
        const StoreTile<Rows, Epilogue> store{out, epilogue, part, m, c, b.columns - c};
        tile<left, tile_height, vectors>(d, a.data + (left == Left::rows ? m * a.stride : m),
                                         a.stride, panel, step, end - begin, store);
      });
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
