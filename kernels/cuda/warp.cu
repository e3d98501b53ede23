#include "kernels/warp.h"

#include "kernels/cuda/ops.h"
#include "kernels/cuda/sums.cuh"
#include "kernels/random.h"

namespace fulmar::cuda {
namespace {

struct Point {
  double x, y;
};
FULMAR_DEVICE Point apply(const Affine& map, double x, double y) {
  return {map.a[0] * x + map.a[1] * y + map.a[2], map.a[3] * x + map.a[4] * y + map.a[5]};
}
FULMAR_DEVICE bool is_finite(double x) { return x - x == 0; }

// The host can't look at samples in device memory.
FULMAR_DEVICE bool is_broken(const WarpSample& sample, int64_t slot_height, int64_t slot_width) {
  return sample.frames < 0 || sample.frames > WarpSample::max_frames ||
         sample.source_height > slot_height || sample.source_width > slot_width;
}

// The taps of an output pixel: the same for all its bands.
struct Taps {
  int64_t row[2], column[2];  // -1: outside
  double down, right;         // weights of the second row and column
};

struct Sampling {
  bool nearest, clamp;

  // False where the output pixel (x, y) is fill in all bands.
  FULMAR_DEVICE bool find(const WarpSample& sample, double x, double y, Taps* taps) const {
    for (int64_t k = 0; k < sample.frames; k++) {
      const Point p = apply(sample.to_frame[k], x, y);
      const bool in_frame = p.x > -.5 && p.x < sample.frame_width[k] - .5 && p.y > -.5 &&
                            p.y < sample.frame_height[k] - .5;
      if (!in_frame) return false;
    }
    const Point p = apply(sample.map, x, y);
    if (!is_finite(p.x) || !is_finite(p.y)) return false;
    axis(p.x, sample.source_width, taps->column, &taps->right);
    axis(p.y, sample.source_height, taps->row, &taps->down);
    return true;
  }

 private:
  FULMAR_DEVICE void axis(double at, int64_t extent, int64_t* tap, double* weight) const {
    // Further out all taps are outside just the same, and positions fit an integer.
    const double most = static_cast<double>(extent) + 1;
    const double near = at < -2 ? -2 : at > most ? most : at;
    const double low = floor(nearest ? near + .5 : near);
    *weight = nearest ? 0 : near - low;
    for (int k = 0; k < 2; k++) {
      int64_t position = static_cast<int64_t>(low) + k;
      if (clamp && extent > 0)
        position = position < 0 ? 0 : position >= extent ? extent - 1 : position;
      tap[k] = position >= 0 && position < extent ? position : -1;
    }
  }
};

template <class S>
struct Warp {
  const S* source;
  const WarpSample* samples;
  int64_t image_stride, row_stride, pixel_stride;
  int64_t slot_height, slot_width, bands;
  Extent out;  // channels: 1, as one thread writes all bands
  WarpOptions options;

  // take(band, value) for the bands [first, end) of output pixel i.
  template <class Take>
  FULMAR_DEVICE void for_bands(int64_t i, int64_t first, int64_t end, const Take& take) const {
    const Pixel p = out.pixel(i, 1);
    const WarpSample& sample = samples[p.image];
    if (is_broken(sample, slot_height, slot_width)) {  // shows as NaN
      for (int64_t band = first; band < end; band++) take(band, NAN);
      return;
    }
    Taps taps{{-1, -1}, {-1, -1}, 0, 0};
    const Sampling sampling{options.interpolation == Interpolation::nearest,
                            options.border == Border::clamp};
    const bool inside =
        sampling.find(sample, static_cast<double>(p.column), static_cast<double>(p.row), &taps);
    for (int64_t band = first; band < end; band++) {
      const double value = inside ? mix(p.image, taps, band) : fill(band);
      const double scaled = value * static_cast<double>(options.scale[band]) +
                            static_cast<double>(options.offset[band]);
      const double speckle =
          sample.speckle > 0 ? noise(sample, band, p.row * out.width + p.column) : 1;
      take(band, static_cast<float>(scaled * sample.gain * speckle));
    }
  }
  // One value by its place in the output.
  FULMAR_DEVICE float operator()(int64_t i) const {
    const int64_t pixel = divide(i, bands), at = i - pixel * bands;
    float found = 0;
    for_bands(pixel, at, at + 1, [&](int64_t, float value) { found = value; });
    return found;
  }

