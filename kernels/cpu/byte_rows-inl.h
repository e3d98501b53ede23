// A convolution of a picture's bytes as they are: what scaling makes of them is done to its
// weights. So a ring of rows takes a quarter of the memory, which stays in L1. Where vectors have
// 16 lanes. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H
#undef FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H
#else
#define FULMAR_KERNELS_CPU_BYTE_ROWS_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <optional>

#include "kernels/cpu/direct_row-inl.h"
#include "kernels/cpu/warp_rows-inl.h"
#include "kernels/cpu/zipped_bytes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

// Rows [begin, end) of what a warp makes of an image.
struct WarpedRows {
  const View& source;
  const RowLayer& warp;
  int64_t image, begin, end;
};

class ByteRows {
 public:
  // None where a row is more than bytes of the source times a scale. An offset would be one around
  // the picture too, where a convolution reads zeros.
  static std::optional<ByteRows> of(const WarpedRows& rows, const ZippedConv& conv, float* memory,
                                    const float* weight) {
    const WarpOptions& how = *rows.warp.warp;
    const WarpSample& sample = rows.warp.samples[rows.image];
    const int64_t bands = rows.warp.y.channels(), width = rows.warp.y.width();
    if (rows.source.type != DType::u8 || how.has_nodata || conv.x_count < least_byte_count)
      return {};
    for (int64_t b = 0; b < bands; b++)
      if (how.offset[static_cast<size_t>(b)] != 0) return {};
    const auto from = warp_source<uint8_t>(rows.source, rows.image, sample, how);
    for (int64_t r = std::max<int64_t>(rows.begin, 0); r < std::min(rows.end, conv.height); r++) {
      const Columns inside = columns_in_frames(sample, static_cast<double>(r), width);
      const Columns shifted = columns_shifted(from, sample, how, r, bands, inside);
      if (shifted.begin != 0 || shifted.end != width) return {};
    }
    const auto right = static_cast<int64_t>(sample.map.a[2]);
    const auto down = static_cast<int64_t>(sample.map.a[5]);
    return ByteRows(conv, from.data + down * from.row_stride + right * bands, from.row_stride,
                    memory, weight);
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
                   2 * stride_, rows_.edge(), to, StoreBytes(to));
    });
    direct_row_of(DirectRowOf<uint8_t>{byte_taps,
                                       row.depth,
                                       weight_,
                                       row.bias,
                                       row.outputs,
                                       row.columns,
                                       row.x_step,
                                       row.y_step,
                                       row.y,
                                       {}},
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
