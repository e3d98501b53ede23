// What both directions of the fused separable convolution share: how a tensor is cut into tasks,
// rings of rows, and the depthwise part. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_SEPARABLE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_SEPARABLE_INL_H
#undef FULMAR_KERNELS_CPU_SEPARABLE_INL_H
#else
#define FULMAR_KERNELS_CPU_SEPARABLE_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/loaded-inl.h"
#include "kernels/cpu/pack-inl.h"
#include "kernels/cpu/past_caches.h"
#include "kernels/cpu/stores-inl.h"
#include "kernels/thread_pool.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t taps = 9;

HWY_INLINE int64_t rounded_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// Work that a task does at a time: `step` rows, `segment` of their pixels. Rings of rows stay in
// L2, what becomes of a segment in L1.
struct Pace {
  int64_t step, segment;

  Pace(const Shape& x, const Channels& channels) : Pace(x, channels, channels.stride) {}
  // widest: floats of a pixel in the widest tensor of which a segment lies in L1.
  Pace(const Shape& x, const Channels& channels, int64_t widest) {
    // Of 8 channels with AVX-512 the gradient took 0.89 of its time with 64 pixels at a time
    // instead of 128; of 16 channels it took longer with 32 instead of 64 (Zen 5).
    const int64_t l1_floats = channels.stride < lanes() ? 1024 : 2048;
    constexpr int64_t least_pixels = 64;
    const int64_t width = x.width();
    step = 2 * std::clamp<int64_t>((least_pixels / 2 + width - 1) / width, 1, 16);
    step = std::min(step, rounded_up(x.height(), 2));
    const int64_t pixels = std::max(l1_floats / widest, least_pixels) / step;
    segment = std::min(width, rounded_up(pixels, 16));
  }
};

// Bands of rows of each image; a function of the shape alone, so that bits don't depend on threads.
struct Bands {
  int64_t images, height, rows, count;  // rows of a band, bands of an image

  Bands(const Shape& x, int64_t most_tasks) : images(x.images()), height(x.height()) {
    // What bands share is made twice. Of few images each makes two tasks at least.
    constexpr int64_t usual = 16, least = 4, few_images = 8;
    const int64_t least_rows =
        images < few_images ? std::clamp(rounded_up(height, 4) / 2, least, usual) : usual;
    const int64_t wanted = std::max<int64_t>(1, most_tasks / std::max<int64_t>(1, images));
    rows = rounded_up(std::max((height + wanted - 1) / wanted, least_rows), 2);
    count = (height + rows - 1) / rows;
  }
  int64_t tasks() const { return images * count; }
};

// Rows of a tensor around the one in work, in scratch memory, zeros before and behind each.
struct Ring {
  float* memory;
  int64_t slots, room, stride;

  Ring(float* at, int64_t row_count, int64_t width, const Channels& channels)
      : memory(at),
        slots(row_count),
        room(rounded_up(channels.stride, lanes())),
        stride(stride_of(width, channels)) {}
  static int64_t stride_of(int64_t width, const Channels& channels) {
    return 2 * rounded_up(channels.stride, lanes()) + rounded_up(width * channels.stride, lanes()) +
           lanes();
  }
  float* at(int64_t row) const { return memory + (row + slots) % slots * stride + room; }
  // What lies before and behind the rows, where no one writes again.
  void clear_edges(int64_t floats) const {
    for (int64_t slot = 0; slot < slots; slot++) {
      std::memset(at(slot) - room, 0, static_cast<size_t>(room) * sizeof(float));
      clear_end(slot, floats);
    }
  }
  void clear(int64_t row) const {
    std::memset(at(row) - room, 0, static_cast<size_t>(stride) * sizeof(float));
  }
  // What lies behind the last pixel of a row.
  void clear_end(int64_t row, int64_t floats) const {
    std::memset(at(row) + floats, 0, static_cast<size_t>(stride - room - floats) * sizeof(float));
  }
};

// Loads rows of a tensor into a ring.
template <class T>
struct RowLoader {
  const T* x;
  int64_t height, width;
  Channels channels;
  bool normalised;
  Affine affine;

  HWY_INLINE void operator()(const Ring& ring, int64_t image, int64_t row) const {
    if (row < 0 || row >= height) return ring.clear(row);
    const T* const from = x + (image * height + row) * width * channels.count;
    if (normalised)
      load_pixels(
          channels, width, ring.at(row),
          [this](int64_t phase) HWY_ATTR {
            return [lanes = affine.at(D(), phase)](V v, int64_t)
                       HWY_ATTR { return rectified(D(), lanes(v)); };
          },
          from);
    else
      load_pixels(channels, width, ring.at(row), Plainly(), from);
    ring.clear_end(row, width * channels.stride);
  }
};

