#include "kernels/cuda/ops.h"
#include "kernels/cuda/sampling.cuh"
#include "kernels/cuda/sums.cuh"

namespace fulmar::cuda {
namespace {

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

// A block writes some pixels of one image, a thread all bands of a pixel.
constexpr int64_t pixels_of_block = 8 * each_threads;

template <class S, class T>
__global__ void __launch_bounds__(each_threads) warp_kernel(Warp<S> warp, T* y) {
  FULMAR_SHARED(BlockMap, map, [1]);
  const int64_t pixels = warp.out.height * warp.out.width;
  const int64_t parts = (pixels + pixels_of_block - 1) / pixels_of_block;
  for (int64_t block = blockIdx.x; block < parts * warp.out.images; block += gridDim.x) {
    const int64_t image = divide(block, parts), begin = (block - image * parts) * pixels_of_block;
    const int64_t end = begin + pixels_of_block < pixels ? begin + pixels_of_block : pixels;
    __syncthreads();  // the last image's map has been read
    if (threadIdx.x == 0) map[0] = warp.prepare(image);
    __syncthreads();
    for (int64_t i = begin + threadIdx.x; i < end; i += each_threads) {
      const int64_t row = divide(i, warp.out.width), column = i - row * warp.out.width;
      T* const to = y + (image * pixels + i) * warp.bands;
      warp.for_bands(map[0], image, static_cast<int>(row), static_cast<int>(column), 0, warp.bands,
                     [&](int64_t band, float v) { to[band] = rounded<T>(v); });
    }
  }
}

template <class S, class T>
void launch_warp(const Stream& stream, const Warp<S>& warp, T* y) {
  const int64_t pixels = warp.out.height * warp.out.width;
  const int64_t parts = (pixels + pixels_of_block - 1) / pixels_of_block * warp.out.images;
  if (parts == 0) return;
  const Queue& queue = queue_of(stream);
  launch({"warp", static_cast<unsigned>(std::min<int64_t>(parts, queue.max_blocks)), each_threads,
          queue.stream},
         warp_kernel<S, T>, warp, y);
}

// Standardisation: mean of each image, then the mean square about it, then both applied. Values
// are read back where they are stored as float; where they would have been rounded to bf16 before,
// they are sampled again.
struct Stored {
  const float* y;
  FULMAR_DEVICE float operator()(int64_t i) const { return y[i]; }
};
struct Statistic {
  float mean, inverse;
};
template <class Values>
struct AddValue {
  Values values;
  int64_t first, count;
  FULMAR_DEVICE void operator()(int64_t image, int64_t i, int64_t, RunSum<1>& run) const {
    run.of[0] += values(first + image * count + i);
  }
};
struct KeepMean {
  Statistic* statistics;
  int64_t count;
  FULMAR_DEVICE void operator()(int64_t image, int64_t, const Sum<1>& sum) const {
    statistics[image].mean = static_cast<float>(sum.of[0] / static_cast<double>(count));
  }
};
template <class Values>
struct AddSquare {
  Values values;
  const Statistic* statistics;
  int64_t first, count;
  FULMAR_DEVICE void operator()(int64_t image, int64_t i, int64_t, RunSum<1>& run) const {
    const float d = values(first + image * count + i) - statistics[image].mean;
    run.of[0] += d * d;
  }
};
struct KeepDeviation {
  Statistic* statistics;
  int64_t count;
  FULMAR_DEVICE void operator()(int64_t image, int64_t, const Sum<1>& sum) const {
    const double n = static_cast<double>(count);
    const double deviation = sqrt(sum.of[0] / n), least = 1 / sqrt(n);
    statistics[image].inverse = static_cast<float>(1 / (deviation < least ? least : deviation));
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
    y[first + i] = rounded<T>((values(first + i) - s.mean) * s.inverse);
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
  for_source(source, samples, y.shape, options, [&](const auto& body) {
    for_type_of(y, [&](auto zero) {
      using T = decltype(zero);
      T* to = elements<T>(y);
      if (std::is_same_v<T, float> || !options.standardize) launch_warp(stream, body, to);
      if (!options.standardize) return;
      if constexpr (std::is_same_v<T, float>)
        standardise(stream, Stored{to}, to, y.shape);
      else
        standardise(stream, body, to, y.shape);
    });
  });
}

}  // namespace fulmar::cuda
