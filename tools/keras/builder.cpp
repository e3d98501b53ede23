#include "tools/keras/builder.h"

#include <algorithm>

#include "engine/ops.h"
#include "kernels/error.h"

namespace fulmar::keras {

std::string Builder::unique(const std::string& name) {
  std::string free = name;
  for (int64_t i = 2; !taken_.insert(free).second; i++) free = name + "_" + std::to_string(i);
  return free;
}

void Builder::note(const std::string& sentence) {
  if (std::find(notes_.begin(), notes_.end(), sentence) == notes_.end()) notes_.push_back(sentence);
}

void Builder::record(const Call& call) {
  if (calls_.size() >= static_cast<size_t>(Network::max_calls))
    file_error("the model has more than " + std::to_string(Network::max_calls) + " layers");
  std::vector<Val> x;
  for (const std::string& input : call.inputs) x.push_back(values_.at(input));
  if (call.op == "input") x.push_back(values_.at(call.name));
  const auto scope = tape_.scope(call.name);
  const RecordOptions options;
  LayerArgs args(tape_, call, std::move(x), options, calls_.size());
  values_[call.name] = layers().at(call.op).record(args);
  calls_.push_back(call);
}

std::string Builder::add_input(const std::string& name, const Shape& shape) {
  std::string free = taken_.count(name) > 0 ? name : unique(name);
  values_[free] = ops::input(tape_, free + "/given", {shape});
  record({"input", free, {}, {{"channels", shape.channels()}}, {}, {}, true});
  return free;
}

std::string Builder::add(const std::string& op, const std::string& part,
                         const std::vector<Value>& inputs, const Attributes& attributes,
                         std::vector<WeightPlace> weights, bool frozen) {
  const bool again = layer_.calls > 0;
  const std::string usual =
      layer_.base + (again ? "_call_" + std::to_string(layer_.calls + 1) : "") + part;
  // The base's own name was set aside for it.
  std::string name = !again && part.empty() ? layer_.base : unique(usual);
  Call call{op, name, {}, attributes, layer_.scope, {}, layer_.place.trainable && !frozen};
  for (const Value& x : inputs) call.inputs.push_back(x.call);
  std::string& first = first_[layer_.place.archive + "\n" + part];
  if (!again)
    first = name;
  else if (!weights.empty())
    call.weights = first;
  try {
    record(call);
  } catch (const Error& error) {
    file_error("layer '" + layer_.place.name + "': " + error.what());
  }
  if (again || weights.empty()) return name;
  if (weights_.empty() || weights_.back().archive != layer_.place.archive)
    weights_.push_back(layer_.place);
  for (WeightPlace& weight : weights) {
    weight.parameter = name + "/" + weight.parameter;
    const Shape shape = tape_.shape(tape_.find(weight.parameter));
    for (int axis = 0; axis < shape.rank(); axis++) weight.shape.push_back(shape[axis]);
    elements_ += shape.elements();
    if (elements_ > max_elements)
      file_error("layer '" + layer_.place.name + "': the model has more weights than can be read");
    weights_.back().weights.push_back(std::move(weight));
  }
  return name;
}

}  // namespace fulmar::keras
