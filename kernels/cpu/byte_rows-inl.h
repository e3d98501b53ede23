// A convolution of a picture's bytes as they are: what scaling makes of them is done to its
// weights. So a ring of rows takes a quarter of the memory, which stays in L1. Or they are pairs of
// bf16, of half the memory, and two products are one. Where vectors have 16 lanes. Compiled once
// per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H
#undef FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H
#else
#define FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H
#endif

#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include "kernels/cpu/direct_row-inl.h"
#include "kernels/cpu/zipped_bytes-inl.h"
#include "kernels/cpu/zipped_picture-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

// T: uint8_t, or uint32_t for pairs of bf16.
template <class T>
class ByteRows {
 public:
  // Of what a warp makes of an image. None where any of its rows is more than bytes of the source
  // times a scale: bits must not depend on which rows a task makes. An offset would be one around
  // the picture too, where a convolution reads zeros.
  static std::optional<ByteRows> of(const View& source, const RowLayer& warp, int64_t image,
                                    const ZippedConv& conv, float* memory, const float* weight) {
    const WarpOptions& how = *warp.warp;
    const int64_t bands = warp.y.channels();
    if (conv.x_count < least_byte_count || !takes(conv)) return {};
    for (int64_t b = 0; b < bands; b++)
      if (how.offset[static_cast<size_t>(b)] != 0) return {};
    const auto row = [&](int64_t r) {
      return cut_row(source, how, warp.samples[image], image, r, warp.y.width(), bands);
    };
    // Frames and the source are rectangles: what holds the outer rows holds all.
    const CutRow first = row(0), last = row(conv.height - 1);
    if (!first.data || !last.data) return {};
    return ByteRows(conv, first.data, first.row_stride, memory, weight);
  }
  // weight[k][o] = w[k][o] * scale * gain of the band that k reads.
  static void scale_weight(const View& w, const RowLayer& warp, int64_t image, float* weight) {
    const int64_t bands = w.shape.width(), outputs = w.shape.channels();
    const float gain = static_cast<float>(warp.samples[image].gain);
    const auto scaled = [&](int64_t k, int64_t o) {
      return w.as<float>()[k * outputs + o] *
             (warp.warp->scale[static_cast<size_t>(k % bands)] * gain);
    };
    const int64_t run = w.shape.height() * bands;  // elements of a row of taps
    for (int64_t first = 0; first < w.shape.images() * run; first += run)
      for (int64_t k = 0; k < run; k += in_pairs ? 2 : 1)
        for (int64_t o = 0; o < outputs; o++, weight++) {
          const float value = scaled(first + k, o);
          if constexpr (in_pairs) {
            const uint32_t pair = pair_of(value, k + 1 < run ? scaled(first + k + 1, o) : 0);
            std::memcpy(weight, &pair, sizeof pair);
          } else {
            *weight = value;
          }
        }
  }

  // As direct_row of a row of floats that are scaled: `row` but for its taps and weights.
  template <class Finish>
  HWY_INLINE void convolve(int64_t line, const DirectRow& row, const float** taps,
                           const Finish& finish) {
    const auto our_taps = reinterpret_cast<const T**>(taps);
    const auto fill = [&](int64_t, int64_t r, T* to) HWY_ATTR {
      zip_byte_row(first_ + r * stride_, row_bytes_, rows_.first(), rows_.step(), rows_.count(),
                   rows_.edge(), to, Store(to));
    };
    int64_t depth = row.depth;
    if constexpr (in_pairs) {
      depth = 0;
      rows_.for_tap_rows(line, fill, [&](const T* taps_row) {
        for (int64_t k = 0; k < tap_elements_; k += 2)
          our_taps[depth++] = taps_row + k / 2 * max_lanes;
      });
    } else {
      rows_.find_taps(line, our_taps, fill);
    }
    const auto next = rows_.next_rows();
    const int64_t count = next.end - next.begin;
    const Fetch ahead = count <= 0 ? Fetch()
                                   : fetch_bytes(first_ + next.begin * stride_, stride_, count,
                                                 row_bytes_, row.columns / 2 * depth);
    direct_row_of(DirectRowOf<T>{our_taps, depth, weight_, row.bias, row.outputs, row.columns,
                                 row.x_step / (in_pairs ? 2 : 1), row.y_step, row.y, ahead},
                  finish);
  }

 private:
  static constexpr bool in_pairs = sizeof(T) == sizeof(uint32_t);
  using Store = std::conditional_t<in_pairs, StorePairs, StoreBytes>;

  // A row of taps is a run of elements, and each column's begins with a whole pair.
  static bool takes(const ZippedConv& conv) {
    if (!in_pairs) return true;
    return multiplies_pairs(conv.window.stride[1] * conv.inputs) &&
           (conv.window.dilation[1] == 1 || conv.kernel_width == 1);
  }

  ByteRows(const ZippedConv& conv, const uint8_t* first, int64_t stride, float* memory,
           const float* weight)
      : rows_(conv, nullptr, memory),
        first_(first),
        stride_(stride),
        row_bytes_(conv.width * conv.inputs),
        tap_elements_(conv.kernel_width * conv.inputs),
        weight_(weight) {}

  ZippedRowsOf<T> rows_;
  const uint8_t* first_;
  int64_t stride_, row_bytes_, tap_elements_;
  const float* weight_;
};

#endif

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
