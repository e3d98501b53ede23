#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tape.h"
#include "kernels/backend.h"

// The builder functions: each appends one op (or a few) to a tape and gives its value.
// Shapes: x [N,H,W,C], channels last. All throw Error(usage) where shapes don't fit.
namespace fulmar::ops {

// ---- values from outside
// An input, which the caller sets before each run: a batch of activations, labels, source arrays.
FULMAR_API Val input(Tape&, const std::string& name, const ValueInfo&);
struct Initializer {
  enum class Kind {
    zeros,
    ones,
    glorot_uniform,  // U(-limit, limit), limit = sqrt(6 / (fan_in + fan_out))
    kaiming_normal,  // N(0, 2 / fan_out)
    fan_in_uniform   // U(-limit, limit), limit = 1 / sqrt(fan_in)
  } kind = Kind::zeros;
  double fan_in = 0, fan_out = 0;
};
// A weight that lives in the Model under this name; `decays`: weight decay applies to it.
// Training leaves a frozen one as it is.
FULMAR_API Val parameter(Tape&, const std::string& name, const Shape&, const Initializer&,
                         bool decays, bool trainable = true);
// A statistic that lives in the Model (running mean, running variance).
FULMAR_API Val statistic(Tape&, const std::string& name, const Shape&, double initial);
// A buffer that the Model keeps beside the weights: "/step_state", "/adamw/moment1", …
FULMAR_API Val buffer(Tape&, const std::string& name, const ValueInfo&);
FULMAR_API Val constant(Tape&, const Shape&, double value, Role role = Role::activation);
// The numbers of x in another role; rounded where that role's type on a device is narrower. x
// itself where both roles have one type on every device. Builders convert operands to the roles
// that a kernel takes: a convolution's w to a parameter, its x to an activation.
FULMAR_API Val as_role(Tape&, Val x, Role role);

// ---- pointwise
// An operand's extents of 1 repeat to the other's; kernels read it so, and nothing writes it out.
// Both operands become activations where one is. Of these functions add alone takes sums over
// pixels, two of one shape.
FULMAR_API Val pointwise(Tape&, std::string_view functor, std::span<const Val> x, double alpha = 0,
                         double beta = 0);
FULMAR_API Val add(Tape&, Val a, Val b);
FULMAR_API Val sub(Tape&, Val a, Val b);
FULMAR_API Val mul(Tape&, Val a, Val b);
FULMAR_API Val div(Tape&, Val a, Val b);
FULMAR_API Val div_no_nan(Tape&, Val a, Val b);                  // 0 where b <= 0
FULMAR_API Val gate(Tape&, Val x, Val a);                        // 0 where x <= 0, else a
FULMAR_API Val affine(Tape&, Val x, double alpha, double beta);  // alpha x + beta
FULMAR_API Val relu(Tape&, Val x);
FULMAR_API Val leaky_relu(Tape&, Val x, double alpha);
FULMAR_API Val prelu(Tape&, Val x, Val a);  // x where x > 0, else a x; a [C]
FULMAR_API Val relu6(Tape&, Val x);         // min(max(x, 0), 6)
FULMAR_API Val elu(Tape&, Val x, double alpha = 1);
FULMAR_API Val selu(Tape&, Val x);
FULMAR_API Val silu(Tape&, Val x);       // swish: x sigmoid(x)
FULMAR_API Val gelu(Tape&, Val x);       // x (1 + erf(x / sqrt(2))) / 2
FULMAR_API Val gelu_tanh(Tape&, Val x);  // GELU's approximation by tanh
FULMAR_API Val erf(Tape&, Val x);        // 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x
// min(max(slope x + offset, 0), 1): slope 1/6 as PyTorch and Keras 3, 0.2 as Keras 2
FULMAR_API Val hard_sigmoid(Tape&, Val x, double slope = 1.0 / 6, double offset = 0.5);
FULMAR_API Val sigmoid(Tape&, Val x);
FULMAR_API Val tanh(Tape&, Val x);
FULMAR_API Val softplus(Tape&, Val x);
FULMAR_API Val exp(Tape&, Val x);
FULMAR_API Val log(Tape&, Val x);
FULMAR_API Val sqrt(Tape&, Val x);
FULMAR_API Val square(Tape&, Val x);
FULMAR_API Val abs(Tape&, Val x);

// ---- shape
// broadcast writes out x, whose extents of 1 repeat; sum's shape has x's extents or 1. The role is
// x's unless given.
FULMAR_API Val broadcast(Tape&, Val x, const Shape&);
FULMAR_API Val broadcast(Tape&, Val x, const Shape&, Role);
FULMAR_API Val sum(Tape&, Val x, const Shape&);
FULMAR_API Val sum(Tape&, Val x, const Shape&, Role);
FULMAR_API Val sum_all(Tape&, Val x);                  // to [1]; of activations a statistic
FULMAR_API Val global_average_pool(Tape&, Val x);      // [N,H,W,C] -> [N,1,1,C]
FULMAR_API Val concat(Tape&, std::span<const Val> x);  // along the channels
FULMAR_API Val reshape(Tape&, Val x, const Shape&);    // the same elements in the same order
FULMAR_API Val transpose(Tape&, Val x);                // a matrix [M,N] -> [N,M]
FULMAR_API Val slice(Tape&, Val x, std::array<int64_t, 4> begin, const Shape&);
FULMAR_API Val embed(Tape&, Val x, std::array<int64_t, 4> begin, const Shape&);  // zeros around x

// ---- windows
// w [Kh,Kw,Ci/groups,Co], bias [Co] or empty
FULMAR_API Val conv2d(Tape&, Val x, Val w, Val bias, const Window&, int64_t groups = 1);
// A conv2d's gradient by its input, x its output: [N,H,W,Ci] -> [N,out,Co], w [Kh,Kw,Co,Ci].
FULMAR_API Val conv2d_transpose(Tape&, Val x, Val w, const Window&, std::array<int64_t, 2> out);
FULMAR_API Val dense(Tape&, Val x, Val w, Val bias);  // over the channels: w [Ci,Co]
// Matrices: a b with a [M,K], b [K,N]; a^T b with a [K,M]; a b^T with b [N,K]; a^T b^T with both.
// Both operands become activations, and so is the product [M,N].
enum class Transposed { none, a, b, both };
FULMAR_API Val product(Tape&, Val a, Val b, Transposed which = Transposed::none);
FULMAR_API Val depthwise_conv2d(Tape&, Val x, Val w, const Window&);  // w [Kh,Kw,C]
FULMAR_API Val max_pool(Tape&, Val x, std::array<int64_t, 2> kernel, const Window&);
FULMAR_API Val average_pool(Tape&, Val x, std::array<int64_t, 2> kernel, const Window&);
// [N,H,W,C] -> [N,1,1,C], by maxima over windows of at most 16x16 pixels and maxima of these.
FULMAR_API Val global_max_pool(Tape&, Val x);
FULMAR_API Val resize(Tape&, Val x, int64_t height, int64_t width, const Resize&);
// Padding (before, after) that gives ceil(in / stride) positions; an odd pixel of it goes after
// (Keras' and TensorFlow's 'same').
FULMAR_API std::array<int64_t, 2> same_padding(int64_t in, int64_t kernel, int64_t stride,
                                               int64_t dilation);

// ---- batch normalisation
// With given statistics: y = gamma (x - mean) / sqrt(var + epsilon) + beta. The gradient treats
// mean and var as constants.
FULMAR_API Val batch_norm(Tape&, Val x, Val gamma, Val beta, Val mean, Val var, double epsilon);
struct RunningStatistics {
  Val mean, var;           // statistics of the Model, updated in place by every run
  double momentum = 0.99;  // running = momentum running + (1 - momentum) batch
  bool unbiased = true;    // store the variance with n / (n - 1)
};
// With the batch's own mean and variance (biased); sums are taken about the running mean.
FULMAR_API Val batch_norm_train(Tape&, Val x, Val gamma, Val beta, const RunningStatistics&,
                                double epsilon);
// Running statistics that a tape updates, by their names in the Model.
struct RunningUpdate {
  std::string mean, var;
  int64_t values = 0;  // of each channel, in a batch
};
// One for each batch_norm_train on the tape, in its order.
FULMAR_API std::vector<RunningUpdate> running_updates(const Tape&);

// ---- classification
// Both compute in the type of x or the logits, which keep their role.
FULMAR_API Val softmax(Tape&, Val x);  // over the channels
// [N,H,W,C] -> [N,H,W,1], index u8, or i32 beyond 256 channels: the place of the largest channel,
// the first of equals, the first NaN before all. Without a gradient.
FULMAR_API Val argmax(Tape&, Val x);
// predicted, labels: index [N,H,W,1], each u8 or i32 -> counts [classes,classes], a sum: [truth,
// prediction]. A pixel whose label or prediction is outside [0, classes), or whose weight isn't
// above 0, is not counted; pixel_weight [N,H,W,1] may be empty. 1 to
// max_confusion_classes classes. Without a gradient.
FULMAR_API Val confusion(Tape&, Val predicted, Val labels, int64_t classes, Val pixel_weight = {});
struct Loss {
  Val mean;              // [1]: sum / weight, 0 where the weight is 0
  Val sum, weight;       // [1], statistics: of all rows
  Val rows, row_weight;  // [N,H,W,1]: see Backend::softmax_cross_entropy
};
// labels: index u8 or i32 [N,H,W,1], or soft targets [N,H,W,K]; class_weight [K] and pixel_weight
// [N,H,W,1] may be empty. All but the logits are made statistics.
FULMAR_API Loss softmax_cross_entropy(Tape&, Val logits, Val labels, const CrossEntropy& = {},
                                      Val class_weight = {}, Val pixel_weight = {});

// ---- training
FULMAR_API ValueInfo step_state_info();
// Keeps each element with probability 1 - rate, drawn from the step state's counter and `id`.
FULMAR_API Val dropout(Tape&, Val x, double rate, uint64_t id);
// Joins gradients in one flat value, each at its segment's offset (elements); gaps are
// zeros.
FULMAR_API Val join(Tape&, std::span<const Val> x, std::span<const int64_t> offsets, int64_t size);
// Copies x into a buffer of the Model, of the same shape and type.
FULMAR_API void store(Tape&, Val x, Val buffer);
// How many NaN and infinities all x hold: index, i32 [1], at most 2^31 - 1. Without a gradient. An
// x may be an earlier count, which is added.
FULMAR_API Val count_nonfinite(Tape&, std::span<const Val> x);
// Adds g to a sum that the Model holds, in place; a step's first micro-batch overwrites it.
FULMAR_API void accumulate(Tape&, Val g, Val sum);
// The optimisers update theta and their states [P] in place by g / weight, and leave all as it is
// where nonfinite (index, i32 [1]) is above 0. weight [1]; segments: u8 table of Segment.
// engine/optimizer.h records them for a Model.
FULMAR_API void adamw(Tape&, Val g, Val weight, Val nonfinite, Val theta, Val m, Val v,
                      Val segments, const AdamW&);
FULMAR_API void sgd(Tape&, Val g, Val weight, Val nonfinite, Val theta, Val v, Val segments,
                    const Sgd&);
FULMAR_API void lars(Tape&, Val g, Val weight, Val nonfinite, Val theta, Val v, Val segments,
                     const Lars&);

// ---- images
// source [N,H,W,B] (role source), samples u8 [N, sizeof(WarpSample)] -> [N,height,width,B]
// cuts: samples move by whole pixels, as far as the caller knows. Then sampling a picture again may
// cost less than keeping it.
FULMAR_API Val warp(Tape&, Val source, Val samples, int64_t height, int64_t width,
                    const WarpOptions&, bool cuts = false);
// Labels of pixels: source u8 [N,H,W,1] (role source) -> index u8 [N,height,width,1], by the same
// samples: the pixel that warp takes by Interpolation::nearest, and `outside` where no frame or no
// valid part of the source holds it. Gain and speckle change no label. Without a gradient.
FULMAR_API Val warp_labels(Tape&, Val source, Val samples, int64_t height, int64_t width,
                           uint8_t outside);

}  // namespace fulmar::ops
