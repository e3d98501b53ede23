#pragma once

#include <type_traits>

#include "kernels/cuda/each.cuh"
#include "kernels/cuda/queue.h"
#include "kernels/random.h"
#include "kernels/warp.h"

// Reading source pictures through affine maps: what `warp` writes, and what a convolution that
// begins a network samples itself.
namespace fulmar::cuda {

struct Point {
  double x, y;
};
FULMAR_DEVICE Point apply(const Affine& map, double x, double y) {
  return {map.a[0] * x + map.a[1] * y + map.a[2], map.a[3] * x + map.a[4] * y + map.a[5]};
}
template <class T>
FULMAR_DEVICE bool is_finite(T x) {
  return x - x == 0;
}

// The host can't look at samples in device memory.
FULMAR_DEVICE bool is_broken(const WarpSample& sample, int64_t slot_height, int64_t slot_width) {
  return sample.frames < 0 || sample.frames > WarpSample::max_frames ||
         sample.source_height > slot_height || sample.source_width > slot_width;
}

// The taps of an output pixel: the same for all its bands.
struct Taps {
  int row[2], column[2];  // -1: outside
  float down, right;      // weights of the second row and column
};

// An image's map as a block keeps it, made by one of its threads: GPUs that rate fp64 at a 64th of
// fp32 should not compute every pixel's position in it.
struct BlockMap {
  // broken: shows as NaN.
  // whole: all positions are whole numbers.
  // fixed: positions are whole numbers of 2^-32; for bilinear sampling without frames, which is
  // continuous: half a step of 2^-32 a coordinate moves nothing that shows.
  // exact: in double, pixel by pixel.
  enum class Kind : int { broken, whole, fixed, exact };
  Kind kind;
  int height, width;  // of the source
  int64_t a[6];       // of whole, and of fixed in 2^-32
  float gain, speckle;
};

struct Sampling {
  bool nearest, clamp;

  FULMAR_DEVICE BlockMap prepare(const WarpSample& sample, int64_t slot_height,
                                 int64_t slot_width) const {
    BlockMap map{BlockMap::Kind::exact,
                 static_cast<int>(sample.source_height),
                 static_cast<int>(sample.source_width),
                 {},
                 static_cast<float>(sample.gain),
                 static_cast<float>(sample.speckle)};
    if (is_broken(sample, slot_height, slot_width)) {
      map.kind = BlockMap::Kind::broken;
      return map;
    }
    bool whole = sample.frames == 0, fixed = whole && !nearest;
    for (int k = 0; k < 6; k++) {
      const double a = sample.map.a[k];
      // So large at most that positions of 2^20 pixels fit.
      const bool shift = k % 3 == 2;
      whole = whole && a == floor(a) && fabs(a) < (shift ? 0x1p+29 : 0x1p+8);
      fixed = fixed && fabs(a) < (shift ? 0x1p+29 : 0x1p+8);
    }
    if (!whole && !fixed) return map;
    map.kind = whole ? BlockMap::Kind::whole : BlockMap::Kind::fixed;
    for (int k = 0; k < 6; k++)
      map.a[k] = static_cast<int64_t>(floor(sample.map.a[k] * (whole ? 1 : 0x1p+32) + 0.5));
    return map;
  }

  // False where the output pixel (x, y) is fill in all bands. The map isn't broken.
  FULMAR_DEVICE bool find(const BlockMap& map, const WarpSample& sample, int x, int y,
                          Taps* taps) const {
    if (map.kind == BlockMap::Kind::exact)
      return find(sample, static_cast<double>(x), static_cast<double>(y), taps);
    const int64_t across = map.a[0] * x + map.a[1] * y + map.a[2];
    const int64_t down = map.a[3] * x + map.a[4] * y + map.a[5];
    if (map.kind == BlockMap::Kind::whole) {
      taps->right = taps->down = 0;
      set_taps(across, map.width, taps->column);
      set_taps(down, map.height, taps->row);
    } else {
      constexpr float step = 0x1p-32F;
      taps->right = static_cast<float>(static_cast<uint32_t>(across)) * step;
      taps->down = static_cast<float>(static_cast<uint32_t>(down)) * step;
      set_taps(across >> 32, map.width, taps->column);
      set_taps(down >> 32, map.height, taps->row);
    }
    return true;
  }

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
  FULMAR_DEVICE void axis(double at, int64_t extent, int* tap, float* weight) const {
    // Further out all taps are outside just the same, and positions fit an integer.
    const double most = static_cast<double>(extent) + 1;
    const double near = at < -2 ? -2 : at > most ? most : at;
    const double low = floor(nearest ? near + .5 : near);
    *weight = nearest ? 0 : static_cast<float>(near - low);
    set_taps(static_cast<int64_t>(low), static_cast<int>(extent), tap);
  }
  FULMAR_DEVICE void set_taps(int64_t low, int extent, int* tap) const {
    for (int k = 0; k < 2; k++) {
      int64_t position = low + k;
      if (clamp && extent > 0)
        position = position < 0 ? 0 : position >= extent ? extent - 1 : position;
      tap[k] = position >= 0 && position < extent ? static_cast<int>(position) : -1;
    }
  }
};

template <class S>
struct Warp {
  const S* source;
  const WarpSample* samples;
  int64_t image_stride, row_stride, pixel_stride;
  int64_t slot_height, slot_width, bands;
  Extent out;  // channels: 1, as one thread makes all bands
  WarpOptions options;

