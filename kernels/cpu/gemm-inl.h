// Matrix products out of tiles. The left side is rows of floats: a tensor's own, or packed ones,
// which a packing functor may change (pack-inl.h). The right side is packed into panels. An
// epilogue functor maps every sum to the value that is stored. Compiled once per instruction set,
// inside its namespace.
#if defined(FULMAR_KERNELS_CPU_GEMM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_GEMM_INL_H
#undef FULMAR_KERNELS_CPU_GEMM_INL_H
#else
#define FULMAR_KERNELS_CPU_GEMM_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/elements-inl.h"
#include "kernels/cpu/gemm_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Element (m, k) at data[m * stride + k] (Left::rows) or data[k * stride + m] (Left::columns). Rows
// may lie in several parts of as many elements each, `part_step` apart.
struct LeftBlock {
  const float* data;
  int64_t stride;
  int64_t parts = 1, part_step = 0;
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

// Epilogues: the value to store for the sums of row m of the product, columns [c, c + lanes),
// some of which may lie beyond the last column: tables are a vector longer. One that names itself
// SeesTiles has two functions more: `tile` may change all values of a tile afterwards, `fetch` asks
// for the memory that it will want, before the tile is multiplied.
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

// max(0, sum + bias), and NaN where that is.
struct AddBiasRectify {
  const float* bias;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V sum, int64_t /*m*/, int64_t c) const {
    const V y = hn::Add(sum, hn::LoadU(d, bias + c));
    return hn::IfThenZeroElse(hn::Le(y, hn::Zero(d)), y);
  }
};

// A product over part of the depth adds to the stored sums unless it is the first part. The
// epilogue sees the sum of all parts, with the last.
struct DepthPart {
  bool first, last;
};

template <class Rows, class Epilogue>
struct StoreTile {
  const Rows& out;
  const Epilogue& epilogue;
  DepthPart part;
  bool past_caches;
  int64_t first_row, m, c, columns;  // columns: of the result from c on

  template <class D, class V, int rows, int vectors>
  HWY_INLINE void operator()(D d, V (&sum)[rows][vectors]) const {
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    if (HWY_LIKELY(columns >= lanes * vectors)) {
      const auto load = [d](const float* p, int) HWY_ATTR { return hn::LoadU(d, p); };
      if (past_caches)
        finish(d, sum, load, [d](V v, float* p, int) HWY_ATTR { hn::Stream(v, d, p); });
      else
        finish(d, sum, load, [d](V v, float* p, int) HWY_ATTR { hn::StoreU(v, d, p); });
      return;
    }
    // The last panel's columns don't fill its vectors.
    const auto count = [&](int v)
                           HWY_ATTR { return std::clamp<int64_t>(columns - v * lanes, 0, lanes); };
    finish(
        d, sum, [&](const float* p, int v) HWY_ATTR { return load_first(d, p, count(v)); },
        [&](V x, float* p, int v) HWY_ATTR { store_first(d, x, p, count(v)); });
  }

  template <class D, class V, int rows, int vectors, class Load, class Store>
  HWY_INLINE void finish(D d, V (&sum)[rows][vectors], const Load& load, const Store& store) const {
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    if (!part.first) {
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
          sum[r][v] = hn::Add(sum[r][v], load(out(m + r) + c + v * lanes, v));
      }
    }
    if (part.last) {
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
          sum[r][v] = epilogue(d, sum[r][v], first_row + m + r, c + v * lanes);
      }
      if constexpr (requires { typename Epilogue::SeesTiles; }) {
        const auto place = [&](int r, int v) HWY_ATTR { return out(m + r) + c + v * lanes; };
        epilogue.tile(d, sum, place, load, c);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) store(sum[r][v], out(m + r) + c + v * lanes, v);
    }
  }
};

// One block of a product: out(m)[c] = epilogue(sum over k in [begin, end) of left(m, k - begin)
// right(k, c)) for m in [0, rows), c in [first_column, last_column); first_column is a multiple of
// the widest panel's width.
struct Block {
  int64_t rows, first_column, last_column, begin, end;
  DepthPart part;
  bool past_caches = false;  // write past the caches; whole vectors of the result are aligned
  int64_t first_row = 0;     // of the product, for the epilogue
};

// ahead(t): what tile t, numbered in the order of their making, asks for (see Ahead).
template <Left left, class Multiply = MultiplyFloats, class Right, class AheadOf, class Rows,
          class Epilogue>
HWY_INLINE void multiply(const Block& block, const LeftBlock& a, const Right& b,
                         const AheadOf& ahead, const Rows& out, const Epilogue& epilogue) {
  int64_t number = 0;
  for (int64_t c = block.first_column; c < block.last_column; c += panel_width(b.columns - c)) {
    const float* const panel = b.panel(c, block.begin);
    const int64_t step = b.step(c);
    for_panel(b.columns - c, [&](auto d, auto vectors) HWY_ATTR {
      constexpr int v = decltype(vectors)::value;
      for_tiles<v>(block.rows, [&](auto height, int64_t m) HWY_ATTR {
        const StoreTile<Rows, Epilogue> store{
            out, epilogue, block.part, block.past_caches, block.first_row, m, c, b.columns - c};
        if constexpr (requires { typename Epilogue::SeesTiles; }) {
          if (block.part.last)
            for (int r = 0; r < decltype(height)::value; r++) epilogue.fetch(out(m + r) + c, v);
        }
        tile<left, decltype(height)::value, v, Multiply>(
            d, a.data + (left == Left::rows ? m * a.stride : m), a.stride, panel, step,
            (block.end - block.begin) / a.parts, ahead(number++), store, a.parts, a.part_step);
      });
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
