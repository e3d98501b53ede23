#include "kernels/warp.h"
#include "kernels/cpu/scratch.h"

#include <string>
#include <type_traits>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/warp.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/stores-inl.h"
#include "kernels/cpu/warp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t rows_per_task = 8;

struct Columns {
  int64_t begin, end;
};

// The columns whose a[0] x + a[1] row + a[2] lies in (-.5, extent - .5). The rounded sum rises or
// falls with x like the exact one, so its crossings are found by bisection.
Columns columns_inside(const double* a, double row, double extent, Columns within) {
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
Columns columns_in_frames(const WarpSample& sample, double row, int64_t width) {
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
Columns columns_shifted(const WarpSource<T>& source, const WarpSample& sample,
                        const WarpOptions& options, int64_t row, int64_t bands, Columns inside) {
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

struct PixelSums {
  double sum = 0, squares = 0;
};

PixelSums pixel_sums(const float* x, int64_t count) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  auto sum = hn::Zero(d), squares = hn::Zero(d);
  PixelSums sums;
  int64_t i = 0;
  for (; i + static_cast<int64_t>(hn::Lanes(d)) <= count; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto v = hn::PromoteTo(d, hn::LoadU(df, x + i));
    sum = hn::Add(sum, v);
    squares = hn::MulAdd(v, v, squares);
  }
  sums.sum = hn::GetLane(hn::SumOfLanes(d, sum));
  sums.squares = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; i < count; i++) {
    const auto v = static_cast<double>(x[i]);
    sums.sum += v;
    sums.squares += v * v;
  }
  return sums;
}

template <class T>
void warp_typed(Stream& stream, const View& source, const WarpSample* samples, const View& y,
                const WarpOptions& options) {
  const int64_t height = y.shape.height(), width = y.shape.width(), bands = y.shape.channels();
  const int64_t images = y.shape.images(), pixels = height * width;
  const int64_t tasks = (height + rows_per_task - 1) / rows_per_task;
  Scratch<PixelSums> parts(static_cast<size_t>(options.standardize ? images * tasks : 0));
  const WarpTables tables(options, bands);
  const int64_t elements =
      (source.shape.height() - 1) * source.stride[1] + source.shape.width() * source.stride[2];
  stream.pool->run(images * tasks, [&](int64_t task, int worker) HWY_ATTR {
    const int64_t image = task / tasks, begin = task % tasks * rows_per_task;
    const int64_t end = std::min(height, begin + rows_per_task);
    const WarpSample& sample = samples[image];
    const WarpSource<T> from{source.at<T>(image, 0, 0),      source.stride[1],    source.stride[2],
                             sample.source_height,           sample.source_width, elements,
                             options.border == Border::clamp};
    WarpColumns memory;
    const OutputRows rows(stream, worker, y);
    for (int64_t row = begin; row < end; row++) {
      float* const values = rows.begin(image * height + row);
      warp_row(from, sample, options, tables, row, width, bands, memory, values);
      if (options.standardize) {
        const PixelSums sums = pixel_sums(values, width * bands);
        parts[task].sum += sums.sum;
        parts[task].squares += sums.squares;
      }
      rows.end(image * height + row);
    }
  });
  if (!options.standardize) return;
  const double n = static_cast<double>(pixels * bands);
  for (int64_t image = 0; image < images; image++) {
    PixelSums total;
    for (int64_t task = image * tasks; task < (image + 1) * tasks; task++) {
      total.sum += parts[task].sum;
      total.squares += parts[task].squares;
    }
    const double mean = total.sum / n, variance = total.squares / n - mean * mean;
    const double deviation =
        std::max(variance > 0 ? std::sqrt(variance) : variance * 0, 1 / std::sqrt(n));
    const V centre = hn::Set(D(), static_cast<float>(mean));
    const V scale = hn::Set(D(), static_cast<float>(1 / deviation));
    float* values = y.as<float>() + image * pixels * bands;
    for_chunks(
        stream, pixels * bands, elementwise_grain, [&](int64_t begin, int64_t end, int) HWY_ATTR {
          transform(
              Cached(), end - begin, values + begin,
              [&](V x) HWY_ATTR { return hn::Mul(hn::Sub(x, centre), scale); }, values + begin);
        });
  }
}

// y: the row's labels, [width]
void warp_labels_row(const WarpSource<uint8_t>& source, const WarpSample& sample, int64_t row,
                     int64_t width, uint8_t outside, WarpColumns& memory, uint8_t* y) {
  const auto down = static_cast<double>(row);
  const Columns inside = columns_in_frames(sample, down, width);
  std::fill(y, y + inside.begin, outside);
  std::fill(y + inside.end, y + width, outside);
  for (int64_t at = inside.begin; at < inside.end; at += most_columns) {
    const int64_t count = std::min(most_columns, inside.end - at);
    warp_positions(sample, static_cast<double>(at), down, count, true, memory);
    for (int64_t i = 0; i < count; i++) {
      const uint8_t* label = source.pixel(memory.left[i], memory.top[i]);
      y[at + i] = label ? *label : outside;
    }
  }
}

void warp_labels(Stream& stream, const View& source, const WarpSample* samples, const View& y,
                 uint8_t outside) {
  const int64_t height = y.shape.height(), width = y.shape.width();
  const int64_t tasks = (height + rows_per_task - 1) / rows_per_task;
  stream.pool->run(y.shape.images() * tasks, [&](int64_t task, int) HWY_ATTR {
    const int64_t image = task / tasks, begin = task % tasks * rows_per_task;
    const WarpSample& sample = samples[image];
    const WarpSource<uint8_t> from{source.at<uint8_t>(image, 0, 0),
                                   source.stride[1],
                                   source.stride[2],
                                   sample.source_height,
                                   sample.source_width,
                                   0,
                                   false};
    WarpColumns memory;
    for (int64_t row = begin; row < std::min(height, begin + rows_per_task); row++)
      warp_labels_row(from, sample, row, width, outside, memory,
                      y.as<uint8_t>() + (image * height + row) * width);
  });
}

void warp_u8(Stream& stream, const View& source, const WarpSample* samples, const View& y,
             const WarpOptions& options) {
  warp_typed<uint8_t>(stream, source, samples, y, options);
}
void warp_u16(Stream& stream, const View& source, const WarpSample* samples, const View& y,
              const WarpOptions& options) {
  warp_typed<uint16_t>(stream, source, samples, y, options);
}
void warp_f32(Stream& stream, const View& source, const WarpSample* samples, const View& y,
              const WarpOptions& options) {
  warp_typed<float>(stream, source, samples, y, options);
}
void warp_f64(Stream& stream, const View& source, const WarpSample* samples, const View& y,
              const WarpOptions& options) {
  warp_typed<double>(stream, source, samples, y, options);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(warp_labels);
void warp_labels(Stream& stream, const View& source, const WarpSample* samples, const View& y,
                 uint8_t outside) {
  check_warp(source, samples, y);
  HWY_DYNAMIC_DISPATCH(warp_labels)(stream, source, samples, y, outside);
}

HWY_EXPORT(warp_u8);
HWY_EXPORT(warp_u16);
HWY_EXPORT(warp_f32);
HWY_EXPORT(warp_f64);

void warp(Stream& stream, const View& source, const WarpSample* samples, const View& y,
          const WarpOptions& options) {
  check_warp(source, samples, y);
  switch (source.type) {
    case DType::u8:
      return HWY_DYNAMIC_DISPATCH(warp_u8)(stream, source, samples, y, options);
    case DType::u16:
      return HWY_DYNAMIC_DISPATCH(warp_u16)(stream, source, samples, y, options);
    case DType::f32:
      return HWY_DYNAMIC_DISPATCH(warp_f32)(stream, source, samples, y, options);
    case DType::f64:
      return HWY_DYNAMIC_DISPATCH(warp_f64)(stream, source, samples, y, options);
    default:
      usage_error(std::string("warp: a source is u8, u16, f32 or f64, not ") +
                  name_of(source.type));
  }
}

}  // namespace fulmar::cpu
#endif
