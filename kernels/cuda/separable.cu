#include "kernels/cuda/separable.cuh"

#include "kernels/cuda/channel_sums.cuh"
#include "kernels/cuda/ops.h"

namespace fulmar::cuda {
namespace sep {
namespace {

// More partial sums than this don't make a call faster on any GPU: 8 blocks for each of 132
// processors.
constexpr int64_t most_groups = 1056;

// Wider layers are left to one op at a time: the README's "Wide layers" has the numbers.
constexpr int64_t widest_layer = 64;

template <class T>
struct Forward {
  Source<T> x;
  const float *depthwise, *pointwise, *bias, *shift;  // bias and shift may be null
  T* y;
  double* partials;              // [groups][2][outputs]
  int inputs, outputs, columns;  // outputs of a block
  bool aligned;                  // y
  Tiling tiling;
};

// Shared memory, in bytes.
template <class T, int KC>
struct ForwardLayout {
  using Shape = Tile<T, KC>;
  int stage_row, weight, tile, depthwise, bytes;

  explicit constexpr FULMAR_HOST_DEVICE ForwardLayout(int columns)
      : stage_row(operand_row<T>(columns)), weight(0), tile(0), depthwise(0), bytes(0) {
    constexpr int size = static_cast<int>(sizeof(T));
    weight = ((3 + taps) * KC + 2 * columns) * 4;
    tile = weight + KC * stage_row * size;
    const int x = Shape::halo * KC * size, y = Shape::pixels * stage_row * size;
    depthwise = tile + (x > y ? x : y);  // y takes the place of x
    bytes = depthwise + Shape::pixels * operand_row<T>(KC) * size;
    const int sums = tile + 2 * lanes_of<T> * threads * 4;
    if (sums > bytes) bytes = sums;
  }
};

// Tables of a chunk of inputs, and its part of the weights.
template <class T, int KC>
FULMAR_DEVICE void load_chunk(const Forward<T>& a, int first, int first_output, float* tables,
                              T* weight) {
  a.x.template make_tables<KC>(tables, first);
  load_taps<KC>(a.depthwise, a.inputs, first, tables + 3 * KC);
  load_weight(a.pointwise, a.inputs, a.outputs, first, first_output, KC, a.columns, weight);
}

// d[pixel] = sum over taps of x w, of a thread's pixels.
template <class T, int KC>
FULMAR_DEVICE void depthwise_part(const T* x, const float* w, T* d) {
  using Shape = Tile<T, KC>;
  const Column<Shape> at;
  Vec<float, 2> k[taps], sum[3];
  FULMAR_UNROLL
  for (int t = 0; t < taps; t++) k[t] = load<2>(w + t * KC + 2 * at.word);
  const T* from = x + at.first_tap() * KC + 2 * at.word;
  T* to = d + (at.row * Shape::width + at.across) * operand_row<T>(KC) + 2 * at.word;
  FULMAR_UNROLL
  for (int r = 0; r < Shape::column + 2; r++) {
    if (r < Shape::column) sum[r % 3] = {};
    FULMAR_UNROLL
    for (int c = 0; c < 3; c++) {
      const Vec<float, 2> v = load<2>(from + (r * Shape::halo_width + c) * KC);
      FULMAR_UNROLL
      for (int up = 0; up < 3; up++) {
        const int o = r - up;  // the output whose row of taps `up` this is
        if (o < 0 || o >= Shape::column) continue;
        FULMAR_UNROLL
        for (int i = 0; i < 2; i++) sum[o % 3].v[i] += v.v[i] * k[3 * up + c].v[i];
      }
    }
    if (r >= 2) store<2>(to + (r - 2) * Shape::width * operand_row<T>(KC), sum[(r - 2) % 3]);
  }
}

// d of 16 pixels times the weights of 8 outputs.
template <class T, int KC, class A>
FULMAR_DEVICE void multiply(FragmentD& y, const A* a, const T* weight, int row, int column) {
  constexpr int depth = KC < 16 ? KC : 16;
  FULMAR_UNROLL
  for (int k = 0; k < KC / depth; k++)
    Product<T>::template add<depth>(
        y, a[k],
        Product<T>::template b_across<depth>([&](int i) { return weight + (k * depth + i) * row; },
                                             column));
}
template <class T, int KC, class A>
FULMAR_DEVICE void load_pixels(A* a, const T* d, int tile) {
  constexpr int depth = KC < 16 ? KC : 16;
  FULMAR_UNROLL
  for (int k = 0; k < KC / depth; k++)
    a[k] = Product<T>::template a_along<depth>(
        [&](int i) { return d + (tile * 16 + i) * operand_row<T>(KC); }, k * depth);
}

// A fragment of y, with the bias, into its place.
template <class T>
FULMAR_DEVICE void put_fragment(const FragmentD& y, const float* bias, int tile, int column,
                                int row, T* stage) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  FULMAR_UNROLL
  for (int i = 0; i < 4; i += 2) {
    const int o = column + FragmentD::column(lane, i);
    const auto added = load<2>(bias + o);
    store<2>(stage + (tile * 16 + FragmentD::row(lane, i)) * row + o,
             Vec<float, 2>{{y.v[i] + added.v[0], y.v[i + 1] + added.v[1]}});
  }
}

// Sums of some channels of y and of its squares, about a value of the tile's own: about a far shift
// few pixels would lose their variance.
template <int lanes>
struct ChannelSums {
  Vec<float, lanes> s0{}, s1{};

