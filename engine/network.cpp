#include "engine/network.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "kernels/error.h"

namespace fulmar {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const Attribute& attribute) {
  return std::visit([](const auto& value) { return Json(value); }, attribute);
}

Attribute attribute_of(const Json& json, const std::string& where) {
  if (json.is_boolean()) return json.get<bool>();
  const auto fits = [&](const Json& j) {
    if (j.is_number_unsigned() && !std::in_range<int64_t>(j.get<uint64_t>()))
      usage_error(where + ": " + j.dump() + " is too large");
    return j.is_number_integer();
  };
  if (fits(json)) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  const auto all = [&](auto predicate) { return std::all_of(json.begin(), json.end(), predicate); };
  if (json.is_array() && all(fits)) return json.get<std::vector<int64_t>>();
  if (json.is_array() && all([](const Json& j) { return j.is_number(); }))
    return json.get<std::vector<double>>();
  usage_error(where + ": a value must be a flag, a number, a text or a list of numbers");
}

std::string label(const Call& call) { return call.op + " '" + call.name + "'"; }

}  // namespace

std::string Network::add(const std::string& op, const std::string& name,
                         const std::vector<std::string>& inputs, const Attributes& attributes) {
  return add(Call{op, name, inputs, attributes, scope_, {}, true});
}

std::string Network::add(Call call) {
  const auto layer = layers().find(call.op);
  if (layer == layers().end())
    usage_error("there is no layer '" + call.op + "' (wanted by '" + call.name + "')");
  if (calls_.empty() && call.op != "input")
    usage_error(label(call) + ": a network starts with an input");
  const auto known = [&](const std::string& input) { return index_.count(input) > 0; };
  if (call.name.empty() || known(call.name))
    usage_error(label(call) + ": the name is empty or taken");
  const int least = layer->second.inputs, most = least + layer->second.more_inputs;
  const auto given = static_cast<int>(call.inputs.size());
  if (least >= 0 ? given < least || given > most : given == 0)
    usage_error(label(call) + ": takes " +
                (least < 0      ? "one or more"
                 : most > least ? std::to_string(least) + " to " + std::to_string(most)
                                : std::to_string(least)) +
                " inputs, " + std::to_string(given) + " given");
  for (const std::string& input : call.inputs)
    if (!known(input)) usage_error(label(call) + ": there is no layer '" + input + "' before it");
  if (!call.weights.empty()) {
    const auto owner = index_.find(call.weights);
    if (owner == index_.end() || calls_[owner->second].op != call.op ||
        !calls_[owner->second].weights.empty())
      usage_error(label(call) + ": there is no " + call.op + " '" + call.weights +
                  "' before it whose weights it could use");
  }
  index_.emplace(call.name, calls_.size());
  calls_.push_back(std::move(call));
  return calls_.back().name;
}

std::vector<std::string> Network::inputs() const {
  std::vector<std::string> names;
  for (const Call& call : calls_)
    if (call.op == "input") names.push_back(call.name);
  return names;
}

std::vector<std::string> Network::outputs() const {
  if (calls_.empty()) usage_error("the network has no layers");
  return outputs_.empty() ? std::vector{calls_.back().name} : outputs_;
}

void Network::set_outputs(const std::vector<std::string>& names) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    call(name);
    if (!seen.insert(name).second) usage_error("the output '" + name + "' is named twice");
  }
  outputs_ = names;
}

std::string Network::output() const {
  const std::vector<std::string> all = outputs();
  if (all.size() != 1)
    usage_error("the network has " + std::to_string(all.size()) + " outputs, one is expected");
  return all[0];
}

const Call& Network::call(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  if (found == index_.end()) usage_error("the network has no layer '" + std::string(name) + "'");
  return calls_[found->second];
}

