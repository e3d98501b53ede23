#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/loaded.cuh"
#include "kernels/cuda/ops.h"

// y = max_pool(z) + conv2d(u, w, bias): a thread makes `lanes` channels of a pixel of y.
namespace fulmar::cuda {
namespace {

// Maxima are searched before normalisation: bn(z) is largest where z is, or where it is smallest if
// the scale is negative. So z is compared with that sign, as "keys". Channels whose normalised
// values don't follow the order of keys (a scale of 0, infinities) are compared by those.
template <int lanes>
struct PoolNorm {
  ChannelNorm<lanes> norm;
  unsigned unordered = 0;  // a bit a channel

  FULMAR_DEVICE float key(float x, int k) const {
    return __uint_as_float(__float_as_uint(x) ^ (__float_as_uint(norm.scale.v[k]) & 0x80000000U));
  }
  FULMAR_DEVICE bool is_unordered(int k) const { return (unordered >> k & 1) != 0; }
};

template <int lanes>
struct Largest {
  Vec<float, lanes> key, x;  // x: where keys may be normalised values
  Vec<uint8_t, lanes> tap;
};

template <class T>
struct PoolSkip {
  const T *z, *u;
  Norm of_z, of_u;
  const float *w, *bias;  // bias may be null
  T *y, *pooled;
  uint8_t* argmax;
  Extent in, from, out;  // of z, u and y
  int before_rows, before_columns;

  template <int lanes>
  FULMAR_DEVICE PoolNorm<lanes> keep(int64_t channel) const {
    PoolNorm<lanes> kept;
    kept.norm = of_z.channels<lanes>(channel);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const float scale = kept.norm.scale.v[k];
      // 0 where all are finite.
      const float finite = (scale - scale) + (kept.norm.centre.v[k] - kept.norm.centre.v[k]) +
                           (kept.norm.offset.v[k] - kept.norm.offset.v[k]);
      if (scale == 0 || finite != 0) kept.unordered |= 1U << k;
    }
    return kept;
  }

  // A tap of the window: the first of the largest wins; a NaN beats every number, and nothing beats
  // the first NaN.
  template <int lanes, bool by_value>
  FULMAR_DEVICE static void meet(const PoolNorm<lanes>& kept, const T* from, int tap, bool first,
                                 Largest<lanes>& best) {
    const auto x = load<lanes>(from);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      float key = kept.key(x.v[k], k);
      if (by_value && kept.is_unordered(k)) key = kept.norm(x.v[k], k);
      const bool wins = first || (!(key <= best.key.v[k]) && best.key.v[k] == best.key.v[k]);
      if (!wins) continue;
      best.key.v[k] = key;
      best.tap.v[k] = static_cast<uint8_t>(tap);
      if (by_value) best.x.v[k] = x.v[k];
    }
  }

  template <int lanes, bool by_value>
  FULMAR_DEVICE Largest<lanes> search(const PoolNorm<lanes>& kept, const Pixel& p) const {
    const int top = static_cast<int>(p.row) * 2 - before_rows;
    const int left = static_cast<int>(p.column) * 2 - before_columns;
    const int begin = left < 0 ? 1 : 0, end = left + 3 > in.width ? 2 : 3;
    const T* row = z + in.at(p.image, top, left) + p.channel;
    Largest<lanes> best{};
    bool first = true;
    FULMAR_NO_UNROLL
    for (int down = 0; down < 3; down++, row += in.width * in.channels) {
      if (top + down < 0 || top + down >= in.height) continue;
      if (!by_value && begin == 0 && end == 3) {
        FULMAR_UNROLL
        for (int tap = 0; tap < 3; tap++)
          meet<lanes, by_value>(kept, row + tap * in.channels, down * 3 + tap, first && tap == 0,
                                best);
      } else {
        FULMAR_NO_UNROLL
        for (int tap = begin; tap < end; tap++)
          meet<lanes, by_value>(kept, row + tap * in.channels, down * 3 + tap,
                                first && tap == begin, best);
      }
      first = false;
    }
    if (!by_value) {
      FULMAR_UNROLL
      for (int k = 0; k < lanes; k++) best.x.v[k] = kept.key(best.key.v[k], k);
    }
    return best;
  }

