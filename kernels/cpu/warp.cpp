#include "kernels/warp.h"
#include "kernels/cpu/scratch.h"

#include <string>
#include <type_traits>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/warp.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/stores-inl.h"
#include "kernels/cpu/warp_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t rows_per_task = 8;

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

// What standardising does to the numbers of a picture: y = (x - centre) * scale.
struct Standard {
  float centre = 0, scale = 1;

  Standard() = default;
  Standard(const PixelSums& total, double n) {
    const double mean = total.sum / n, variance = total.squares / n - mean * mean;
    const double deviation =
        std::max(variance > 0 ? std::sqrt(variance) : variance * 0, 1 / std::sqrt(n));
    centre = static_cast<float>(mean);
    scale = static_cast<float>(1 / deviation);
  }
  HWY_INLINE void apply(float* values, int64_t count) const {
    const V about = hn::Set(D(), centre), factor = hn::Set(D(), scale);
    transform(
        Cached(), count, values, [&](V x) HWY_ATTR { return hn::Mul(hn::Sub(x, about), factor); },
        values);
  }
};

template <class T, class Y>
void warp_typed(Stream& stream, const View& source, const WarpSample* samples, const View& y,
                const WarpOptions& options) {
  const int64_t height = y.shape.height(), width = y.shape.width(), bands = y.shape.channels();
  const int64_t images = y.shape.images(), pixels = height * width;
  const int64_t tasks = (height + rows_per_task - 1) / rows_per_task;
  Scratch<PixelSums> parts(static_cast<size_t>(options.standardize ? images * tasks : 0));
  Scratch<Standard> standard;
  const WarpTables tables(options, bands);
  // Adds up the rows of each task, or writes them, or both.
  const auto run = [&](bool adds, bool writes) {
    stream.pool->run(images * tasks, [&](int64_t task, int worker) HWY_ATTR {
      const int64_t image = task / tasks, begin = task % tasks * rows_per_task;
      const int64_t end = std::min(height, begin + rows_per_task);
      const WarpSample& sample = samples[image];
      const WarpSource<T> from = warp_source<T>(source, image, sample, options);
      WarpColumns memory;
      const OutputRows<Y> rows(stream, worker, y);
      for (int64_t row = begin; row < end; row++) {
        float* const values = rows.begin(image * height + row);
        warp_row(from, sample, options, tables, row, width, bands, memory, values);
        if (adds) {
          const PixelSums sums = pixel_sums(values, width * bands);
          parts[task].sum += sums.sum;
          parts[task].squares += sums.squares;
        }
        if (!standard.empty()) standard[image].apply(values, width * bands);
        if (writes) rows.end(image * height + row);
      }
    });
  };
  // What is rounded when it is written is made twice instead.
  constexpr bool rounds = !std::is_same_v<Y, float>;
  run(options.standardize, !options.standardize || !rounds);
  if (!options.standardize) return;
  standard.reserve(static_cast<size_t>(images));
  for (int64_t image = 0; image < images; image++) {
    PixelSums total;
    for (int64_t task = image * tasks; task < (image + 1) * tasks; task++) {
      total.sum += parts[task].sum;
      total.squares += parts[task].squares;
    }
    standard.push_back(Standard(total, static_cast<double>(pixels * bands)));
  }
  if constexpr (rounds) return run(false, true);
  for (int64_t image = 0; image < images; image++) {
    float* const values = y.as<float>() + image * pixels * bands;
    for_chunks(stream, pixels * bands, elementwise_grain,
               [&](int64_t begin, int64_t end, int)
                   HWY_ATTR { standard[image].apply(values + begin, end - begin); });
  }
}
template <class T>
void warp_of(Stream& stream, const View& source, const WarpSample* samples, const View& y,
             const WarpOptions& options) {
  for_type_of(y, [&]<class Y>(std::type_identity<Y>) {
    warp_typed<T, Y>(stream, source, samples, y, options);
  });
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
  warp_of<uint8_t>(stream, source, samples, y, options);
}
void warp_u16(Stream& stream, const View& source, const WarpSample* samples, const View& y,
              const WarpOptions& options) {
  warp_of<uint16_t>(stream, source, samples, y, options);
}
void warp_f32(Stream& stream, const View& source, const WarpSample* samples, const View& y,
              const WarpOptions& options) {
  warp_of<float>(stream, source, samples, y, options);
}
void warp_f64(Stream& stream, const View& source, const WarpSample* samples, const View& y,
              const WarpOptions& options) {
  warp_of<double>(stream, source, samples, y, options);
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
