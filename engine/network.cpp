#include "engine/network.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace fulmar {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const Attribute& attribute) {
  return std::visit([](const auto& value) { return Json(value); }, attribute);
}

Attribute attribute_of(const Json& json, const std::string& where) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  const auto all = [&](auto predicate) { return std::all_of(json.begin(), json.end(), predicate); };
  if (json.is_array() && all([](const Json& j) { return j.is_number_integer(); }))
    return json.get<std::vector<int64_t>>();
  if (json.is_array() && all([](const Json& j) { return j.is_number(); }))
    return json.get<std::vector<double>>();
  usage_error(where + ": a value must be a flag, a number, a text or a list of numbers");
}

template <class T>
const T* get(const Call& call, const std::string& attribute) {
  const auto found = call.attributes.find(attribute);
  if (found == call.attributes.end()) return nullptr;
  const T* value = std::get_if<T>(&found->second);
  if (!value) usage_error("attribute '" + attribute + "' has the wrong type");
  return value;
}

std::string label(const Call& call) { return call.op + " '" + call.name + "'"; }

}  // namespace

std::string Network::add(const std::string& op, const std::string& name,
                         const std::vector<std::string>& inputs, const Attributes& attributes) {
  const Call call{op, name, inputs, attributes, scope_};
  const auto layer = layers().find(op);
  if (layer == layers().end())
    usage_error("there is no layer '" + op + "' (wanted by '" + name + "')");
  if ((op == "input") != calls_.empty())
    usage_error(label(call) + ": a network starts with its one input");
  const auto known = [&](const std::string& input) {
    return std::any_of(calls_.begin(), calls_.end(),
                       [&](const Call& c) { return c.name == input; });
  };
  if (name.empty() || known(name)) usage_error(label(call) + ": the name is empty or taken");
  const int wanted = layer->second.inputs;
  if (wanted >= 0 ? std::ssize(inputs) != wanted : inputs.empty())
    usage_error(label(call) + ": takes " + (wanted < 0 ? "one or more" : std::to_string(wanted)) +
                " inputs, " + std::to_string(inputs.size()) + " given");
  for (const std::string& input : inputs)
    if (!known(input)) usage_error(label(call) + ": there is no layer '" + input + "' before it");
  calls_.push_back(call);
  return name;
}

const Call& Network::call(std::string_view name) const {
  for (const Call& call : calls_)
    if (call.name == name) return call;
  usage_error("the network has no layer '" + std::string(name) + "'");
}

std::string Network::to_json() const {
  Json list = Json::array();
  for (const Call& call : calls_) {
    Json attributes = Json::object();
    for (const auto& [key, value] : call.attributes) attributes[key] = json_of(value);
    Json entry{
        {"op", call.op}, {"name", call.name}, {"inputs", call.inputs}, {"attributes", attributes}};
    if (!call.scope.empty()) entry["scope"] = call.scope;
    list.push_back(entry);
  }
  return list.dump();
}

Network Network::from_json(const std::string& text) {
  const Json list = Json::parse(text, nullptr, false);
  if (!list.is_array() || list.empty()) usage_error("the network is not a JSON list of layers");
  Network network;
  for (const Json& entry : list) {
    const std::string where = "layer " + std::to_string(network.calls_.size() + 1);
    const auto is_text = [](const Json& j) { return j.is_string(); };
    if (!entry.is_object() || !entry.contains("op") || !entry["op"].is_string() ||
        !entry.contains("name") || !entry["name"].is_string() || !entry.contains("inputs") ||
        !entry["inputs"].is_array() ||
        !std::all_of(entry["inputs"].begin(), entry["inputs"].end(), is_text))
      usage_error(where + " needs op, name and inputs");
    Attributes attributes;
    if (entry.contains("attributes")) {
      if (!entry["attributes"].is_object()) usage_error(where + ": attributes must be an object");
      for (const auto& [key, value] : entry["attributes"].items())
        attributes[key] = attribute_of(value, where + ", '" + key + "'");
    }
    const auto scope = entry.find("scope");
    network.set_scope(scope != entry.end() && scope->is_string() ? scope->get<std::string>() : "");
    network.add(entry["op"], entry["name"], entry["inputs"].get<std::vector<std::string>>(),
                attributes);
  }
  return network;
}

Val record(const Network& network, Tape& tape, Val input, const RecordOptions& options) {
  std::map<std::string, Val> values;
  uint64_t index = 0;
  for (const Call& call : network.calls()) {
    std::vector<Val> x;
    for (const std::string& name : call.inputs) x.push_back(values.at(name));
    if (call.op == "input") x.push_back(input);
    const auto outer = tape.scope(call.scope.empty() ? "network" : call.scope);
    const auto inner = tape.scope(call.name);
    LayerArgs args(tape, call, std::move(x), options, index++);
    Val y;
    try {
      y = layers().at(call.op).record(args);
    } catch (const Error& error) {
      // An op's error names the layer already; one of the layer's own does not.
      const std::string message = error.what();
      if (message.find("'" + call.name + "'") != std::string::npos) throw;
      throw Error(error.kind(), label(call) + ": " + message);
    }
    values[call.name] = y;
    if (!tape.has(call.name)) tape.name(y, call.name);
  }
  return values.at(network.output());
}

int64_t LayerArgs::integer(const std::string& attribute, int64_t fallback) const {
  const auto* value = get<int64_t>(call_, attribute);
  return value ? *value : fallback;
}

int64_t LayerArgs::integer(const std::string& attribute) const {
  if (!has(attribute)) usage_error("needs the attribute '" + attribute + "'");
  return integer(attribute, 0);
}

double LayerArgs::number(const std::string& attribute, double fallback) const {
  const auto found = call_.attributes.find(attribute);
  if (found != call_.attributes.end())
    if (const auto* whole = std::get_if<int64_t>(&found->second))
      return static_cast<double>(*whole);
  const auto* value = get<double>(call_, attribute);
  return value ? *value : fallback;
}

bool LayerArgs::flag(const std::string& attribute, bool fallback) const {
  const auto* value = get<bool>(call_, attribute);
  return value ? *value : fallback;
}

std::string LayerArgs::text(const std::string& attribute, const std::string& fallback) const {
  const auto* value = get<std::string>(call_, attribute);
  return value ? *value : fallback;
}

std::array<int64_t, 2> LayerArgs::pair(const std::string& attribute, int64_t fallback) const {
  const auto found = call_.attributes.find(attribute);
  if (found == call_.attributes.end()) return {fallback, fallback};
  if (const auto* one = std::get_if<int64_t>(&found->second)) return {*one, *one};
  const auto* two = get<std::vector<int64_t>>(call_, attribute);
  if (two->size() != 2) usage_error("attribute '" + attribute + "' takes one or two integers");
  return {(*two)[0], (*two)[1]};
}

}  // namespace fulmar
