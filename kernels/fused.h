#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/view.h"
#include "kernels/window.h"

// Kernels that do the work of several ops in one pass over memory. engine/fuse/ puts them into a
// tape in place of those ops, where the device has them: each may be missing.
namespace fulmar {

struct Stream;
struct WarpOptions;
struct WarpSample;

// What Backend::warp makes of a picture, without standardize.
struct Sampled {
  const WarpSample* samples = nullptr;
  const WarpOptions* how = nullptr;
  Shape shape{};  // [N,H,W,bands]
};

// A tensor [N,H,W,C] as a kernel reads it: x itself, or with gamma what batch normalisation and
// relu make of it: max(0, gamma (x - mean) / sqrt(var + epsilon) + beta). NaN stays. Dense
// convolutions take it sampled too: x is then a picture.
struct Loaded {
  View x;
  View gamma{}, beta{}, mean{}, var{};  // [C]
  double epsilon = 0;
  Sampled sampled{};

  bool normalised() const { return gamma.shape.rank() > 0; }
  bool is_sampled() const { return sampled.how; }
  const Shape& shape() const { return is_sampled() ? sampled.shape : x.shape; }
};

// The argmax of a pixel whose maximum relu made 0: it takes no gradient. One more than the taps.
constexpr int pool_off = 9;

// The cotangent of a tensor z [N,H,W,C] as a kernel reads it: g, or with gamma what
// batch_norm_grad makes of it, gamma/s (g - g0/n - (z - mean) g1/(n s^2)). g is dy, or with argmax
// what max_pool_grad makes of dy [N,Hp,Wp,C] by a window of 3x3 taps and stride 2.
struct Cotangent {
  View dy;
  View argmax{};  // u8; pool_off: to no tap
  View z{};
  View gamma{}, mean{}, var{};  // [C]
  View sums{}, grad_sums{};     // f64 [3,C], [2,C]
  double epsilon = 0;

  bool pooled() const { return argmax.shape.rank() > 0; }
  bool normalised() const { return gamma.shape.rank() > 0; }
};

// What a 1x1 convolution of stride 2 over the same x adds to dx: conv2d_input_grad(dy, w).
struct SkipGrad {
  View dy{}, w{};  // [N,(H+1)/2,(W+1)/2,Cs], [1,1,C,Cs]

