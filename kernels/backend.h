#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/fnv1a.h"
#include "kernels/fused.h"
#include "kernels/kernel_list.h"
#include "kernels/step_state.h"
#include "kernels/thread_pool.h"
#include "kernels/view.h"
#include "kernels/warp.h"
#include "kernels/window.h"

namespace fulmar {

// The queue of a backend's work. CPU backends use the pool; others keep their own handle.
struct Stream {
  ThreadPool* pool = nullptr;
  void* native = nullptr;
};

// Most taps of a maximum pooling: its argmax is a u8.
constexpr int64_t max_pool_taps = 256;
// Most classes of a confusion matrix.
constexpr int64_t max_confusion_classes = 1024;

struct Resize {
  Interpolation interpolation = Interpolation::bilinear;
  // Source position of output pixel i, clamped to the source. false: (i + .5) * in/out -
  // .5 (half-pixel centres), true: i * (in - 1)/(out - 1). Nearest reads floor(position +
  // .5).
  bool align_corners = false;
};

struct CrossEntropy {
  double label_smoothing = 0;  // target' = (1 - s) target + s / classes
  int64_t ignore_index = -1;   // rows with this label have loss and weight 0 (index labels only)
};

struct AdamW {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7, weight_decay = 0;
  bool decay_scaled_by_lr = true;  // theta -= (scaled ? lr * decay : decay) * theta, before Adam
  bool keras_epsilon = true;  // epsilon added before bias correction of v (Keras) or after (torch)
};

struct Sgd {
  double momentum = 0.9, weight_decay = 0;
  bool nesterov = false;
};

struct Lars {
  double momentum = 0.9, weight_decay = 0;
  double trust_coefficient = 1e-3;
  double epsilon = 0;  // added to the denominator of the local rate
};

// fp32: float32 throughout. tf32: the same, but dense products may round their factors to 10 bits
// of fraction, as NVIDIA's tensor cores do. bf16: a device stores activations and their gradients
// as bf16; parameters, statistics and all sums stay float32 or wider.
enum class Precision : uint8_t { fp32, tf32, bf16 };

struct MemoryInfo {
  size_t free_bytes = 0, total_bytes = 0;
};

// The table of a backend: every kernel of the engine for one kind of device.
//
// Tensors are contiguous unless a line says "strided". Activations and their gradients have the
// backend's `activation` type. Parameters, their gradients, statistics and losses of rows have its
// `real` type. Dense convolutions round weights to `activation` before they multiply. A GPU's
// vendor libraries also round the bias, or the sum before they add it, and once the gradients of
// weights. Sums over pixels (marked f64) are double everywhere. An operand marked "?" may be an
// empty View. `work` is scratch memory; the kernel's own `_workspace` line gives its size in bytes,
// from views that may lack memory. Outputs never overlap inputs, with two exceptions: an output of
// pointwise and pointwise_grad may be an input that has as many elements, and dx of batch_norm_grad
// may be its dy. Results don't depend on the number of threads.
struct Backend {
  // Other names or another order of kernels are another version; `revision` counts changes of what
  // they take.
  static constexpr uint32_t revision = 6;
#define FULMAR_NAME(name, ...) #name " "
  static constexpr uint32_t current_version =
      static_cast<uint32_t>(fnv1a(FULMAR_KERNELS(FULMAR_NAME) FULMAR_FUSED_KERNELS(FULMAR_NAME))) +
      revision;
#undef FULMAR_NAME
  uint32_t version;
  const char* name;      // "cpu", "reference", "cuda", "simt"
  const char* (*isa)();  // instruction set or device in use: "AVX2"
  DType real;            // element type of parameters and statistics
  DType activation;      // element type of activations: `real`, or bf16
  bool host_memory;      // memory is the host's, and every call has done its work when it returns
  const FusedKernels* fused;  // null: none

  // Memory and order. All kernels of a stream run in the order of their calls.
  void* (*allocate)(Stream&, size_t bytes);  // 64-byte aligned; Error(device) when there is none
  void (*release)(Stream&, void*, size_t bytes);
  void (*copy_in)(Stream&, void* device, const void* host, size_t bytes);
  void (*copy_out)(Stream&, void* host, const void* device, size_t bytes);
  void (*synchronize)(Stream&);
  MemoryInfo (*memory)(Stream&);

