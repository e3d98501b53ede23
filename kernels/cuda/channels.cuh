#pragma once

#include "kernels/cuda/each.cuh"

// Kernels over tensors [pixels, channels] whose threads keep their channels: what belongs to a
// channel is loaded once a thread while pixels go by, 16 bytes a thread where channels allow.
namespace fulmar::cuda {

// How a block's threads share out a tile of channels: thread t has group t % tile of `lanes`
// neighbours, of pixel t / tile of `tall`. Grid: x runs over pixels, y over tiles.
struct ChannelWalk {
  int64_t pixels, channels;
  int tile, tall;
  int lanes;

  // `lanes` must divide `channels`.
  ChannelWalk(int64_t pixel_count, int64_t channel_count, int lane_count)
      : pixels(pixel_count), channels(channel_count), lanes(lane_count) {
    tile = static_cast<int>(std::min<int64_t>(each_threads, channels / lanes));
    tall = each_threads / tile;
  }
  unsigned threads() const { return static_cast<unsigned>(tile * tall); }
  unsigned tiles() const {
    const int64_t wide = int64_t{tile} * lanes;
    return static_cast<unsigned>((channels + wide - 1) / wide);
  }
  // Blocks along x of a kernel that strides over the pixels.
  unsigned blocks(const Queue& queue) const {
    return static_cast<unsigned>(std::min<int64_t>((pixels + tall - 1) / tall, queue.max_blocks));
  }

  FULMAR_DEVICE int64_t channel(int lane_count) const {
    const int group = static_cast<int>(threadIdx.x) % tile;
    return (int64_t{blockIdx.y} * tile + group) * lane_count;
  }
  FULMAR_DEVICE int64_t first_pixel() const {
    return int64_t{blockIdx.x} * tall + static_cast<int>(threadIdx.x) / tile;
  }
  FULMAR_DEVICE int64_t step() const { return int64_t{gridDim.x} * tall; }
};

// The lanes for channels of T that lie in `memory`: 16 bytes, or 1.
template <class T, class... Pointer>
int lanes_for(int64_t channels, const Pointer*... memory) {
  constexpr int lanes = lanes_of<T>;
  return channels % lanes == 0 && (can_move_16_bytes(memory) && ...) ? lanes : 1;
}

// kept = body.keep<lanes>(channel) once a thread, then body.run<lanes>(kept, place of the first
// channel in memory) for every pixel.
template <int lanes, class Body>
__global__ void __launch_bounds__(each_threads) channels_kernel(ChannelWalk walk, Body body) {
  const int64_t channel = walk.channel(lanes), step = walk.step();
  if (channel >= walk.channels) return;
  const auto kept = body.template keep<lanes>(channel);
  for (int64_t pixel = walk.first_pixel(); pixel < walk.pixels; pixel += step)
    body.template run<lanes>(kept, pixel * walk.channels + channel);
}

template <class T, class Body, class... Pointer>
void each_channel(const Stream& stream, const char* name, const Shape& shape, const Body& body,
                  const Pointer*... memory) {
  if (shape.elements() == 0) return;
  const int64_t channels = shape.channels();
  const ChannelWalk walk(shape.pixels(), channels, lanes_for<T>(channels, memory...));
  const Queue& queue = queue_of(stream);
  const Launch how{name, dim3(walk.blocks(queue), walk.tiles()), walk.threads(), queue.stream};
  if (walk.lanes == 1)
    launch(how, channels_kernel<1, Body>, walk, body);
  else
    launch(how, channels_kernel<lanes_of<T>, Body>, walk, body);
}

}  // namespace fulmar::cuda
