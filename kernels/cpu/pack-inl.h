// Copies the two sides of a matrix product into the order that its tiles read. A packing functor
// may change every element on the way. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_PACK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_PACK_INL_H
#undef FULMAR_KERNELS_CPU_PACK_INL_H
#else
#define FULMAR_KERNELS_CPU_PACK_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/gemm-inl.h"
#include "kernels/cpu/patches.h"
#include "kernels/thread_pool.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Packing functors give the values that replace the elements of columns [c, c + lanes). Padding is
// zero for any functor, as if the functor had run before the padding. The last lanes may lie beyond
// the last column: tables are a vector longer. One with a function `at` gives what a vector of
// columns needs, so that it is in registers for several rows.
struct Keep {
  static constexpr bool keeps = true;  // a side that is packed already may be read where it lies
  template <class D, class V>
  HWY_INLINE V operator()(D, V value, int64_t /*c*/) const {
    return value;
  }
};

// `count` copies of `length` floats each, columns [c, c + length) of a side, `from_step` and
// `to_step` apart. length >= lanes of d.
template <class D, class T, class Packing>
HWY_INLINE void copy_runs_with(D d, const T* from, int64_t from_step, float* to, int64_t to_step,
                               int64_t length, int64_t count, const Packing& packing, int64_t c) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  if constexpr (requires { packing.at(d, c); }) {
    constexpr int64_t together = 16;  // their rows stay in L1
    const auto copy_all = [&](int64_t e, int64_t first, int64_t last) HWY_ATTR {
      const auto change = packing.at(d, c + e);
      for (int64_t i = first; i < last; i++)
        hn::StoreU(change(d, load_vector(d, from + i * from_step + e)), d, to + i * to_step + e);
    };
    for (int64_t i = 0; i < count; i += together) {
      const int64_t end = std::min(count, i + together);
      for (int64_t e = 0; e + lanes <= length; e += lanes) copy_all(e, i, end);
      if (length % lanes != 0) copy_all(length - lanes, i, end);
    }
    return;
  }
  const auto copy = [&](int64_t e) HWY_ATTR {
    hn::StoreU(packing(d, load_vector(d, from + e), c + e), d, to + e);
  };
  for (int64_t i = 0; i < count; i++, from += from_step, to += to_step) {
    for (int64_t e = 0; e + lanes <= length; e += lanes) copy(e);
    // The last vector overlaps the one before: no loop over single floats.
    if (length % lanes != 0) copy(length - lanes);
  }
}
template <class T, class Packing>
HWY_INLINE void copy_runs(const T* from, int64_t from_step, float* to, int64_t to_step,
                          int64_t length, int64_t count, const Packing& packing, int64_t c) {
  const hn::ScalableTag<float> d;
#if HWY_TARGET == HWY_AVX3  // where masks cost nothing
  if (length <= static_cast<int64_t>(hn::Lanes(d))) {
    for (int64_t i = 0; i < count; i++, from += from_step, to += to_step)
      store_first(d, packing(d, load_first(d, from, length), c), to, length);
    return;
  }
#endif
  const auto with = [&](auto tag) HWY_ATTR {
    copy_runs_with(tag, from, from_step, to, to_step, length, count, packing, c);
  };
  if (length >= static_cast<int64_t>(hn::Lanes(d))) return with(d);
  if (length >= 8) return with(hn::CappedTag<float, 8>());
  if (length >= 4) return with(hn::CappedTag<float, 4>());
  with(hn::CappedTag<float, 1>());
}

// Floor of a / b for b > 0.
HWY_INLINE int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// Elements [begin, end) of one run for the grid pixels [first, last) of one grid row.
template <class Packing>
HWY_INLINE void pack_run(const Patches& x, const PatchRun& run, int64_t image, int64_t qy,
                         int64_t first, int64_t last, int64_t begin, int64_t end, float* to,
                         int64_t to_stride, const Packing& packing) {
  const int64_t iy = qy * x.step_y + run.dy;
  const size_t bytes = static_cast<size_t>(end - begin) * sizeof(float);
  if (iy < 0 || iy >= x.height || x.width == 0) {
    for (int64_t q = first; q < last; q++, to += to_stride) std::memset(to, 0, bytes);
    return;
  }
  const float* const row = x.source + image * x.image_stride + iy * x.row_stride;
  // Pixel q wants elements [q step + offset + begin, q step + offset + end) of a source row, of
  // which [0, limit) are there. `inner` pixels find all of them.
  const int64_t step = x.step_x * x.channels, offset = run.dx * x.channels;
  const int64_t limit = x.width * x.channels;
  const int64_t inner_first = std::clamp(-floor_div(offset + begin, step), first, last);
  const int64_t inner_last =
      std::clamp(floor_div(limit - offset - end, step) + 1, inner_first, last);
  const auto edge = [&](int64_t q_begin, int64_t q_end) {
    for (int64_t q = q_begin; q < q_end; q++) {
      float* const out = to + (q - first) * to_stride;
      const int64_t at = q * step + offset;
      const int64_t low = std::clamp(-at, begin, end), high = std::clamp(limit - at, low, end);
      std::memset(out, 0, bytes);
      if (low < high)
        copy_runs(row + (q * x.step_x + run.dx) * x.pixel_stride + low, 0, out + low - begin, 0,
                  high - low, 1, packing, run.first + low);
    }
  };
  edge(first, inner_first);
  if (inner_first < inner_last)
    copy_runs(row + (inner_first * x.step_x + run.dx) * x.pixel_stride + begin,
              x.step_x * x.pixel_stride, to + (inner_first - first) * to_stride, to_stride,
              end - begin, inner_last - inner_first, packing, run.first + begin);
  edge(inner_last, last);
}

