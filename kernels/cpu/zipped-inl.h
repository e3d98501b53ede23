// Zipped rows: a row of pixels is cut into as many segments as a vector has lanes, and vector t
// holds element t of each segment. Pixels are then lanes and a pixel's neighbour is the next whole
// vector, for any number of channels and any stride. Compiled once per instruction set, inside its
// namespace.
#if defined(FULMAR_KERNELS_CPU_ZIPPED_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_ZIPPED_INL_H
#undef FULMAR_KERNELS_CPU_ZIPPED_INL_H
#else
#define FULMAR_KERNELS_CPU_ZIPPED_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "hwy/cache_control.h"
#include "kernels/backend.h"
#include "kernels/cpu/past_caches.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR  // a row is its own zip

HWY_INLINE void zip(const float* const* from, int64_t count, float* to) {
  std::memcpy(to, from[0], static_cast<size_t>(count) * sizeof(float));
}
HWY_INLINE void unzip(const float* from, int64_t count, float* to) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}

#else

// Lane 4 b + k of a vector belongs to segment 4 b + k: block b is loaded from and stored to that
// segment's pointer; segments[0] is the first block's.
template <class DX>
HWY_INLINE hn::Vec<DX> load_blocks(DX d, const float* const* segments, int64_t t) {
  if constexpr (hn::MaxLanes(DX()) <= 4) {
    return hn::LoadU(d, segments[0] + t);
  } else {
    const hn::Half<DX> half;
    constexpr int64_t other = hn::MaxLanes(hn::Half<DX>());
    return hn::Combine(d, load_blocks(half, segments + other, t), load_blocks(half, segments, t));
  }
}
template <class DX>
HWY_INLINE void store_blocks(DX d, hn::Vec<DX> v, float* const* segments, int64_t t) {
  if constexpr (hn::MaxLanes(DX()) <= 4) {
    hn::StoreU(v, d, segments[0] + t);
  } else {
    const hn::Half<DX> half;
    constexpr int64_t other = hn::MaxLanes(hn::Half<DX>());
    store_blocks(half, hn::LowerHalf(half, v), segments, t);
    store_blocks(half, hn::UpperHalf(half, v), segments + other, t);
  }
}

// Rows of 4 lanes change places with columns, in each block.
HWY_INLINE void transpose_blocks(V (&v)[4]) {
  const D d;
  const hn::Repartition<uint64_t, D> wide;
  const auto pair = [&](V x) HWY_ATTR { return hn::BitCast(wide, x); };
  const auto a = pair(hn::InterleaveLower(d, v[0], v[1]));
  const auto b = pair(hn::InterleaveUpper(d, v[0], v[1]));
  const auto e = pair(hn::InterleaveLower(d, v[2], v[3]));
  const auto f = pair(hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(wide, a, e));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(wide, a, e));
  v[2] = hn::BitCast(d, hn::InterleaveLower(wide, b, f));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(wide, b, f));
}

// to[t * lanes + l] = from[l][t] for t in [0, count), count a multiple of 4.
HWY_NOINLINE inline void zip(const float* const* from, int64_t count, float* to) {
  const D d;
  for (int64_t t = 0; t < count; t += 4, to += 4 * max_lanes) {
    V v[4];
    for (int k = 0; k < 4; k++) v[k] = load_blocks(d, from + k, t);
    transpose_blocks(v);
    for (int k = 0; k < 4; k++) hn::Store(v[k], d, to + k * max_lanes);
  }
}

// The way back: to[l * count + t] = from[t * lanes + l].
HWY_NOINLINE inline void unzip(const float* from, int64_t count, float* to) {
  const D d;
  float* segments[max_lanes];
  for (int64_t l = 0; l < max_lanes; l++) segments[l] = to + l * count;
  for (int64_t t = 0; t < count; t += 4, from += 4 * max_lanes) {
    V v[4];
    for (int k = 0; k < 4; k++) v[k] = hn::Load(d, from + k * max_lanes);
    transpose_blocks(v);
    for (int k = 0; k < 4; k++) store_blocks(d, v[k], segments + k, t);
  }
}

#endif

// A vector that several products take: GCC would load it from memory for each of them, and one
// load a product is all that some processors do (Zen 4).
HWY_INLINE V kept(V v) {
#if HWY_TARGET == HWY_AVX3
  asm("" : "+v"(v.raw));
#endif
  return v;
}

