#pragma once

#include "kernels/cuda/separable.cuh"

namespace fulmar::cuda::sep {

// A gradient that is computed while it is loaded: Cotangent of kernels/fused.h.
template <class T>
struct Incoming {
  const T *dy, *z;        // z: null where dy is what is wanted
  const uint8_t* argmax;  // null where dy has the shape of z
  NormGrad norm;
  int channels, pooled_height, pooled_width;
  int before_row, before_column;  // padding of the pool
  bool aligned;

  Incoming(const Cotangent& from, const Shape& shape)
      : dy(elements<T>(from.dy)),
        z(nullptr),
        argmax(nullptr),
        norm(NormGrad::of(from)),
        channels(static_cast<int>(shape.channels())),
        pooled_height(static_cast<int>(from.dy.shape.height())),
        pooled_width(static_cast<int>(from.dy.shape.width())),
        before_row(static_cast<int>(shape.height() % 2)),
        before_column(static_cast<int>(shape.width() % 2)),
        aligned(channels % lanes_of<T> == 0 && can_move_16_bytes(dy)) {
    if (from.pooled()) {
      argmax = elements<uint8_t>(from.argmax);
      aligned = aligned && can_move_16_bytes(argmax);
    }
    if (!from.normalised()) return;
    z = elements<T>(from.z);
    aligned = aligned && can_move_16_bytes(z);
  }

  // Of a chunk of channels: z's mean, scale, and both means of the gradient, [4][columns].
  FULMAR_DEVICE void make_tables(float* tables, int first, int columns) const {
    if (!z) return;
    for (int k = static_cast<int>(threadIdx.x); k < columns; k += threads) {
      ChannelNormGrad<1> one{};
      if (first + k < channels) one = norm.channels<1>(first + k);
      tables[k] = one.centre.v[0];
      tables[columns + k] = one.scale.v[0];
      tables[2 * columns + k] = one.offset.v[0];
      tables[3 * columns + k] = one.slope.v[0];
    }
  }

  // The gradient of a pixel behind its pool: of up to 4 windows, from those whose maximum it was.
  template <int lanes>
  FULMAR_DEVICE Vec<float, lanes> pooled(const Place& place, int r, int c, int first,
                                         int valid) const {
    Vec<float, lanes> sum{};
    const int row = r + before_row, column = c + before_column;
    for (int i = (row - 1) / 2; i <= row / 2 && i < pooled_height; i++)
      for (int j = (column - 1) / 2; j <= column / 2 && j < pooled_width; j++) {
        const int tap = (row - 2 * i) * 3 + column - 2 * j;
        const int64_t at =
            ((place.image * pooled_height + i) * pooled_width + j) * channels + first;
        const auto grad = load_some<lanes>(dy + at, valid, aligned);
        Vec<uint8_t, lanes> where{};
        if (aligned && valid >= lanes)
          where = load<lanes>(argmax + at);
        else
          for (int k = 0; k < lanes && k < valid; k++) where.v[k] = argmax[at + k];
        FULMAR_UNROLL
        for (int k = 0; k < lanes; k++)
          if (where.v[k] == tap) sum.v[k] += grad.v[k];
      }
    return sum;
  }

  // The tile with its halo, rows of operand_row(columns); zeros outside of the picture.
  template <class Shape>
  FULMAR_DEVICE void load_tile(const Place& place, const float* tables, int first, int columns,
                               T* to) const {
    constexpr int lanes = lanes_of<T>;
    const int parts = columns / lanes, step = threads / parts, row = operand_row<T>(columns);
    const int thread = static_cast<int>(threadIdx.x);
    if (thread >= step * parts) return;
    const int k = thread % parts * lanes, valid = channels - first - k;
    FULMAR_NO_UNROLL
    for (int i = thread / parts; i < Shape::halo; i += step) {
      const int r = place.row + i / Shape::halo_width - 1;
      const int c = place.column + i % Shape::halo_width - Shape::before;
      Vec<float, lanes> value{};
      if (place.holds(r, c)) {
        const int64_t at = place.pixel(r, c) * channels + first + k;
        Vec<float, lanes> in{};
        if (z) in = load_some<lanes>(z + at, valid, aligned);
        value = argmax ? pooled<lanes>(place, r, c, first + k, valid)
                       : load_some<lanes>(dy + at, valid, aligned);
        if (z) {
          // Read for each pixel: registers are dearer.
          const ChannelNormGrad<lanes> of{
              load<lanes>(tables + k), load<lanes>(tables + columns + k),
              load<lanes>(tables + 2 * columns + k), load<lanes>(tables + 3 * columns + k)};
          FULMAR_UNROLL
          for (int j = 0; j < lanes; j++) value.v[j] = of(value.v[j], in.v[j], j);
        }
      }
      store<lanes>(to + i * row + k, value);
    }
  }
};

// The gradient of a skip over every second pixel of x: SkipGrad of kernels/fused.h.
template <class T>
struct Skip {
  const T* dy = nullptr;  // null: there is none
  const float* w = nullptr;
  int channels = 0, columns = 0;  // of dy; of a chunk
  bool aligned = false;

  explicit Skip(const SkipGrad& from) {
    if (!from.given()) return;
    dy = elements<T>(from.dy);
    w = reals(from.w);
    channels = static_cast<int>(from.w.shape.channels());
    aligned = channels % lanes_of<T> == 0 && can_move_16_bytes(dy);
  }

  // Of the tile's even pixels, rows of operand_row(columns).
  template <class Shape>
  FULMAR_DEVICE void load_tile(const Place& place, int first, T* to) const {
    constexpr int lanes = lanes_of<T>, across = Shape::width / 2;
    const int parts = columns / lanes, step = threads / parts;
    const int height = (place.height + 1) / 2, width = (place.width + 1) / 2;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread >= step * parts) return;
    const int k = thread % parts * lanes, valid = channels - first - k;
    FULMAR_NO_UNROLL
    for (int i = thread / parts; i < Shape::pixels / 4; i += step) {
      const int r = place.row / 2 + i / across, c = place.column / 2 + i % across;
      Vec<float, lanes> value{};
      if (r < height && c < width)
        value = load_some<lanes>(
            dy + ((place.image * height + r) * width + c) * channels + first + k, valid, aligned);
      store<lanes>(to + i * operand_row<T>(columns) + k, value);
    }
  }
};

}  // namespace fulmar::cuda::sep