std::string Network::to_json() const {
  Json list = Json::array();
  for (const Call& call : calls_) {
    Json attributes = Json::object();
    for (const auto& [key, value] : call.attributes) attributes[key] = json_of(value);
    Json entry{
        {"op", call.op}, {"name", call.name}, {"inputs", call.inputs}, {"attributes", attributes}};
    if (!call.scope.empty()) entry["scope"] = call.scope;
    if (!call.weights.empty()) entry["weights"] = call.weights;
    if (!call.trainable) entry["trainable"] = false;
    list.push_back(entry);
  }
  if (outputs_.empty()) return list.dump();
  return Json{{"outputs", outputs_}, {"calls", list}}.dump();
}

Network Network::from_json(const std::string& text) {
  const auto is_text = [](const Json& j) { return j.is_string(); };
  const auto are_texts = [&](const Json& j) {
    return j.is_array() && std::all_of(j.begin(), j.end(), is_text);
  };
  const Json json = Json::parse(text, nullptr, false);
  const bool with_outputs = json.is_object() && json.contains("outputs") && json.contains("calls");
  const Json& list = with_outputs ? json["calls"] : json;
  if (!list.is_array() || list.empty()) usage_error("the network is not a JSON list of layers");
  if (list.size() > static_cast<size_t>(max_calls))
    usage_error("the network has " + std::to_string(list.size()) + " layers, at most " +
                std::to_string(max_calls) + " are read");
  Network network;
  size_t inputs = 0;
  for (const Json& entry : list) {
    const std::string where = "layer " + std::to_string(network.calls_.size() + 1);
    if (!entry.is_object() || !entry.contains("op") || !entry["op"].is_string() ||
        !entry.contains("name") || !entry["name"].is_string() || !entry.contains("inputs") ||
        !are_texts(entry["inputs"]))
      usage_error(where + " needs op, name and inputs");
    inputs += entry["inputs"].size();
    if (inputs > static_cast<size_t>(max_inputs))
      usage_error("the network's layers have more than " + std::to_string(max_inputs) + " inputs");
    Attributes attributes;
    if (entry.contains("attributes")) {
      if (!entry["attributes"].is_object()) usage_error(where + ": attributes must be an object");
      for (const auto& [key, value] : entry["attributes"].items())
        attributes[key] = attribute_of(value, where + ", '" + key + "'");
    }
    const auto text_at = [&](const char* key) {
      const auto found = entry.find(key);
      return found != entry.end() && found->is_string() ? found->get<std::string>() : "";
    };
    const auto trainable = entry.find("trainable");
    if (trainable != entry.end() && !trainable->is_boolean())
      usage_error(where + ": trainable must be true or false");
    network.add(Call{entry["op"], entry["name"], entry["inputs"].get<std::vector<std::string>>(),
                     attributes, text_at("scope"), text_at("weights"),
                     trainable == entry.end() || trainable->get<bool>()});
  }
  if (with_outputs) {
    if (!are_texts(json["outputs"]) || json["outputs"].empty())
      usage_error("the network's outputs are not a list of names");
    network.set_outputs(json["outputs"].get<std::vector<std::string>>());
  }
  return network;
}