  template <int lanes>
  FULMAR_DEVICE void pool(const PoolNorm<lanes>& kept, const Pixel& p,
                          const Vec<float, lanes>& skip) const {
    const Largest<lanes> best =
        kept.unordered ? search<lanes, true>(kept, p) : search<lanes, false>(kept, p);
    Vec<float, lanes> total;
    Vec<uint8_t, lanes> tap;
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const float value = kept.norm(best.x.v[k], k);
      const bool off = value <= 0;
      total.v[k] = (off ? 0 : value) + skip.v[k];
      tap.v[k] = off ? static_cast<uint8_t>(pool_off) : best.tap.v[k];
    }
    const int64_t i = out.at(p.image, p.row, p.column) + p.channel;
    store<lanes>(y + i, total);
    store<lanes>(pooled + i, best.x);
    store<lanes>(argmax + i, tap);
  }
};

// The skip's weights as a block keeps them: float numbers of T, four neighbours of a thread's
// channels together, so that a warp's threads read different banks.
struct StagedWeights {
  int64_t channels;
  int lanes;
  FULMAR_DEVICE int64_t at(int64_t input, int64_t channel) const {
    if (lanes < 8) return input * channels + channel;
    const int64_t group = channel >> 3, half = channel >> 2 & 1;
    return input * channels + half * (channels / 2) + group * 4 + (channel & 3);
  }
};

// Of u a block keeps the normalisation's tables [centre, scale, offset][inputs], and the weights
// behind them where they are `staged`; then u's channels are loaded by 16 bytes.
template <int lanes, bool staged, class T>
__global__ void __launch_bounds__(each_threads, 2)
    pool_skip_kernel(ChannelWalk walk, PoolSkip<T> body) {
  FULMAR_DYNAMIC_SHARED(float, shared);
  const int64_t inputs = body.from.channels, channels = body.out.channels;
  const bool norm = body.of_u.given();
  float* const weights = shared + (norm ? 3 * inputs : 0);
  const StagedWeights layout{channels, lanes};
  for (int64_t i = threadIdx.x; norm && i < inputs; i += blockDim.x) {
    const auto of = body.of_u.template channels<1>(i);
    shared[i] = of.centre.v[0];
    shared[inputs + i] = of.scale.v[0];
    shared[2 * inputs + i] = of.offset.v[0];
  }
  for (int64_t i = threadIdx.x; staged && i < inputs * channels; i += blockDim.x) {
    const int64_t input = divide(i, channels);
    weights[layout.at(input, i - input * channels)] = number(rounded<T>(body.w[i]));
  }
  __syncthreads();

  const int64_t channel = walk.channel(lanes), step = walk.step();
  if (channel >= channels) return;
  const auto kept = body.template keep<lanes>(channel);
  for (int64_t i = walk.first_pixel(); i < walk.pixels; i += step) {
    const int64_t line = divide(i, body.out.width), image = divide(line, body.out.height);
    const Pixel p{image, line - image * body.out.height, i - line * body.out.width, channel};
    Vec<float, lanes> skip{};
    if (body.bias) skip = channel_values<lanes>(body.bias, channel);
    const T* const from = body.u + body.from.at(p.image, 2 * p.row, 2 * p.column);
    constexpr int several = staged ? lanes_of<T> : 1;
    for (int64_t input = 0; input < inputs; input += several) {
      const auto x = load<several>(from + input);
      FULMAR_UNROLL
      for (int j = 0; j < several; j++) {
        float factor = x.v[j];
        const int64_t at = input + j;
        if (norm)
          factor = rectified((factor - shared[at]) * shared[inputs + at] + shared[2 * inputs + at]);
        constexpr int part = lanes < 4 ? lanes : 4;
        FULMAR_UNROLL
        for (int first = 0; first < lanes; first += part) {
          Vec<float, part> weight;
          if constexpr (staged) {
            weight = load<part>(weights + layout.at(at, channel + first));
          } else {
            weight = channel_values<part>(body.w, at * channels + channel + first);
            FULMAR_UNROLL
            for (int k = 0; k < part; k++) weight.v[k] = number(rounded<T>(weight.v[k]));
          }
          FULMAR_UNROLL
          for (int k = 0; k < part; k++) skip.v[first + k] += factor * weight.v[k];
        }
      }
    }
    body.pool(kept, p, skip);
  }
}

