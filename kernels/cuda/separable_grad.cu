#include "kernels/cuda/ops.h"
#include "kernels/cuda/separable_cotangent.cuh"

namespace fulmar::cuda {
namespace sep {
namespace {

// Runs of tiles: as many as the forward kernel's, but no more than keep the partial gradients of
// the weights, one a run, small beside the activations.
int64_t most_runs(int64_t weights) {
  return std::clamp<int64_t>((int64_t{1} << 20) / std::max<int64_t>(weights, 1), 16, 1056);
}

template <class T>
struct Backward {
  Incoming<T> dy;
  Source<T> x;
  Skip<T> skip;
  const float *depthwise, *pointwise;
  T* dx;
  double* grad_sums;  // [groups][2][inputs]; null where x is read as it is
  float* weights;     // [groups][inputs * outputs + taps * inputs]; null where none are wanted
  int inputs, outputs, columns;  // outputs of a chunk
  Tiling tiling;

  FULMAR_DEVICE float* weights_of_group() const {
    return weights + static_cast<int64_t>(blockIdx.x) *
                         (static_cast<int64_t>(inputs) * outputs + taps * inputs);
  }
};

// What a thread adds up over all its pixels: of two channels the depthwise gradient by taps, then
// the sums of dx and of dx (x - mean).
constexpr int thread_sums = 2 * taps + 4;

// Shared memory, in bytes.
template <class T, int KC>
struct BackwardLayout {
  using Shape = Tile<T, KC>;
  static constexpr int size = static_cast<int>(sizeof(T));
  // Rows of dd: of many channels padded, so that fragments meet few banks.
  static constexpr int dd_row = KC >= 32 ? KC + 8 : KC;
  static constexpr int d_row = operand_row<T>(KC);
  static constexpr int skip_dx_row = KC >= 16 ? KC + 8 : KC;  // so that fragments meet few banks
  // Fragments of the pointwise gradient that a warp has.
  static constexpr int fragments = ((most_columns<T, KC> + 15) / 16 * (KC / 8) + warps - 1) / warps;
  // A fragment of it as 8 inputs of 16 outputs, whose rows are so long that lanes share no bank.
  static constexpr int flushed_row = 20, flushed = 8 * flushed_row;

  int row, skip_row, norm, cotangent, weight, skip_weight, x, dd, dz, d, raw, bytes;

  static constexpr FULMAR_HOST_DEVICE int larger(int a, int b) { return a > b ? a : b; }
  constexpr FULMAR_HOST_DEVICE BackwardLayout(int columns, int skip_columns, bool normalised)
      : row(operand_row<T>(columns)),
        skip_row(skip_columns > 0 ? operand_row<T>(skip_columns) : 0),
        norm(0),
        cotangent((3 + taps) * KC * 4),
        weight(cotangent + 4 * columns * 4),
        skip_weight(weight + KC * row * size),
        x(skip_weight + KC * skip_row * size),
        dd(x + Shape::halo * KC * size),
        dz(dd + Shape::halo * dd_row * size),
        d(dz +
          larger(larger(Shape::halo_tiles * 16 * row * size, Shape::pixels / 4 * skip_row * size),
                 fragments * warps * flushed * 4)),
        raw(d + Shape::pixels * d_row * size),
        bytes(larger(raw + (normalised ? Shape::pixels * KC * size : 0),
                     x + thread_sums * threads * 4)) {}
};

// dd = dz pointwise^T of the halo, added up over chunks of outputs in fragments.
template <class T, int KC>
struct HaloProduct {
  using Shape = Tile<T, KC>;
  static constexpr int tiles = (Shape::halo_tiles + warps - 1) / warps, blocks = KC / 8;
  FragmentD dd[tiles][blocks];