std::map<std::string, Val> record(const Network& network, Tape& tape,
                                  const std::map<std::string, Val>& inputs,
                                  const RecordOptions& options) {
  const std::vector<std::string> outputs = network.outputs();  // throws where there is no layer
  for (const auto& [name, value] : inputs)
    if (network.call(name).op != "input")
      usage_error("'" + name + "' is a layer of the network, not an input");
  std::map<std::string, Val> values;
  uint64_t number = 0;
  for (const Call& call : network.calls()) {
    std::vector<Val> x;
    for (const std::string& name : call.inputs) x.push_back(values.at(name));
    if (call.op == "input") {
      const auto given = inputs.find(call.name);
      if (given == inputs.end()) usage_error("the network's input '" + call.name + "' is missing");
      x.push_back(given->second);
      if (const std::string& first = network.calls()[0].name; call.name != first)
        x.push_back(inputs.at(first));
    }
    const auto outer = tape.scope(call.scope.empty() ? "network" : call.scope);
    const auto inner = tape.scope(options.prefix + call.name);
    // Recorded again, a layer draws other masks.
    const uint64_t index =
        options.prefix.empty() ? number++ : static_cast<uint64_t>(Network::max_calls + tape.size());
    LayerArgs args(tape, call, std::move(x), options, index);
    Val y;
    try {
      y = layers().at(call.op).record(args);
      for (const std::string& attribute : args.unread())
        usage_error("has no use for the attribute '" + attribute + "'");
      const std::string name = options.prefix + call.name;
      if (!tape.has(name)) tape.name(y, name);
      if (tape.find(name) != y) usage_error("another value on the tape has this name");
    } catch (const Error& error) {
      // An op's error names the layer already; one of the layer's own does not.
      if (!error.where().empty()) throw;
      throw Error(error.kind(), label(call), error.what());
    }
    values[call.name] = y;
  }
  std::map<std::string, Val> results;
  for (const std::string& name : outputs) results[name] = values.at(name);
  return results;
}

Val record(const Network& network, Tape& tape, Val input, const RecordOptions& options) {
  const std::string output = network.output();
  const std::vector<std::string> inputs = network.inputs();
  if (inputs.size() != 1)
    usage_error("the network has " + std::to_string(inputs.size()) + " inputs, one was given");
  return record(network, tape, {{inputs[0], input}}, options).at(output);
}

template <class T>
const T* LayerArgs::find(const std::string& attribute) const {
  read_.insert(attribute);
  const auto found = call_.attributes.find(attribute);
  return found == call_.attributes.end() ? nullptr : std::get_if<T>(&found->second);
}

int64_t LayerArgs::checked(const std::string& attribute, int64_t value) const {
  if (value < -max_integer || value > max_integer)
    usage_error("'" + attribute + "' is " + std::to_string(value) + ", at most " +
                std::to_string(max_integer) + " is possible");
  return value;
}

int64_t LayerArgs::integer(const std::string& attribute, int64_t fallback) const {
  if (const auto* value = find<int64_t>(attribute)) return checked(attribute, *value);
  if (has(attribute)) usage_error("'" + attribute + "' must be an integer");
  return fallback;
}

int64_t LayerArgs::integer(const std::string& attribute) const {
  if (!has(attribute)) usage_error("needs the attribute '" + attribute + "'");
  return integer(attribute, 0);
}

double LayerArgs::number(const std::string& attribute, double fallback) const {
  if (const auto* value = find<double>(attribute)) return *value;
  if (const auto* whole = find<int64_t>(attribute)) return static_cast<double>(*whole);
  if (has(attribute)) usage_error("'" + attribute + "' must be a number");
  return fallback;
}

bool LayerArgs::flag(const std::string& attribute, bool fallback) const {
  if (const auto* value = find<bool>(attribute)) return *value;
  if (has(attribute)) usage_error("'" + attribute + "' must be true or false");
  return fallback;
}

std::string LayerArgs::text(const std::string& attribute, const std::string& fallback) const {
  if (const auto* value = find<std::string>(attribute)) return *value;
  if (has(attribute)) usage_error("'" + attribute + "' must be a text");
  return fallback;
}

std::array<int64_t, 2> LayerArgs::pair(const std::string& attribute, int64_t fallback) const {
  if (!has(attribute)) return {fallback, fallback};
  if (const auto* one = find<int64_t>(attribute))
    return {checked(attribute, *one), checked(attribute, *one)};
  const auto* two = find<std::vector<int64_t>>(attribute);
  if (!two || two->size() != 2) usage_error("'" + attribute + "' must be one or two integers");
  return {checked(attribute, (*two)[0]), checked(attribute, (*two)[1])};
}

std::vector<std::string> LayerArgs::unread() const {
  std::vector<std::string> names;
  for (const auto& entry : call_.attributes)
    if (read_.count(entry.first) == 0) names.push_back(entry.first);
  return names;
}

}  // namespace fulmar
