#include <cstring>

#include "kernels/cpu/conv2d_check.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/patches.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/packed_convolution.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/conv2d_forward-inl.h"
#include "kernels/cpu/convolution-inl.h"

// A convolution as inference runs it: weights were packed once, and what comes behind the sums is
// done while they are in registers.

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Adds the bias, then what is there already, then rectifies.
struct FinishLayer {
  using SeesTiles = void;
  AddBias add_bias;
  AddOther skip;  // of nothing: no skip
  bool relu;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V sum, int64_t m, int64_t c) const {
    return add_bias(d, sum, m, c);
  }
  HWY_INLINE void fetch(const float* place, int vectors) const {
    if (skip.other) skip.fetch(place, vectors);
  }
  template <class D, class V, int rows, int vectors, class Place, class Load>
  HWY_INLINE void tile(D d, V (&y)[rows][vectors], const Place& place, const Load& load,
                       int64_t c) const {
    if (skip.other) skip.tile(d, y, place, load, c);
    if (!relu) return;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++)  // +0, which a pool wants
        y[r][v] = hn::IfThenZeroElse(hn::Le(y[r][v], hn::Zero(d)), y[r][v]);
    }
  }
};

int64_t table_floats(const View& y, int64_t groups) {
  return groups * padded_columns(y.shape.channels() / groups);
}

void packed_convolution_target(ThreadPool& pool, const View& x, const View& w, const View& packed,
                               const View& bias, const View& skip, const View& y,
                               const Window& window, int64_t groups, bool relu, float* table) {
  const int64_t outputs = y.shape.channels() / groups, padded = padded_columns(outputs);
  const float* const biases = column_table(bias, outputs, groups, table);
  const AddOther other{skip ? skip.as<float>() : nullptr, y.as<float>()};
  Scratch<Product<FinishLayer>> products;
  for (int64_t g = 0; g < groups; g++)
    products.push_back(forward_product(x, w, y, window, groups, g, packed.as<float>(),
                                       FinishLayer{{biases + g * padded}, other, relu}, Keep()));
  // Tasks that share out the columns pack the same rows, so they are few. Each element's sum has
  // one order, whichever task makes it.
  run_pieces(pool, products, pieces_of(products, 2 * pool.threads()));
}

void pack_weight_target(ThreadPool& pool, const View& w, int64_t groups, const View& packed) {
  const int64_t outputs = w.shape.channels() / groups;
  const int64_t used = groups * padded_columns(outputs) * w.shape.pixels();
  pack_weights(pool, w, groups, packed.as<float>());
  // Narrow panels leave room.
  std::memset(packed.as<float>() + used, 0,
              static_cast<size_t>(packed.shape.elements() - used) * sizeof(float));
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(table_floats);
HWY_EXPORT(packed_convolution_target);
HWY_EXPORT(pack_weight_target);

size_t packed_convolution_workspace(Stream&, const View&, const View&, const View&, const View&,
                                    const View&, const View& y, const Window&, int64_t groups,
                                    bool) {
  return static_cast<size_t>(HWY_DYNAMIC_DISPATCH(table_floats)(y, groups)) * sizeof(float);
}

void packed_convolution(Stream& stream, const View& x, const View& w, const View& packed,
                        const View& bias, const View& skip, const View& y, const Window& window,
                        int64_t groups, bool relu, void* work) {
  check_conv2d(x, w, y, window, groups);
  if (y.shape.elements() == 0) return;
  HWY_DYNAMIC_DISPATCH(packed_convolution_target)
  (*stream.pool, x, w, packed, bias, skip, y, window, groups, relu, static_cast<float*>(work));
}

void pack_weight(Stream& stream, const View& w, int64_t groups, const View& packed) {
  HWY_DYNAMIC_DISPATCH(pack_weight_target)(*stream.pool, w, groups, packed);
}

}  // namespace fulmar::cpu
#endif
