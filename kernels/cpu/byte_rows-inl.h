// A convolution of a picture's bytes as they are: what scaling makes of them is done to its
// weights. So a ring of rows takes a quarter of the memory, which stays in L1. Where vectors have
// 16 lanes. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H
#undef FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H
#else
#define FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H
#endif

#include <cstdint>
#include <optional>

#include "kernels/cpu/direct_row-inl.h"
#include "kernels/cpu/zipped_bytes-inl.h"
#include "kernels/cpu/zipped_picture-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

class ByteRows {
 public:
  // Of what a warp makes of an image. None where any of its rows is more than bytes of the source
  // times a scale: bits must not depend on which rows a task makes. An offset would be one around
  // the picture too, where a convolution reads zeros.
  static std::optional<ByteRows> of(const View& source, const RowLayer& warp, int64_t image,
                                    const ZippedConv& conv, float* memory, const float* weight) {
    const WarpOptions& how = *warp.warp;
    const int64_t bands = warp.y.channels();
    if (conv.x_count < least_byte_count) return {};
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
    for (int64_t e = 0; e < w.shape.elements(); e++)
      weight[e] =
          w.as<float>()[e] * (warp.warp->scale[static_cast<size_t>(e / outputs % bands)] * gain);
  }

  // As direct_row of a row of floats that are scaled: `row` but for its taps and weights.
  template <class Finish>
  HWY_INLINE void convolve(int64_t line, const DirectRow& row, const float** taps,
                           const Finish& finish) {
    const auto byte_taps = reinterpret_cast<const uint8_t**>(taps);
    rows_.find_taps(line, byte_taps, [&](int64_t, int64_t r, uint8_t* to) HWY_ATTR {
      zip_byte_row(first_ + r * stride_, row_bytes_, rows_.first(), rows_.step(), rows_.count(),
                   rows_.edge(), to, StoreBytes(to));
    });
    const auto next = rows_.next_rows();
    const int64_t count = next.end - next.begin;
    direct_row_of(
        DirectRowOf<uint8_t>{byte_taps, row.depth, weight_, row.bias, row.outputs, row.columns,
                             row.x_step, row.y_step, row.y,
                             count <= 0 ? Fetch()
                                        : fetch_bytes(first_ + next.begin * stride_, stride_, count,
                                                      row_bytes_, row.columns / 2 * row.depth)},
        finish);
  }

 private:
  ByteRows(const ZippedConv& conv, const uint8_t* first, int64_t stride, float* memory,
           const float* weight)
      : rows_(conv, nullptr, memory),
        first_(first),
        stride_(stride),
        row_bytes_(conv.width * conv.inputs),
        weight_(weight) {}

  ZippedRowsOf<uint8_t> rows_;
  const uint8_t* first_;
  int64_t stride_, row_bytes_;
  const float* weight_;
};

#endif

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
