#pragma once

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/queue.h"
#include "kernels/cuda/vectors.cuh"

namespace fulmar::cuda {

constexpr int each_threads = 256;

// body(i) for every i in [0, count), by any thread: what it writes belongs to i alone.
template <class Body>
__global__ void __launch_bounds__(each_threads) each_kernel(int64_t count, Body body) {
  const int64_t step = int64_t{gridDim.x} * each_threads;
  for (int64_t i = int64_t{blockIdx.x} * each_threads + threadIdx.x; i < count; i += step) body(i);
}

template <class Body>
void each(const Stream& stream, const char* name, int64_t count, const Body& body) {
  if (count <= 0) return;
  const Queue& queue = queue_of(stream);
  const int64_t blocks =
      std::min<int64_t>((count + each_threads - 1) / each_threads, queue.max_blocks);
  launch({name, static_cast<unsigned>(blocks), each_threads, queue.stream}, each_kernel<Body>,
         count, body);
}

// `lanes` elements a thread: body.run<lanes>(i) at the multiples of them, body.run<1>(i) for the
// rest, or for all where memory isn't aligned.
template <int lanes, class Body>
struct Several {
  Body body;
  int64_t count;
  FULMAR_DEVICE void operator()(int64_t several) const {
    const int64_t i = several * lanes;
    if (i + lanes <= count)
      body.template run<lanes>(i);
    else
      for (int64_t k = i; k < count; k++) body.template run<1>(k);
  }
};
template <class Body>
struct Singles {
  Body body;
  FULMAR_DEVICE void operator()(int64_t i) const { body.template run<1>(i); }
};

inline bool can_move_16_bytes(const void* memory) {
  return reinterpret_cast<uintptr_t>(memory) % 16 == 0;
}

// T: the elements' type, whose lanes are taken.
template <class T, class Body, class... Pointer>
void each_several(const Stream& stream, const char* name, int64_t count, const Body& body,
                  const Pointer*... memory) {
  constexpr int lanes = lanes_of<T>;
  if ((can_move_16_bytes(memory) && ...))
    each(stream, name, (count + lanes - 1) / lanes, Several<lanes, Body>{body, count});
  else
    each(stream, name, count, Singles<Body>{body});
}

// a / b and a % b of numbers that aren't negative; 32 bits where they do, which is much faster.
FULMAR_DEVICE int64_t divide(int64_t a, int64_t b) {
  if ((a | b) >> 32 == 0) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return a / b;
}

// The element of an image batch that has number `i`, `lanes` channels counted as one.
struct Pixel {
  int64_t image, row, column, channel;
};
struct Extent {
  int64_t images, height, width, channels;

  FULMAR_DEVICE Pixel pixel(int64_t i, int lanes) const {
    const int64_t groups = channels / lanes;
    const int64_t pixel = divide(i, groups), line = divide(pixel, width);
    const int64_t image = divide(line, height);
    return {image, line - image * height, pixel - line * width, (i - pixel * groups) * lanes};
  }
  FULMAR_DEVICE int64_t at(int64_t image, int64_t row, int64_t column) const {
    return ((image * height + row) * width + column) * channels;
  }
};
inline Extent extent_of(const Shape& shape) {
  return {shape.images(), shape.height(), shape.width(), shape.channels()};
}

// body.run<lanes>(Pixel) for every pixel of `extent` and every `lanes` neighbouring channels: those
// of T where the channels and all of `memory` allow, else 1.
template <int lanes, class Body>
struct Channels {
  Extent extent;
  Body body;
  FULMAR_DEVICE void operator()(int64_t i) const {
    body.template run<lanes>(extent.pixel(i, lanes));
  }
};
template <class T, class Body, class... Pointer>
void each_pixel(const Stream& stream, const char* name, const Shape& shape, const Body& body,
                const Pointer*... memory) {
  constexpr int lanes = lanes_of<T>;
  const Extent extent = extent_of(shape);
  const int64_t count = shape.elements();
  if (extent.channels % lanes == 0 && (can_move_16_bytes(memory) && ...))
    each(stream, name, count / lanes, Channels<lanes, Body>{extent, body});
  else
    each(stream, name, count, Channels<1, Body>{extent, body});
}

}  // namespace fulmar::cuda