// So many weights lie in a block's shared memory: four blocks fit on a processor.
constexpr int64_t most_staged = 8192;

template <class T>
void launch_pool_skip(const Stream& stream, const PoolSkip<T>& body) {
  const int64_t channels = body.out.channels, inputs = body.from.channels;
  const int64_t pixels = body.out.images * body.out.height * body.out.width;
  if (pixels * channels == 0) return;
  const ChannelWalk walk(pixels, channels,
                         lanes_for<T>(channels, body.z, body.y, body.pooled, body.argmax));
  const bool staged =
      walk.lanes > 1 && lanes_for<T>(inputs, body.u) > 1 && inputs * channels <= most_staged;
  const int64_t floats =
      std::max<int64_t>(1, (body.of_u.gamma ? 3 * inputs : 0) + (staged ? inputs * channels : 0));
  const Queue& queue = queue_of(stream);
  const Launch how{"pool_skip", dim3(walk.blocks(queue), walk.tiles()), walk.threads(),
                   queue.stream, static_cast<size_t>(floats) * sizeof(float)};
  constexpr int lanes = lanes_of<T>;
  const auto start = [&](auto kernel) { launch(how, kernel, walk, body); };
  if (walk.lanes == 1) return start(pool_skip_kernel<1, false, T>);
  start(staged ? pool_skip_kernel<lanes, true, T> : pool_skip_kernel<lanes, false, T>);
}

template <class T>
struct PooledSums : PlainSums {
  const T *dy, *pooled;
  const uint8_t* argmax;
  const float* mean;

  template <int lanes>
  FULMAR_DEVICE Vec<float, lanes> keep(int64_t channel) const {
    return channel_values<lanes>(mean, channel);
  }
  template <int lanes>
  FULMAR_DEVICE void add(const Vec<float, lanes>& centre, int64_t i,
                         FloatSums<2, lanes>& sums) const {
    const auto grad = load<lanes>(dy + i), z = load<lanes>(pooled + i);
    const auto tap = load<lanes>(argmax + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const float g = tap.v[k] == pool_off ? 0 : grad.v[k];
      sums.of[0][k] += g;
      sums.of[1][k] += g * (z.v[k] - centre.v[k]);
    }
  }
};
struct KeepPooledSums {
  double* sums;
  int64_t channels;
  FULMAR_DEVICE void operator()(int64_t, int64_t c, const Sum<2>& sum) const {
    sums[c] = sum.of[0];
    sums[channels + c] = sum.of[1];
  }
};

}  // namespace

void pool_skip(Stream& stream, const Loaded& z, const Loaded& u, const View& w, const View& bias,
               const View& y, const View& pooled, const View& argmax) {
  const Shape& in = z.x.shape;
  for_type_of(y, [&](auto zero) {
    using T = decltype(zero);
    launch_pool_skip(
        stream, PoolSkip<T>{elements<T>(z.x), elements<T>(u.x), Norm::of(z), Norm::of(u), reals(w),
                            bias ? reals(bias) : nullptr, elements<T>(y), elements<T>(pooled),
                            elements<uint8_t>(argmax), extent_of(in), extent_of(u.x.shape),
                            extent_of(y.shape), static_cast<int>(in.height() % 2),
                            static_cast<int>(in.width() % 2)});
  });
}

void pool_grad_sums(Stream& stream, const View& dy, const View& pooled, const View& argmax,
                    const View& mean, const View& sums) {
  for_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    PooledSums<T> body{};
    body.dy = elements<T>(dy);
    body.pooled = elements<T>(pooled);
    body.argmax = elements<uint8_t>(argmax);
    body.mean = reals(mean);
    sum_channels<T, 2>(stream, "pool_grad_sums", {1, dy.shape.pixels(), dy.shape.channels()}, body,
                       KeepPooledSums{elements<double>(sums), dy.shape.channels()}, body.dy,
                       body.pooled, body.argmax);
  });
}

}  // namespace fulmar::cuda