  bool given() const { return w.shape.rank() > 0; }
};

// The gradient of norm_relu. g may be dy.
struct NormReluGrad {
  View g;            // of what lies before relu, and so of a skip that is as it is
  View sums;         // f64 [2,C] = batch_norm_grad_sums(g, z, mean)
  View skip_sums{};  // the same of a normalised skip
};

// The gradient of a convolution by its input.
struct ConvolutionInputGrad {
  View dx;           // of x; where x was loaded normalised, of what normalisation gave, before relu
  View grad_sums{};  // f64 [2,Ci], where x was loaded normalised: batch_norm_grad_sums(dx, x, mean)
};

struct SeparableGrad {
  View dx;           // of x; where x was loaded normalised, of what normalisation gave, before relu
  View grad_sums{};  // f64 [2,Ci], where x was loaded normalised: batch_norm_grad_sums(dx, x, mean)
  View ddepthwise{}, dpointwise{};  // both or none
};

// One layer of a run: it makes rows of its output of a few rows of what it reads.
struct RowLayer {
  // warp: a picture's rows, as Backend::warp without standardize.
  // conv: conv2d of one group.
  // separable: conv2d 1x1 of depthwise_conv2d, as FusedKernels::separable.
  // pool_skip: max_pool(x) + conv2d(skip), as FusedKernels::pool_skip; no x has a
  // sign bit, as behind relu.
  enum class Kind : uint8_t { warp, conv, separable, pool_skip };
  Kind kind = Kind::separable;
  // What it reads, of the run's tensors: first those given, then each layer's output.
  int x = 0, skip = -1;
  bool relu = false;  // of its output
  Shape y;
  Window window{};                // of conv
  View depthwise{}, w{}, bias{};  // as the kinds have them; bias?
  View packed{};                  // of separable and pool_skip: w by pack_row_weight, or none
  const WarpSample* samples = nullptr;
  const WarpOptions* warp = nullptr;
};

// One of a chain of pointwise functions (kernels/pointwise.h).
struct ChainStep {
  int functor = 0;
  double alpha = 0, beta = 0;
  // Its arguments: the chain's operands are 0 and up, its steps come behind them. -1: none.
  std::array<int, 2> x{-1, -1};
  int y = -1;  // which of the chain's outputs it is; -1: none
};

// Elements of a packed weight [1,1,inputs,outputs], whatever a device makes of it.
constexpr int64_t packed_elements(int64_t inputs, int64_t outputs) {
  constexpr int64_t widest = 32;
  return inputs * ((outputs + widest - 1) / widest * widest);
}

// The second column of numbers is that of kernels/kernel_list.h.
#define FULMAR_FUSED_KERNELS(X) \
  X(separable, 6, 7)            \
  X(separable_grad, 6)          \
  X(pool_skip, 5, 6, 7)         \
  X(pool_grad_sums, 5)          \
  X(skip_weight_grad, 3)        \
  X(row_run, 3)                 \
  X(pack_row_weight, 2)         \
  X(norm_relu, 3)               \
  X(norm_relu_grad, 5)          \
  X(convolution, 5, 6)          \
  X(convolution_input_grad, 5)  \
  X(convolution_weight_grad, 3) \
  X(packed_convolution, 6)      \
  X(pack_weight, 3)             \
  X(pointwise_chain, 3)

#define FULMAR_FUSED_WORKSPACE_KERNELS(X) \
  X(separable)                            \
  X(separable_grad)                       \
  X(skip_weight_grad)                     \
  X(row_run)                              \
  X(convolution)                          \
  X(convolution_input_grad)               \
  X(convolution_weight_grad)              \
  X(packed_convolution)

// What a kernel takes is asked by its `_takes`, where there is one; without one it takes all. fuse
// leaves the rest alone: the device does better one op at a time there.

// Windows are 3x3. A separable one has stride 1 and padding 1 on all sides, a pooling one stride 2
// and the padding of 'same': 1 before an odd extent and none before an even one.
struct FusedKernels {
  // y = conv2d(depthwise_conv2d(x, depthwise), pointwise, bias): depthwise [3,3,Ci], pointwise
  // [1,1,Ci,Co], bias? [Co], y [N,H,W,Co]. sums? f64 [3,Co] = channel_sums(y, shift), shift? [Co]
  void (*separable)(Stream&, const Loaded& x, const View& depthwise, const View& pointwise,
                    const View& bias, const View& shift, const View& y, const View& sums,
                    void* work);
  size_t (*separable_workspace)(Stream&, const Loaded& x, const View& depthwise,
                                const View& pointwise, const View& bias, const View& shift,
                                const View& y, const View& sums);
  bool (*separable_takes)(const View& x, const View& y);  // their shapes
  void (*separable_grad)(Stream&, const Cotangent& dy, const Loaded& x, const View& depthwise,
                         const View& pointwise, const SkipGrad& skip, const SeparableGrad& d,
                         void* work);
  size_t (*separable_grad_workspace)(Stream&, const Cotangent& dy, const Loaded& x,
                                     const View& depthwise, const View& pointwise,
                                     const SkipGrad& skip, const SeparableGrad& d);

  // y = max_pool(z) + conv2d(u, w, bias): z [N,H,W,C], loaded normalised; u [N,H,W,Cu], w
  // [1,1,Cu,C], stride 2; bias? [C]; y [N,Hp,Wp,C]. pooled: the x of z that won, not normalised;
  // argmax u8: its tap, or pool_off
  void (*pool_skip)(Stream&, const Loaded& z, const Loaded& u, const View& w, const View& bias,
                    const View& y, const View& pooled, const View& argmax);
  // sums f64 [2,C] = batch_norm_grad_sums(g, z, mean) with g = max_pool_grad(dy, argmax)
  void (*pool_grad_sums)(Stream&, const View& dy, const View& pooled, const View& argmax,
                         const View& mean, const View& sums);
  // dw [1,1,Cu,C] = conv2d_weight_grad(u, dy), of a 1x1 convolution of stride 2
  void (*skip_weight_grad)(Stream&, const Loaded& u, const View& dy, const View& dw, void* work);
  size_t (*skip_weight_grad_workspace)(Stream&, const Loaded& u, const View& dy, const View& dw);