  template <int depth>
  FULMAR_DEVICE void add_depth(const T* dz, const T* weight, int row, int k) {
    using P = Product<T>;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const auto of_weight = [&](int n) {
      return P::template b_along<depth>([&](int i) { return weight + (8 * n + i) * row; }, k);
    };
    // Fragments of the weights are kept where they are small and read again.
    constexpr bool kept = std::is_same_v<T, bf16> && tiles > 1;
    typename P::B b[kept ? blocks : 1];
    if constexpr (kept) {
      FULMAR_UNROLL
      for (int n = 0; n < blocks; n++) b[n] = of_weight(n);
    }
    FULMAR_UNROLL
    for (int m = 0; m < tiles; m++) {
      const int tile = warp + m * warps;
      if (tile >= Shape::halo_tiles) break;
      const auto a =
          P::template a_along<depth>([&](int i) { return dz + (tile * 16 + i) * row; }, k);
      FULMAR_UNROLL
      for (int n = 0; n < blocks; n++) {
        if constexpr (!kept) b[0] = of_weight(n);
        P::template add<depth>(dd[m][n], a, b[kept ? n : 0]);
      }
    }
  }
  FULMAR_DEVICE void add(const T* dz, const T* weight, int row, int columns) {
    int k = 0;
    FULMAR_NO_UNROLL
    for (; k + 16 <= columns; k += 16) add_depth<16>(dz, weight, row, k);
    if (k < columns) add_depth<8>(dz, weight, row, k);
  }
  FULMAR_DEVICE void write(T* to) const {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    FULMAR_UNROLL
    for (int m = 0; m < tiles; m++) FULMAR_UNROLL
    for (int n = 0; n < blocks; n++) FULMAR_UNROLL
    for (int i = 0; i < 4; i += 2) {
      const int pixel = (warp + m * warps) * 16 + FragmentD::row(lane, i);
      if (pixel >= Shape::halo) continue;
      store<2>(to + pixel * BackwardLayout<T, KC>::dd_row + 8 * n + FragmentD::column(lane, i),
               Vec<float, 2>{{dd[m][n].v[i], dd[m][n].v[i + 1]}});
    }
  }
};

// d, the depthwise output of the tile's pixels, and the depthwise gradient: sums of dd x by taps.
// Both read the same x.
template <class T, int KC>
FULMAR_DEVICE void depthwise_and_gradient(const Place& place, const T* x, const T* dd,
                                          const float* w, T* d, float (&sums)[thread_sums]) {
  using Shape = Tile<T, KC>;
  using Layout = BackwardLayout<T, KC>;
  const Column<Shape> at;
  Vec<float, 2> k[taps], sum[3], cotangent[3];
  FULMAR_UNROLL
  for (int t = 0; t < taps; t++) k[t] = load<2>(w + t * KC + 2 * at.word);
  const int first = at.first_tap();
  const T* from = x + first * KC + 2 * at.word;
  const T* from_dd = dd + (first + Shape::halo_width + 1) * Layout::dd_row + 2 * at.word;
  T* to = d + (at.row * Shape::width + at.across) * Layout::d_row + 2 * at.word;
  FULMAR_UNROLL
  for (int r = 0; r < Shape::column + 2; r++) {
    if (r < Shape::column) {
      sum[r % 3] = {};
      cotangent[r % 3] = load<2>(from_dd + r * Shape::halo_width * Layout::dd_row);
    }
    FULMAR_UNROLL
    for (int c = 0; c < 3; c++) {
      const Vec<float, 2> v = load<2>(from + (r * Shape::halo_width + c) * KC);
      FULMAR_UNROLL
      for (int up = 0; up < 3; up++) {
        const int o = r - up;  // the output whose row of taps `up` this is
        if (o < 0 || o >= Shape::column) continue;
        FULMAR_UNROLL
        for (int i = 0; i < 2; i++) {
          sum[o % 3].v[i] += v.v[i] * k[3 * up + c].v[i];
          sums[2 * (3 * up + c) + i] += v.v[i] * cotangent[o % 3].v[i];
        }
      }
    }
    if (r < 2) continue;
    const int o = r - 2;
    if (!place.holds(place.row + at.row + o, place.column + at.across)) sum[o % 3] = {};
    store<2>(to + o * Shape::width * Layout::d_row, sum[o % 3]);
  }
}

// The gradient of x's pixels, with the skip's and relu's mask, into the place of x. raw: x before
// it was normalised about `mean`, or null.
template <class T, int KC>
FULMAR_DEVICE void input_gradient(const Place& place, const T* dd, const float* w,
                                  const float* skip, const T* raw, const float* mean, T* x,
                                  float (&sums)[thread_sums]) {
  using Shape = Tile<T, KC>;
  using Layout = BackwardLayout<T, KC>;
  const Column<Shape> at;
  Vec<float, 2> k[taps], sum[3];
  FULMAR_UNROLL
  for (int t = 0; t < taps; t++) k[t] = load<2>(w + (taps - 1 - t) * KC + 2 * at.word);
  const int first = at.first_tap();
  const T* from = dd + first * Layout::dd_row + 2 * at.word;
  T* to = x + (first + Shape::halo_width + 1) * KC + 2 * at.word;
  Vec<float, 2> centre{};
  if (raw) centre = load<2>(mean + 2 * at.word);
  FULMAR_UNROLL
  for (int r = 0; r < Shape::column + 2; r++) {
    if (r < Shape::column) {
      sum[r % 3] = {};
      if (skip && (at.row + r) % 2 == 0 && at.across % 2 == 0)
        sum[r % 3] = load<2>(
            skip + ((at.row + r) / 2 * (Shape::width / 2) + at.across / 2) * Layout::skip_dx_row +
            2 * at.word);
    }
    FULMAR_UNROLL
    for (int c = 0; c < 3; c++) {
      const Vec<float, 2> v = load<2>(from + (r * Shape::halo_width + c) * Layout::dd_row);
      FULMAR_UNROLL
      for (int up = 0; up < 3; up++) {
        const int o = r - up;
        if (o < 0 || o >= Shape::column) continue;
        FULMAR_UNROLL
        for (int i = 0; i < 2; i++) sum[o % 3].v[i] += v.v[i] * k[3 * up + c].v[i];
      }
    }
    if (r < 2) continue;
    T* const own = to + (r - 2) * Shape::halo_width * KC;
    Vec<float, 2> value = sum[(r - 2) % 3];
    if (raw) {
      const Vec<float, 2> y = load<2>(own);
      FULMAR_UNROLL
      for (int i = 0; i < 2; i++)
        if (y.v[i] <= 0) value.v[i] = 0;  // NaN isn't masked
      if (place.holds(place.row + at.row + r - 2, place.column + at.across)) {
        const Vec<float, 2> in =
            load<2>(raw + ((at.row + r - 2) * Shape::width + at.across) * KC + 2 * at.word);
        FULMAR_UNROLL
        for (int i = 0; i < 2; i++) {
          const float stored = number(rounded<T>(value.v[i]));
          sums[2 * taps + i] += stored;
          sums[2 * taps + 2 + i] += stored * (in.v[i] - centre.v[i]);
        }
      }
    }
    store<2>(own, value);
  }
}

// dpointwise^T = dz^T d of the tile's pixels: outputs are rows of the fragments. Where there are
// fewer fragments than warps, warps share out the pixels.
template <class T, int KC>
struct WeightProduct {
  using Shape = Tile<T, KC>;
  using Layout = BackwardLayout<T, KC>;
  static constexpr int blocks = KC / 8;
  FragmentD dw[Layout::fragments];
  int fragments, parts;  // of all warps; warps of a fragment