  FULMAR_DEVICE void add(const Vec<float, lanes>& y, const float* about) {
    const auto centre = load<lanes>(about);  // read for each pixel: registers are dearer
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      const float x = y.v[k] - centre.v[k];
      s0.v[k] += x;
      s1.v[k] += x * x;
    }
  }
};

template <class T, int KC>
__global__ void __launch_bounds__(threads, sizeof(T) == 4 || Tile<T, KC>::widest ? 2 : 3)
    separable_kernel(Forward<T> a) {
  using Shape = Tile<T, KC>;
  using A = typename Product<T>::A;
  constexpr int lanes = lanes_of<T>, depths = KC < 16 ? 1 : KC / 16;
  FULMAR_DYNAMIC_SHARED(unsigned char, memory);
  const ForwardLayout<T, KC> layout(a.columns);
  auto* const tables = reinterpret_cast<float*>(memory);
  float* const centre = tables + (3 + taps) * KC;
  float* const bias = centre + a.columns;
  auto* const weight = reinterpret_cast<T*>(memory + layout.weight);
  auto* const x = reinterpret_cast<T*>(memory + layout.tile);
  auto* const d = reinterpret_cast<T*>(memory + layout.depthwise);
  T* const stage = x;

  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const int first_output = static_cast<int>(blockIdx.y) * a.columns;
  const int chunks = (a.inputs + KC - 1) / KC;
  const int parts = a.columns / lanes, step = threads / parts, member = thread / parts;
  const int k = thread % parts * lanes, valid = a.outputs - first_output - k;
  ChannelSums<lanes> sums;

  if (thread < a.columns)
    bias[thread] = a.bias && first_output + thread < a.outputs ? a.bias[first_output + thread] : 0;
  if (chunks == 1) load_chunk<T, KC>(a, 0, first_output, tables, weight);
  Place place(a.tiling, a.tiling.begin());
  int pixels = 0;
  for (int tile = a.tiling.begin(); tile < a.tiling.end(); tile++, place.advance(a.tiling)) {
    pixels += place.pixels(Shape::height, Shape::width);
    FragmentD y[4];
    for (int chunk = 0; chunk < chunks; chunk++) {
      __syncthreads();
      if (chunks > 1) {
        load_chunk<T, KC>(a, chunk * KC, first_output, tables, weight);
        __syncthreads();
      }
      a.x.template load_tile<KC>(place, tables, chunk * KC, x);
      __syncthreads();
      depthwise_part<T, KC>(x, tables + 3 * KC, d);
      __syncthreads();
      // A warp takes 16 pixels, or, where there are few, half of their outputs.
      if constexpr (Shape::widest) {
        A pixels[depths];
        load_pixels<T, KC>(pixels, d, warp % Shape::row_tiles);
        for (int n = 0; n < 4; n++) {
          const int column = (2 * n + warp / Shape::row_tiles) * 8;
          if (column < a.columns) multiply<T, KC>(y[n], pixels, weight, layout.stage_row, column);
        }
      }
    }
    if constexpr (Shape::widest) {
      for (int n = 0; n < 4; n++) {
        const int column = (2 * n + warp / Shape::row_tiles) * 8;
        if (column < a.columns)
          put_fragment(y[n], bias, warp % Shape::row_tiles, column, layout.stage_row, stage);
      }
    } else {
      FULMAR_NO_UNROLL
      for (int m = warp; m < Shape::row_tiles; m += warps) {
        A pixels[depths];
        load_pixels<T, KC>(pixels, d, m);
        FULMAR_NO_UNROLL
        for (int column = 0; column < a.columns; column += 8) {
          FragmentD one;
          multiply<T, KC>(one, pixels, weight, layout.stage_row, column);
          put_fragment(one, bias, m, column, layout.stage_row, stage);
        }
      }
    }
    __syncthreads();
    if (a.partials && tile == a.tiling.begin()) {
      if (thread < a.columns) {
        const float y = number(stage[thread]);
        const bool there = first_output + thread < a.outputs;
        centre[thread] = y - y == 0 ? y : there ? a.shift[first_output + thread] : 0;
      }
      __syncthreads();
    }
    FULMAR_NO_UNROLL
    for (int i = member; i < Shape::pixels && member < step; i += step) {
      const int r = place.row + i / Shape::width, c = place.column + i % Shape::width;
      if (!place.holds(r, c)) continue;
      const auto value = load<lanes>(stage + i * layout.stage_row + k);
      store_some(a.y + place.pixel(r, c) * a.outputs + first_output + k, value, valid, a.aligned);
      if (a.partials) sums.add(value, centre + k);
    }
  }
  if (!a.partials) return;
  __syncthreads();
  float both[2 * lanes];
  FULMAR_UNROLL
  for (int i = 0; i < lanes; i++) {
    both[i] = sums.s0.v[i];
    both[lanes + i] = sums.s1.v[i];
  }
  add_members(reinterpret_cast<float*>(memory + layout.tile), both, member, step, parts);
  if (member > 0) return;
  double* const to = a.partials + static_cast<int64_t>(blockIdx.x) * 2 * a.outputs;
  for (int i = 0; i < lanes && i < valid; i++) {
    const int o = first_output + k + i;
    const Sum<2> sum{{static_cast<double>(both[i]), static_cast<double>(both[lanes + i])}};
    const Sum<2> moved = moved_to(a.shift[o], centre[k + i], pixels, sum);
    to[o] = moved.of[0];
    to[a.outputs + o] = moved.of[1];
  }
}

struct KeepSums {
  double* sums;
  int64_t outputs;
  double pixels;
  FULMAR_DEVICE void operator()(int64_t i, double sum) const {
    sums[i] = sum;
    if (i < outputs) sums[2 * outputs + i] = pixels;
  }
};

template <class T, int KC>
void run_forward(Stream& stream, const Loaded& x, const View& depthwise, const View& pointwise,
                 const View& bias, const View& shift, const View& y, const View& sums, void* work) {
  const bool sums_up = sums.shape.rank() > 0;
  Forward<T> a{Source<T>(x),
               reals(depthwise),
               reals(pointwise),
               bias.shape.rank() > 0 ? reals(bias) : nullptr,
               sums_up ? reals(shift) : nullptr,
               elements<T>(y),
               sums_up ? static_cast<double*>(work) : nullptr,
               static_cast<int>(x.x.shape.channels()),
               static_cast<int>(y.shape.channels()),
               0,
               false,
               Tiling::of<Tile<T, KC>>(extent_of(x.x.shape), most_groups)};
  if (a.tiling.tiles == 0 || a.outputs == 0) return;
  a.columns = chunk_columns<T, KC>(a.outputs);
  a.aligned = a.outputs % lanes_of<T> == 0 && can_move_16_bytes(a.y);
  const auto parts = static_cast<unsigned>((a.outputs + a.columns - 1) / a.columns);
  launch({"separable", dim3(static_cast<unsigned>(a.tiling.groups), parts), threads,
          queue_of(stream).stream, static_cast<size_t>(ForwardLayout<T, KC>(a.columns).bytes)},
         separable_kernel<T, KC>, a);
  if (sums_up)
    join(stream, "separable's sums", a.partials, a.tiling.groups, 2 * a.outputs,
         KeepSums{elements<double>(sums), a.outputs, static_cast<double>(y.shape.pixels())});
}

}  // namespace
}  // namespace sep

bool separable_takes(const View& x, const View& y) {
  return std::max(x.shape.channels(), y.shape.channels()) <= sep::widest_layer;
}

size_t separable_workspace(Stream&, const Loaded& x, const View&, const View&, const View&,
                           const View&, const View& y, const View& sums) {
  if (sums.shape.rank() == 0) return 0;
  size_t bytes = 0;
  sep::with_chunk(x, 0, [&](auto zero, auto chunk) {
    using Shape = sep::Tile<decltype(zero), decltype(chunk)::value>;
    const auto tiling = sep::Tiling::of<Shape>(extent_of(x.x.shape), sep::most_groups);
    bytes = static_cast<size_t>(tiling.groups * 2 * y.shape.channels()) * sizeof(double);
  });
  return bytes;
}

void separable(Stream& stream, const Loaded& x, const View& depthwise, const View& pointwise,
               const View& bias, const View& shift, const View& y, const View& sums, void* work) {
  sep::with_chunk(x, 0, [&](auto zero, auto chunk) {
    sep::run_forward<decltype(zero), decltype(chunk)::value>(stream, x, depthwise, pointwise, bias,
                                                             shift, y, sums, work);
  });
}

}  // namespace fulmar::cuda