 private:
  FULMAR_DEVICE double fill(int64_t band) const { return static_cast<double>(options.fill[band]); }

  FULMAR_DEVICE double read(int64_t image, int64_t row, int64_t column, int64_t band) const {
    if (row < 0 || column < 0) return fill(band);
    const double value = static_cast<double>(
        source[image * image_stride + row * row_stride + column * pixel_stride + band]);
    const bool missing = options.has_nodata && value == static_cast<double>(options.nodata);
    return missing || !is_finite(value) ? fill(band) : value;
  }

  FULMAR_DEVICE double mix(int64_t image, const Taps& t, int64_t band) const {
    if (options.interpolation == Interpolation::nearest)
      return read(image, t.row[0], t.column[0], band);
    const auto row = [&](int64_t at) {
      return (1 - t.right) * read(image, at, t.column[0], band) +
             t.right * read(image, at, t.column[1], band);
    };
    return (1 - t.down) * row(t.row[0]) + t.down * row(t.row[1]);
  }

  FULMAR_DEVICE double noise(const WarpSample& sample, int64_t band, int64_t pixel) const {
    const RandomBits bits =
        philox(sample.seed, static_cast<uint64_t>(band), static_cast<uint64_t>(pixel));
    const double u0 = static_cast<double>(uniform(bits.word[0]));
    const double u1 = static_cast<double>(uniform(bits.word[1]));
    constexpr double two_pi = 6.283185307179586476925;
    const double factor = 1 + sample.speckle * sqrt(-2 * log(1 - u0)) * cos(two_pi * u1);
    return factor > 0 ? factor : 0;
  }
};

struct WarpLabel {
  const uint8_t* source;
  const WarpSample* samples;
  int64_t image_stride, row_stride, pixel_stride;
  int64_t slot_height, slot_width;
  Extent out;
  uint8_t* y;
  uint8_t outside;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const Pixel p = out.pixel(i, 1);
    const WarpSample& sample = samples[p.image];
    Taps taps{{-1, -1}, {-1, -1}, 0, 0};
    const bool inside = !is_broken(sample, slot_height, slot_width) &&
                        Sampling{true, false}.find(sample, static_cast<double>(p.column),
                                                   static_cast<double>(p.row), &taps) &&
                        taps.row[0] >= 0 && taps.column[0] >= 0;
    y[i] = inside ? source[p.image * image_stride + taps.row[0] * row_stride +
                           taps.column[0] * pixel_stride]
                  : outside;
  }
};

// A thread writes all bands of a pixel.
template <class S, class T>
struct WarpPixel {
  Warp<S> warp;
  T* y;
  FULMAR_DEVICE void operator()(int64_t i) const {
    T* const to = y + i * warp.bands;
    warp.for_bands(i, 0, warp.bands, [&](int64_t band, float v) { to[band] = rounded<T>(v); });
  }
};

// Standardisation: mean of each image, then the mean square about it, then both applied. Values
// are read back where they are stored as float; where they would have been rounded to bf16 before,
// they are sampled again.
struct Stored {
  const float* y;
  FULMAR_DEVICE float operator()(int64_t i) const { return y[i]; }
};
struct Statistic {
  double mean, inverse;
};
template <class Values>
struct AddValue {
  Values values;
  int64_t first, count;
  FULMAR_DEVICE void operator()(int64_t image, int64_t i, int64_t, Sum<1>& sum) const {
    sum.of[0] += static_cast<double>(values(first + image * count + i));
  }
};
struct KeepMean {
  Statistic* statistics;
  int64_t count;
  FULMAR_DEVICE void operator()(int64_t image, int64_t, const Sum<1>& sum) const {
    statistics[image].mean = sum.of[0] / static_cast<double>(count);
  }
};
template <class Values>
struct AddSquare {
  Values values;
  const Statistic* statistics;
  int64_t first, count;
  FULMAR_DEVICE void operator()(int64_t image, int64_t i, int64_t, Sum<1>& sum) const {
    const double value = static_cast<double>(values(first + image * count + i));
    const double d = value - statistics[image].mean;
    sum.of[0] += d * d;
  }
};
struct KeepDeviation {
  Statistic* statistics;
  int64_t count;
  FULMAR_DEVICE void operator()(int64_t image, int64_t, const Sum<1>& sum) const {
    const double n = static_cast<double>(count);
    const double deviation = sqrt(sum.of[0] / n), least = 1 / sqrt(n);
    statistics[image].inverse = 1 / (deviation < least ? least : deviation);
  }
};
template <class Values, class T>
struct Standardise {
  Values values;
  T* y;
  const Statistic* statistics;
  int64_t first, count;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const Statistic& s = statistics[divide(i, count)];
    const double value = static_cast<double>(values(first + i));
    y[first + i] = rounded<T>(static_cast<float>((value - s.mean) * s.inverse));
  }
};