// The depthwise kernel by the lanes of a period, [taps][period]; `turned` by 180 degrees.
HWY_INLINE Scratch<float> tap_tables(const Channels& channels, const View& depthwise,
                                     bool turned = false) {
  Scratch<float> tables;
  tables.reserve(static_cast<size_t>(taps * channels.period));
  const float* const w = depthwise.as<float>();
  for (int64_t t = 0; t < taps; t++) {
    const float* const tap = w + (turned ? taps - 1 - t : t) * channels.count;
    const auto table = channels.table([&](int64_t c) { return tap[c]; });
    tables.insert(tables.end(), table.begin(), table.end());
  }
  return tables;
}

// Rows that are wanted later, a line of each at a time between multiplications: those that are
// loaded before the next step.
struct NextRows {
  const float* next;
  int64_t row;     // floats from a row to the next
  int halved = 0;  // 1: elements are half as large as floats

  template <class T>
  static NextRows of(const T* p, int64_t row_elements) {
    return {asked_at(p), asked_floats<T>(row_elements), sizeof(T) < sizeof(float)};
  }
  template <int rows>
  HWY_INLINE void ask(int64_t e) const {
    hwy::Prefetch(next + (e >> halved));
    if constexpr (rows == 2) hwy::Prefetch(next + row + (e >> halved));
  }
  // Into L2. It paid (Zen 4: 0.94 of the time with 16 channels) but where vectors hold two pixels.
  template <int rows>
  HWY_INLINE void ask_far(int64_t e) const {
    prefetch_far(next + (e >> halved));
    if constexpr (rows == 2) prefetch_far(next + row + (e >> halved));
  }
};

// What the tiles of a product ask for, a line at a time: `each` floats a tile, from `next` on.
struct AheadByTile {
  const float* next;
  int64_t each, share;
  HWY_INLINE Ahead operator()(int64_t tile) const { return {next + tile * each, share}; }
};

// y[r][e] = sum over taps of x[r + ky][e + (kx - 1) stride] w for `rows` rows of `floats` elements;
// x: rows + 2 rows, from the one above.
template <int rows, class Columns>
HWY_NOINLINE void depthwise_rows(const float* const* x, const float* w, int64_t stride,
                                 int64_t period, int64_t floats, float* y, int64_t y_row,
                                 NextRows ahead) {
  const D d;
  for (int64_t phase = 0; phase < period; phase += lanes()) {
    V k[taps];
#pragma GCC unroll 9
    for (int t = 0; t < taps; t++) k[t] = hn::LoadU(d, w + t * period + phase);
    Columns columns(x, stride, phase);
    for (int64_t e = phase; e < floats; e += period) {
      ahead.ask_far<rows>(e);
      V sum[rows];
#pragma GCC unroll 2
      for (int r = 0; r < rows; r++) sum[r] = hn::Zero(d);
#pragma GCC unroll 4
      for (int r = 0; r < rows + 2; r++) {
        V v[3];
        columns.read(r, e, v);
#pragma GCC unroll 3
        for (int c = 0; c < 3; c++) {
#pragma GCC unroll 2
          for (int o = 0; o < rows; o++)
            if (r >= o && r - o < 3) sum[o] = hn::MulAdd(v[c], k[(r - o) * 3 + c], sum[o]);
        }
      }
#pragma GCC unroll 2
      for (int r = 0; r < rows; r++) hn::StoreU(sum[r], d, y + r * y_row + e);
    }
  }
}

// Pixels of a segment of some rows in scratch memory: rows follow one another, each from a whole
// vector on.
struct Segment {
  int64_t h, rows, first, pixels;  // of the image

  HWY_INLINE int64_t row_floats(const Channels& channels) const {
    return rounded_up(pixels * channels.stride, lanes());
  }
  // body(how many rows as a constant, the first): two at a time.
  template <class Body>
  HWY_INLINE void by_rows(const Body& body) const {
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2) body(Constant<2>(), r);
    if (r < rows) body(Constant<1>(), r);
  }
  // body(first row, pixels) for runs of pixels without gaps, in scratch memory of all of these
  // tensors: all rows at once, where they end with whole vectors.
  template <class Body>
  HWY_INLINE void for_runs(const Channels& a, const Channels& b, const Body& body) const {
    const auto whole = [&](const Channels& c) { return row_floats(c) == pixels * c.stride; };
    if (whole(a) && whole(b)) return body(0, rows * pixels);
    for (int64_t r = 0; r < rows; r++) body(r, pixels);
  }
};

