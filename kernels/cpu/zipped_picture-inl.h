// Zipped rows of what warp makes of a picture, which nothing writes to memory. Compiled once per
// instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_ZIPPED_PICTURE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_ZIPPED_PICTURE_INL_H
#undef FULMAR_KERNELS_CPU_ZIPPED_PICTURE_INL_H
#else
#define FULMAR_KERNELS_CPU_ZIPPED_PICTURE_INL_H
#endif

#include <cstdint>
#include <optional>

#include "kernels/cpu/warp_rows-inl.h"
#include "kernels/cpu/zipped-inl.h"
#include "kernels/cpu/zipped_bytes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// A row of what warp makes of an image, as it lies in the source.
struct CutRow {
  const uint8_t* data;  // null: it doesn't
  int64_t row_stride;   // of the source, bytes
};
inline CutRow cut_row(const View& source, const WarpOptions& how, const WarpSample& sample,
                      int64_t image, int64_t row, int64_t width, int64_t bands) {
  if (source.type != DType::u8 || how.has_nodata) return {};
  const auto from = warp_source<uint8_t>(source, image, sample, how);
  const Columns inside = columns_in_frames(sample, static_cast<double>(row), width);
  const Columns shifted = columns_shifted(from, sample, how, row, bands, inside);
  if (shifted.begin != 0 || shifted.end != width) return {};
  const auto right = static_cast<int64_t>(sample.map.a[2]);
  const auto down = static_cast<int64_t>(sample.map.a[5]) + row;
  return {from.data + down * from.row_stride + right * bands, from.row_stride};
}

// Those of a batch of pictures, for all of a call's tasks.
class ZippedPictures {
 public:
  ZippedPictures(const View& source, const Sampled& sampled)
      : source_(source),
        sampled_(sampled),
        width_(sampled.shape.width()),
        bands_(sampled.shape.channels()),
        tables_(*sampled.how, bands_) {}

  // Of a task's `row` memory.
  static int64_t row_floats(const Shape& sampled) {
    return (sampled.width() * sampled.channels() + max_lanes - 1) / max_lanes * max_lanes;
  }

  void zip(const ZippedRows& rows, int64_t image, int64_t row, WarpColumns& columns,
           float* row_memory, float* to) const {
    const WarpSample& sample = sampled_.samples[image];
#if HWY_TARGET == HWY_AVX3
    if (zip_cut(rows, image, row, to)) return;
#endif
    const auto make = [&](auto number) {
      using T = decltype(number);
      warp_row(warp_source<T>(source_, image, sample, *sampled_.how), sample, *sampled_.how,
               tables_, row, width_, bands_, columns, row_memory);
    };
    if (source_.type == DType::u8)
      make(uint8_t());
    else if (source_.type == DType::u16)
      make(uint16_t());
    else if (source_.type == DType::f32)
      make(float());
    else
      make(double());
    rows.zip_plain(row_memory, to);
  }
  // As ZippedRows::next, where rows lie in the source as they are.
  Fetch next([[maybe_unused]] const ZippedRows& rows, [[maybe_unused]] int64_t steps) const {
#if HWY_TARGET == HWY_AVX3
    const ZippedRows::Rows next = rows.next_rows();
    if (next.begin >= next.end) return {};
    const CutRow cut = cut_row(source_, *sampled_.how, sampled_.samples[next.image], next.image,
                               next.begin, width_, bands_);
    if (cut.data)
      return fetch_bytes(cut.data, cut.row_stride, next.end - next.begin, width_ * bands_, steps);
#endif
    return {};
  }

 private:
#if HWY_TARGET == HWY_AVX3
  // A row of bytes that a map only shifts, straight from the source.
  bool zip_cut(const ZippedRows& rows, int64_t image, int64_t row, float* to) const {
    if (rows.count() < least_byte_count) return false;
    const WarpOptions& how = *sampled_.how;
    const WarpSample& sample = sampled_.samples[image];
    const CutRow cut = cut_row(source_, how, sample, image, row, width_, bands_);
    if (!cut.data) return false;
    const ByteScale scale{how.scale.data(), how.offset.data(), bands_,
                          static_cast<float>(sample.gain)};
    zip_byte_row(cut.data, width_ * bands_, rows.first(), rows.step(), rows.count(), rows.edge(),
                 to, StoreScaled(scale, to));
    return true;
  }
#endif

  View source_;
  Sampled sampled_;
  int64_t width_, bands_;
  WarpTables tables_;
};

// Where a convolution's tasks have zipped rows from: a tensor, or pictures.
class ZippedSource {
 public:
  explicit ZippedSource(const Loaded& x) : x_(x) {
    if (x.is_sampled()) pictures_.emplace(x.x, x.sampled);
  }
  // Of each task.
  int64_t row_floats() const { return pictures_ ? ZippedPictures::row_floats(x_.shape()) : 0; }
  ZippedRows rows(const ZippedConv& conv, float* memory) const {
    return {conv, pictures_ ? nullptr : x_.x.as<float>(), memory};
  }
  // As ZippedRows::find_taps.
  void find_taps(ZippedRows& rows, int64_t line, const float** taps, WarpColumns& columns,
                 float* row_memory) const {
    if (!pictures_) return rows.find_taps(line, taps);
    rows.find_taps(line, taps, [&](int64_t image, int64_t row, float* to) {
      pictures_->zip(rows, image, row, columns, row_memory, to);
    });
  }
  Fetch next(const ZippedRows& rows, int64_t steps) const {
    return pictures_ ? pictures_->next(rows, steps) : rows.next(steps);
  }

 private:
  const Loaded& x_;
  std::optional<ZippedPictures> pictures_;
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