  Warp(const View& picture, const WarpSample* all_samples, const Shape& shape,
       const WarpOptions& how)
      : source(elements<S>(picture)),
        samples(all_samples),
        image_stride(picture.stride[0]),
        row_stride(picture.stride[1]),
        pixel_stride(picture.stride[2]),
        slot_height(picture.shape.height()),
        slot_width(picture.shape.width()),
        bands(shape.channels()),
        out{shape.images(), shape.height(), shape.width(), 1},
        options(how) {}

  FULMAR_DEVICE BlockMap prepare(int64_t image) const {
    return sampling().prepare(samples[image], slot_height, slot_width);
  }
  // take(band, value) for the bands [first, end) of an output pixel.
  template <class Take>
  FULMAR_DEVICE void for_bands(const BlockMap& map, int64_t image, int row, int column,
                               int64_t first, int64_t end, const Take& take) const {
    if (map.kind == BlockMap::Kind::broken) {
      for (int64_t band = first; band < end; band++) take(band, NAN);
      return;
    }
    const WarpSample& sample = samples[image];
    Taps taps{{-1, -1}, {-1, -1}, 0, 0};
    const bool inside = sampling().find(map, sample, column, row, &taps);
    const bool one =
        options.interpolation == Interpolation::nearest || map.kind == BlockMap::Kind::whole;
    for (int64_t band = first; band < end; band++) {
      float value = options.fill[band];
      if (inside)
        value = one ? read(image, taps.row[0], taps.column[0], band) : mix(image, taps, band);
      take(band, finished(map, image, row, column, band, value));
    }
  }

  // A part of a picture as a block keeps it: rows of words, which begin where rows of pixels do or
  // up to 3 bytes before.
  static constexpr bool is_narrow = sizeof(S) <= 2;
  static int raw_words(int columns, int band_count) {
    return is_narrow ? (columns * band_count * static_cast<int>(sizeof(S)) + 3) / 4 + 1 : 0;
  }
  // Whether the output's pixels from (row, column) on are source pixels, which lie side by side.
  FULMAR_DEVICE bool cuts(const BlockMap& map, int row, int column, int rows, int columns) const {
    const bool moved = map.kind == BlockMap::Kind::whole && map.a[0] == 1 && map.a[1] == 0 &&
                       map.a[3] == 0 && map.a[4] == 1 && pixel_stride == bands;
    const int64_t top = row + map.a[5], left = column + map.a[2];
    return moved && top >= 0 && left >= 0 && top + rows <= map.height &&
           left + columns <= map.width;
  }
  // Of such: all threads of the block load words. Sectors of memory are then asked for once.
  FULMAR_DEVICE void load_words(const BlockMap& map, int64_t image, int row, int column, int rows,
                                int columns, int words, uint32_t* to) const {
    const uintptr_t memory = reinterpret_cast<uintptr_t>(source);
    const uintptr_t past =
        memory + static_cast<uintptr_t>(bytes_before(out.images - 1, slot_height - 1, slot_width));
    for (int i = static_cast<int>(threadIdx.x); i < rows * words; i += each_threads) {
      const int down = i / words, word = i - down * words;
      const uintptr_t begin = first_byte(map, image, row + down, column);
      const uintptr_t end =
          begin + static_cast<uintptr_t>(columns * static_cast<int>(bands * sizeof(S)));
      const uintptr_t at = begin / 4 * 4 + 4 * static_cast<uintptr_t>(word);
      if (at >= end) continue;
      if (at >= memory && at + 4 <= past) {
        to[i] = *reinterpret_cast<const uint32_t*>(at);
        continue;
      }
      for (uintptr_t k = 0; k < 4; k++)
        if (at + k >= memory && at + k < past)
          reinterpret_cast<uint8_t*>(to + i)[k] = *reinterpret_cast<const uint8_t*>(at + k);
    }
  }
  // take(band, value) for a pixel of them: (down, across) of the part that begins at (row, column).
  template <class Take>
  FULMAR_DEVICE void bands_of_words(const BlockMap& map, int64_t image, int row, int column,
                                    int down, int across, int words, const uint32_t* from,
                                    const Take& take) const {
    const int before = static_cast<int>(first_byte(map, image, row + down, column) % 4);
    const S* const pixel =
        reinterpret_cast<const S*>(reinterpret_cast<const uint8_t*>(from + down * words) + before +
                                   across * static_cast<int>(bands * sizeof(S)));
    for (int64_t band = 0; band < bands; band++)
      take(band, finished(map, image, row + down, column + across, band,
                          unless_missing(pixel[band], band)));
  }

