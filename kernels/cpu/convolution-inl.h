// What a fused convolution does beside its products: normalisation while patches are copied, sums
// over the results while they are in registers. Compiled once per instruction set, inside its
// namespace.
#if defined(FULMAR_KERNELS_CPU_CONVOLUTION_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_CONVOLUTION_INL_H
#undef FULMAR_KERNELS_CPU_CONVOLUTION_INL_H
#else
#define FULMAR_KERNELS_CPU_CONVOLUTION_INL_H
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/conv2d_product-inl.h"
#include "kernels/cpu/loaded-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// The tables of a normalisation, repeated for each of some columns of a matrix whose channels
// repeat: all of a group's, then the next group's, and a vector more.
struct ColumnNorm {
  int64_t columns, channels;  // of a group
  Scratch<float> centre, scale, offset;

  ColumnNorm(const Loaded& x, int64_t columns_of_group, int64_t groups)
      : columns(columns_of_group), channels(x.x.shape.channels() / groups) {
    if (!x.normalised()) return;
    const float *gamma = x.gamma.as<float>(), *beta = x.beta.as<float>();
    const float *mean = x.mean.as<float>(), *var = x.var.as<float>();
    const auto table = [&](const auto& of) {
      Scratch<float> values(static_cast<size_t>(groups * columns + 2 * max_lanes));
      for (int64_t g = 0; g < groups; g++) {
        float* const first = values.data() + g * columns;
        for (int64_t c = 0; c < channels; c++) first[c] = static_cast<float>(of(g * channels + c));
        for (int64_t c = channels; c < columns; c++) first[c] = first[c - channels];
      }
      return values;
    };
    centre = table([&](int64_t c) { return mean[c]; });
    offset = table([&](int64_t c) { return beta[c]; });
    scale = table([&](int64_t c) {
      return static_cast<double>(gamma[c]) / std::sqrt(static_cast<double>(var[c]) + x.epsilon);
    });
  }
  Affine affine(int64_t group) const {
    const int64_t at = group * columns;
    return {centre.data() + at, scale.data() + at, offset.data() + at};
  }
};

// The tables of one vector of columns.
template <class D>
struct NormaliseVector {
  hn::Vec<D> centre, scale, offset;
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> value) const {
    return rectified(d, hn::MulAdd(hn::Sub(value, centre), scale, offset));
  }
};

// A packing functor.
struct Normalise {
  static constexpr bool keeps = false;
  Affine norm;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V value, int64_t c) const {
    return rectified(d, norm(d, value, c));
  }
  template <class D>
  HWY_INLINE NormaliseVector<D> at(D d, int64_t c) const {
    return {hn::LoadU(d, norm.centre + c), hn::LoadU(d, norm.scale + c),
            hn::LoadU(d, norm.offset + c)};
  }
};

// Two sums for each column of a product, [2][padded] doubles for each task.
struct TaskSums {
  double* data;
  int64_t padded;

  double* of(int64_t task) const { return data + task * 2 * padded; }
  double* cleared(int64_t task) const {
    std::fill_n(of(task), 2 * padded, 0.0);
    return of(task);
  }
  // Adds a task's to sums [2][channels] from a channel on.
  void add_to(double* sums, int64_t channels, int64_t first, int64_t count, int64_t task) const {
    for (int64_t row = 0; row < 2; row++)
      for (int64_t c = 0; c < count; c++)
        sums[row * channels + first + c] += of(task)[row * padded + c];
  }
};

// Asks for `vectors` vectors of memory, as far from `base` as a place of the result is from `out`.
HWY_INLINE void fetch_beside(const float* base, const float* out, const float* place, int vectors) {
  constexpr int64_t line = 16;  // floats
  for (int64_t e = 0; e < vectors * lanes(); e += line) hwy::Prefetch(base + (place - out) + e);
}

// Adds up y and y^2 about a shift. Floats hold the sums of one tile, about its first row: squares
// of numbers far from 0 would lose what differs.
struct SumSquares {
  using SeesTiles = void;
  AddBias add_bias;
  TaskSums sums;
  const float* shift;  // padded as the bias
  double* total;       // of the task; nullptr: no sums are wanted

