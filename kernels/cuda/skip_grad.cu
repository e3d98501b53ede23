#include "kernels/cuda/loaded.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/weight_tiles.cuh"

// dw [inputs, outputs] = conv2d_weight_grad(u, dy) of a 1x1 convolution of stride 2.
namespace fulmar::cuda {
namespace {

constexpr int tile_side = tile_columns;
using Tiles = WeightTiles<tile_side>;

// Neighbouring channels, of which `left` are there; the others are 0.
template <bool whole, class T>
FULMAR_DEVICE Vec<float, tile_side> some_channels(const T* from, int64_t left) {
  if constexpr (whole) {
    return load<tile_side>(from);
  } else {
    Vec<float, tile_side> value{};
    FULMAR_UNROLL
    for (int k = 0; k < tile_side; k++)
      if (k < left) value.v[k] = number(from[k]);
    return value;
  }
}

template <bool whole>
FULMAR_DEVICE ChannelNorm<tile_side> some_norms(const Norm& norm, int64_t channel, int64_t left) {
  if constexpr (whole) {
    return norm.channels<tile_side>(channel);
  } else {
    ChannelNorm<tile_side> some{};
    FULMAR_UNROLL
    for (int k = 0; k < tile_side; k++) {
      if (k >= left) continue;
      const auto one = norm.channels<1>(channel + k);
      some.centre.v[k] = one.centre.v[0];
      some.scale.v[k] = one.scale.v[0];
      some.offset.v[k] = one.offset.v[0];
    }
    return some;
  }
}

// whole: channels fill the tiles and are loaded by 16 bytes.
template <bool whole, bool norm, class T>
__global__ void __launch_bounds__(sum_threads)
    skip_grad_kernel(Tiles walk, int64_t pixels, int64_t chunk_pixels, const T* u, Norm of_u,
                     const T* dy, Extent in, Extent out, double* partials, float* dw) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t tile = walk.tile(), down = divide(tile, walk.across);
  const int64_t input = down * tile_side, output = (tile - down * walk.across) * tile_side;
  const int64_t begin = blockIdx.x * chunk_pixels;
  const int64_t end = begin + chunk_pixels < pixels ? begin + chunk_pixels : pixels;

  float sum[Tiles::sums] = {};
  if (tile < walk.all) {
    const int64_t inputs_left = in.channels - input, outputs_left = out.channels - output;
    ChannelNorm<tile_side> of{};
    if constexpr (norm) of = some_norms<whole>(of_u, input, inputs_left);
    for (int64_t i = begin + walk.part() * 32 + lane; i < end; i += 32 * walk.parts) {
      const int64_t line = divide(i, out.width), image = divide(line, out.height);
      const int64_t row = line - image * out.height, column = i - line * out.width;
      auto x = some_channels<whole>(u + in.at(image, 2 * row, 2 * column) + input, inputs_left);
      const auto grad = some_channels<whole>(dy + i * out.channels + output, outputs_left);
      if constexpr (norm) {
        FULMAR_UNROLL
        for (int k = 0; k < tile_side; k++) x.v[k] = rectified(of(x.v[k], k));
      }
      FULMAR_UNROLL
      for (int a = 0; a < tile_side; a++) {
        FULMAR_UNROLL
        for (int b = 0; b < tile_side; b++) sum[a * tile_side + b] += x.v[a] * grad.v[b];
      }
    }
  }
  keep_tiles(walk, sum, partials, dw);
}

}  // namespace

size_t skip_weight_grad_workspace(Stream&, const Loaded&, const View&, const View&) { return 0; }

void skip_weight_grad(Stream& stream, const Loaded& u, const View& dy, const View& dw, void*) {
  if (dw.shape.elements() == 0) return;
  const Extent in = extent_of(u.x.shape), out = extent_of(dy.shape);
  const Tiles walk(in.channels, out.channels);
  // 16 pixels a lane at least.
  const int64_t pixels = dy.shape.pixels(), at_once = int64_t{32} * walk.parts * 16;
  const int64_t chunks =
      std::clamp<int64_t>((pixels + at_once - 1) / at_once, 1, walk.most_chunks());
  const int64_t chunk_pixels = (pixels + chunks - 1) / chunks;
  const Queue& queue = queue_of(stream);
  for_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    const T *from = elements<T>(u.x), *grad = elements<T>(dy);
    const bool whole = in.channels % tile_side == 0 && out.channels % tile_side == 0 &&
                       can_move_16_bytes(from) && can_move_16_bytes(grad);
    const auto start = [&](auto kernel) {
      launch({"skip_weight_grad", dim3(static_cast<unsigned>(chunks), walk.blocks()), sum_threads,
              queue.stream},
             kernel, walk, pixels, chunk_pixels, from, Norm::of(u), grad, in, out, queue.partials,
             reals(dw));
    };
    if (u.normalised())
      start(whole ? skip_grad_kernel<true, true, T> : skip_grad_kernel<false, true, T>);
    else
      start(whole ? skip_grad_kernel<true, false, T> : skip_grad_kernel<false, false, T>);
  });
  if (chunks > 1)
    add_chunks<1>(stream, "skip_weight_grad", {1, pixels, dw.shape.elements()}, chunks,
                  KeepWeightGrad{reals(dw)});
}

}  // namespace fulmar::cuda
