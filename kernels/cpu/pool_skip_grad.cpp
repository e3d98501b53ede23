#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"

// How the weight gradient of the skip is cut: by shape alone.
#ifndef FULMAR_KERNELS_CPU_POOL_SKIP_GRAD_CUT
#define FULMAR_KERNELS_CPU_POOL_SKIP_GRAD_CUT
namespace fulmar::cpu {

struct SkipGradCut {
  static constexpr int64_t block_rows = 64;  // of dw: a task's share
  int64_t blocks, chunks, chunk_pixels;      // each chunk of pixels has a sum of its own

  SkipGradCut(const View& dy, const View& dw) {
    const int64_t pixels = dy.shape.pixels(), rows = dw.shape.width();
    blocks = (rows + block_rows - 1) / block_rows;
    // Enough tasks for many threads, but sums that are small beside the work of making them.
    const int64_t wanted = std::clamp<int64_t>(
        std::min({64 / blocks, pixels / 256, (int64_t{1} << 21) / dw.shape.elements()}), 1, 64);
    chunk_pixels = std::max<int64_t>(1, (pixels + wanted - 1) / wanted);
    chunks = (pixels + chunk_pixels - 1) / chunk_pixels;
  }
};

}  // namespace fulmar::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pool_skip_grad.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/even_pixels-inl.h"
#include "kernels/cpu/stores-inl.h"
#include "kernels/cpu/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

using Codes = hn::Vec<hn::Rebind<uint8_t, D>>;
template <class Load>
HWY_INLINE Codes load_codes(const Load&, const uint8_t* p) {
  return hn::LoadU(hn::Rebind<uint8_t, D>(), p);
}
HWY_INLINE Codes load_codes(const Part& part, const uint8_t* p) {
  HWY_ALIGN uint8_t lane[max_lanes] = {};
  std::memcpy(lane, p, static_cast<size_t>(part.count));
  return hn::LoadU(hn::Rebind<uint8_t, D>(), lane);
}

template <class T>
struct PooledCorrelation {
  const T *dy, *pooled;
  const uint8_t* argmax;
  const float* mean;
  template <class Load>
  HWY_INLINE void operator()(const Load& load, int64_t e, int64_t phase, V* sum) const {
    const D d;
    const hn::RebindToSigned<D> di;
    const auto code = hn::PromoteTo(di, load_codes(load, argmax + e));
    const auto off = hn::RebindMask(d, hn::Eq(code, hn::Set(di, pool_off)));
    const V g = hn::IfThenZeroElse(off, load(dy + e));
    sum[0] = hn::Add(sum[0], g);
    sum[1] = hn::MulAdd(g, hn::Sub(load(pooled + e), hn::LoadU(d, mean + phase)), sum[1]);
  }
};

void pool_sums_target(Stream& stream, const View& dy, const View& pooled, const View& argmax,
                      const View& mean, const View& sums) {
  const int64_t channels = dy.shape.channels();
  const float* m = mean.as<float>();
  const auto tile = period_tile(period_of(channels), channels, [&](int64_t c) { return m[c]; });
  for_type_of(dy, [&]<class T>(std::type_identity<T>) {
    sum_pixels<2>(stream, 1, dy.shape.pixels(), channels,
                  PooledCorrelation<T>{elements<T>(dy), elements<T>(pooled), argmax.as<uint8_t>(),
                                       tile.data()},
                  sums.as<double>());
  });
}

// Pixels whose sum is made in float: rounding grows with them.
constexpr int64_t float_pixels = 512;
// Longer rows of dy are copied, since their stride would put many of them on the same cache sets.
constexpr int64_t plain_columns = 64;

// Pixels that are multiplied at a time: what is gathered of them stays in L1.
template <class T>
HWY_INLINE int64_t gathered_pixels(const EvenPixels<T>& even, int64_t rows) {
  const int64_t most = std::clamp<int64_t>(4096 / rows, 64, float_pixels);
  return even.width() >= 64 ? std::min(most, even.width()) : most;  // of one row
}