  SumSquares for_task(int64_t task) const {
    return {add_bias, sums, shift, sums.data ? sums.cleared(task) : nullptr};
  }
  template <class D, class V>
  HWY_INLINE V operator()(D d, V sum, int64_t m, int64_t c) const {
    return add_bias(d, sum, m, c);
  }
  HWY_INLINE void fetch(const float*, int) const {}
  template <class D, class V, int rows, int vectors, class Place, class Load>
  HWY_INLINE void tile(D d, V (&y)[rows][vectors], const Place&, const Load&, int64_t c) const {
    if (!total) return;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    HWY_ALIGN float centre[2 * max_lanes], s0[2 * max_lanes], s1[2 * max_lanes];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
      const V first = y[0][v], most = hn::Set(d, std::numeric_limits<float>::max());
      const V about = hn::IfThenElseZero(hn::Le(hn::Abs(first), most), first);  // finite
      V a = hn::Sub(first, about), b = hn::Mul(a, a);
#pragma GCC unroll 16
      for (int r = 1; r < rows; r++) {
        const V x = hn::Sub(y[r][v], about);
        a = hn::Add(a, x);
        b = hn::MulAdd(x, x, b);
      }
      hn::StoreU(about, d, centre + v * lanes);
      hn::StoreU(a, d, s0 + v * lanes);
      hn::StoreU(b, d, s1 + v * lanes);
    }
    add(c, vectors * lanes, rows, centre, s0, s1);
  }

 private:
  HWY_NOINLINE void add(int64_t c, int64_t columns, int rows, const float* HWY_RESTRICT centre,
                        const float* HWY_RESTRICT s0, const float* HWY_RESTRICT s1) const {
    double* const HWY_RESTRICT a = total + c;
    double* const HWY_RESTRICT b = total + sums.padded + c;
    const double n = rows;
    for (int64_t i = 0; i < columns; i++) {
      const double apart = static_cast<double>(centre[i]) - static_cast<double>(shift[c + i]);
      const auto x = static_cast<double>(s0[i]), square = static_cast<double>(s1[i]);
      a[i] += x + n * apart;
      b[i] += square + apart * (2 * x + n * apart);
    }
  }
};

// Adds what is there already, as the results lie.
struct AddOther {
  using SeesTiles = void;
  const float *other, *out;
  template <class D, class V>
  HWY_INLINE V operator()(D, V sum, int64_t /*m*/, int64_t /*c*/) const {
    return sum;
  }
  HWY_INLINE void fetch(const float* place, int vectors) const {
    fetch_beside(other, out, place, vectors);
  }
  template <class D, class V, int rows, int vectors, class Place, class Load>
  HWY_INLINE void tile(D, V (&sum)[rows][vectors], const Place& place, const Load& load,
                       int64_t) const {
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++)
        sum[r][v] = hn::Add(sum[r][v], load(other + (place(r, v) - out), v));
    }
  }
};

// The gradient of relu(norm(z)): what comes through relu, and the sums of it, and of it times z
// less its mean.
struct MaskSums {
  using SeesTiles = void;
  const float *z, *out;
  Affine norm;
  TaskSums sums;
  double* total;

  MaskSums for_task(int64_t task) const { return {z, out, norm, sums, sums.cleared(task)}; }
  template <class D, class V>
  HWY_INLINE V operator()(D, V sum, int64_t /*m*/, int64_t /*c*/) const {
    return sum;
  }
  HWY_INLINE void fetch(const float* place, int vectors) const {
    fetch_beside(z, out, place, vectors);
  }
  template <class D, class V, int rows, int vectors, class Place, class Load>
  HWY_INLINE void tile(D d, V (&g)[rows][vectors], const Place& place, const Load& load,
                       int64_t c) const {
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    HWY_ALIGN float s0[2 * max_lanes], s1[2 * max_lanes];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
      const int64_t at = c + v * lanes;
      const V centre = hn::LoadU(d, norm.centre + at), scale = hn::LoadU(d, norm.scale + at);
      const V offset = hn::LoadU(d, norm.offset + at);
      V a = hn::Zero(d), b = hn::Zero(d);
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
        const V x = hn::Sub(load(z + (place(r, v) - out), v), centre);
        const V y = hn::MulAdd(x, scale, offset);
        g[r][v] = hn::IfThenZeroElse(hn::Le(y, hn::Zero(d)), g[r][v]);
        a = hn::Add(a, g[r][v]);
        b = hn::MulAdd(g[r][v], x, b);
      }
      hn::StoreU(a, d, s0 + v * lanes);
      hn::StoreU(b, d, s1 + v * lanes);
    }
    add(c, vectors * lanes, s0, s1);
  }

 private:
  HWY_NOINLINE void add(int64_t c, int64_t columns, const float* HWY_RESTRICT s0,
                        const float* HWY_RESTRICT s1) const {
    double* const HWY_RESTRICT a = total + c;
    double* const HWY_RESTRICT b = total + sums.padded + c;
    for (int64_t i = 0; i < columns; i++) {
      a[i] += static_cast<double>(s0[i]);
      b[i] += static_cast<double>(s1[i]);
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
