#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/attributes.h"
#include "engine/tape.h"

namespace fulmar {

// A layer of a network: a call to a builder, by name.
struct Call {
  std::string op;                   // "conv2d", "separable_conv2d", …: see layers()
  std::string name;                 // unique; names the value and, before a slash, the weights
  std::vector<std::string> inputs;  // names of calls before it
  Attributes attributes;
  std::string scope;  // where it stands, for messages: "block 3"; may be empty
  // The call of the same op whose weights and statistics it uses; empty: its own.
  std::string weights;
  // false: training leaves its weights as they are, and it normalises as in evaluation.
  bool trainable = true;
};

// A network as data: a model file holds it, and an importer makes it.
class FULMAR_API Network {
 public:
  // Appends a call and gives its name. Error(usage) for an unknown op or input, or a name taken.
  std::string add(const std::string& op, const std::string& name,
                  const std::vector<std::string>& inputs, const Attributes& attributes = {});
  // The same with all that a call may have, its own scope instead of the network's. Error(usage)
  // too where `weights` names no earlier call of this op.
  std::string add(Call call);
  // Calls added from now on stand in this scope.
  void set_scope(const std::string& scope) { scope_ = scope; }

  const std::vector<Call>& calls() const { return calls_; }
  // The names of the calls of op "input", in order; the first call is one.
  std::vector<std::string> inputs() const;
  // The names of the outputs: those that were set, else the last call's. Error(usage) where there
  // is no call.
  std::vector<std::string> outputs() const;
  // Error(usage) for a name that is no call's, or that is there twice.
  void set_outputs(const std::vector<std::string>& names);
  // The only output. Error(usage) where there are several.
  std::string output() const;
  const Call& call(std::string_view name) const;  // Error(usage) where there is none of that name

  // As in the model file: a JSON array of calls; where outputs were set, an object of "outputs" and
  // such an array, "calls".
  std::string to_json() const;
  // Error(usage) that names the call and what is wrong with it, or where there are more calls, or
  // inputs of all calls, than anybody needs: reading a file takes seconds at most.
  static constexpr int64_t max_calls = 1 << 14, max_inputs = 1 << 16;
  static Network from_json(const std::string& json);

 private:
  std::vector<Call> calls_;
  std::vector<std::string> outputs_;               // empty: the last call
  std::unordered_map<std::string, size_t> index_;  // of a call, by its name
  std::string scope_;
};

enum class Mode {
  train,    // batch statistics, dropout
  eval,     // running statistics, no dropout
  estimate  // batch statistics, which replace the running ones (variances biased); no dropout
};

struct RecordOptions {
  Mode mode = Mode::eval;
  // Running variances store the batch's variance with n / (n - 1) (PyTorch; Keras' fused kernel).
  bool unbiased_running_variance = true;
  // Stands before the names of all values, so that a network can be recorded onto a tape several
  // times: its weights are the same, its dropout masks differ.
  std::string prefix{};
};

// Records the network onto a tape, with a value [N,H,W,C] for each of its inputs; every call's
// value gets the call's name. Gives the outputs by their names. Error(usage) naming the layer where
// shapes don't fit, the tape has its name already, or the layer has no use for an attribute; and
// naming an input that is missing, or one that the network doesn't have.
FULMAR_API std::map<std::string, Val> record(const Network& network, Tape& tape,
                                             const std::map<std::string, Val>& inputs,
                                             const RecordOptions& options);
// The same of a network with one input and one output.
FULMAR_API Val record(const Network& network, Tape& tape, Val input, const RecordOptions& options);

// The arguments of a layer's recorder. It notes which attributes the recorder asks for.
class FULMAR_API LayerArgs {
 public:
  LayerArgs(Tape& t, const Call& call, std::vector<Val> inputs, const RecordOptions& options,
            uint64_t index)
      : tape(t), x(std::move(inputs)), options(options), index(index), call_(call) {}

  Tape& tape;
  std::vector<Val> x;
  const RecordOptions& options;
  uint64_t index;  // unlike that of any other call on the tape

