#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/loaded.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/sampling.cuh"
#include "kernels/cuda/weight_tiles.cuh"

// Convolutions that begin a network: of few channels, which may be sampled from a picture. A block
// makes a tile of y out of the tile of x that its windows reach, which lies in shared memory.
namespace fulmar::cuda {
namespace {

// A tile of y: a warp's lanes are neighbours in a row.
constexpr int tile_width = 32;
// So few products that tensor cores have nothing to win, and tiles that every GPU has room for.
constexpr int64_t most_products = 1024, most_outputs = 64, most_tile = 8192;
// Shared memory that every GPU since sm_80 gives a block: sm_86 and sm_89 have 99 KB.
constexpr int64_t most_shared = 99 * 1024;

// Channels of y that are made at a time.
constexpr int some = 8;
// Limit of the blocks, which share out the tiles. It decides how sums are split, and so their bits.
constexpr int64_t most_blocks = 2048;

struct StemShape {
  Extent in, out;  // of x and y
  int taps_down, taps_across, bands, outputs;
  int products, padded;  // of a pixel of y; outputs, to whole groups
  int down, across;      // strides
  int apart[2];          // dilations
  int before[2];         // padding
  int tile_height;       // of y
  int rows, columns;     // of the tile of x
  int plane;             // a row of every `across`th of its columns
  int tile_size;         // of the tile of x, in floats
  int raw_words = 0;     // of a row of it in a picture, where that is kept too
  int64_t tiles, tiles_down, tiles_across;

  StemShape(const Shape& x, const Shape& w, const Shape& y, const Window& window, int height)
      : in(extent_of(x)),
        out(extent_of(y)),
        taps_down(static_cast<int>(w.images())),
        taps_across(static_cast<int>(w.height())),
        bands(static_cast<int>(w.width())),
        outputs(static_cast<int>(w.channels())),
        products(taps_down * taps_across * bands),
        padded((outputs + some - 1) / some * some),
        down(static_cast<int>(window.stride[0])),
        across(static_cast<int>(window.stride[1])),
        apart{static_cast<int>(window.dilation[0]), static_cast<int>(window.dilation[1])},
        before{static_cast<int>(window.padding[0]), static_cast<int>(window.padding[2])},
        tile_height(height) {
    rows = static_cast<int>(reach(window, 0, height, w.images()));
    columns = static_cast<int>(reach(window, 1, tile_width, w.height()));
    plane = (columns + across - 1) / across;
    tile_size = static_cast<int>(tile_floats(w, window, height));
    tiles_down = (out.height + tile_height - 1) / tile_height;
    tiles_across = (out.width + tile_width - 1) / tile_width;
    tiles = out.images * tiles_down * tiles_across;
  }
  // Rows or columns of x that so many of y read.
  static int64_t reach(const Window& window, size_t axis, int64_t extent, int64_t taps) {
    return (extent - 1) * window.stride[axis] + (taps - 1) * window.dilation[axis] + 1;
  }
  // Of the tile of x: any window's, where a StemShape is of one that fits.
  static int64_t tile_floats(const Shape& w, const Window& window, int64_t height) {
    const int64_t step = window.stride[1], wide = reach(window, 1, tile_width, w.height());
    return reach(window, 0, height, w.images()) * w.width() * ((wide + step - 1) / step * step);
  }
  // Of a block's shared memory, at most, of both kernels: 16-bit pictures' words are the most that
  // is kept beside the tile.
  static int64_t shared_bytes(const Shape& w, const Window& window);
  int64_t shared_words() const { return int64_t{tile_size} + rows * raw_words; }
  int64_t blocks(int64_t room) const {
    return std::max<int64_t>(1, std::min({tiles, room, most_blocks}));
  }

