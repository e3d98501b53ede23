#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/tape.h"
#include "tools/keras/keras_network.h"

namespace fulmar::keras {

using Json = nlohmann::json;

// A value of the network that is built: its call, and how many axes Keras counts (batch included).
// Fulmar's have four: [N,C] is [N,1,1,C], [N,L,C] is [N,1,L,C].
struct Value {
  std::string call;
  int rank = 4;
};

// How a value comes from the network's input, where that is known.
struct FromInput {
  enum class Kind { rescale, crop } kind;
  std::vector<double> scale, offset;  // y = scale x + offset; one of each, or one a channel
  int64_t side = 0;                   // of a square crop in the centre
};

class Builder;

// A call of one Keras layer: its settings, its inputs, and what it records.
class LayerCall {
 public:
  LayerCall(Builder& to, const Json& settings, std::string layer_class, std::string layer_name,
            std::vector<Value> inputs)
      : config(settings),
        class_name(std::move(layer_class)),
        name(std::move(layer_name)),
        x(std::move(inputs)),
        builder_(to) {}

  const Json& config;
  const std::string class_name, name;
  const std::vector<Value> x;

  // Error(file) naming the layer and its class.
  [[noreturn]] void fail(const std::string& what) const;
  void require(bool condition, const std::string& what) const {
    if (!condition) fail(what);
  }
  const Value& only() const;     // its one input
  const Value& picture() const;  // its one input, of four axes
  Shape shape(const Value& value) const;
  int major_version() const;  // of Keras; 2 where the file doesn't say
  void note(const std::string& sentence) const;

  // Settings; Error(file) where one has another type. null counts as absent.
  bool has(const char* key) const;
  int64_t integer(const char* key, int64_t fallback) const;
  double number(const char* key, double fallback) const;
  bool flag(const char* key, bool fallback) const;
  std::string text(const char* key, const std::string& fallback) const;
  std::vector<int64_t> pair(const char* key, int64_t fallback) const;    // rows, columns
  std::vector<double> numbers(const Json& json, const char* key) const;  // however nested
  void require_channels_last() const;
  // Whether these axes are the last one alone.
  bool is_last_axis(const char* key, int rank, int64_t fallback) const;

  // Records a call of an op by inputs; `part` is added to its name: "/relu". Weights are those of
  // this call, their parameters named without the call ("kernel").
  Value add(const std::string& op, const std::string& part, const std::vector<Value>& inputs,
            const Attributes& attributes, int rank, std::vector<WeightPlace> weights = {},
            bool frozen = false) const;
  // The same call with the settings of another layer, which stands within its own.
  LayerCall with(const Json& settings, const std::string& layer_class) const {
    return {builder_, settings, layer_class, name, x};
  }
  // Says that the value is that of the first input in this way.
  void mark(const Value& value, const FromInput& how) const;

 private:
  const Json* find(const char* key) const;

  Builder& builder_;
};

// Records a layer and gives its value.
using Converter = std::function<Value(const LayerCall&)>;
// By Keras' class name. A new class has a function and a line there.
const std::map<std::string, Converter>& converters();

// The activation that a setting names; a call of its own unless it is linear.
Value activate(const LayerCall& call, const Value& x, const std::string& part);

}  // namespace fulmar::keras