  const std::string& name() const { return call_.name; }
  // The layer that the weights are named after.
  const std::string& weights() const { return call_.weights.empty() ? call_.name : call_.weights; }
  bool trains() const { return call_.trainable; }
  bool has(const std::string& attribute) const { return call_.attributes.count(attribute) > 0; }
  // An attribute, or the default. Error(usage) where it has another type, or is an integer beyond
  // max_integer either way.
  static constexpr int64_t max_integer = 1 << 20;
  int64_t integer(const std::string& attribute, int64_t fallback) const;
  int64_t integer(const std::string& attribute) const;  // required
  double number(const std::string& attribute, double fallback) const;
  bool flag(const std::string& attribute, bool fallback) const;
  std::string text(const std::string& attribute, const std::string& fallback) const;
  // Two integers (rows, columns), or one for both.
  std::array<int64_t, 2> pair(const std::string& attribute, int64_t fallback) const;

  // Attributes of the call that the recorder did not ask for.
  std::vector<std::string> unread() const;

 private:
  template <class T>
  const T* find(const std::string& attribute) const;
  int64_t checked(const std::string& attribute, int64_t value) const;

  const Call& call_;
  mutable std::set<std::string> read_;
};

// The extent of an input on a grid: so many cells cover the pixels of the network's first input.
constexpr int64_t grid_cells(int64_t pixels, int64_t grid) { return (pixels + grid - 1) / grid; }

struct Layer {
  Val (*record)(LayerArgs&);
  int inputs;           // how many; -1: one or more
  int more_inputs = 0;  // and at most so many that may be left out
};

// The builders by name. Layers and weights are called as in Keras; attributes are Fulmar's own, and
// so are some defaults (Keras' convolutions default to `valid`):
//   input               channels (as x has), grid (1: so many pixels of the first input along a
//                       side make one of this input's; its extents are the first's over the grid,
//                       rounded up)
//   conv2d              filters, kernel (1), groups (1), use_bias (true), window (same),
//                       initializer (glorot_uniform, or kaiming_normal or fan_in_uniform: the
//                       latter of the bias too)
//   conv2d_transpose    filters, kernel (3), stride (1), dilation (1), padding (valid, or same),
//                       use_bias (true), output_padding (none): extents as Keras' layer gives them
//   depthwise_conv2d    kernel (3), use_bias (true), window (same)
//   separable_conv2d    filters, kernel (3), use_bias (true), window (same; of the depthwise part)
//   max_pooling2d, average_pooling2d   pool_size (2), window (valid; stride as pool_size)
//   batch_normalization epsilon (1e-3), momentum (0.99), zero_gamma (false: gamma begins at 1)
//   activation          function (relu): "softmax" or one of kernels/pointwise.h; alpha, beta
//                       (0; of elu alpha 1, of hard_sigmoid 1/6 and 0.5)
//   dense               units, use_bias (true), initializer (as conv2d's)
//   dropout, spatial_dropout2d   rate (0.5); the second drops whole channels of an image
//   prelu               shared (true: a slope for each channel; false: for each element)
//   upsampling2d        size (2), interpolation (nearest, or bilinear), align_corners (false)
//   resize              height, width, or those of a second input; interpolation ("bilinear" or
//                       "nearest"), align_corners (false)
//   zero_padding2d      pad_top, pad_bottom, pad_left, pad_right (0), or at the bottom and the
//                       right up to the extents of a second input
//   cropping2d          crop_top, crop_bottom, crop_left, crop_right (0), or at the bottom and the
//                       right down to the extents of a second input
//   reshape             height, width, channels: the same elements in the same order
//   flatten             none; all elements of an image become channels, in order
//   add, multiply, concatenate (one input or more), global_average_pooling2d,
//   global_max_pooling2d                                               none
// window: stride (1), dilation (1), padding: "same" as Keras pads, "valid", or "explicit" with
// pad_top, pad_bottom, pad_left, pad_right. kernel, pool_size, size, stride and dilation are one
// integer or two (rows, columns).
FULMAR_API const std::map<std::string, Layer>& layers();

}  // namespace fulmar
