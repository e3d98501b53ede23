#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
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

// A network is data: what a model file holds and what an importer makes.
class FULMAR_API Network {
 public:
  // Appends a call and gives its name. Error(usage) for an unknown op or input, or a name taken.
  std::string add(const std::string& op, const std::string& name,
                  const std::vector<std::string>& inputs, const Attributes& attributes = {});
  // Calls added from now on stand in this scope.
  void set_scope(const std::string& scope) { scope_ = scope; }

  const std::vector<Call>& calls() const { return calls_; }
  // The first call is the input; the last gives the logits.
  const std::string& output() const { return calls_.back().name; }
  const Call& call(std::string_view name) const;

  // A JSON array of calls, as in the model file.
  std::string to_json() const;
  // Error(usage) that names the call and what is wrong with it.
  static Network from_json(const std::string& json);

 private:
  std::vector<Call> calls_;
  std::string scope_;
};

enum class Mode {
  train,  // batch statistics, dropout
  eval    // running statistics, no dropout
};

struct RecordOptions {
  Mode mode = Mode::eval;
  // Running variances store the batch's variance with n / (n - 1) (PyTorch; Keras' fused kernel).
  bool unbiased_running_variance = true;
};

// Records the network onto a tape from `input` [N,H,W,C] on; every call's value gets the call's
// name. Gives the output value. Error(usage) naming the layer where shapes don't fit.
FULMAR_API Val record(const Network& network, Tape& tape, Val input, const RecordOptions& options);

// What a layer's recorder sees.
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
  // An attribute, or the default. Error(usage) where it has another type.
  int64_t integer(const std::string& attribute, int64_t fallback) const;
  int64_t integer(const std::string& attribute) const;  // required
  double number(const std::string& attribute, double fallback) const;
  bool flag(const std::string& attribute, bool fallback) const;
  std::string text(const std::string& attribute, const std::string& fallback) const;
  // Two integers (rows, columns), or one for both.
  std::array<int64_t, 2> pair(const std::string& attribute, int64_t fallback) const;

 private:
  const Call& call_;
};

struct Layer {
  Val (*record)(LayerArgs&);
  int inputs;  // how many; -1: one or more
};

// The builders by name: input, conv2d, depthwise_conv2d, separable_conv2d, batch_normalization,
// activation, max_pooling2d, average_pooling2d, global_average_pooling2d, add, concatenate,
// dropout, dense, resize.
FULMAR_API const std::map<std::string, Layer>& layers();

}  // namespace fulmar