  FULMAR_DEVICE explicit WeightProduct(int columns)
      : fragments((columns + 15) / 16 * blocks), parts(fragments < warps ? warps / fragments : 1) {}

  FULMAR_DEVICE void add(const T* dz, const T* d, int row, int columns) {
    using P = Product<T>;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int part = fragments < warps ? warp / fragments : 0;
    if (part >= parts) return;
    FULMAR_UNROLL
    for (int f = 0; f < Layout::fragments; f++) {
      const int fragment = (fragments < warps ? warp % fragments : warp) + f * warps;
      if (fragment >= fragments) break;
      const int output = fragment / blocks * 16, input = fragment % blocks * 8;
      FULMAR_NO_UNROLL
      for (int k = part; k < Shape::row_tiles; k += parts) {
        const auto of_dz = [&](int i) {
          const int pixel = k * 16 + i;
          return dz + ((pixel / Shape::width + 1) * Shape::halo_width + pixel % Shape::width +
                       Shape::before) *
                          row;
        };
        const auto of_d = [&](int i) { return d + (k * 16 + i) * Layout::d_row; };
        P::template add<16>(dw[f], P::a_across(of_dz, output, output + 16 <= columns),
                            P::template b_across<16>(of_d, input));
      }
    }
  }

  // Joins what warps have, in their order, and adds it to, or with `fresh` makes it, the group's
  // gradient. room: shared memory that nobody reads now.
  FULMAR_DEVICE void flush(const Backward<T>& a, int first_input, int first_output, bool fresh,
                           float* room) {
    const int thread = static_cast<int>(threadIdx.x);
    FULMAR_UNROLL
    for (int f = 0; f < Layout::fragments; f++) {
      float* const to = room + (thread / 32 * Layout::fragments + f) * Layout::flushed;
      FULMAR_UNROLL
      for (int i = 0; i < 4; i++)
        to[FragmentD::column(thread % 32, i) * Layout::flushed_row +
           FragmentD::row(thread % 32, i)] = dw[f].v[i];
      dw[f] = {};
    }
    __syncthreads();
    for (int i = thread; i < KC * a.columns; i += threads) {
      const int input = i / a.columns, output = i - input * a.columns;
      const int fragment = output / 16 * blocks + input / 8;
      const int element = input % 8 * Layout::flushed_row + output % 16;
      const int slot = fragment % warps * Layout::fragments + fragment / warps;
      float sum = 0;
      for (int part = 0; part < parts; part++)
        sum += room[(slot + part * fragments * Layout::fragments) * Layout::flushed + element];
      if (first_input + input >= a.inputs || first_output + output >= a.outputs) continue;
      float* const to = a.weights_of_group() +
                        static_cast<int64_t>(first_input + input) * a.outputs + first_output +
                        output;
      *to = fresh ? sum : *to + sum;
    }
    __syncthreads();
  }
};

template <class T, int KC>
struct SkipProduct {
  using Shape = Tile<T, KC>;
  static constexpr int tiles = Shape::pixels / 64, blocks = KC / 8;
  FragmentD dx;
  int tile, block;