// Memory that is wanted next, fetched a part at a time between multiplications: with bursts while
// zipping, conv2d took 1.3 times as long.
class Fetch {
 public:
  Fetch() = default;
  HWY_INLINE Fetch(const float* next, int64_t floats, int64_t steps)
      : next_(next), share_(next ? (floats + steps - 1) / steps : 0) {}
  HWY_INLINE void step() {
    constexpr int64_t line = 16;
    for (int64_t f = 0; f < share_; f += line) hwy::Prefetch(next_ + f);
    next_ += share_;
  }
  // Into L2: the gradient of weights, for which three tensors are fetched, takes 0.8 of the time
  // that it takes with lines in L1 (Zen 4).
  HWY_INLINE void step_far() {
    constexpr int64_t line = 16;
    for (int64_t f = 0; f < share_; f += line) prefetch_far(next_ + f);
    next_ += share_;
  }
  HWY_INLINE Fetch after(int64_t steps) const {
    Fetch later = *this;
    later.next_ += steps * share_;
    return later;
  }

 private:
  const float* next_ = nullptr;
  int64_t share_ = 0;
};

// Zips `count` elements of each segment of a row; segment l begins with the row's element
// first + l * step. Elements outside [0, size) of the row are 0; `edge` has room for all segments.
HWY_INLINE void zip_row(const float* row, int64_t size, int64_t first, int64_t step, int64_t count,
                        float* edge, float* to) {
  const float* segments[max_lanes];
  for (int64_t l = 0; l < max_lanes; l++) {
    const int64_t begin = first + l * step;
    if (begin >= 0 && begin + count <= size) {
      segments[l] = row + begin;
      continue;
    }
    const int64_t low = std::clamp<int64_t>(-begin, 0, count);
    const int64_t high = std::clamp<int64_t>(size - begin, low, count);
    std::memset(edge, 0, static_cast<size_t>(count) * sizeof(float));
    if (low < high)
      std::memcpy(edge + low, row + begin + low, static_cast<size_t>(high - low) * sizeof(float));
    segments[l] = edge;
    edge += count;
  }
  zip(segments, count, to);
}

// How the rows of a convolution's two tensors are zipped: a segment is `columns` output pixels.
struct ZippedConv {
  int64_t images, height, width, inputs;   // of x
  int64_t out_height, out_width, outputs;  // of y
  int64_t kernel_height, kernel_width;
  Window window;
  int64_t columns;   // an even number, and columns * outputs is a multiple of 4
  int64_t x_count;   // vectors of a row of x, a multiple of 4
  int64_t y_count;   // vectors of a row of y
  int64_t row_span;  // rows of x that a row of y spans

  HWY_INLINE ZippedConv(const View& w, const View& y, const Window& how)
      : images(y.shape.images()),
        height(0),
        width(0),
        inputs(w.shape.width()),
        out_height(y.shape.height()),
        out_width(y.shape.width()),
        outputs(y.shape.channels()),
        kernel_height(w.shape.images()),
        kernel_width(w.shape.height()),
        window(how) {
    const int64_t least = (out_width + max_lanes - 1) / max_lanes, unit = outputs % 2 == 0 ? 2 : 4;
    columns = (least + unit - 1) / unit * unit;
    const int64_t wide = (columns - 1) * window.stride[1] + (kernel_width - 1) * window.dilation[1];
    x_count = ((wide + 1) * inputs + 3) / 4 * 4;
    y_count = columns * outputs;
    row_span = (kernel_height - 1) * window.dilation[0] + 1;
  }
  HWY_INLINE ZippedConv(const Shape& x, const View& w, const View& y, const Window& how)
      : ZippedConv(w, y, how) {
    height = x.height();
    width = x.width();
  }

  int64_t depth() const { return kernel_height * kernel_width * inputs; }
  int64_t lines() const { return images * out_height; }  // rows of y
  int64_t x_row() const { return x_count * max_lanes; }  // floats
  int64_t y_row() const { return y_count * max_lanes; }
  int64_t column_step() const { return window.stride[1] * inputs * max_lanes; }

  // Floats of a ZippedRows' memory.
  int64_t ring_floats() const { return (row_span + 2) * x_row(); }

