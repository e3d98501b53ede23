#pragma once

#include "kernels/cuda/channels.cuh"
#include "kernels/cuda/sums.cuh"

// Sums over the pixels of tensors [groups, pixels, channels], the same bits each time: a thread
// adds up runs of pixels in float; runs, threads and blocks are added in double, by fixed trees.
namespace fulmar::cuda {

template <int count, int lanes>
struct FloatSums {
  float of[count][lanes] = {};
};

// Sums that begin with nothing and end as they are.
struct PlainSums {
  template <int lanes, class Kept>
  FULMAR_DEVICE void begin(Kept&, int64_t) const {}
  // The sums of channel k of the thread's over a block's pixels.
  template <int lanes, int count, class Kept>
  FULMAR_DEVICE Sum<count> end(const Kept&, int, int64_t, const Sum<count>& sum) const {
    return sum;
  }
};

// Sums of n deviations from `origin`, and of their squares, as of deviations from `shift`.
// Infinities stay.
FULMAR_DEVICE Sum<2> moved_to(float shift, float origin, double n, const Sum<2>& sum) {
  const double by = static_cast<double>(origin) - static_cast<double>(shift);
  const bool finite = sum.of[1] - sum.of[1] == 0;
  Sum<2> moved;
  moved.of[0] = sum.of[0] + n * by;
  moved.of[1] = finite ? sum.of[1] + by * (2 * sum.of[0] + n * by) : sum.of[1];
  return moved;
}

// channel_sums' results.
struct KeepChannelSums {
  double* sums;  // [3][channels]
  int64_t channels, pixels;
  FULMAR_DEVICE void operator()(int64_t, int64_t c, const Sum<2>& sum) const {
    sums[c] = sum.of[0];
    sums[channels + c] = sum.of[1];
    sums[2 * channels + c] = static_cast<double>(pixels);
  }
};

// A block takes one chunk of the pixels (blockIdx.x), one tile of the channels and one group.
template <int count, int lanes, class Body, class Finish>
__global__ void __launch_bounds__(each_threads)
    channel_sums_kernel(ChannelWalk walk, int64_t chunk_pixels, double* partials, Body body,
                        Finish finish) {
  FULMAR_SHARED(double, part, [count * lanes][each_threads]);
  const int thread = static_cast<int>(threadIdx.x), row = thread / walk.tile;
  const int64_t channel = walk.channel(lanes), chunk = blockIdx.x, group = blockIdx.z;
  const int64_t begin = chunk * chunk_pixels;
  const int64_t end = begin + chunk_pixels < walk.pixels ? begin + chunk_pixels : walk.pixels;
  const bool inside = channel < walk.channels;

  auto kept = body.template keep<lanes>(inside ? channel : 0);
  const int64_t first = (group * walk.pixels + begin) * walk.channels + channel;
  if (inside && begin < end) body.template begin<lanes>(kept, first);
  for (int i = 0; i < count * lanes; i++) part[i][thread] = 0;
  const int64_t step = int64_t{walk.tall} * walk.channels;
  int64_t place = first + row * walk.channels;
  for (int64_t pixel = begin + row; inside && pixel < end;) {
    FloatSums<count, lanes> sums;
    for (int run = 0; run < float_run && pixel < end; run++, pixel += walk.tall, place += step)
      body.template add<lanes>(kept, place, sums);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      FULMAR_UNROLL
      for (int s = 0; s < count; s++)
        part[s * lanes + k][thread] += static_cast<double>(sums.of[s][k]);
    }
  }
  for (int left = walk.tall; left > 1;) {
    const int half = (left + 1) / 2;
    __syncthreads();
    if (row + half < left)
      for (int i = 0; i < count * lanes; i++) part[i][thread] += part[i][thread + half * walk.tile];
    left = half;
  }
  if (row > 0 || !inside) return;  // row 0 was added up by its own threads
  FULMAR_UNROLL
  for (int k = 0; k < lanes; k++) {
    Sum<count> sum;
    for (int s = 0; s < count; s++) sum.of[s] = part[s * lanes + k][thread];
    sum = body.template end<lanes>(kept, k, end - begin, sum);
    if (gridDim.x == 1) {
      finish(group, channel + k, sum);
    } else {
      for (int s = 0; s < count; s++)
        partials[((group * gridDim.x + chunk) * count + s) * walk.channels + channel + k] =
            sum.of[s];
    }
  }
}

// kept = body.keep<lanes>(channel) once a thread; body.begin<lanes>(kept, place) with the block's
// first pixel, body.add<lanes>(kept, place, sums) for each pixel, body.end<lanes>(...) as
// PlainSums'; finish(group, channel, sum): takes a sum.
template <class T, int count, class Body, class Finish, class... Pointer>
void sum_channels(const Stream& stream, const char* name, const SumShape& shape, const Body& body,
                  const Finish& finish, const Pointer*... memory) {
  const int64_t channels = shape.columns, pixels = shape.rows;
  if (shape.groups * channels == 0) return;
  const ChannelWalk walk(pixels, channels, lanes_for<T>(channels, memory...));
  // 8 pixels a thread at least.
  constexpr int64_t least_pixels = 8, most_chunks = 1024;
  const int64_t room = most_partials / (shape.groups * channels * count);
  const int64_t wanted = (pixels + walk.tall * least_pixels - 1) / (walk.tall * least_pixels);
  const int64_t most = std::max<int64_t>(1, std::min({wanted, room, most_chunks}));
  const int64_t chunk_pixels = std::max<int64_t>(1, (pixels + most - 1) / most);
  // None is empty: a block's sums are about its first pixel.
  const int64_t chunks = std::max<int64_t>(1, (pixels + chunk_pixels - 1) / chunk_pixels);
  const Queue& queue = queue_of(stream);
  const Launch how{
      name, dim3(static_cast<unsigned>(chunks), walk.tiles(), static_cast<unsigned>(shape.groups)),
      walk.threads(), queue.stream};
  if (walk.lanes == 1)
    launch(how, channel_sums_kernel<count, 1, Body, Finish>, walk, chunk_pixels, queue.partials,
           body, finish);
  else
    launch(how, channel_sums_kernel<count, lanes_of<T>, Body, Finish>, walk, chunk_pixels,
           queue.partials, body, finish);
  if (chunks > 1) add_chunks<count>(stream, name, shape, chunks, finish);
}

}  // namespace fulmar::cuda
