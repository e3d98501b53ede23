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
};

// A network as data: a model file holds it, and an importer makes it.
class FULMAR_API Network {
 public:
  // Appends a call and gives its name. Error(usage) for an unknown op or input, or a name taken.
  std::string add(const std::string& op, const std::string& name,
                  const std::vector<std::string>& inputs, const Attributes& attributes = {});
  // Calls added from now on stand in this scope.
  void set_scope(const std::string& scope) { scope_ = scope; }

  const std::vector<Call>& calls() const { return calls_; }
  // The first call is the input; the last gives the logits. Error(usage) where there is no call.
  const std::string& output() const;
  const Call& call(std::string_view name) const;  // Error(usage) where there is none of that name

  // A JSON array of calls, as in the model file.
  std::string to_json() const;
  // Error(usage) that names the call and what is wrong with it, or where there are more calls, or
  // inputs of all calls, than anybody needs: reading a file takes seconds at most.
  static constexpr int64_t max_calls = 1 << 14, max_inputs = 1 << 16;
  static Network from_json(const std::string& json);

 private:
  std::vector<Call> calls_;
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
};

// Records the network onto a tape, with `input` [N,H,W,C]; every call's value gets the call's name.
// Gives the output value. Error(usage) naming the layer where shapes don't fit, the tape has its
// name already, or the layer has no use for an attribute.
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
  uint64_t index;  // of the call in its network

  const std::string& name() const { return call_.name; }
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

struct Layer {
  Val (*record)(LayerArgs&);
  int inputs;  // how many; -1: one or more
};

// The builders by name. Layers and weights are called as in Keras; attributes are Fulmar's own, and
// so are some defaults (Keras' convolutions default to `valid`):
//   input               channels (as x has)
//   conv2d              filters, kernel (1), groups (1), use_bias (true), window (same)
//   depthwise_conv2d    kernel (3), use_bias (true), window (same)
//   separable_conv2d    filters, kernel (3), use_bias (true), window (same; of the depthwise part)
//   max_pooling2d, average_pooling2d   pool_size (2), window (valid; stride as pool_size)
//   batch_normalization epsilon (1e-3), momentum (0.99)
//   activation          function (relu): "softmax" or one of kernels/pointwise.h; alpha, beta (0)
//   dense               units, use_bias (true)
//   dropout             rate (0.5)
//   resize              height, width, interpolation ("bilinear" or "nearest"), align_corners
//                       (false)
//   add, concatenate (one input or more), global_average_pooling2d   none
// window: stride (1), dilation (1), padding: "same" as Keras pads, "valid", or "explicit" with
// pad_top, pad_bottom, pad_left, pad_right. kernel, pool_size, stride and dilation are one integer
// or two (rows, columns).
FULMAR_API const std::map<std::string, Layer>& layers();

}  // namespace fulmar
