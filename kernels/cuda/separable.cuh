#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/each.cuh"
#include "kernels/cuda/loaded.cuh"
#include "kernels/cuda/mma.cuh"

// What both directions of the fused separable convolution share: tiles of pixels with a halo of one
// in shared memory, how they are loaded, products of their rows, and sums over a block's threads.
//
// Channels are taken in chunks: KC inputs at a time, a constant of the kernel, and up to `most`
// outputs, a multiple of 8 given at run time. Channels past the tensor's are zeros.
namespace fulmar::cuda::sep {

constexpr int threads = 256, warps = threads / 32, taps = 9;

// Rows of operands of products in shared memory: an odd number of 16 bytes, so that 8 rows that
// follow one another share no bank.
template <class T>
constexpr FULMAR_HOST_DEVICE int operand_row(int channels) {
  constexpr int lanes = lanes_of<T>;
  return (channels / lanes % 2 == 0 ? channels + lanes : channels);
}

// The pixels that a block takes at a time, for chunks of KC input channels.
template <class T, int KC>
struct Tile {
  static constexpr int bytes = KC * static_cast<int>(sizeof(T));
  static constexpr int height = 8, width = bytes <= 16   ? 64
                                           : bytes <= 32 ? 32
                                           : bytes <= 64 ? 16
                                                         : 8;
  static constexpr int pixels = height * width;
  // Columns before and behind: where a pixel is half a sector of memory, one more than the taps
  // want, so that a row's loads begin with a sector.
  static constexpr int before = bytes < 32 ? 2 : 1;
  static constexpr int halo_width = width + 2 * before, halo = (height + 2) * halo_width;
  // Tiles of 16 rows of a product.
  static constexpr int row_tiles = pixels / 16, halo_tiles = (halo + 15) / 16;
  // A thread takes two channels of a column of so many pixels.
  static constexpr int column = pixels * KC / 2 / threads, words = KC / 2;
  static_assert(column * threads == pixels * KC / 2 && height % column == 0);
  static constexpr bool widest = bytes == 128;
};

// Outputs of a chunk: their rows of a halo, and weights, leave room for several blocks.
template <class T, int KC>
constexpr int most_columns = Tile<T, KC>::widest ? KC : 2 * KC;
template <class T, int KC>
int chunk_columns(int64_t outputs) {
  return static_cast<int>(std::min<int64_t>((outputs + 7) / 8 * 8, most_columns<T, KC>));
}

// body(T{}, the chunk of input channels as a constant) for a tensor, so that a chunk has all its
// channels, and all of `outputs` channels, where there is such a chunk.
template <class Body>
void with_chunk(const Loaded& x, int64_t outputs, const Body& body) {
  const int64_t inputs = x.x.shape.channels();
  for_type_of(x.x, [&](auto zero) {
    using T = decltype(zero);
    constexpr int widest = 128 / static_cast<int>(sizeof(T));
    const auto fits = [&](auto chunk) {
      constexpr int KC = decltype(chunk)::value;
      return inputs <= KC && outputs <= most_columns<T, KC>;
    };
    const std::integral_constant<int, 8> of_8;
    const std::integral_constant<int, 16> of_16;
    const std::integral_constant<int, 32> of_32;
    if (fits(of_8)) return body(zero, of_8);
    if (fits(of_16)) return body(zero, of_16);
    if (widest > 32 && fits(of_32)) return body(zero, of_32);
    body(zero, std::integral_constant<int, widest>());
  });
}

// Tiles of a tensor [N,H,W,C], shared out to groups: runs of tiles, whose sums are partial sums. A
// function of the shape alone, so that bits don't depend on the device.
struct Tiling {
  Extent extent;
  int height, width, across, down, run, groups, tiles;

  template <class Shape>
  static Tiling of(const Extent& x, int64_t most_groups) {
    Tiling t{x, Shape::height, Shape::width, 0, 0, 0, 0, 0};
    t.across = static_cast<int>((x.width + t.width - 1) / t.width);
    t.down = static_cast<int>((x.height + t.height - 1) / t.height);
    const int64_t tiles = x.images * t.across * t.down;
    const int64_t run = tiles == 0 ? 1 : (tiles + most_groups - 1) / most_groups;
    t.tiles = static_cast<int>(tiles);
    t.run = static_cast<int>(run);
    t.groups = static_cast<int>((tiles + run - 1) / run);
    return t;
  }
  // Of a group.
  FULMAR_DEVICE int begin() const { return static_cast<int>(blockIdx.x) * run; }
  FULMAR_DEVICE int end() const { return begin() + run < tiles ? begin() + run : tiles; }
};

// Where a tile lies.
struct Place {
  int64_t image;
  int row, column;  // of its first pixel
  int height, width;