  // Neighbouring columns of y read neighbouring words: columns of x lie in `across` planes.
  FULMAR_DEVICE int at(int row, int band, int column) const {
    return ((row * bands + band) * across + column % across) * plane + column / across;
  }
  // From a pixel's place in the tile to the product's.
  FULMAR_DEVICE int offset(int product) const {
    const int tap = product / bands;
    return at(tap / taps_across * apart[0], product % bands, tap % taps_across * apart[1]);
  }
  FULMAR_DEVICE int row_step() const { return down * bands * across * plane; }
};

struct StemTile {
  int64_t image, row, column;  // of its first pixel of y
};
FULMAR_DEVICE StemTile tile_of(const StemShape& shape, int64_t number) {
  const int64_t line = divide(number, shape.tiles_across);
  const int64_t image = divide(line, shape.tiles_down);
  return {image, (line - image * shape.tiles_down) * shape.tile_height,
          (number - line * shape.tiles_across) * tile_width};
}

// x in memory, with the functions of a Warp.
template <class T>
struct Plain {
  const T* x;
  Extent extent;
  static constexpr bool is_narrow = false;
  static int raw_words(int, int) { return 0; }
  FULMAR_DEVICE BlockMap prepare(int64_t) const { return {}; }
  template <class Take>
  FULMAR_DEVICE void for_bands(const BlockMap&, int64_t image, int row, int column, int64_t first,
                               int64_t end, const Take& take) const {
    const T* const from = x + extent.at(image, row, column);
    for (int64_t band = first; band < end; band++) take(band, number(from[band]));
  }
};

// Of an extent of x, what a tile reaches: [begin, end).
struct Reach {
  int begin, end;
  FULMAR_DEVICE Reach(int first, int count, int64_t extent)
      : begin(first < 0 ? 0 : first),
        end(first + count < extent ? first + count : static_cast<int>(extent)) {}
  FULMAR_DEVICE bool holds(int i) const { return i >= begin && i < end; }
  FULMAR_DEVICE int count() const { return end > begin ? end - begin : 0; }
};

// The tile of x, 0 outside of it. All threads of the block call it, and meet behind it.
template <class Source>
FULMAR_DEVICE void load_tile(const StemShape& shape, const Source& source, const StemTile& tile,
                             bool new_image, BlockMap* map, float* to) {
  __syncthreads();  // the last tile has been read
  if (new_image) {
    if (threadIdx.x == 0) *map = source.prepare(tile.image);
    __syncthreads();
  }
  const int top = static_cast<int>(tile.row) * shape.down - shape.before[0];
  const int left = static_cast<int>(tile.column) * shape.across - shape.before[1];
  const Reach rows(top, shape.rows, shape.in.height), columns(left, shape.columns, shape.in.width);
  uint32_t* const words = reinterpret_cast<uint32_t*>(to + shape.tile_size);
  bool cuts = false;
  if constexpr (Source::is_narrow) {
    cuts = source.cuts(*map, rows.begin, columns.begin, rows.count(), columns.count());
    if (cuts) {
      source.load_words(*map, tile.image, rows.begin, columns.begin, rows.count(), columns.count(),
                        shape.raw_words, words);
      __syncthreads();
    }
  }
  for (int i = static_cast<int>(threadIdx.x); i < shape.rows * shape.columns; i += each_threads) {
    const int down = i / shape.columns, across = i - down * shape.columns;
    const int row = top + down, column = left + across;
    float* const first = to + shape.at(down, 0, across);
    const int step = shape.across * shape.plane;
    const auto take = [&](int64_t band, float v) { first[band * step] = v; };
    if (!rows.holds(row) || !columns.holds(column)) {
      for (int band = 0; band < shape.bands; band++) take(band, 0);
      continue;
    }
    if constexpr (Source::is_narrow) {
      if (cuts) {
        source.bands_of_words(*map, tile.image, rows.begin, columns.begin, row - rows.begin,
                              column - columns.begin, shape.raw_words, words, take);
        continue;
      }
    }
    source.for_bands(*map, tile.image, row, column, 0, shape.bands, take);
  }
  __syncthreads();
}

// Sums of y's channels over a block's tiles, about the first pixel of each tile.
struct StemSums {
  const float* shift;  // null: none are wanted
  double* partials;    // [blocks][2][outputs]
  KeepChannelSums keep;
};

// What a warp's lanes have of 16 sums, added up: lane n has sum n % 16.
template <int half>
FULMAR_DEVICE void join_lanes(float (&sum)[2 * some], int lane) {
  const bool upper = (lane & half) != 0;
  FULMAR_UNROLL
  for (int i = 0; i < half; i++) {
    const float mine = upper ? sum[half + i] : sum[i], other = upper ? sum[i] : sum[half + i];
    sum[i] = mine + __shfl_xor_sync(~0U, other, half);
  }
  if constexpr (half > 1)
    join_lanes<half / 2>(sum, lane);
  else
    sum[0] += __shfl_xor_sync(~0U, sum[0], 16);
}

constexpr int forward_pixels = 2;  // a thread's, `forward_rows` apart
constexpr int forward_rows = each_threads / tile_width;

// whole: channels of y are stored by 16 bytes.
template <bool whole, class Source, class T>
__global__ void __launch_bounds__(each_threads)
    stem_kernel(StemShape shape, Source source, const float* w, const float* bias, T* y,
                StemSums sums) {
  FULMAR_DYNAMIC_SHARED(float, shared);
  FULMAR_SHARED(BlockMap, map, [1]);
  FULMAR_SHARED(float, origins, [2][some]);  // while one is read the next is written
  FULMAR_SHARED(float, part, [each_threads / 32][2 * some]);
  FULMAR_SHARED(double, total, [2][most_outputs]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int padded = shape.padded, products = shape.products;
  float* const weights = shared;  // [products][padded], and the bias behind them
  int* const offsets = reinterpret_cast<int*>(weights + (products + 1) * padded);
  float* const x = reinterpret_cast<float*>(offsets + products);
  for (int i = thread; i < (products + 1) * padded; i += each_threads) {
    const int product = i / padded, c = i - product * padded;
    float weight = 0;
    if (c < shape.outputs && product < products)
      weight = number(rounded<T>(w[product * shape.outputs + c]));
    else if (c < shape.outputs && bias)
      weight = bias[c];
    weights[i] = weight;
  }
  for (int i = thread; i < products; i += each_threads) offsets[i] = shape.offset(i);
  for (int i = thread; i < 2 * shape.outputs; i += each_threads)
    total[i / shape.outputs][i % shape.outputs] = 0;

  const int64_t per_block = (shape.tiles + gridDim.x - 1) / gridDim.x;
  const int64_t begin = blockIdx.x * per_block;
  const int64_t end = begin + per_block < shape.tiles ? begin + per_block : shape.tiles;
  int64_t image = -1;
  for (int64_t i = begin; i < end; i++) {
    const StemTile tile = tile_of(shape, i);
    load_tile(shape, source, tile, tile.image != image, map, x);
    image = tile.image;
    const float* const from = x + warp * shape.row_step() + lane;
    const int further = forward_rows * shape.row_step();
    bool inside[forward_pixels];
    for (int p = 0; p < forward_pixels; p++)
      inside[p] = tile.row + warp + p * forward_rows < shape.out.height &&
                  tile.column + lane < shape.out.width;

    for (int first = 0; first < padded; first += some) {
      Vec<float, some> value[forward_pixels];
      for (int p = 0; p < forward_pixels; p++)
        value[p] = load<some>(weights + products * padded + first);
      for (int product = 0; product < products; product++) {
        const auto weight = load<some>(weights + product * padded + first);
        const float* const of = from + offsets[product];
        FULMAR_UNROLL
        for (int p = 0; p < forward_pixels; p++) {
          const float factor = of[p * further];
          FULMAR_UNROLL
          for (int k = 0; k < some; k++) value[p].v[k] += factor * weight.v[k];
        }
      }
      FULMAR_UNROLL
      for (int p = 0; p < forward_pixels; p++) {
        if (!inside[p]) continue;
        T* const to =
            y + shape.out.at(tile.image, tile.row + warp + p * forward_rows, tile.column + lane) +
            first;
        if constexpr (whole) {
          store<some>(to, value[p]);
        } else {
          FULMAR_UNROLL
          for (int k = 0; k < some; k++)
            if (first + k < shape.outputs) to[k] = rounded<T>(value[p].v[k]);
        }
      }
      if (!sums.shift) continue;

      // Sums are of y before it is rounded, as the CPU's.
      float* const origin = origins[first / some % 2];
      if (thread == 0)
        for (int k = 0; k < some; k++) {
          const float v = value[0].v[k];
          const bool finite = v - v == 0;
          origin[k] = finite || first + k >= shape.outputs ? v : sums.shift[first + k];
        }
      __syncthreads();
      float sum[2 * some] = {};
      FULMAR_UNROLL
      for (int p = 0; p < forward_pixels; p++) {
        FULMAR_UNROLL
        for (int k = 0; k < some; k++) {
          const float deviation = inside[p] ? value[p].v[k] - origin[k] : 0;
          sum[k] += deviation;
          sum[some + k] += deviation * deviation;
        }
      }
      join_lanes<some>(sum, lane);
      if (lane < 2 * some) part[warp][lane] = sum[0];
      __syncthreads();
      if (thread < some && first + thread < shape.outputs) {
        Sum<2> found;
        for (int i = 0; i < each_threads / 32; i++)
          for (int s = 0; s < 2; s++)
            found.of[s] += static_cast<double>(part[i][s * some + thread]);
        const int64_t high = shape.out.height - tile.row, wide = shape.out.width - tile.column;
        const double n = static_cast<double>((high < shape.tile_height ? high : shape.tile_height) *
                                             (wide < tile_width ? wide : tile_width));
        const Sum<2> moved = moved_to(sums.shift[first + thread], origin[thread], n, found);
        for (int i = 0; i < 2; i++) total[i][first + thread] += moved.of[i];
      }
    }
  }
  if (!sums.shift) return;
  __syncthreads();
  for (int c = thread; c < shape.outputs; c += each_threads) {
    Sum<2> all;
    for (int s = 0; s < 2; s++) all.of[s] = total[s][c];
    if (gridDim.x == 1) {
      sums.keep(0, c, all);
    } else {
      for (int s = 0; s < 2; s++)
        sums.partials[(int64_t{blockIdx.x} * 2 + s) * shape.outputs + c] = all.of[s];
    }
  }
}

template <class T>
struct StemCotangent {
  const T *dy, *z;  // z: where it is normalised
  NormGrad norm;
};

int64_t StemShape::shared_bytes(const Shape& w, const Window& window) {
  const int64_t products = w.elements() / w.channels();
  const int64_t padded = (w.channels() + some - 1) / some * some;
  const auto tile = [&](int64_t height) {
    const int64_t wide = reach(window, 1, tile_width, w.height()) * w.width();
    const int64_t words = Warp<uint16_t>::raw_words(static_cast<int>(wide), 1);
    return tile_floats(w, window, height) + reach(window, 0, height, w.images()) * words;
  };
  const int64_t forward = (products + 1) * padded + tile(forward_rows * forward_pixels);
  const int64_t backward = padded * each_threads + tile(forward_rows);
  // Behind the two: offsets, and the arrays of a kernel's own, rounded up.
  constexpr int64_t own = 4096;
  return (std::max(forward, backward) + products) * 4 + own;
}

using Tiles = WeightTiles<4>;  // more sums would leave too few registers for sampling
constexpr int tile_rows = 4;

// dw [products, outputs]. A thread makes a pixel of the cotangent for its block.
template <bool whole, class Source, class T>
__global__ void __launch_bounds__(each_threads, 2)
    stem_grad_kernel(StemShape shape, Source source, StemCotangent<T> cotangent, Tiles walk,
                     double* partials, float* dw) {
  FULMAR_DYNAMIC_SHARED(float, shared);
  FULMAR_SHARED(BlockMap, map, [1]);
  FULMAR_SHARED(float, norms, [most_outputs][4]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int padded = shape.padded, products = shape.products;
  // The cotangent, four channels of a pixel together: [padded/4][pixels][4]; offsets; x.
  float* const grads = shared;
  int* const offsets = reinterpret_cast<int*>(grads + padded * each_threads);
  float* const x = reinterpret_cast<float*>(offsets + products);
  for (int i = thread; i < products; i += each_threads) offsets[i] = shape.offset(i);
  const bool norm = cotangent.norm.given();
  for (int c = thread; norm && c < shape.outputs; c += each_threads) {
    const auto of = cotangent.norm.template channels<1>(c);
    norms[c][0] = of.centre.v[0];
    norms[c][1] = of.scale.v[0];
    norms[c][2] = of.offset.v[0];
    norms[c][3] = of.slope.v[0];
  }
  __syncthreads();

  const int64_t weights_tile = walk.tile(), down = divide(weights_tile, walk.across);
  const int product = static_cast<int>(down) * tile_rows;
  const int output = static_cast<int>(weights_tile - down * walk.across) * tile_columns;
  float sum[Tiles::sums] = {};
  const int64_t per_block = (shape.tiles + gridDim.x - 1) / gridDim.x;
  const int64_t begin = blockIdx.x * per_block;
  const int64_t end = begin + per_block < shape.tiles ? begin + per_block : shape.tiles;
  int64_t image = -1;
  for (int64_t number_of_tile = begin; number_of_tile < end; number_of_tile++) {
    const StemTile tile = tile_of(shape, number_of_tile);
    __syncthreads();  // the last tile's cotangent has been read
    const bool inside = tile.row + warp < shape.out.height && tile.column + lane < shape.out.width;
    const int64_t pixel = shape.out.at(tile.image, tile.row + warp, tile.column + lane);
    constexpr int lanes = whole ? lanes_of<T> : 1;
    for (int first = 0; first < padded; first += lanes) {
      Vec<float, lanes> grad{};
      if (inside && first < shape.outputs) {
        grad = load<lanes>(cotangent.dy + pixel + first);
        if (norm) {
          const auto z = load<lanes>(cotangent.z + pixel + first);
          FULMAR_UNROLL
          for (int k = 0; k < lanes; k++) {
            const float* const of = norms[first + k];
            grad.v[k] = of[1] * (grad.v[k] - of[2] - (z.v[k] - of[0]) * of[3]);
          }
        }
      }
      constexpr int at_once = lanes < 4 ? lanes : 4;
      FULMAR_UNROLL
      for (int k = 0; k < lanes; k += at_once) {
        const int c = first + k;
        Vec<float, at_once> part;
        FULMAR_UNROLL
        for (int i = 0; i < at_once; i++) part.v[i] = grad.v[k + i];
        store<at_once>(grads + (c / 4 * each_threads + thread) * 4 + c % 4, part);
      }
    }
    load_tile(shape, source, tile, tile.image != image, map, x);
    image = tile.image;
    if (weights_tile >= walk.all) continue;
    for (int row = walk.part(); row < each_threads / tile_width; row += walk.parts) {
      const float* const from = x + row * shape.row_step() + lane;
      float factor[tile_rows], grad[tile_columns];
      FULMAR_UNROLL
      for (int a = 0; a < tile_rows; a++)
        factor[a] = product + a < products ? from[offsets[product + a]] : 0;
      FULMAR_UNROLL
      for (int half = 0; half < 2; half++) {
        const auto four =
            load<4>(grads + ((output / 4 + half) * each_threads + row * tile_width + lane) * 4);
        FULMAR_UNROLL
        for (int k = 0; k < 4; k++) grad[half * 4 + k] = four.v[k];
      }
      FULMAR_UNROLL
      for (int a = 0; a < tile_rows; a++) {
        FULMAR_UNROLL
        for (int b = 0; b < tile_columns; b++) sum[a * tile_columns + b] += factor[a] * grad[b];
      }
    }
  }
  keep_tiles(walk, sum, partials, dw);
}

// body(source) for x sampled or in memory.
template <class T, class Body>
void for_stem_source(const Loaded& x, const Body& body) {
  if (x.is_sampled())
    for_source(x.x, x.sampled.samples, x.sampled.shape, *x.sampled.how, body);
  else
    body(Plain<T>{elements<T>(x.x), extent_of(x.x.shape)});
}

void require_stem(const Loaded& x, const View& w, const View& y, const Window& window,
                  int64_t groups) {
  if (convolution_takes(w, y, window, groups, x.normalised())) return;
  usage_error("cuda: convolution: only of few channels that are not normalised, not " +
              w.shape.to_string());
}

}  // namespace

bool convolution_takes(const View& w, const View& y, const Window& window, int64_t groups,
                       bool normalised) {
  return !normalised && convolution_samples(w, y, window, groups);
}

bool convolution_samples(const View& w, const View&, const Window& window, int64_t groups) {
  if (groups != 1 || w.shape.elements() > most_products || w.shape.channels() > most_outputs ||
      w.shape.width() > 4)
    return false;
  return StemShape::tile_floats(w.shape, window, forward_rows * forward_pixels) <= most_tile &&
         StemShape::shared_bytes(w.shape, window) <= most_shared;
}

size_t convolution_workspace(Stream&, const Loaded&, const View&, const View&, const View&,
                             const View&, const View&, const Window&, int64_t) {
  return 0;
}

void convolution(Stream& stream, const Loaded& x, const View& w, const View& bias,
                 const View& shift, const View& y, const View& sums, const Window& window,
                 int64_t groups, void*) {
  require_stem(x, w, y, window, groups);
  StemShape shape(x.shape(), w.shape, y.shape, window, forward_rows * forward_pixels);
  const Queue& queue = queue_of(stream);
  const int64_t blocks = shape.blocks(most_partials / (2 * shape.outputs));
  const KeepChannelSums keep{sums ? elements<double>(sums) : nullptr, shape.outputs,
                             y.shape.pixels()};
  const StemSums of{sums ? reals(shift) : nullptr, queue.partials, keep};
  for_type_of(y, [&](auto zero) {
    using T = decltype(zero);
    T* const to = elements<T>(y);
    const bool whole = shape.outputs % some == 0 && can_move_16_bytes(to);
    for_stem_source<T>(x, [&](const auto& source) {
      using Source = std::decay_t<decltype(source)>;
      shape.raw_words = Source::raw_words(shape.columns, shape.bands);
      const int64_t floats =
          (shape.products + 1) * shape.padded + shape.products + shape.shared_words();
      launch({"convolution", static_cast<unsigned>(blocks), each_threads, queue.stream,
              static_cast<size_t>(floats) * sizeof(float)},
             whole ? stem_kernel<true, Source, T> : stem_kernel<false, Source, T>, shape, source,
             reals(w), bias ? reals(bias) : nullptr, to, of);
    });
  });
  if (sums && blocks > 1)
    add_chunks<2>(stream, "convolution", {1, y.shape.pixels(), shape.outputs}, blocks, keep);
}

size_t convolution_weight_grad_workspace(Stream&, const Loaded&, const Cotangent&, const View&,
                                         const Window&, int64_t) {
  return 0;
}

void convolution_weight_grad(Stream& stream, const Loaded& x, const Cotangent& dy, const View& dw,
                             const Window& window, int64_t groups, void*) {
  require_stem(x, dw, dy.dy, window, groups);
  StemShape shape(x.shape(), dw.shape, dy.dy.shape, window, each_threads / tile_width);
  const Tiles walk(shape.products, shape.outputs);
  const int64_t blocks = shape.blocks(walk.most_chunks());
  const Queue& queue = queue_of(stream);
  for_type_of(dy.dy, [&](auto zero) {
    using T = decltype(zero);
    const StemCotangent<T> cotangent{
        elements<T>(dy.dy), dy.normalised() ? elements<T>(dy.z) : nullptr, NormGrad::of(dy)};
    const bool whole = shape.outputs % some == 0 && can_move_16_bytes(cotangent.dy) &&
                       can_move_16_bytes(cotangent.z);
    for_stem_source<T>(x, [&](const auto& source) {
      using Source = std::decay_t<decltype(source)>;
      shape.raw_words = Source::raw_words(shape.columns, shape.bands);
      const int64_t floats =
          int64_t{shape.padded} * each_threads + shape.products + shape.shared_words();
      launch({"convolution_weight_grad", dim3(static_cast<unsigned>(blocks), walk.blocks()),
              each_threads, queue.stream, static_cast<size_t>(floats) * sizeof(float)},
             whole ? stem_grad_kernel<true, Source, T> : stem_grad_kernel<false, Source, T>, shape,
             source, cotangent, walk, queue.partials, reals(dw));
    });
  });
  if (blocks > 1)
    add_chunks<1>(stream, "convolution_weight_grad", {1, dy.dy.shape.pixels(), dw.shape.elements()},
                  blocks, KeepWeightGrad{reals(dw)});
}

}  // namespace fulmar::cuda
