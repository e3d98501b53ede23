#include "kernels/warp.h"

#include <algorithm>
#include <cmath>

#include "kernels/random.h"
#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

namespace fulmar::reference {
namespace {

struct Point {
  double x, y;
};

Point apply(const Affine& map, double x, double y) {
  return {map.a[0] * x + map.a[1] * y + map.a[2], map.a[3] * x + map.a[4] * y + map.a[5]};
}

double element(const View& source, int64_t n, int64_t h, int64_t w, int64_t band) {
  switch (source.type) {
    case DType::u8:
      return source.at<uint8_t>(n, h, w)[band];
    case DType::u16:
      return source.at<uint16_t>(n, h, w)[band];
    case DType::f32:
      return static_cast<double>(source.at<float>(n, h, w)[band]);
    case DType::f64:
      return source.at<double>(n, h, w)[band];
    default:
      usage_error(std::string("warp: a source is u8, u16, f32 or f64, not ") +
                  name_of(source.type));
  }
}

// Whether no frame cuts the output pixel (x, y) off.
bool in_frames(const WarpSample& sample, double x, double y) {
  for (int64_t k = 0; k < sample.frames; k++) {
    const Point p = apply(sample.to_frame[k], x, y);
    const bool inside = p.x > -.5 && p.x < sample.frame_width[k] - .5 && p.y > -.5 &&
                        p.y < sample.frame_height[k] - .5;
    if (!inside) return false;
  }
  return true;
}

// A position so far out that it fits no integer is drawn in: all taps are outside just the same.
Point drawn_in(const Point& p, const WarpSample& sample) {
  return {std::clamp(p.x, -2.0, static_cast<double>(sample.source_width) + 1),
          std::clamp(p.y, -2.0, static_cast<double>(sample.source_height) + 1)};
}

// One image of the batch, as its sample says.
class Image {
 public:
  Image(const View& source, int64_t n, const WarpSample& sample, const WarpOptions& options)
      : source_(source), n_(n), sample_(sample), options_(options) {}

  // In source units, at the output pixel (column x, row y).
  double value(double x, double y, int64_t band) const {
    if (!in_frames(sample_, x, y)) return options_.fill[band];
    Point p = apply(sample_.map, x, y);
    if (!std::isfinite(p.x) || !std::isfinite(p.y)) return options_.fill[band];
    p = drawn_in(p, sample_);
    if (options_.interpolation == Interpolation::nearest)
      return tap(std::floor(p.x + .5), std::floor(p.y + .5), band);
    const double left = std::floor(p.x), top = std::floor(p.y);
    const double fx = p.x - left, fy = p.y - top;
    return (1 - fy) * ((1 - fx) * tap(left, top, band) + fx * tap(left + 1, top, band)) +
           fy * ((1 - fx) * tap(left, top + 1, band) + fx * tap(left + 1, top + 1, band));
  }

 private:
  double tap(double x, double y, int64_t band) const {
    const int64_t height = sample_.source_height, width = sample_.source_width;
    int64_t h = static_cast<int64_t>(y), w = static_cast<int64_t>(x);
    if (height < 1 || width < 1) return options_.fill[band];
    if (options_.border == Border::clamp) {
      h = std::clamp<int64_t>(h, 0, height - 1);
      w = std::clamp<int64_t>(w, 0, width - 1);
    }
    if (h < 0 || h >= height || w < 0 || w >= width) return options_.fill[band];
    const double value = element(source_, n_, h, w, band);
    const bool missing = options_.has_nodata && value == static_cast<double>(options_.nodata);
    return missing || !std::isfinite(value) ? options_.fill[band] : value;
  }

  const View& source_;
  const int64_t n_;
  const WarpSample& sample_;
  const WarpOptions& options_;
};

double noise(const WarpSample& sample, int64_t band, int64_t pixel) {
  const RandomBits bits =
      philox(sample.seed, static_cast<uint64_t>(band), static_cast<uint64_t>(pixel));
  const double u0 = uniform(bits.word[0]), u1 = uniform(bits.word[1]);
  const double normal = std::sqrt(-2 * std::log(1 - u0)) * std::cos(2 * M_PI * u1);
  return std::max(0.0, 1 + sample.speckle * normal);
}

void standardize(double* value, int64_t count) {
  const double n = static_cast<double>(count);
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < count; i++) sum += value[i];
  const double mean = sum / n;
  for (int64_t i = 0; i < count; i++) squares += (value[i] - mean) * (value[i] - mean);
  const double deviation = std::max(std::sqrt(squares / n), 1 / std::sqrt(n));
  for (int64_t i = 0; i < count; i++) value[i] = (value[i] - mean) / deviation;
}

}  // namespace

void warp(Stream& stream, const View& source, const WarpSample* samples, const View& y,
          const WarpOptions& options) {
  const int64_t height = y.shape.height(), width = y.shape.width(), bands = y.shape.channels();
  reals(y);
  check_warp(source, samples, y);
  for_each(stream, y.shape.images(), [&](int64_t n) {
    const WarpSample& sample = samples[n];
    const Image image(source, n, sample, options);
    for (int64_t h = 0; h < height; h++)
      for (int64_t w = 0; w < width; w++)
        for (int64_t band = 0; band < bands; band++) {
          const double value = image.value(static_cast<double>(w), static_cast<double>(h), band);
          const double scaled = value * static_cast<double>(options.scale[band]) +
                                static_cast<double>(options.offset[band]);
          const double speckle = sample.speckle > 0 ? noise(sample, band, h * width + w) : 1;
          y.at<double>(n, h, w)[band] = scaled * sample.gain * speckle;
        }
    if (options.standardize) standardize(y.at<double>(n, 0, 0), height * width * bands);
  });
}

void warp_labels(Stream& stream, const View& source, const WarpSample* samples, const View& y,
                 uint8_t outside) {
  check_warp(source, samples, y);
  for_each(stream, y.shape.images(), [&](int64_t n) {
    const WarpSample& sample = samples[n];
    for (int64_t h = 0; h < y.shape.height(); h++)
      for (int64_t w = 0; w < y.shape.width(); w++) {
        uint8_t& label = *y.at<uint8_t>(n, h, w);
        label = outside;
        const double column = static_cast<double>(w), row = static_cast<double>(h);
        if (!in_frames(sample, column, row)) continue;
        Point p = apply(sample.map, column, row);
        if (!std::isfinite(p.x) || !std::isfinite(p.y)) continue;
        p = drawn_in(p, sample);
        const auto across = static_cast<int64_t>(std::floor(p.x + .5));
        const auto down = static_cast<int64_t>(std::floor(p.y + .5));
        if (across >= 0 && across < sample.source_width && down >= 0 && down < sample.source_height)
          label = *source.at<uint8_t>(n, down, across);
      }
  });
}

}  // namespace fulmar::reference