  FULMAR_DEVICE Place(const Tiling& t, int tile)
      : height(static_cast<int>(t.extent.height)), width(static_cast<int>(t.extent.width)) {
    const int line = tile / t.across, of_image = line / t.down;
    column = (tile - line * t.across) * t.width;
    row = (line - of_image * t.down) * t.height;
    image = of_image;
  }
  // To the next tile: divisions of whole numbers are dear.
  FULMAR_DEVICE void advance(const Tiling& t) {
    column += t.width;
    if (column < width) return;
    column = 0;
    row += t.height;
    if (row < height) return;
    row = 0;
    image++;
  }
  // Those of a tile that lie in the picture.
  FULMAR_DEVICE int pixels(int high, int wide) const {
    return (height - row < high ? height - row : high) *
           (width - column < wide ? width - column : wide);
  }
  FULMAR_DEVICE bool holds(int r, int c) const {
    return r >= 0 && r < height && c >= 0 && c < width;
  }
  FULMAR_DEVICE int64_t pixel(int r, int c) const { return (image * height + r) * width + c; }
};

// N channels of a pixel from memory, of which `valid` exist; at once where memory is aligned.
template <int N, class T>
FULMAR_DEVICE Vec<float, N> load_some(const T* from, int valid, bool aligned) {
  if (aligned && valid >= N) return load<N>(from);
  Vec<float, N> value{};
  FULMAR_UNROLL
  for (int k = 0; k < N; k++)
    if (k < valid) value.v[k] = number(from[k]);
  return value;
}
template <int N, class T>
FULMAR_DEVICE void store_some(T* to, const Vec<float, N>& value, int valid, bool aligned) {
  if (aligned && valid >= N) return store<N>(to, value);
  FULMAR_UNROLL
  for (int k = 0; k < N; k++)
    if (k < valid) to[k] = rounded<T>(value.v[k]);
}

// A tensor that is normalised while it is loaded: Loaded of kernels/fused.h.
template <class T>
struct Source {
  const T* x;
  Norm norm;
  int channels;
  bool aligned;

  explicit Source(const Loaded& from)
      : x(elements<T>(from.x)),
        norm(Norm::of(from)),
        channels(static_cast<int>(from.x.shape.channels())),
        aligned(channels % lanes_of<T> == 0 && can_move_16_bytes(x)) {}
  FULMAR_DEVICE bool normalised() const { return norm.given(); }

  // Tables of a chunk: mean, scale and beta, [3][KC].
  template <int KC>
  FULMAR_DEVICE void make_tables(float* tables, int first) const {
    if (!normalised()) return;
    for (int k = static_cast<int>(threadIdx.x); k < KC; k += threads) {
      ChannelNorm<1> one{};
      if (first + k < channels) one = norm.channels<1>(first + k);
      tables[k] = one.centre.v[0];
      tables[KC + k] = one.scale.v[0];
      tables[2 * KC + k] = one.offset.v[0];
    }
  }