// Columns [begin, end) of the rows [first_row, last_row) of the patch matrix, `to_stride` apart.
template <class Packing>
HWY_INLINE void pack_patches(const Patches& x, int64_t first_row, int64_t last_row, int64_t begin,
                             int64_t end, float* to, int64_t to_stride, const Packing& packing) {
  for (int64_t row = first_row; row < last_row;) {
    const int64_t qx = row % x.grid_width, line = row / x.grid_width;
    const int64_t count = std::min(x.grid_width - qx, last_row - row);
    for (const PatchRun& run : x.runs) {
      const int64_t low = std::max(begin, run.first);
      const int64_t high = std::min(end, run.first + run.length);
      if (low < high)
        pack_run(x, run, line / x.grid_height, line % x.grid_height, qx, qx + count,
                 low - run.first, high - run.first, to + low - begin, to_stride, packing);
    }
    row += count;
    to += count * to_stride;
  }
}

// The pixels of one source line that the grid pixels [first, last) of a run read, each once, one
// after the other: of Patches::overlaps().
template <class Packing>
HWY_INLINE void pack_line(const Patches& x, const PatchRun& run, int64_t image, int64_t qy,
                          int64_t first, int64_t last, float* to, const Packing& packing) {
  const int64_t pixels = last - first + x.taps() - 1, begin = first + run.dx, iy = qy + run.dy;
  const auto clear = [&](int64_t from, int64_t end) {
    std::memset(to + from * x.channels, 0,
                static_cast<size_t>((end - from) * x.channels) * sizeof(float));
  };
  if (iy < 0 || iy >= x.height) return clear(0, pixels);
  const int64_t low = std::clamp<int64_t>(-begin, 0, pixels);
  const int64_t high = std::clamp(x.width - begin, low, pixels);
  clear(0, low);
  clear(high, pixels);
  if (low == high) return;
  const float* const from =
      x.source + image * x.image_stride + iy * x.row_stride + (begin + low) * x.channels;
  if constexpr (Packing::keeps)
    std::memcpy(to + low * x.channels, from,
                static_cast<size_t>((high - low) * x.channels) * sizeof(float));
  else
    copy_runs(from, x.channels, to + low * x.channels, x.channels, x.channels, high - low, packing,
              run.first);
}

// One panel: columns [c, c + width) of the matrix (k, n) -> from[k * stride + n], zero-padded.
template <class T>
HWY_INLINE void pack_panel(const T* from, int64_t stride, int64_t depth, int64_t columns, int64_t c,
                           float* to) {
  const int64_t width = panel_width(columns - c), used = std::min(width, columns - c);
  if (used < width) std::memset(to, 0, static_cast<size_t>(depth * width) * sizeof(float));
  constexpr int64_t block = 16, line = 16;  // rows asked for at a time; floats
  for (int64_t k = 0; k < depth; k += block) {
    const int64_t end = std::min(depth, k + block), later = std::min(depth, end + block);
    for (int64_t next = end; next < later; next++)
      for (int64_t e = 0; e < used; e += line) hwy::Prefetch(from + next * stride + c + e);
    copy_runs(from + k * stride + c, stride, to + k * width, width, used, end - k, Keep(), c);
  }
}

// A convolution's weight [Kh,Kw,Ci/groups,Co], or a product's [1,1,Ci,Co] in one group: the panels
// of each group, one behind the other.
inline void pack_weights(ThreadPool& pool, const View& w, int64_t groups, float* memory) {
  const int64_t outputs = w.shape.channels() / groups, depth = w.shape.pixels();
  const int64_t padded = padded_columns(outputs), panel = panel_width(outputs);
  const int64_t panels = (outputs + panel - 1) / panel;
  pool.run(groups * panels, [&](int64_t task, int) HWY_ATTR {
    const int64_t g = task / panels, c = task % panels * panel;
    pack_panel(w.as<float>() + g * outputs, w.shape.channels(), depth, outputs, c,
               memory + g * padded * depth + c * depth);
  });
}

// The same of the transposed matrix: (k, n) -> from[n * stride + k], into rows `to_first` and on.
HWY_INLINE void pack_panel_transposed(const float* from, int64_t stride, int64_t depth,
                                      int64_t columns, int64_t c, float* to) {
  const int64_t width = panel_width(columns - c), used = std::min(width, columns - c);
  if (used < width) std::memset(to, 0, static_cast<size_t>(depth * width) * sizeof(float));
  constexpr int64_t block = 64, line = 16;  // rows of `to` that are written at a time; floats
  const auto fetch = [&](int64_t n, int64_t k) {
    const int64_t end = std::min(depth, k + block);
    for (; k < end; k += line) hwy::Prefetch(from + (c + n) * stride + k);
  };
  constexpr int64_t ahead = 8;  // columns
  for (int64_t k = 0; k < depth; k += block) {
    const int64_t end = std::min(depth, k + block);
    for (int64_t n = 0; n < used; n++) {
      if (n + ahead < used)
        fetch(n + ahead, k);
      else if (n + ahead - used < used)
        fetch(n + ahead - used, end);
      for (int64_t i = k; i < end; i++) to[i * width + n] = from[(c + n) * stride + i];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