  // Few inputs, where patches in memory cost more than their product; rows that fill at least half
  // of the lanes; and a ring that stays near a core.
  bool suits(int64_t groups) const {
    constexpr int64_t most_inputs = 4, most_ring = int64_t{1} << 18;
    return groups == 1 && inputs <= most_inputs && kernel_height * kernel_width > 1 &&
           2 * out_width >= max_lanes * columns && ring_floats() <= most_ring;
  }
};

// The zipped rows of x that a row of y reads, kept for the next row of y; as floats, as bytes, or
// as pairs of bf16.
template <class T>
class ZippedRowsOf {
 public:
  HWY_INLINE ZippedRowsOf(const ZippedConv& conv, const float* x, float* memory)
      : conv_(conv),
        x_(x),
        zeros_(reinterpret_cast<T*>(memory)),
        edge_(reinterpret_cast<T*>(memory + conv.x_row())),
        ring_(reinterpret_cast<T*>(memory + 2 * conv.x_row())) {
    std::memset(zeros_, 0, static_cast<size_t>(conv.x_row()) * sizeof(T));
  }

  // taps[k]: where element k of (tap row, tap column, channel) lies for the first output column of
  // row `line`, in the numbering of all images' rows. Lines rise.
  HWY_INLINE void find_taps(int64_t line, const T** taps) {
    find_taps(line, taps, [&](int64_t image, int64_t iy, T* to) {
      zip_plain(x_ + (image * conv_.height + iy) * conv_.width * conv_.inputs, to);
    });
  }
  // The same of rows that fill(image, iy, to) zips.
  template <class Fill>
  HWY_INLINE void find_taps(int64_t line, const T** taps, const Fill& fill) {
    for_tap_rows(line, fill, [&](const T* row) HWY_ATTR {
      for (int64_t j = 0; j < conv_.kernel_width; j++)
        for (int64_t c = 0; c < conv_.inputs; c++)
          *taps++ = row + (j * conv_.window.dilation[1] * conv_.inputs + c) * max_lanes;
    });
  }
  // body(row of x) for each row of taps.
  template <class Fill, class Body>
  HWY_INLINE void for_tap_rows(int64_t line, const Fill& fill, const Body& body) {
    const int64_t image = line / conv_.out_height;
    if (image != image_) have_ = -conv_.window.padding[0];
    image_ = image;
    const int64_t first =
        line % conv_.out_height * conv_.window.stride[0] - conv_.window.padding[0];
    for (int64_t iy = std::max(first, have_); iy < first + conv_.row_span; iy++) {
      if (iy < 0 || iy >= conv_.height) continue;
      fill(image, iy, at(iy));
    }
    have_ = first + conv_.row_span;
    for (int64_t i = 0; i < conv_.kernel_height; i++) {
      const int64_t iy = first + i * conv_.window.dilation[0];
      body(iy < 0 || iy >= conv_.height ? zeros_ : at(iy));
    }
  }

  HWY_INLINE void zip_plain(const float* row, float* to) const {
    zip_row(row, conv_.width * conv_.inputs, first(), step(), conv_.x_count, edge_, to);
  }
  // Elements of a row, and memory, as zip_row takes them.
  int64_t first() const { return -conv_.window.padding[2] * conv_.inputs; }
  int64_t step() const { return conv_.columns * conv_.window.stride[1] * conv_.inputs; }
  int64_t count() const { return conv_.x_count; }
  T* edge() const { return edge_; }

  // Rows of an image that the next row of y reads for the first time.
  struct Rows {
    int64_t image, begin, end;
  };
  HWY_INLINE Rows next_rows() const {
    return {image_, std::clamp<int64_t>(have_, 0, conv_.height),
            std::min(have_ + conv_.window.stride[0], conv_.height)};
  }
  // They, in so many steps.
  HWY_INLINE Fetch next(int64_t steps) const {
    const Rows rows = next_rows();
    if (rows.begin >= rows.end) return {};
    const int64_t row_floats = conv_.width * conv_.inputs;
    return {x_ + (rows.image * conv_.height + rows.begin) * row_floats,
            (rows.end - rows.begin) * row_floats, steps};
  }

 private:
  T* at(int64_t iy) { return ring_ + iy % conv_.row_span * conv_.x_row(); }

  ZippedConv conv_;
  const float* x_;
  T *zeros_, *edge_, *ring_;
  int64_t image_ = -1, have_ = 0;
};
using ZippedRows = ZippedRowsOf<float>;

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