// The depthwise output of a segment.
template <class Rows>
HWY_INLINE void depthwise_segment(const Rows& ring, const Channels& channels, const float* w,
                                  const Segment& s, float* y, NextRows ahead) {
  const int64_t at = s.first * channels.stride, floats = s.pixels * channels.stride;
  const int64_t y_row = s.row_floats(channels);
  s.by_rows([&](auto count, int64_t r) HWY_ATTR {
    constexpr int rows = decltype(count)::value;
    const float* x[rows + 2];
    for (int64_t i = 0; i < rows + 2; i++) x[i] = ring.at(s.h + r - 1 + i) + at;
    with_columns<rows + 2>(channels.stride, [&](auto columns) HWY_ATTR {
      depthwise_rows<rows, typename decltype(columns)::type>(x, w, channels.stride, channels.period,
                                                             floats, y + r * y_row, y_row, ahead);
    });
  });
}

// Where runs of pixels of a tensor can be written past the caches, a vector at a time.
HWY_INLINE bool streams(const View& y, int64_t run_pixels) {
  const auto line = static_cast<int64_t>(line_bytes / size_of(y.type));
  // Less than a line at a time would be worse than none.
  const int64_t channels = y.shape.channels();
  if (lanes() < line && channels > lanes()) return false;
  return streams_between_work(y) && y.shape.width() * channels % line == 0 &&
         run_pixels * channels % line == 0;
}

// Whether vectors have 16 lanes.
constexpr bool pairs = HWY_TARGET == HWY_AVX3;

// A weight [1,1,Ci,Co] packed for products, as it is or transposed. In vectors of 16 lanes up to 8
// columns would fill half of each: there a lane pair takes two steps of the depth at once.
struct Weight {
  const float* data = nullptr;
  int64_t depth = 0, columns = 0;

  static HWY_INLINE bool in_pairs(int64_t depth, int64_t columns) {
    return pairs && columns <= 8 && depth % 2 == 0;
  }
  static HWY_INLINE int64_t floats(int64_t depth, int64_t columns) {
    return depth * std::max<int64_t>(padded_columns(columns), in_pairs(depth, columns) ? 8 : 0);
  }
  bool in_pairs() const { return in_pairs(depth, columns); }
};

HWY_INLINE Weight pack_weight(ThreadPool& pool, const View& w, bool transposed, float* to) {
  const int64_t inputs = w.shape.width(), outputs = w.shape.channels();
  const int64_t depth = transposed ? outputs : inputs, columns = transposed ? inputs : outputs;
  const float* const from = w.as<float>();
  if (Weight::in_pairs(depth, columns)) {
    for (int64_t k = 0; k < depth; k++)
      for (int64_t c = 0; c < 8; c++)
        to[k / 2 * 16 + 2 * c + k % 2] =
            c >= columns ? 0 : from[transposed ? c * outputs + k : k * outputs + c];
    return {to, depth, columns};
  }
  if (!transposed) {
    pack_weights(pool, w, 1, to);
    return {to, depth, columns};
  }
  const int64_t width = panel_width(columns);
  pool.run((columns + width - 1) / width, [&](int64_t task, int) HWY_ATTR {
    pack_panel_transposed(from, outputs, depth, columns, task * width, to + task * width * depth);
  });
  return {to, depth, columns};
}

#if HWY_TARGET == HWY_AVX3
// Two neighbouring floats in every lane pair.
HWY_INLINE V pair_at(const float* p) {
  const hn::Repartition<double, D> wide;
  double both;
  std::memcpy(&both, p, sizeof both);
  return hn::BitCast(D(), hn::Set(wide, both));
}

// Rows [m, m + 8) of out = left weight + bias, in pairs, up to row `last`; two rows fill a vector.
// bias: twice.
template <bool whole, class Rows>
HWY_INLINE void multiply_pairs(const float* left, int64_t stride, const Weight& w, V bias,
                               bool relu, const Rows& out, int64_t m, int64_t last) {
  constexpr int count = 8;
  const D d;
  const auto row = [&](int64_t j) { return whole ? m + j : std::min(m + j, last); };
  V sum[count];
#pragma GCC unroll 8
  for (int j = 0; j < count; j++) sum[j] = hn::Zero(d);
  for (int64_t k = 0; k < w.depth; k += 2) {
    const V right = hn::LoadU(d, w.data + k * count);
#pragma GCC unroll 8
    for (int j = 0; j < count; j++)
      sum[j] = hn::MulAdd(pair_at(left + row(j) * stride + k), right, sum[j]);
  }
  const hn::CappedTag<float, 8> half;
#pragma GCC unroll 4
  for (int j = 0; j < count; j += 2) {
    const V even = hn::ConcatEven(d, sum[j + 1], sum[j]);
    V y = hn::Add(hn::Add(even, hn::ConcatOdd(d, sum[j + 1], sum[j])), bias);
    if (relu) y = hn::IfThenZeroElse(hn::Le(y, hn::Zero(d)), y);  // +0, which a pool wants
    float *const first = out(row(j)), *const second = out(row(j + 1));
    if (w.columns == 8 && second == first + 8) {
      hn::StoreU(y, d, first);
      continue;
    }
    if (m + j <= last) store_first(half, hn::LowerHalf(half, y), first, w.columns);
    if (m + j + 1 <= last) store_first(half, hn::UpperHalf(half, y), second, w.columns);
  }
}