  // The tile with its halo, [halo][KC]; zeros outside of the picture. raw: its own pixels before
  // they are normalised, [pixels][KC], or null.
  template <int KC>
  FULMAR_DEVICE void load_tile(const Place& place, const float* tables, int first, T* to,
                               T* raw = nullptr) const {
    using Shape = Tile<T, KC>;
    constexpr int lanes = lanes_of<T>, parts = KC / lanes, step = threads / parts;
    const int thread = static_cast<int>(threadIdx.x);
    const int k = thread % parts * lanes, valid = channels - first - k;
    FULMAR_UNROLL_TWICE
    for (int turn = 0; turn < (Shape::halo + step - 1) / step; turn++) {
      const int i = thread / parts + turn * step;
      if (i >= Shape::halo) break;
      const int across = i % Shape::halo_width - Shape::before, down = i / Shape::halo_width - 1;
      const int r = place.row + down, c = place.column + across;
      Vec<float, lanes> value{};
      if (place.holds(r, c)) {
        value = load_some<lanes>(x + place.pixel(r, c) * channels + first + k, valid, aligned);
        if (raw && down >= 0 && down < Shape::height && across >= 0 && across < Shape::width)
          store<lanes>(raw + (down * Shape::width + across) * KC + k, value);
        if (normalised()) {
          // Read for each pixel: registers are dearer.
          const ChannelNorm<lanes> of{load<lanes>(tables + k), load<lanes>(tables + KC + k),
                                      load<lanes>(tables + 2 * KC + k)};
          FULMAR_UNROLL
          for (int j = 0; j < lanes; j++) value.v[j] = rectified(of(value.v[j], j));
        }
      }
      store<lanes>(to + i * KC + k, value);
    }
  }
};

// A weight [inputs, outputs] of a 1x1 convolution: `rows` of its inputs and `columns` of its
// outputs from (first_row, first_column) on as T, rows of operand_row(columns).
template <class T>
FULMAR_DEVICE void load_weight(const float* w, int inputs, int outputs, int first_row,
                               int first_column, int rows, int columns, T* to) {
  const int row = operand_row<T>(columns);
  for (int i = static_cast<int>(threadIdx.x); i < rows * columns; i += threads) {
    const int k = i / columns, o = i - k * columns;
    const bool there = first_row + k < inputs && first_column + o < outputs;
    to[k * row + o] = rounded<T>(
        there ? w[static_cast<int64_t>(first_row + k) * outputs + first_column + o] : 0.0F);
  }
}

// The depthwise kernel, [taps][KC].
template <int KC>
FULMAR_DEVICE void load_taps(const float* w, int channels, int first, float* to) {
  for (int i = static_cast<int>(threadIdx.x); i < taps * KC; i += threads) {
    const int tap = i / KC, c = first + i % KC;
    to[i] = c < channels ? w[tap * channels + c] : 0;
  }
}

// What a thread of a depthwise part takes: channels 2 word and the next of `column` pixels below
// one another, from (row, across) of the tile on.
template <class Shape>
struct Column {
  int word, across, row;
  FULMAR_DEVICE Column() {
    const int thread = static_cast<int>(threadIdx.x);
    word = thread % Shape::words;
    across = thread / Shape::words % Shape::width;
    row = thread / (Shape::words * Shape::width) * Shape::column;
  }
  // Of the first pixel's first tap in a halo.
  FULMAR_DEVICE int first_tap() const {
    return row * Shape::halo_width + across + Shape::before - 1;
  }
};

// Products of 16 x 8, d += A B over a depth, by a warp. How operands lie in shared memory: row(i)
// is where row i of A begins, whose columns are the depth, or, `across`, row i of the depth, whose
// columns are A's rows; the same of B, whose own rows are the depth `across`, else its columns.
// bf16 on tensor cores, float by fused multiply-adds with the same fragments.
template <class T>
struct Product;

template <>
struct Product<bf16> {
  using A = FragmentA;
  using B = FragmentB;
  static constexpr int deep = 16;

  // Of A: 16 rows by 16 or 8 of the depth, from `first` on.
  template <int depth, class Row>
  static FULMAR_DEVICE A a_along(const Row& row, int first) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    A a{};
    load_matrices<depth / 4, false>(a.r, row(lane % 16) + first + lane / 16 % (depth / 8) * 8);
    return a;
  }
  // The same of an A whose rows lie across: `columns` of 16 or 8 of its rows, a depth of 16.
  template <class Row>
  static FULMAR_DEVICE A a_across(const Row& row, int column, bool whole) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    A a{};
    if (whole) {
      load_matrices<4, true>(a.r, row(lane % 8 + lane / 16 * 8) + column + lane / 8 % 2 * 8);
    } else {
      uint32_t half[2];
      load_matrices<2, true>(half, row(lane % 16) + column);
      a.r[0] = half[0];
      a.r[2] = half[1];
    }
    return a;
  }
  // Of B: 8 columns by a depth of 16 or 8.
  template <int depth, class Row>
  static FULMAR_DEVICE B b_along(const Row& row, int first) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    B b{};
    load_matrices<depth / 8, false>(b.r, row(lane % 8) + first + lane / 8 % (depth / 8) * 8);
    return b;
  }
  template <int depth, class Row>
  static FULMAR_DEVICE B b_across(const Row& row, int column) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    B b{};
    load_matrices<depth / 8, true>(b.r, row(lane % depth) + column);
    return b;
  }
  template <int depth>
  static FULMAR_DEVICE void add(FragmentD& d, const A& a, const B& b) {
    if constexpr (depth == 16)
      mma16(d, a, b);
    else
      mma8(d, a, b);
  }
};

template <>
struct Product<float> {
  // The rows and columns of d that a lane has: two of each, by the depth.
  struct A {
    float v[2][16];
  };
  struct B {
    float v[2][16];
  };

