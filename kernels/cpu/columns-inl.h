// The three columns of a 3x3 window on its walk along rows in scratch memory, channels last.
// Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_COLUMNS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_COLUMNS_INL_H
#undef FULMAR_KERNELS_CPU_COLUMNS_INL_H
#else
#define FULMAR_KERNELS_CPU_COLUMNS_INL_H
#endif

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// read(r, e, v): v = the vectors at element e of row r, one pixel of `stride` floats before it, and
// one behind.
template <int rows>
class LoadedColumns {
 public:
  HWY_INLINE LoadedColumns(const float* const* x, int64_t stride, int64_t /*first*/)
      : stride_(stride) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) row_[r] = x[r] - stride;
  }
  HWY_INLINE void read(int r, int64_t e, V (&v)[3]) {
#pragma GCC unroll 3
    for (int c = 0; c < 3; c++) v[c] = hn::LoadU(D(), row_[r] + e + c * stride_);
  }

 private:
  const float* row_[rows];
  int64_t stride_;
};

#if HWY_TARGET == HWY_AVX3
// The same where a vector holds two pixels, for vectors that follow one another: a neighbour is
// half of this vector and half of the next. Loads of it would cross a cache line, which costs
// twice.
template <int rows>
class PairColumns {
 public:
  HWY_INLINE PairColumns(const float* const* x, int64_t /*stride*/, int64_t first) {
    const D d;
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      row_[r] = x[r];
      const float* const at = x[r] + first;
      before_[r] = hn::ConcatLowerUpper(d, hn::LoadU(d, at), hn::LoadU(d, at - lanes()));
    }
  }
  HWY_INLINE void read(int r, int64_t e, V (&v)[3]) {
    const D d;
    const float* const at = row_[r] + e;
    v[0] = before_[r];
    v[1] = hn::LoadU(d, at);
    v[2] = before_[r] = hn::ConcatLowerUpper(d, hn::LoadU(d, at + lanes()), v[1]);
  }

 private:
  const float* row_[rows];
  V before_[rows];
};
#endif

// body(the type of the columns that suit rows of `stride` floats a pixel)
template <int rows, class Body>
HWY_INLINE void with_columns([[maybe_unused]] int64_t stride, const Body& body) {
#if HWY_TARGET == HWY_AVX3
  if (2 * stride == lanes()) return body(std::type_identity<PairColumns<rows>>());
#endif
  body(std::type_identity<LoadedColumns<rows>>());
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
