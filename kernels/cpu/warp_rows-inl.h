// Rows of what warp makes of a picture. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_WARP_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_WARP_ROWS_INL_H
#undef FULMAR_KERNELS_CPU_WARP_ROWS_INL_H
#else
#define FULMAR_KERNELS_CPU_WARP_ROWS_INL_H
#endif

#include "kernels/cpu/warp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

struct Columns {
  int64_t begin, end;
};

// The columns whose a[0] x + a[1] row + a[2] lies in (-.5, extent - .5). The rounded sum rises or
// falls with x like the exact one, so its crossings are found by bisection.
inline Columns columns_inside(const double* a, double row, double extent, Columns within) {
  const auto at = [&](int64_t x) { return a[0] * static_cast<double>(x) + a[1] * row + a[2]; };
  const bool falling = a[0] < 0;
  const auto first = [&](auto holds) {
    int64_t low = within.begin, high = within.end;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (holds(at(middle)))
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  };
  // A position that is no number is inside nothing: no `begin` holds.
  const double last = extent - .5;
  const int64_t begin = falling ? first([=](double p) { return p < last; })
                                : first([=](double p) { return p > -.5; });
  const int64_t end = falling ? first([=](double p) { return p <= -.5; })
                              : first([=](double p) { return p >= last; });
  return {begin, std::max(begin, end)};
}

// The columns of a row that no frame cuts off.
inline Columns columns_in_frames(const WarpSample& sample, double row, int64_t width) {
  Columns columns{0, width};
  for (const double a : sample.map.a)
    if (!std::isfinite(a)) return {0, 0};
  if (sample.source_width < 1 || sample.source_height < 1) return {0, 0};
  for (int64_t k = 0; k < sample.frames; k++) {
    const double* a = sample.to_frame[k].a.data();
    columns = columns_inside(a, row, sample.frame_width[k], columns);
    columns = columns_inside(a + 3, row, sample.frame_height[k], columns);
  }
  return columns;
}

// The columns among `inside` whose pixels a row of the source holds as they are, of a map that
// shifts by whole pixels: bilinear taps beside them have weight 0.
template <class T>
inline Columns columns_shifted(const WarpSource<T>& source, const WarpSample& sample,
                               const WarpOptions& options, int64_t row, int64_t bands,
                               Columns inside) {
  const Columns none{inside.end, inside.end};
  if (std::is_same_v<T, double> || source.pixel_stride != bands || sample.speckle > 0) return none;
  const auto& a = sample.map.a;
  const auto whole = [](double shift) {
    constexpr double most = 1 << 30;
    return std::abs(shift) < most && shift == std::floor(shift);
  };
  if (a[0] != 1 || a[1] != 0 || a[3] != 0 || a[4] != 1 || !whole(a[2]) || !whole(a[5])) return none;
  // 0 times a fill that is no number would be none.
  for (int64_t b = 0; b < bands; b++)
    if (!std::isfinite(options.fill[b])) return none;
  const auto right = static_cast<int64_t>(a[2]), down = static_cast<int64_t>(a[5]);
  if (row + down < 0 || row + down >= source.height) return none;
  const Columns shifted{std::max(inside.begin, -right), std::min(inside.end, source.width - right)};
  return shifted.begin < shifted.end ? shifted : none;
}

template <int taps, class T>
void warp_sample(const WarpSource<T>& source, int64_t count, int64_t bands,
                 const WarpOptions& options, WarpColumns& memory) {
  if (taps == 4 && warp_by_pairs(source, count, bands, options, memory)) return;
  const auto read = bands == 1   ? warp_taps<taps, 1, T>
                    : bands == 3 ? warp_taps<taps, 3, T>
                                 : warp_taps<taps, 0, T>;
  read(source, count, bands, options.fill.data(), memory);
  warp_interpolate<taps, T>(count, bands, options, memory);
}

// y: the row's output, [width][bands]
template <class T>
void warp_row(const WarpSource<T>& source, const WarpSample& sample, const WarpOptions& options,
              const WarpTables& tables, int64_t row, int64_t width, int64_t bands,
              WarpColumns& memory, float* y) {
  const bool nearest = options.interpolation == Interpolation::nearest;
  const auto down = static_cast<double>(row);
  const Columns inside = columns_in_frames(sample, down, width);
  const Columns shifted = columns_shifted(source, sample, options, row, bands, inside);
  for (int64_t at = 0; at < width;) {
    if constexpr (!std::is_same_v<T, double>) {
      if (at == shifted.begin && at < shifted.end) {
        const auto right = static_cast<int64_t>(sample.map.a[2]) + at;
        const auto down_to = static_cast<int64_t>(sample.map.a[5]) + row;
        warp_shifted(source.data + down_to * source.row_stride + right * bands, source.row_stride,
                     shifted.end - at, bands, tables, options, sample.gain, y + at * bands);
        at = shifted.end;
        continue;
      }
    }
    const bool filled = at < inside.begin || at >= inside.end;
    const int64_t stop = at < inside.begin    ? inside.begin
                         : at < shifted.begin ? shifted.begin
                         : at < inside.end    ? inside.end
                                              : width;
    const int64_t count = std::min(most_columns, stop - at);
    if (filled) {
      for (int64_t b = 0; b < bands; b++)
        std::fill_n(memory.value[b], most_columns, options.fill[b]);
    } else {
      warp_positions(sample, static_cast<double>(at), down, count, nearest, memory);
      if (nearest)
        warp_sample<1>(source, count, bands, options, memory);
      else
        warp_sample<4>(source, count, bands, options, memory);
    }
    warp_finish(sample, options, row * width + at, count, bands, memory, y + at * bands);
    at += count;
  }
}

// The picture that a sample reads, of a batch.
template <class T>
WarpSource<T> warp_source(const View& source, int64_t image, const WarpSample& sample,
                          const WarpOptions& options) {
  const int64_t elements =
      (source.shape.height() - 1) * source.stride[1] + source.shape.width() * source.stride[2];
  return {source.at<T>(image, 0, 0),      source.stride[1],    source.stride[2],
          sample.source_height,           sample.source_width, elements,
          options.border == Border::clamp};
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