template <class Rows>
HWY_NOINLINE void multiply_in_pairs(int64_t rows, const LeftBlock& left, const Weight& w,
                                    const float* bias, bool relu, const Rows& out,
                                    const AheadByTile& ahead) {
  constexpr int64_t tall = 8;
  const D d;
  V twice = hn::Zero(d);
  if (bias) {
    const V once = hn::LoadU(d, bias);
    twice = hn::ConcatLowerLower(d, once, once);
  }
  const float* next = ahead.next;
  int64_t m = 0;
  for (; m + tall <= rows; m += tall) {
    for (int64_t k = 0; k < w.depth / 2; k++, next += ahead.share) prefetch_far(next);
    multiply_pairs<true>(left.data, left.stride, w, twice, relu, out, m, rows - 1);
  }
  if (m < rows) multiply_pairs<false>(left.data, left.stride, w, twice, relu, out, m, rows - 1);
}

// sum[8][8] += x^T y over pixels; both have 8 channels. A lane pair takes two channels of x.
inline HWY_NOINLINE void add_products_in_pairs(const float* x, const float* y, int64_t pixels,
                                               float* sum, const float* next, int64_t share) {
  const D d;
  HWY_ALIGN static constexpr int32_t low[16] = {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7};
  HWY_ALIGN static constexpr int32_t high[16] = {8,  8,  9,  9,  10, 10, 11, 11,
                                                 12, 12, 13, 13, 14, 14, 15, 15};
  const auto of_first = hn::SetTableIndices(d, low), of_second = hn::SetTableIndices(d, high);
  V a[4], b[4];  // of even and odd pixels
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) a[k] = b[k] = hn::Zero(d);
  int64_t p = 0;
  for (; p + 2 <= pixels; p += 2) {
    hwy::Prefetch(next + p / 2 * share);
    const V both = hn::LoadU(d, y + 8 * p);
    const V first = hn::TableLookupLanes(both, of_first);
    const V second = hn::TableLookupLanes(both, of_second);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      a[k] = hn::MulAdd(pair_at(x + 8 * p + 2 * k), first, a[k]);
      b[k] = hn::MulAdd(pair_at(x + 8 * p + 8 + 2 * k), second, b[k]);
    }
  }
  if (p < pixels) {
    const hn::CappedTag<float, 8> half;
    const V one = hn::ZeroExtendVector(d, hn::LoadU(half, y + 8 * p));
    for (int k = 0; k < 4; k++)
      a[k] = hn::MulAdd(pair_at(x + 8 * p + 2 * k), hn::TableLookupLanes(one, of_first), a[k]);
  }
  for (int k = 0; k < 4; k++) {
    HWY_ALIGN float lane[16];
    hn::Store(hn::Add(a[k], b[k]), d, lane);
    for (int l = 0; l < 16; l++) sum[(2 * k + l % 2) * 8 + l / 2] += lane[l];
  }
}
#endif

// out(m)[c] = bias[c] + sum over k of left(m, k) weight(k, c) for m in [0, rows) and some columns,
// the first of a widest panel; bias: whole panels, or null. relu: of that, where there is a bias.
template <class Rows>
HWY_INLINE void multiply_weight(int64_t rows, const LeftBlock& left, const Weight& w,
                                const float* bias, const Rows& out, const AheadByTile& ahead,
                                int64_t first_column, int64_t last_column, bool relu = false) {
#if HWY_TARGET == HWY_AVX3
  if (w.in_pairs()) return multiply_in_pairs(rows, left, w, bias, relu, out, ahead);
#endif
  const Block block{rows, first_column, last_column, 0, w.depth, {true, true}};
  const Panels panels{w.data, w.depth, w.columns};
  if (bias && relu)
    multiply<Left::rows>(block, left, panels, ahead, out, AddBiasRectify{bias});
  else if (bias)
    multiply<Left::rows>(block, left, panels, ahead, out, AddBias{bias});
  else
    multiply<Left::rows>(block, left, panels, ahead, out, StoreSum());
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
