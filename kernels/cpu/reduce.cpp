#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/streamed.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/reduce.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

template <class T>
struct Plain {
  const T* x;
  template <class Load>
  HWY_INLINE void operator()(const Load& load, int64_t e, int64_t, V* sum) const {
    sum[0] = hn::Add(sum[0], load(x + e));
  }
};

// x [outer][reduced][inner] -> sums [outer][inner]
void sum_middle(Stream& stream, const View& x, int64_t outer, int64_t reduced, int64_t inner,
                double* sums) {
  for_type_of(x, [&]<class T>(std::type_identity<T>) {
    sum_pixels<1>(stream, outer, reduced, inner, Plain<T>{elements<T>(x)}, sums);
  });
}

// Of numbers whose exponent is all ones: all bits of `exponent`.
template <class Bits>
int64_t count_nonfinite_of(Stream& stream, const Bits* x, Bits exponent, int64_t count) {
  const hn::ScalableTag<Bits> d;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  Scratch<int64_t> found(static_cast<size_t>(stream.pool->threads()));
  for_chunks(
      stream, count, elementwise_grain, [&](int64_t begin, int64_t end, int worker) HWY_ATTR {
        int64_t i = begin, bad = 0;
        for (; i + step <= end; i += step) {
          const auto found_here = hn::And(hn::LoadU(d, x + i), hn::Set(d, exponent));
          bad += static_cast<int64_t>(hn::CountTrue(d, hn::Eq(found_here, hn::Set(d, exponent))));
        }
        for (; i < end; i++) bad += (x[i] & exponent) == exponent;
        found[worker] += bad;
      });
  return std::accumulate(found.begin(), found.end(), int64_t{0});
}

int64_t count_nonfinite(Stream& stream, const View& x) {
  const auto count = [&](auto exponent) {
    return count_nonfinite_of(stream, x.as<decltype(exponent)>(), exponent, x.shape.elements());
  };
  if (x.type == DType::f64) return count(uint64_t{0x7FF0} << 48);
  if (x.type == DType::bf16) return count(uint16_t{0x7F80});
  return count(uint32_t{0x7F80} << 16);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(sum_middle);
HWY_EXPORT(count_nonfinite);

void count_nonfinite(Stream& stream, std::span<const View> x, const View& count) {
  int64_t found = 0;
  for (const View& view : x) {
    if (view.type == DType::i32)
      found += *view.as<const int32_t>();
    else
      found += HWY_DYNAMIC_DISPATCH(count_nonfinite)(stream, view);
  }
  *count.as<int32_t>() =
      static_cast<int32_t>(std::min<int64_t>(found, std::numeric_limits<int32_t>::max()));
}

namespace {

// Neighbouring axes that are all kept or all reduced are one axis.
struct Axes {
  int64_t extent[Shape::max_rank + 1] = {};
  bool reduced[Shape::max_rank + 1] = {};
  int count = 0;

  Axes(const Shape& from, const Shape& to) {
    const int64_t x[] = {from.images(), from.height(), from.width(), from.channels()};
    const int64_t y[] = {to.images(), to.height(), to.width(), to.channels()};
    for (int i = 0; i < Shape::max_rank; i++) {
      if (x[i] == 1) continue;
      append(x[i], y[i] == 1);
    }
  }
  void append(int64_t size, bool is_reduced) {
    if (count > 0 && reduced[count - 1] == is_reduced) {
      extent[count - 1] *= size;
    } else {
      extent[count] = size;
      reduced[count++] = is_reduced;
    }
  }
};

// kept [k0] x reduced [r0] x kept [k1] x reduced [r1]: the rare orders, an output at a time.
template <class X, class Y>
void sum_strided(Stream& stream, const X* x, Y* y, int64_t k0, int64_t r0, int64_t k1, int64_t r1,
                 bool reduced_first) {
  // reduced_first: x is [r0][k0][r1][k1] instead of [k0][r0][k1][r1].
  const int64_t inner = reduced_first ? r1 * k1 : k1 * r1;
  const int64_t step_k0 = reduced_first ? inner : r0 * inner;
  const int64_t step_r0 = reduced_first ? k0 * inner : inner;
  const int64_t step_k1 = reduced_first ? 1 : r1, step_r1 = reduced_first ? k1 : 1;
  for_chunks(stream, k0 * k1, rows_per_chunk(r0 * r1, elementwise_grain),
             [&](int64_t begin, int64_t end, int) {
               for (int64_t i = begin; i < end; i++) {
                 const X* from = x + i / k1 * step_k0 + i % k1 * step_k1;
                 double sum = 0;
                 for (int64_t a = 0; a < r0; a++)
                   for (int64_t b = 0; b < r1; b++)
                     sum += static_cast<double>(to_float(from[a * step_r0 + b * step_r1]));
                 y[i] = element_of<Y>(static_cast<float>(sum));
               }
             });
}

template <class Y>
void sum_into(Stream& stream, const View& x, Y* y, const Shape& shape) {
  const Axes axes(x.shape, shape);
  const auto extent = [&](int i) { return i < axes.count ? axes.extent[i] : 1; };
  const bool reduced_first = axes.count > 0 && axes.reduced[0];
  const auto strided = [&](int64_t k0, int64_t r0, int64_t k1, int64_t r1, bool first) {
    for_type_of(x, [&]<class X>(std::type_identity<X>) {
      sum_strided(stream, elements<X>(x), y, k0, r0, k1, r1, first);
    });
  };
  if (axes.count == 4 || (axes.count == 3 && reduced_first)) {
    if (reduced_first) return strided(extent(1), extent(0), extent(3), extent(2), true);
    return strided(extent(0), extent(1), extent(2), extent(3), false);
  }
  // [kept][reduced][kept]; a missing first or last axis counts 1
  const int64_t outer = reduced_first ? 1 : extent(0);
  const int64_t reduced = reduced_first ? extent(0) : extent(1);
  const int64_t inner = reduced_first ? extent(1) : extent(2);
  if (outer > 64 && reduced * inner < 1024) return strided(outer, reduced, inner, 1, false);
  Scratch<double> sums(static_cast<size_t>(outer * inner));
  HWY_DYNAMIC_DISPATCH(sum_middle)
  (stream, x, outer, reduced, inner, sums.data());
  for (size_t i = 0; i < sums.size(); i++) y[i] = element_of<Y>(static_cast<float>(sums[i]));
}

}  // namespace

void reduce_sum(Stream& stream, const View& x, const View& y) {
  if (x.shape.elements() == 0) return fill(stream, y, 0);
  if (x.shape.elements() == y.shape.elements()) {
    View same = x;
    same.shape = y.shape;
    same.stride = y.stride;
    return same.type == y.type ? copy(stream, same, y) : copy_flat(stream, same, y);
  }
  for_type_of(
      y, [&]<class Y>(std::type_identity<Y>) { sum_into(stream, x, elements<Y>(y), y.shape); });
}

}  // namespace fulmar::cpu
#endif
