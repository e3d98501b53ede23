#include "tools/keras/layer_call.h"

#include <cmath>

#include "kernels/error.h"
#include "tools/keras/builder.h"

namespace fulmar::keras {

void LayerCall::fail(const std::string& what) const {
  file_error("layer '" + name + "' (" + class_name + "): " + what);
}

const Value& LayerCall::only() const {
  require(x.size() == 1, "takes one input, it has " + std::to_string(x.size()));
  return x[0];
}

const Value& LayerCall::picture() const {
  require(only().rank == 4, "takes pictures (4 axes), its input has " + std::to_string(x[0].rank));
  return x[0];
}

Shape LayerCall::shape(const Value& value) const { return builder_.shape(value.call); }
int LayerCall::major_version() const { return builder_.major_version(); }
void LayerCall::note(const std::string& sentence) const { builder_.note(sentence); }

const Json* LayerCall::find(const char* key) const {
  if (!config.is_object()) return nullptr;
  const auto found = config.find(key);
  return found == config.end() || found->is_null() ? nullptr : &*found;
}

bool LayerCall::has(const char* key) const { return find(key) != nullptr; }

namespace {

bool is_count(const Json& json) {
  return json.is_number_integer() &&
         !(json.is_number_unsigned() && json.get<uint64_t>() > 1u << 30);
}

}  // namespace

int64_t LayerCall::integer(const char* key, int64_t fallback) const {
  const Json* json = find(key);
  if (!json) return fallback;
  require(is_count(*json), std::string("its ") + key + " is no whole number");
  return json->get<int64_t>();
}

double LayerCall::number(const char* key, double fallback) const {
  const Json* json = find(key);
  if (!json) return fallback;
  // Keras writes some numbers as arrays of NumPy.
  if (json->is_object() && json->contains("value")) json = &(*json)["value"];
  require(json->is_number() && std::isfinite(json->get<double>()),
          std::string("its ") + key + " is no number");
  return json->get<double>();
}

bool LayerCall::flag(const char* key, bool fallback) const {
  const Json* json = find(key);
  if (!json) return fallback;
  require(json->is_boolean(), std::string("its ") + key + " is neither true nor false");
  return json->get<bool>();
}

std::string LayerCall::text(const char* key, const std::string& fallback) const {
  const Json* json = find(key);
  if (!json) return fallback;
  require(json->is_string(), std::string("its ") + key + " is no text");
  return json->get<std::string>();
}

std::vector<int64_t> LayerCall::pair(const char* key, int64_t fallback) const {
  const Json* json = find(key);
  if (!json) return {fallback, fallback};
  if (is_count(*json)) return {json->get<int64_t>(), json->get<int64_t>()};
  require(json->is_array() && json->size() == 2 && is_count((*json)[0]) && is_count((*json)[1]),
          std::string("its ") + key + " is neither a whole number nor two");
  return {(*json)[0].get<int64_t>(), (*json)[1].get<int64_t>()};
}

std::vector<double> LayerCall::numbers(const Json& json, const char* key) const {
  std::vector<double> all;
  // By hand: a file can nest lists deeper than the stack is.
  std::vector<const Json*> open{&json};
  while (!open.empty()) {
    const Json* item = open.back();
    open.pop_back();
    if (item->is_array()) {
      for (size_t i = item->size(); i-- > 0;) open.push_back(&(*item)[i]);
    } else if (item->is_object() && item->contains("value")) {
      open.push_back(&(*item)["value"]);
    } else {
      require(item->is_number() && std::isfinite(item->get<double>()),
              std::string("its ") + key + " is no list of numbers");
      all.push_back(item->get<double>());
    }
  }
  return all;
}

void LayerCall::require_channels_last() const {
  require(text("data_format", "channels_last") == "channels_last",
          "its channels come first; only channels_last is supported");
}

bool LayerCall::is_last_axis(const char* key, int rank, int64_t fallback) const {
  const Json* json = find(key);
  const Json* axis = json && json->is_array() && json->size() == 1 ? &(*json)[0] : json;
  if (axis && !is_count(*axis)) return false;
  const int64_t value = axis ? axis->get<int64_t>() : fallback;
  return value == -1 || value == rank - 1;
}

Value LayerCall::add(const std::string& op, const std::string& part,
                     const std::vector<Value>& inputs, const Attributes& attributes, int rank,
                     std::vector<WeightPlace> weights, bool frozen) const {
  return {builder_.add(op, part, inputs, attributes, std::move(weights), frozen), rank};
}

void LayerCall::mark(const Value& value, const FromInput& how) const {
  builder_.mark(value.call, how);
}

}  // namespace fulmar::keras