  // Uploads copy pinned host memory to the device beside kernels, in the order of the calls.
  // Kernels called after a fence see all uploads called before it. Uploads called after a fence
  // wait for the kernels called before it.
  void* (*allocate_pinned)(Stream&, size_t bytes);  // Error(device) when there is none
  void (*release_pinned)(Stream&, void*, size_t bytes);
  void (*upload)(Stream&, void* device, const void* pinned, size_t bytes);
  void (*fence)(Stream&);
  // Copies between the device and pinned host memory, either way, in the order of the kernels'
  // calls, without waiting.
  void (*transfer)(Stream&, void* to, const void* from, size_t bytes);
  // A point behind all that was called for the stream so far, and a wait until it is reached; one
  // for a later point may have to be waited for instead.
  uint64_t (*mark)(Stream&);
  void (*wait)(Stream&, uint64_t mark);

  // Between begin and end the device records kernels instead of running them. Replay runs them with
  // the recorded memory and arguments. All four are null where a backend can't capture. end_capture
  // throws Error(device) after a call that can't be captured (host copy, allocation, waiting).
  void (*begin_capture)(Stream&);
  void* (*end_capture)(Stream&);
  void (*replay)(Stream&, void* graph);
  void (*release_graph)(Stream&, void* graph);

  // Elementary
  void (*copy)(Stream&, const View& x, const View& y);  // strided, same shape and type
  void (*fill)(Stream&, const View& y, double value);   // strided
  // broadcast and reduce_sum may read one of the types `real` and `activation` and write the other.
  void (*broadcast)(Stream&, const View& x, const View& y);   // x's extents are y's or 1
  void (*reduce_sum)(Stream&, const View& x, const View& y);  // y's extents are x's or 1
  // count i32 [1]: how many NaN and infinities all x hold, 2^31 - 1 where there are more. An x may
  // be an earlier count, i32 [1], which is added.
  void (*count_nonfinite)(Stream&, std::span<const View> x, const View& count);

  // y = F::f(x...), dx = F::df(saved, dy), all of one type, `real` or `activation`, or f64 where
  // F is Add; `functor` is the function's place in the list of pointwise.h. Of two operands, each
  // has y's extents (aligned at the channels) or 1, along which it repeats; f64 has y's.
  void (*pointwise)(Stream&, int functor, std::span<const View> x, const View& y, double alpha,
                    double beta);
  void (*pointwise_grad)(Stream&, int functor, const View& saved, const View& dy, const View& dx,
                         double alpha, double beta);

  // Convolution (cross-correlation). x [N,H,W,Ci], w [Kh,Kw,Ci/groups,Co], bias? [Co], y
  // [N,Ho,Wo,Co]; output channel group g reads input channel group g.
  void (*conv2d)(Stream&, const View& x, const View& w, const View& bias, const View& y,
                 const Window&, int64_t groups, void* work);
  size_t (*conv2d_workspace)(Stream&, const View& x, const View& w, const View& bias, const View& y,
                             const Window&, int64_t groups);
  void (*conv2d_input_grad)(Stream&, const View& dy, const View& w, const View& dx, const Window&,
                            int64_t groups, void* work);
  size_t (*conv2d_input_grad_workspace)(Stream&, const View& dy, const View& w, const View& dx,
                                        const Window&, int64_t groups);
  void (*conv2d_weight_grad)(Stream&, const View& x, const View& dy, const View& dw, const Window&,
                             int64_t groups, void* work);
  size_t (*conv2d_weight_grad_workspace)(Stream&, const View& x, const View& dy, const View& dw,
                                         const Window&, int64_t groups);

  // Depthwise convolution. x [N,H,W,C], w [Kh,Kw,C], y [N,Ho,Wo,C]
  void (*depthwise_conv2d)(Stream&, const View& x, const View& w, const View& y, const Window&);
  void (*depthwise_conv2d_input_grad)(Stream&, const View& dy, const View& w, const View& dx,
                                      const Window&);
  void (*depthwise_conv2d_weight_grad)(Stream&, const View& x, const View& dy, const View& dw,
                                       const Window&, void* work);
  size_t (*depthwise_conv2d_weight_grad_workspace)(Stream&, const View& x, const View& dy,
                                                   const View& dw, const Window&);

