// The channel sums of a convolution's output while its rows are zipped. Compiled once per
// instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_ZIPPED_SUMS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_ZIPPED_SUMS_INL_H
#undef FULMAR_KERNELS_CPU_ZIPPED_SUMS_INL_H
#else
#define FULMAR_KERNELS_CPU_ZIPPED_SUMS_INL_H
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cpu/zipped-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Sums [2][outputs] of y and y^2 about a shift. Floats hold those of a few columns in each lane,
// about the row's first pixel: squares of numbers far from 0 would lose what differs.
class ZippedSums {
 public:
  ZippedSums(const ZippedConv& conv, const View& shift)
      : conv_(conv), shift_(shift ? shift.as<float>() : nullptr) {
    // Behind the row's last pixel lie lanes that are none of it.
    whole_lanes_ = (conv.out_width + conv.columns - 1) / conv.columns;
    last_columns_ = conv.out_width - (whole_lanes_ - 1) * conv.columns;
  }
  int64_t size() const { return 2 * conv_.outputs; }

  // Adds a row's.
  void add(const float* zipped, double* total) const {
    int64_t o = 0;
    for (; o + 4 <= conv_.outputs; o += 4) add_channels<4>(zipped, o, total);
    for (; o < conv_.outputs; o++) add_channels<1>(zipped, o, total);
  }

  // Adds the tasks' in their order, and counts.
  void collect(const double* totals, int64_t tasks, const View& y, const View& sums) const {
    auto* const out = sums.as<double>();
    std::fill_n(out, size(), 0.0);
    for (int64_t task = 0; task < tasks; task++)
      for (int64_t i = 0; i < size(); i++) out[i] += totals[task * size() + i];
    std::fill_n(out + size(), conv_.outputs, static_cast<double>(y.shape.pixels()));
  }

 private:
  static constexpr int64_t most_columns = 64;

  template <int channels>
  HWY_NOINLINE void add_channels(const float* zipped, int64_t o, double* total) const {
    const D d;
    float about[channels];
    double sum[channels] = {}, squares[channels] = {};
#pragma GCC unroll 4
    for (int i = 0; i < channels; i++) {
      const float first = zipped[(o + i) * max_lanes];
      about[i] = std::isfinite(first) ? first : 0;
    }
    for (int64_t column = 0; column < conv_.columns;) {
      const bool last = column >= last_columns_;
      const int64_t end = std::min(last ? conv_.columns : last_columns_, column + most_columns);
      const auto counts =
          hn::FirstN(d, static_cast<size_t>(last ? whole_lanes_ - 1 : whole_lanes_));
      V a[channels], b[channels], centre[channels];
#pragma GCC unroll 4
      for (int i = 0; i < channels; i++) {
        a[i] = b[i] = hn::Zero(d);
        centre[i] = hn::Set(d, about[i]);
      }
      const float* y = zipped + (column * conv_.outputs + o) * max_lanes;
      for (; column < end; column++, y += conv_.outputs * max_lanes) {
#pragma GCC unroll 4
        for (int i = 0; i < channels; i++) {
          const V v = hn::Load(d, y + i * max_lanes);
          const V x = hn::IfThenElseZero(counts, hn::Sub(v, centre[i]));
          a[i] = hn::Add(a[i], x);
          b[i] = hn::MulAdd(x, x, b[i]);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < channels; i++) {
        sum[i] += in_double(a[i]);
        squares[i] += in_double(b[i]);
      }
    }
    const auto n = static_cast<double>(conv_.out_width);
    for (int i = 0; i < channels; i++) {
      const double apart = static_cast<double>(about[i]) - static_cast<double>(shift_[o + i]);
      total[o + i] += sum[i] + n * apart;
      total[conv_.outputs + o + i] += squares[i] + apart * (2 * sum[i] + n * apart);
    }
  }

  static HWY_INLINE double in_double(V v) {
    HWY_ALIGN float lane[max_lanes];
    hn::Store(v, D(), lane);
    const hn::ScalableTag<double> d;
    const hn::Rebind<float, decltype(d)> narrow;
    auto sum = hn::Zero(d);
    for (int64_t l = 0; l < max_lanes; l += static_cast<int64_t>(hn::Lanes(d)))
      sum = hn::Add(sum, hn::PromoteTo(d, hn::Load(narrow, lane + l)));
    return hn::GetLane(hn::SumOfLanes(d, sum));
  }

  const ZippedConv& conv_;
  const float* shift_;
  int64_t whole_lanes_, last_columns_;
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