// sum [rows][columns] = the products of rows [first_row, first_row + rows) of the even pixels'
// channels with dy, over `pixels` pixels. scratch: see weight_grad_target.
template <class T>
HWY_NOINLINE void sum_products(const EvenPixels<T>& even, const T* dy, int64_t columns,
                               int64_t first, int64_t pixels, int64_t first_row, int64_t rows,
                               float* scratch, float* sum) {
  const int64_t most = gathered_pixels(even, rows);
  float* const packed = scratch + most * rows;
  for (int64_t p = 0; p < pixels; p += most) {
    const int64_t count = std::min(most, pixels - p);
    const T* const g = dy + (first + p) * columns;
    even.gather(first + p, count, first_row, rows, Ahead{asked_at(g), asked_floats<T>(columns)},
                scratch);
    const auto add = [&](const auto& right) HWY_ATTR {
      multiply<Left::columns>(
          Block{rows, 0, columns, 0, count, {p == 0, false}}, LeftBlock{scratch, rows}, right,
          [&](int64_t) {
            return Ahead{scratch, 0};
          },
          EvenRows{sum, columns}, StoreSum());
    };
    if (columns <= plain_columns && padded_columns(columns) == columns) {
      if constexpr (std::is_same_v<T, float>) {
        add(PlainRight{g, columns, columns});
      } else {
        transform(
            Cached(), count * columns, packed, [](V v) HWY_ATTR { return v; }, g);
        add(PlainRight{packed, columns, columns});
      }
      continue;
    }
    for (int64_t c = 0; c < columns; c += panel_width(columns - c))
      pack_panel(g, columns, count, columns, c, packed + c * count);
    add(Panels{packed, count, columns});
  }
}

// partial [chunks][rows][columns] of dw
template <class T>
void weight_grad_of(Stream& stream, const Loaded& u, const View& dy, const View& dw,
                    const SkipGradCut& cut, double* partial) {
  const int64_t all_rows = dw.shape.width(), columns = dw.shape.channels();
  const int64_t all_pixels = dy.shape.pixels(), block = std::min(all_rows, cut.block_rows);
  const EvenPixels<T> even(u);
  // A last block of few rows takes more pixels at a time.
  const int64_t most =
      gathered_pixels(even, all_rows <= block ? block : (all_rows - 1) % block + 1);
  const int64_t scratch = most * block + most * padded_columns(columns);
  const size_t floats = static_cast<size_t>(block * columns + scratch);
  stream.pool->run(cut.chunks * cut.blocks, [&](int64_t task, int worker) HWY_ATTR {
    auto* const sum = static_cast<float*>(stream.pool->scratch(worker, floats * sizeof(float)));
    const int64_t chunk = task / cut.blocks, first_row = task % cut.blocks * cut.block_rows;
    const int64_t rows = std::min(cut.block_rows, all_rows - first_row);
    const int64_t end = std::min(all_pixels, (chunk + 1) * cut.chunk_pixels);
    double* const total = partial + (chunk * all_rows + first_row) * columns;
    std::fill_n(total, rows * columns, 0.0);
    for (int64_t p = chunk * cut.chunk_pixels; p < end; p += float_pixels) {
      sum_products(even, elements<T>(dy), columns, p, std::min(float_pixels, end - p), first_row,
                   rows, sum + block * columns, sum);
      for (int64_t i = 0; i < rows * columns; i++) total[i] += static_cast<double>(sum[i]);
    }
  });
}

void weight_grad_target(Stream& stream, const Loaded& u, const View& dy, const View& dw,
                        const SkipGradCut& cut, double* partial) {
  for_type_of(dy, [&]<class T>(std::type_identity<T>) {
    weight_grad_of<T>(stream, u, dy, dw, cut, partial);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/parallel.h"
namespace fulmar::cpu {

HWY_EXPORT(pool_sums_target);
void pool_grad_sums(Stream& stream, const View& dy, const View& pooled, const View& argmax,
                    const View& mean, const View& sums) {
  HWY_DYNAMIC_DISPATCH(pool_sums_target)(stream, dy, pooled, argmax, mean, sums);
}

size_t skip_weight_grad_workspace(Stream&, const Loaded&, const View& dy, const View& dw) {
  const SkipGradCut cut(dy, dw);
  return static_cast<size_t>(cut.chunks * dw.shape.elements()) * sizeof(double);
}

HWY_EXPORT(weight_grad_target);
void skip_weight_grad(Stream& stream, const Loaded& u, const View& dy, const View& dw, void* work) {
  const SkipGradCut cut(dy, dw);
  auto* const partial = static_cast<double*>(work);
  HWY_DYNAMIC_DISPATCH(weight_grad_target)(stream, u, dy, dw, cut, partial);
  const int64_t elements = dw.shape.elements();
  float* const out = dw.as<float>();
  for_chunks(stream, elements, 1 << 12, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      double sum = 0;
      for (int64_t k = 0; k < cut.chunks; k++) sum += partial[k * elements + i];
      out[i] = static_cast<float>(sum);
    }
  });
}

}  // namespace fulmar::cpu
#endif