  // Batch normalisation (Ioffe & Szegedy 2015) in parts, so that a collective can stand between
  // them. x, dy, y, dx [N,H,W,C]; gamma, beta, mean, var, shift [C]. sums f64 [3,C]: sum(x -
  // shift), sum((x - shift)^2), number of elements
  void (*channel_sums)(Stream&, const View& x, const View& shift, const View& sums);
  // mean = shift + s0/n, var = s1/n - (s0/n)^2 (biased), 0 where rounding makes it negative; NaN
  // stays
  void (*moments)(Stream&, const View& sums, const View& shift, const View& mean, const View& var);
  // running = momentum * running + (1 - momentum) * batch; the variance times n/max(n-1, 1) where
  // `unbiased`
  void (*update_running)(Stream&, const View& mean, const View& var, const View& sums,
                         const View& running_mean, const View& running_var, double momentum,
                         bool unbiased);
  // y = gamma (x - mean) / sqrt(var + epsilon) + beta
  void (*batch_norm)(Stream&, const View& x, const View& gamma, const View& beta, const View& mean,
                     const View& var, const View& y, double epsilon);
  // sums f64 [2,C]: sum(dy), sum(dy (x - mean))
  void (*batch_norm_grad_sums)(Stream&, const View& dy, const View& x, const View& mean,
                               const View& sums);
  // Through the batch's own mean and variance, whose element count is in `sums` [3,C]:
  // dx = gamma/s (dy - g0/n - (x - mean) g1/(n s^2)), s = sqrt(var + epsilon), g = grad_sums [2,C]
  void (*batch_norm_grad)(Stream&, const View& dy, const View& x, const View& gamma,
                          const View& mean, const View& var, const View& sums,
                          const View& grad_sums, const View& dx, double epsilon);
  // dgamma = g1 / sqrt(var + epsilon), dbeta = g0
  void (*batch_norm_param_grad)(Stream&, const View& grad_sums, const View& var, const View& dgamma,
                                const View& dbeta, double epsilon);

  // Pooling over a window of kernel[0] x kernel[1] taps. Padding never wins a maximum, and an
  // average doesn't count it. argmax u8: tap row * kernel width + tap column; the first of equals
  // wins, the first NaN before all. A window wholly in padding gives -infinity (argmax 0) or an
  // average of 0, and passes no gradient.
  void (*max_pool)(Stream&, const View& x, const View& y, const View& argmax,
                   std::array<int64_t, 2> kernel, const Window&);
  void (*max_pool_grad)(Stream&, const View& dy, const View& argmax, const View& dx,
                        std::array<int64_t, 2> kernel, const Window&);
  void (*average_pool)(Stream&, const View& x, const View& y, std::array<int64_t, 2> kernel,
                       const Window&);
  void (*average_pool_grad)(Stream&, const View& dy, const View& dx, std::array<int64_t, 2> kernel,
                            const Window&);

  // A source pixel of weight 0 adds nothing, be it NaN.
  void (*resize)(Stream&, const View& x, const View& y, const Resize&);
  void (*resize_grad)(Stream&, const View& dy, const View& dx, const Resize&);

  // y = softmax of x over the last axis (classes); rows are pixels.
  void (*softmax)(Stream&, const View& x, const View& y);
  // y [...,1], u8 or i32: the place of the largest of x's channels; the first of equals, and the
  // first NaN before all.
  void (*argmax)(Stream&, const View& x, const View& y);
  // counts f64 [K,K], [truth, prediction]: of pixels whose label and prediction are both in [0, K),
  // and whose weight is above 0. predicted, labels: class indices [...,1], each u8 or i32;
  // pixel_weight? [...,1].
  void (*confusion)(Stream&, const View& predicted, const View& labels, const View& pixel_weight,
                    const View& counts);
  // labels: u8 or i32 [...,1] class indices, or `real` [...,K] soft targets t; class_weight? c [K];
  // pixel_weight? q [...,1]; log p = log softmax(logits):
  // row_loss [...,1] = -q sum_k c_k t'_k log p_k (t' smoothed), row_weight [...,1] = q sum_k c_k
  // t_k. A label outside [0, K) that is not ignored makes its row NaN, gradient included.
  void (*softmax_cross_entropy)(Stream&, const View& logits, const View& labels,
                                const View& class_weight, const View& pixel_weight,
                                const View& row_loss, const View& row_weight, const CrossEntropy&);
  // dlogits from drow_loss
  void (*softmax_cross_entropy_grad)(Stream&, const View& logits, const View& labels,
                                     const View& class_weight, const View& pixel_weight,
                                     const View& drow_loss, const View& dlogits,
                                     const CrossEntropy&);