  // y: the last layer's output. What the others give exists a few rows at a time. Only a conv reads
  // what a warp gives, and a conv reads nothing else that a layer gives.
  void (*row_run)(Stream&, std::span<const View> x, std::span<const RowLayer> layers, const View& y,
                  void* work);
  size_t (*row_run_workspace)(Stream&, std::span<const View> x, std::span<const RowLayer> layers,
                              const View& y);
  // packed [packed_elements]: w [1,1,Ci,Co] as row_run may read it
  void (*pack_row_weight)(Stream&, const View& w, const View& packed);

  // y = relu(z + skip), both as Loaded says but without its relu: z normalised; skip? normalised or
  // as it is
  void (*norm_relu)(Stream&, const Loaded& z, const Loaded& skip, const View& y);
  // y? is what norm_relu gave: it may be left out where there is no skip.
  void (*norm_relu_grad)(Stream&, const View& dy, const Loaded& z, const Loaded& skip,
                         const View& y, const NormReluGrad& d);

  bool (*convolution_takes)(const View& w, const View& y, const Window&, int64_t groups,
                            bool normalised);  // w's and y's shapes; x is to be normalised
  // Whether convolution and convolution_weight_grad take an x of w's inputs that is sampled.
  bool (*convolution_samples)(const View& w, const View& y, const Window&, int64_t groups);
  // y = conv2d(x, w, bias); sums? f64 [3,Co] = channel_sums(y, shift), shift? [Co]
  void (*convolution)(Stream&, const Loaded& x, const View& w, const View& bias, const View& shift,
                      const View& y, const View& sums, const Window&, int64_t groups, void* work);
  size_t (*convolution_workspace)(Stream&, const Loaded& x, const View& w, const View& bias,
                                  const View& shift, const View& y, const View& sums, const Window&,
                                  int64_t groups);
  // dx = conv2d_input_grad(dy, w) + so_far; so_far? [N,H,W,Ci], of an x that is not normalised
  void (*convolution_input_grad)(Stream&, const View& dy, const View& w, const Loaded& x,
                                 const View& so_far, const ConvolutionInputGrad& d, const Window&,
                                 int64_t groups, void* work);
  size_t (*convolution_input_grad_workspace)(Stream&, const View& dy, const View& w,
                                             const Loaded& x, const View& so_far,
                                             const ConvolutionInputGrad& d, const Window&,
                                             int64_t groups);
  // dw = conv2d_weight_grad(x, dy); dy is not pooled
  void (*convolution_weight_grad)(Stream&, const Loaded& x, const Cotangent& dy, const View& dw,
                                  const Window&, int64_t groups, void* work);
  size_t (*convolution_weight_grad_workspace)(Stream&, const Loaded& x, const Cotangent& dy,
                                              const View& dw, const Window&, int64_t groups);

  // y = conv2d(x, w, bias) + skip, with relu where it says so; w: its shape alone, packed: by
  // pack_weight; bias?, skip? as y
  void (*packed_convolution)(Stream&, const View& x, const View& w, const View& packed,
                             const View& bias, const View& skip, const View& y, const Window&,
                             int64_t groups, bool relu, void* work);
  size_t (*packed_convolution_workspace)(Stream&, const View& x, const View& w, const View& packed,
                                         const View& bias, const View& skip, const View& y,
                                         const Window&, int64_t groups, bool relu);
  // packed [groups packed_elements(Kh Kw Ci/groups, Co/groups)]: w [Kh,Kw,Ci/groups,Co] as
  // packed_convolution reads it
  void (*pack_weight)(Stream&, const View& w, int64_t groups, const View& packed);

  // All y have one shape; an x has it too, or repeats along extents of 1, as of Backend::pointwise.
  // An x may be a y.
  void (*pointwise_chain)(Stream&, std::span<const View> x, std::span<const ChainStep> steps,
                          std::span<const View> y);
};

}  // namespace fulmar