template <class Values, class T>
void standardise(const Stream& stream, const Values& values, T* y, const Shape& shape) {
  Statistic* statistics = static_cast<Statistic*>(queue_of(stream).small);
  constexpr int64_t at_once = Queue::small_bytes / sizeof(Statistic);
  const int64_t images = shape.images(), count = shape.height() * shape.width() * shape.channels();
  for (int64_t image = 0; image < images; image += at_once) {
    const int64_t some = std::min(at_once, images - image), first = image * count;
    const SumShape sums{some, count, 1};
    sum_rows<1>(stream, "warp: mean", sums, AddValue<Values>{values, first, count},
                KeepMean{statistics, count});
    sum_rows<1>(stream, "warp: deviation", sums,
                AddSquare<Values>{values, statistics, first, count},
                KeepDeviation{statistics, count});
    each(stream, "warp: standardise", some * count,
         Standardise<Values, T>{values, y, statistics, first, count});
  }
}

template <class S>
void warp_from(const Stream& stream, const View& source, const WarpSample* samples, const View& y,
               const WarpOptions& options) {
  Extent out = extent_of(y.shape);
  const int64_t bands = out.channels;
  out.channels = 1;
  const Warp<S> body{source.as<S>(),
                     samples,
                     source.stride[0],
                     source.stride[1],
                     source.stride[2],
                     source.shape.height(),
                     source.shape.width(),
                     bands,
                     out,
                     options};
  for_type_of(y, [&](auto zero) {
    using T = decltype(zero);
    T* to = elements<T>(y);
    if (std::is_same_v<T, float> || !options.standardize)
      each(stream, "warp", y.shape.pixels(), WarpPixel<S, T>{body, to});
    if (!options.standardize) return;
    if constexpr (std::is_same_v<T, float>)
      standardise(stream, Stored{to}, to, y.shape);
    else
      standardise(stream, body, to, y.shape);
  });
}

}  // namespace

void warp_labels(Stream& stream, const View& source, const WarpSample* samples, const View& y,
                 uint8_t outside) {
  each(stream, "warp_labels", y.shape.pixels(),
       WarpLabel{elements<uint8_t>(source), samples, source.stride[0], source.stride[1],
                 source.stride[2], source.shape.height(), source.shape.width(), extent_of(y.shape),
                 elements<uint8_t>(y), outside});
}

void warp(Stream& stream, const View& source, const WarpSample* samples, const View& y,
          const WarpOptions& options) {
  const int64_t bands = y.shape.channels();
  if (bands > WarpOptions::max_bands)
    usage_error("warp: " + std::to_string(bands) + " bands, at most " +
                std::to_string(WarpOptions::max_bands) + " are possible");
  switch (source.type) {
    case DType::u8:
      warp_from<uint8_t>(stream, source, samples, y, options);
      break;
    case DType::u16:
      warp_from<uint16_t>(stream, source, samples, y, options);
      break;
    case DType::f32:
      warp_from<float>(stream, source, samples, y, options);
      break;
    case DType::f64:
      warp_from<double>(stream, source, samples, y, options);
      break;
    default:
      usage_error(std::string("warp: a source is u8, u16, f32 or f64, not ") +
                  name_of(source.type));
  }
}

}  // namespace fulmar::cuda