  template <int depth, class Row>
  static FULMAR_DEVICE A a_along(const Row& row, int first) {
    const int g = static_cast<int>(threadIdx.x) % 32 / 4;
    A a{};
    FULMAR_UNROLL
    for (int i = 0; i < 2; i++) FULMAR_UNROLL
    for (int k = 0; k < depth; k++) a.v[i][k] = row(g + 8 * i)[first + k];
    return a;
  }
  template <class Row>
  static FULMAR_DEVICE A a_across(const Row& row, int column, bool whole) {
    const int g = static_cast<int>(threadIdx.x) % 32 / 4;
    A a{};
    FULMAR_UNROLL
    for (int i = 0; i < 2; i++) FULMAR_UNROLL
    for (int k = 0; k < 16; k++) a.v[i][k] = i == 0 || whole ? row(k)[column + g + 8 * i] : 0;
    return a;
  }
  template <int depth, class Row>
  static FULMAR_DEVICE B b_along(const Row& row, int first) {
    const int t = static_cast<int>(threadIdx.x) % 4;
    B b{};
    FULMAR_UNROLL
    for (int i = 0; i < 2; i++) FULMAR_UNROLL
    for (int k = 0; k < depth; k++) b.v[i][k] = row(2 * t + i)[first + k];
    return b;
  }
  template <int depth, class Row>
  static FULMAR_DEVICE B b_across(const Row& row, int column) {
    const int t = static_cast<int>(threadIdx.x) % 4;
    B b{};
    FULMAR_UNROLL
    for (int i = 0; i < 2; i++) FULMAR_UNROLL
    for (int k = 0; k < depth; k++) b.v[i][k] = row(k)[column + 2 * t + i];
    return b;
  }
  template <int depth>
  static FULMAR_DEVICE void add(FragmentD& d, const A& a, const B& b) {
    FULMAR_UNROLL
    for (int k = 0; k < depth; k++) FULMAR_UNROLL
    for (int i = 0; i < 4; i++) d.v[i] += a.v[i / 2][k] * b.v[i % 2][k];
  }
};

// Sums v over the threads with the same key, in a tree: thread = member * keys + key, of `members`.
// Threads with member 0 find theirs in v. red: [N][threads] of shared memory.
template <int N>
FULMAR_DEVICE void add_members(float* red, float (&v)[N], int member, int members, int keys) {
  const int thread = static_cast<int>(threadIdx.x);
  FULMAR_UNROLL
  for (int k = 0; k < N; k++) red[k * threads + thread] = v[k];
  __syncthreads();
  int half = 1;
  while (2 * half < members) half *= 2;
  for (; half > 0; half /= 2) {
    if (member < half && member + half < members) FULMAR_UNROLL
    for (int k = 0; k < N; k++)
      red[k * threads + thread] += red[k * threads + thread + half * keys];
    __syncthreads();
  }
  FULMAR_UNROLL
  for (int k = 0; k < N; k++) v[k] = red[k * threads + thread];
}

// to[column] = sum over rows of from[row][column], in double: up to 128 threads a column, so that
// rows are few for each, which takes them in order; then a tree. finish(column, sum)
constexpr int join_threads = 1024, join_width = 8;
template <class P, class Finish>
__global__ void __launch_bounds__(join_threads)
    join_partials(const P* from, int64_t rows, int64_t columns, Finish finish) {
  constexpr int width = join_width;
  const int height = static_cast<int>(blockDim.x) / width;  // a power of two
  FULMAR_SHARED(double, part, [join_threads]);
  const int thread = static_cast<int>(threadIdx.x), x = thread % width, y = thread / width;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * width + x;
  double sum = 0;
  if (column < columns)
    for (int64_t row = y; row < rows; row += height)
      sum += static_cast<double>(from[row * columns + column]);
  part[thread] = sum;
  __syncthreads();
  for (int half = height / 2; half > 0; half /= 2) {
    if (y < half) part[thread] += part[thread + half * width];
    __syncthreads();
  }
  if (y == 0 && column < columns) finish(column, part[thread]);
}

template <class P, class Finish>
void join(const Stream& stream, const char* name, const P* from, int64_t rows, int64_t columns,
          const Finish& finish) {
  if (columns == 0) return;
  constexpr int64_t width = join_width;
  unsigned height = 4;
  while (height < rows && height < join_threads / width) height *= 2;
  launch({name, static_cast<unsigned>((columns + width - 1) / width), height * join_width,
          queue_of(stream).stream},
         join_partials<P, Finish>, from, rows, columns, finish);
}

}  // namespace fulmar::cuda::sep