  FULMAR_DEVICE SkipProduct()
      : tile(static_cast<int>(threadIdx.x) / 32 % tiles),
        block(static_cast<int>(threadIdx.x) / 32 / tiles) {}

  template <int depth>
  FULMAR_DEVICE void add_depth(const T* dy, const T* weight, int row, int k) {
    using P = Product<T>;
    P::template add<depth>(
        dx, P::template a_along<depth>([&](int i) { return dy + (tile * 16 + i) * row; }, k),
        P::template b_along<depth>([&](int i) { return weight + (block * 8 + i) * row; }, k));
  }
  FULMAR_DEVICE void add(const T* dy, const T* weight, int row, int columns) {
    if (block >= blocks) return;
    int k = 0;
    FULMAR_NO_UNROLL
    for (; k + 16 <= columns; k += 16) add_depth<16>(dy, weight, row, k);
    if (k < columns) add_depth<8>(dy, weight, row, k);
  }
  FULMAR_DEVICE void write(float* to) const {
    if (block >= blocks) return;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    FULMAR_UNROLL
    for (int i = 0; i < 4; i += 2)
      store<2>(to + (tile * 16 + FragmentD::row(lane, i)) * BackwardLayout<T, KC>::skip_dx_row +
                   8 * block + FragmentD::column(lane, i),
               Vec<float, 2>{{dx.v[i], dx.v[i + 1]}});
  }
};

// `chunked`: there are several chunks of outputs; then pictures are small, and blocks few.
template <class T, int KC, bool chunked>
__global__ void __launch_bounds__(threads, chunked ? 1 : 2) separable_grad_kernel(Backward<T> a) {
  using Shape = Tile<T, KC>;
  using Layout = BackwardLayout<T, KC>;
  constexpr int lanes = lanes_of<T>, parts = KC / lanes, step = threads / parts;
  FULMAR_DYNAMIC_SHARED(unsigned char, memory);
  const Layout layout(a.columns, a.skip.columns, a.x.normalised());
  auto* const norm = reinterpret_cast<float*>(memory);
  float* const depthwise = norm + 3 * KC;
  auto* const cotangent = reinterpret_cast<float*>(memory + layout.cotangent);
  auto* const weight = reinterpret_cast<T*>(memory + layout.weight);
  auto* const skip_weight = reinterpret_cast<T*>(memory + layout.skip_weight);
  auto* const x = reinterpret_cast<T*>(memory + layout.x);
  auto* const dd = reinterpret_cast<T*>(memory + layout.dd);
  auto* const dz = reinterpret_cast<T*>(memory + layout.dz);
  auto* const d = reinterpret_cast<T*>(memory + layout.d);
  T* const raw = a.x.normalised() ? reinterpret_cast<T*>(memory + layout.raw) : nullptr;
  auto* const skip_dx = reinterpret_cast<float*>(memory + layout.d);  // in the place of d

  const int thread = static_cast<int>(threadIdx.x), member = thread / parts;
  const int first = static_cast<int>(blockIdx.y) * KC;
  const int k = thread % parts * lanes, valid = a.inputs - first - k;
  const int chunks = chunked ? (a.outputs + a.columns - 1) / a.columns : 1;
  const int skip_chunks = a.skip.dy ? (a.skip.channels + a.skip.columns - 1) / a.skip.columns : 0;

  float sums[thread_sums] = {};
  WeightProduct<T, KC> product(a.columns);

  a.x.template make_tables<KC>(norm, first);
  load_taps<KC>(a.depthwise, a.inputs, first, depthwise);
  const auto load_chunk = [&](int chunk) {
    a.dy.make_tables(cotangent, chunk * a.columns, a.columns);
    load_weight(a.pointwise, a.inputs, a.outputs, first, chunk * a.columns, KC, a.columns, weight);
  };
  const auto load_skip = [&](int chunk) {
    load_weight(a.skip.w, a.inputs, a.skip.channels, first, chunk * a.skip.columns, KC,
                a.skip.columns, skip_weight);
  };
  if (!chunked) load_chunk(0);
  if (skip_chunks == 1) load_skip(0);

  Place place(a.tiling, a.tiling.begin());
  for (int tile = a.tiling.begin(); tile < a.tiling.end(); tile++, place.advance(a.tiling)) {
    HaloProduct<T, KC> halo;
    for (int chunk = 0; chunk < chunks; chunk++) {
      __syncthreads();
      if constexpr (chunked) {
        load_chunk(chunk);
        __syncthreads();
      }
      if (chunk == 0) a.x.template load_tile<KC>(place, norm, first, x, raw);
      a.dy.template load_tile<Shape>(place, cotangent, chunk * a.columns, a.columns, dz);
      __syncthreads();
      halo.add(dz, weight, layout.row, a.columns);
    }
    halo.write(dd);
    __syncthreads();
    if (a.weights) {
      depthwise_and_gradient<T, KC>(place, x, dd, depthwise, d, sums);
      for (int chunk = 0; chunk < chunks; chunk++) {
        if constexpr (chunked) {
          load_chunk(chunk);
          __syncthreads();
          a.dy.template load_tile<Shape>(place, cotangent, chunk * a.columns, a.columns, dz);
        }
        __syncthreads();
        product.add(dz, d, layout.row, a.columns);
        __syncthreads();
        if constexpr (chunked)
          product.flush(a, first, chunk * a.columns, tile == a.tiling.begin(),
                        reinterpret_cast<float*>(dz));
      }
    }
    if (a.skip.dy) {
      SkipProduct<T, KC> skip;
      for (int chunk = 0; chunk < skip_chunks; chunk++) {
        if (skip_chunks > 1) load_skip(chunk);
        a.skip.template load_tile<Shape>(place, chunk * a.skip.columns, dz);
        __syncthreads();
        skip.add(dz, skip_weight, layout.skip_row, a.skip.columns);
        __syncthreads();
      }
      skip.write(skip_dx);
      __syncthreads();
    }
    input_gradient<T, KC>(place, dd, depthwise, a.skip.dy ? skip_dx : nullptr, raw, norm, x, sums);
    __syncthreads();
    FULMAR_NO_UNROLL
    for (int i = member; i < Shape::pixels; i += step) {
      const int r = i / Shape::width, c = i % Shape::width;
      if (!place.holds(place.row + r, place.column + c)) continue;
      const auto value =
          load<lanes>(x + ((r + 1) * Shape::halo_width + c + Shape::before) * KC + k);
      const int64_t at = place.pixel(place.row + r, place.column + c) * a.inputs + first + k;
      store_some(a.dx + at, value, valid, a.x.aligned);
    }
  }
  __syncthreads();
  auto* const room = reinterpret_cast<float*>(memory + layout.x);
  if (a.weights && !chunked) product.flush(a, first, 0, true, room);
  if (!a.weights && !a.grad_sums) return;
  add_members(room, sums, thread / Shape::words, threads / Shape::words, Shape::words);
  if (thread >= Shape::words) return;
  FULMAR_UNROLL
  for (int i = 0; i < thread_sums; i++) {
    const int c = first + 2 * thread + i % 2;
    if (c >= a.inputs) continue;
    if (i >= 2 * taps) {
      if (a.grad_sums)
        a.grad_sums[(static_cast<int64_t>(blockIdx.x) * 2 + i / 2 - taps) * a.inputs + c] =
            static_cast<double>(sums[i]);
    } else if (a.weights) {
      a.weights_of_group()[static_cast<int64_t>(a.inputs) * a.outputs + i / 2 * a.inputs + c] =
          sums[i];
    }
  }
}

struct KeepGradSums {
  double* sums;
  FULMAR_DEVICE void operator()(int64_t i, double sum) const { sums[i] = sum; }
};
struct KeepWeights {
  float *dpointwise, *ddepthwise;
  int64_t products;
  FULMAR_DEVICE void operator()(int64_t i, double sum) const {
    (i < products ? dpointwise[i] : ddepthwise[i - products]) = static_cast<float>(sum);
  }
};

// What a call needs, and how it is shared out.
struct BackwardCall {
  const Cotangent& dy;
  const Loaded& x;
  const View &depthwise, &pointwise;
  const SkipGrad& skip;
  const SeparableGrad& d;