  // y = x keep / (1 - rate); keep where uniform(word i%4 of philox(seed, draw, id << 40 | i/4)) >=
  // rate, i the element's number, seed and draw from StepState
  void (*dropout)(Stream&, const View& x, const View& y, const StepState* state, double rate,
                  uint64_t id);

  // sum = (first micro-batch ? 0 : sum) + g, flat
  void (*accumulate)(Stream&, const View& g, const View& sum, const StepState* state);
  // The optimisers: one step over the flat arenas with g' = g r. g [P] is a gradient of a sum of
  // losses, r = 1 / weight, computed once as `real`, and 0 where weight <= 0; weight [1]. theta and
  // the states [P] change in place, within the segments alone, and nowhere where nonfinite i32 [1]
  // is above 0. lr and t are the state's learning rate and step; decay applies where a segment
  // decays.
  //
  // Loshchilov & Hutter 2019; Kingma & Ba 2015: m = b1 m + (1-b1) g', v = b2 v + (1-b2) g'^2;
  // Keras: theta -= lr sqrt(1-b2^t)/(1-b1^t) m/(sqrt(v)+eps), torch: theta -= lr/(1-b1^t)
  // m/(sqrt(v/(1-b2^t))+eps)
  void (*adamw)(Stream&, const View& g, const View& weight, const View& nonfinite,
                const View& theta, const View& m, const View& v, const Segment* segments,
                int64_t segment_count, const StepState* state, const AdamW&);
  // As PyTorch's: d = g' + decay theta, v = momentum v + d, theta -= lr (nesterov ? d + momentum v
  // : v)
  void (*sgd)(Stream&, const View& g, const View& weight, const View& nonfinite, const View& theta,
              const View& v, const Segment* segments, int64_t segment_count, const StepState* state,
              const Sgd&);
  // You, Gitman & Ginsburg 2017, algorithm 1: v = momentum v + lr local (g' + decay theta),
  // theta -= v, with local = trust |theta| / (|g'| + decay |theta| + epsilon) over the segment, 1
  // where one of the norms is 0. Norms are sums in double. A segment that doesn't decay has local =
  // 1 too: SimCLR (Chen et al. 2020) excludes biases and batch normalisation from both.
  void (*lars)(Stream&, const View& g, const View& weight, const View& nonfinite, const View& theta,
               const View& v, const Segment* segments, int64_t segment_count,
               const StepState* state, const Lars&);

  // source [N,Hs,Ws,B] of u8, u16, f32 or f64 (strided), samples N records -> y [N,H,W,B]
  void (*warp)(Stream&, const View& source, const WarpSample* samples, const View& y,
               const WarpOptions&);
  // source u8 [N,Hs,Ws,1] (strided), samples N records -> y u8 [N,H,W,1]: the source's pixel that
  // warp takes by Interpolation::nearest, and `outside` where warp takes the fill of Border::fill.
  void (*warp_labels)(Stream&, const View& source, const WarpSample* samples, const View& y,
                      uint8_t outside);
};

#define FULMAR_ONE(...) +1
static_assert(sizeof(Backend) ==
                  offsetof(Backend, copy) +
                      (0 FULMAR_KERNELS(FULMAR_ONE) FULMAR_WORKSPACE_KERNELS(FULMAR_ONE)) *
                          sizeof(Backend::copy),
              "kernels/kernel_list.h misses a kernel of the table, or names one twice");
#undef FULMAR_ONE

// Error(device) naming the first kernel for which a backend's table has no function.
FULMAR_API void require_complete(const Backend& backend);

// The backends that are built in. The CPU's has activations in bf16, or is float32 throughout.
FULMAR_API const Backend& cpu_backend(Precision precision = Precision::fp32);
FULMAR_API const Backend& reference_backend();

}  // namespace fulmar