  // One value by its place in the output, by a thread alone.
  FULMAR_DEVICE float operator()(int64_t i) const {
    const int64_t pixel = divide(i, bands), at = i - pixel * bands;
    const Pixel p = out.pixel(pixel, 1);
    float found = 0;
    for_bands(prepare(p.image), p.image, static_cast<int>(p.row), static_cast<int>(p.column), at,
              at + 1, [&](int64_t, float value) { found = value; });
    return found;
  }

 private:
  FULMAR_DEVICE Sampling sampling() const {
    return {options.interpolation == Interpolation::nearest, options.border == Border::clamp};
  }

  FULMAR_DEVICE int64_t bytes_before(int64_t image, int64_t row, int64_t column) const {
    return (image * image_stride + row * row_stride + column * pixel_stride) *
           static_cast<int64_t>(sizeof(S));
  }
  FULMAR_DEVICE uintptr_t first_byte(const BlockMap& map, int64_t image, int row,
                                     int column) const {
    return reinterpret_cast<uintptr_t>(source) +
           static_cast<uintptr_t>(bytes_before(image, row + map.a[5], column + map.a[2]));
  }

  FULMAR_DEVICE float finished(const BlockMap& map, int64_t image, int row, int column,
                               int64_t band, float value) const {
    const float scaled = value * options.scale[band] + options.offset[band];
    const float speckle =
        map.speckle > 0 ? noise(map, samples[image].seed, band, row * out.width + column) : 1;
    return scaled * map.gain * speckle;
  }
  FULMAR_DEVICE float read(int64_t image, int row, int column, int64_t band) const {
    if (row < 0 || column < 0) return options.fill[band];
    return unless_missing(
        source[image * image_stride + row * row_stride + column * pixel_stride + band], band);
  }
  FULMAR_DEVICE float unless_missing(S found, int64_t band) const {
    using Exact = std::conditional_t<std::is_same_v<S, double>, double, float>;
    const Exact value = static_cast<Exact>(found);
    const bool missing = options.has_nodata && value == static_cast<Exact>(options.nodata);
    return missing || !is_finite(value) ? options.fill[band] : static_cast<float>(value);
  }

  FULMAR_DEVICE float mix(int64_t image, const Taps& t, int64_t band) const {
    const auto row = [&](int at) {
      return (1 - t.right) * read(image, at, t.column[0], band) +
             t.right * read(image, at, t.column[1], band);
    };
    return (1 - t.down) * row(t.row[0]) + t.down * row(t.row[1]);
  }

  FULMAR_DEVICE static float noise(const BlockMap& map, uint64_t seed, int64_t band,
                                   int64_t pixel) {
    const RandomBits bits = philox(seed, static_cast<uint64_t>(band), static_cast<uint64_t>(pixel));
    const float u0 = uniform(bits.word[0]), u1 = uniform(bits.word[1]);
    constexpr float two_pi = 6.283185307179586F;
    const float factor = 1 + map.speckle * sqrtf(-2 * logf(1 - u0)) * cosf(two_pi * u1);
    return factor > 0 ? factor : 0;
  }
};

// body(Warp<S>) by the type of the picture.
template <class Body>
void for_source(const View& source, const WarpSample* samples, const Shape& shape,
                const WarpOptions& options, const Body& body) {
  if (shape.channels() > WarpOptions::max_bands)
    usage_error("warp: " + std::to_string(shape.channels()) + " bands, at most " +
                std::to_string(WarpOptions::max_bands) + " are possible");
  switch (source.type) {
    case DType::u8:
      return body(Warp<uint8_t>(source, samples, shape, options));
    case DType::u16:
      return body(Warp<uint16_t>(source, samples, shape, options));
    case DType::f32:
      return body(Warp<float>(source, samples, shape, options));
    case DType::f64:
      return body(Warp<double>(source, samples, shape, options));
    default:
      usage_error(std::string("warp: a source is u8, u16, f32 or f64, not ") +
                  name_of(source.type));
  }
}

}  // namespace fulmar::cuda