  int64_t inputs() const { return x.x.shape.channels(); }
  int64_t outputs() const { return pointwise.shape.channels(); }
  bool weights() const { return d.dpointwise.shape.rank() > 0; }
  int64_t partials() const { return inputs() * outputs() + taps * inputs(); }
  template <class Shape>
  Tiling tiling() const {
    return Tiling::of<Shape>(extent_of(x.x.shape), most_runs(weights() ? inputs() * outputs() : 1));
  }
  template <class Shape>
  size_t work_bytes() const {
    const auto groups = static_cast<size_t>(tiling<Shape>().groups);
    return groups * (x.normalised() ? 2 * static_cast<size_t>(inputs()) * sizeof(double) : 0) +
           groups * (weights() ? static_cast<size_t>(partials()) * sizeof(float) : 0);
  }

  template <class T, int KC>
  void run(Stream& stream, void* work) const {
    const auto tiles = tiling<Tile<T, KC>>();
    const Shape shape{x.x.shape[0], x.x.shape[1], x.x.shape[2], outputs()};
    Backward<T> a{Incoming<T>(dy, shape),
                  Source<T>(x),
                  Skip<T>(skip),
                  reals(depthwise),
                  reals(pointwise),
                  elements<T>(d.dx),
                  nullptr,
                  nullptr,
                  static_cast<int>(inputs()),
                  static_cast<int>(outputs()),
                  chunk_columns<T, KC>(outputs()),
                  tiles};
    if (tiles.tiles == 0 || a.inputs == 0) return;
    a.x.aligned = a.x.aligned && can_move_16_bytes(a.dx);
    if (a.skip.dy) a.skip.columns = chunk_columns<T, KC>(a.skip.channels);
    auto* memory = static_cast<double*>(work);
    if (x.normalised()) {
      a.grad_sums = memory;
      memory += tiles.groups * 2 * inputs();
    }
    if (weights()) a.weights = reinterpret_cast<float*>(memory);
    const auto parts = static_cast<unsigned>((inputs() + KC - 1) / KC);
    const Launch how{"separable_grad", dim3(static_cast<unsigned>(tiles.groups), parts), threads,
                     queue_of(stream).stream,
                     static_cast<size_t>(
                         BackwardLayout<T, KC>(a.columns, a.skip.columns, a.x.normalised()).bytes)};
    // Narrower chunks are taken where they hold all outputs.
    if (a.outputs <= a.columns)
      launch(how, separable_grad_kernel<T, KC, false>, a);
    else if constexpr (Tile<T, KC>::widest)
      launch(how, separable_grad_kernel<T, KC, true>, a);
    if (weights())
      join(stream, "separable_grad's weights", a.weights, tiles.groups, partials(),
           KeepWeights{reals(d.dpointwise), reals(d.ddepthwise), inputs() * outputs()});
    if (x.normalised())
      join(stream, "separable_grad's sums", a.grad_sums, tiles.groups, 2 * inputs(),
           KeepGradSums{elements<double>(d.grad_sums)});
  }
};

}  // namespace
}  // namespace sep

size_t separable_grad_workspace(Stream&, const Cotangent& dy, const Loaded& x,
                                const View& depthwise, const View& pointwise, const SkipGrad& skip,
                                const SeparableGrad& d) {
  const sep::BackwardCall call{dy, x, depthwise, pointwise, skip, d};
  size_t bytes = 0;
  sep::with_chunk(x, pointwise.shape.channels(), [&](auto zero, auto chunk) {
    bytes = call.work_bytes<sep::Tile<decltype(zero), decltype(chunk)::value>>();
  });
  return bytes;
}

void separable_grad(Stream& stream, const Cotangent& dy, const Loaded& x, const View& depthwise,
                    const View& pointwise, const SkipGrad& skip, const SeparableGrad& d,
                    void* work) {
  const sep::BackwardCall call{dy, x, depthwise, pointwise, skip, d};
  sep::with_chunk(x, pointwise.shape.channels(), [&](auto zero, auto chunk) {
    call.run<decltype(zero), decltype(chunk)::value>(stream, work);
  });
}

}  // namespace fulmar::cuda
