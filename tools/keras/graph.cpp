#include "tools/keras/graph.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "kernels/error.h"
#include "tools/keras/layer_call.h"

namespace fulmar::keras {
namespace {

constexpr int64_t max_nesting = 32, max_layer_calls = 1 << 16;

bool is_model(const std::string& layer_class) {
  return layer_class == "Sequential" || layer_class == "Functional" || layer_class == "Model";
}

// As Keras names the parts of its archives: Conv2DTranspose is conv2d_transpose.
std::string snake_case(const std::string& name) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  std::string text;
  for (size_t i = 0; i < name.size(); i++) {
    const char c = name[i];
    if (i > 0 && upper(c) && (lower(name[i - 1]) || (i + 1 < name.size() && lower(name[i + 1]))))
      text += '_';
    text += upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

std::string shown(const std::string& text) { return "'" + text.substr(0, 200) + "'"; }

// A layer in a model's list of layers.
struct Entry {
  const Json* json;
  std::string layer_class, name;
  const Json* config;
};

Entry entry_of(const Json& json) {
  const auto wrong = [] { file_error("the configuration has a layer without class or settings"); };
  if (!json.is_object()) wrong();
  const auto layer_class = json.find("class_name"), config = json.find("config");
  if (layer_class == json.end() || !layer_class->is_string() || config == json.end()) wrong();
  Entry entry{&json, layer_class->get<std::string>(), "", &*config};
  // In a graph the layer's name stands beside its settings too.
  for (const Json* from : {&*config, &json}) {
    if (!from->is_object()) continue;
    const auto name = from->find("name");
    if (name != from->end() && name->is_string() && entry.name.empty())
      entry.name = name->get<std::string>();
  }
  if (entry.name.size() > 500) file_error("a layer's name is longer than 500 characters");
  return entry;
}

// The layers of a model; Sequential models of old are a list by themselves.
std::vector<Entry> layers_of(const Json& config) {
  const Json* list = &config;
  if (config.is_object()) {
    const auto layers = config.find("layers");
    if (layers == config.end()) file_error("the configuration lists no layers");
    list = &*layers;
  }
  if (!list->is_array() || list->empty()) file_error("the configuration lists no layers");
  if (list->size() > static_cast<size_t>(Network::max_calls))
    file_error("the model has more than " + std::to_string(Network::max_calls) + " layers");
  std::vector<Entry> entries;
  std::set<std::string> names;
  for (const Json& json : *list) {
    entries.push_back(entry_of(json));
    if (!names.insert(entries.back().name).second)
      file_error("two layers of the model are called " + shown(entries.back().name));
  }
  return entries;
}

// ---- the graph of a functional model

// A value: the layer's name, which of its calls, which of its outputs.
struct Reference {
  std::string layer;
  int64_t call = 0, output = 0;
};

bool is_reference(const Json& json) {
  return json.is_array() && json.size() >= 3 && json[0].is_string() &&
         json[1].is_number_integer() && json[2].is_number_integer();
}

Reference reference_of(const Json& json) {
  return {json[0].get<std::string>(), json[1].get<int64_t>(), json[2].get<int64_t>()};
}

// Lists of references: [name, 0, 0], or [[name, 0, 0], …], or by names of outputs.
std::vector<Reference> references_of(const Json& json, int depth = 0) {
  if (is_reference(json)) return {reference_of(json)};
  std::vector<Reference> all;
  if (depth > 3 || !json.is_structured()) file_error("the configuration's graph can't be read");
  for (const Json& item : json) {
    const std::vector<Reference> more = references_of(item, depth + 1);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

// The tensors among a call's arguments, as Keras 3 writes them.
std::vector<Reference> tensors_in(const Json& json, const std::string& layer, int depth = 0) {
  if (json.is_object() && json.value("class_name", Json()) == "__keras_tensor__") {
    const Json config = json.value("config", Json());
    const Json history = config.is_object() ? config.value("keras_history", Json()) : Json();
    if (!is_reference(history)) file_error("layer " + shown(layer) + ": its input can't be read");
    return {reference_of(history)};
  }
  std::vector<Reference> all;
  if (depth > 4 || !json.is_array())
    file_error("layer " + shown(layer) + ": it is called with something other than tensors, " +
               "which is not supported");
  for (const Json& item : json) {
    const std::vector<Reference> more = tensors_in(item, layer, depth + 1);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

// Whether a call's further arguments change nothing in inference. Keras 3 tells `training` anew.
void require_harmless(const Json& kwargs, const std::string& layer, int keras) {
  if (!kwargs.is_object()) return;
  for (const auto& [key, value] : kwargs.items())
    if (value.is_structured() && !value.empty())
      file_error("layer " + shown(layer) + ": its argument " + shown(key) + " is not supported");
    else if (keras < 3 && key == "training" && value == true)
      file_error("layer " + shown(layer) + ": it is called with training=True, as in training " +
                 "whatever the model does, which is not supported");
}

// The inputs of each call of a layer.
std::vector<std::vector<Reference>> calls_of(const Entry& entry, int keras) {
  std::vector<std::vector<Reference>> calls;
  const auto nodes = entry.json->find("inbound_nodes");
  if (nodes == entry.json->end()) return calls;
  if (!nodes->is_array()) file_error("layer " + shown(entry.name) + ": its inputs can't be read");
  for (const Json& node : *nodes) {
    if (node.is_object()) {  // Keras 3
      const Json args = node.value("args", Json::array());
      require_harmless(node.value("kwargs", Json()), entry.name, keras);
      calls.push_back(tensors_in(args, entry.name));
      continue;
    }
    const auto arguments = [&](const Json& one) {
      if (!is_reference(one))
        file_error("layer " + shown(entry.name) + ": its inputs can't be read");
      if (one.size() > 3) require_harmless(one[3], entry.name, keras);
      return reference_of(one);
    };
    std::vector<Reference> inputs;
    if (is_reference(node)) {
      inputs.push_back(arguments(node));
    } else if (node.is_array()) {
      for (const Json& one : node) inputs.push_back(arguments(one));
    }
    calls.push_back(inputs);
  }
  return calls;
}

void require_known(const Entry& entry) {
  if (is_model(entry.layer_class) || entry.layer_class == "InputLayer" ||
      converters().count(entry.layer_class) > 0)
    return;
  file_error("layer " + shown(entry.name) + " (" + entry.layer_class.substr(0, 200) +
             "): layers of this class are not supported");
}

// ---- building

class Graph {
 public:
  Graph(Builder& to, const NetworkOptions& options) : builder_(to), options_(options) {}

  // What a model is within the others.
  struct Place {
    std::string top;      // "" outermost
    std::string scope;    // of the calls, for people
    std::string archive;  // "" or "layers/sequential/"
    bool trainable = true;
    int depth = 0;
  };

  // Builds the calls of a model's layers; of the outermost, its inputs too.
  std::vector<Value> model(const Entry& entry, const std::vector<Value>& inputs,
                           const Place& place) {
    if (place.depth > max_nesting) file_error("models are nested too deep");
    const std::vector<Entry> entries = layers_of(*entry.config);
    if (place.depth == 0)
      for (const Entry& layer : entries) builder_.reserve(layer.name);
    const std::vector<std::string> archives = archive_names(entries, place);
    return entry.layer_class == "Sequential"
               ? sequential(*entry.config, entries, archives, inputs, place)
               : functional(*entry.config, entries, archives, inputs, place);
  }

  int64_t layers() const { return layers_; }
  int64_t inactive() const { return inactive_; }
  const Entry& last() const { return last_; }

 private:
  static std::vector<std::string> archive_names(const std::vector<Entry>& entries,
                                                const Place& place) {
    std::map<std::string, int64_t> seen;
    std::vector<std::string> names;
    for (const Entry& entry : entries) {
      const std::string name = snake_case(entry.layer_class);
      const int64_t count = seen[name]++;
      names.push_back(place.archive + "layers/" + name +
                      (count > 0 ? "_" + std::to_string(count) : ""));
    }
    return names;
  }

  // An input of the outermost model, by its layer's settings, or by what the model was built for.
  Value input(const Entry& entry, const Json& model) {
    const Json* shape = nullptr;
    if (model.is_object() && model.contains("build_input_shape"))
      shape = &model["build_input_shape"];
    for (const char* key : {"batch_input_shape", "batch_shape"})
      if (entry.config->is_object() && entry.config->contains(key)) shape = &(*entry.config)[key];
    const std::string layer = "layer " + shown(entry.name) + " (" + entry.layer_class + "): ";
    if (!shape)
      file_error(layer + "the model doesn't say what its input is like; build it before saving");
    if (!shape->is_array() || shape->size() != 4)
      file_error(layer + "the input is no picture: it has " +
                 std::to_string(shape->is_array() ? shape->size() : 0) +
                 " axes with the batch's, not 4");
    const auto extent = [&](size_t axis, std::optional<int64_t> given, const char* option,
                            const char* what) {
      const Json& json = (*shape)[axis];
      if (json.is_null()) {
        if (!given)
          usage_error(layer + "the model leaves its " + what + " open: say it with " + option);
        return *given;
      }
      if (!json.is_number_integer() || json < 1 || json > LayerArgs::max_integer)
        file_error(layer + "its " + what + " is impossible");
      const auto value = json.get<int64_t>();
      if (given && *given != value)
        usage_error(layer + "its " + what + " is " + std::to_string(value) + ", not the " +
                    std::to_string(*given) + " of " + option + ": leave that out");
      return value;
    };
    const Shape x{1, extent(1, options_.size, "--size", "size"),
                  extent(2, options_.size, "--size", "size"),
                  extent(3, options_.channels, "--channels", "number of channels")};
    layers_++;
    return {builder_.add_input(entry.name, x), 4};
  }

  std::vector<Value> sequential(const Json& config, const std::vector<Entry>& entries,
                                const std::vector<std::string>& archives,
                                const std::vector<Value>& inputs, const Place& place) {
    if (place.depth > 0 && inputs.size() != 1)
      file_error("layer " + shown(place.scope) + ": a Sequential model takes one input");
    std::vector<Value> x = inputs;
    const bool has_input = entries[0].layer_class == "InputLayer";
    if (place.depth == 0) {
      Entry first = entries[0];
      // A nested model says it within.
      for (int depth = 0; is_model(first.layer_class) && depth < max_nesting; depth++)
        first = layers_of(*first.config)[0];
      if (first.layer_class != "InputLayer") first.name += "_input";
      x = {input(first, config)};
    }
    for (size_t i = has_input ? 1 : 0; i < entries.size(); i++)
      x = layer(entries[i], archives[i], x, place);
    return x;
  }

  std::vector<Value> functional(const Json& config, const std::vector<Entry>& entries,
                                const std::vector<std::string>& archives,
                                const std::vector<Value>& inputs, const Place& place) {
    const auto ends = [&](const char* key) {
      if (!config.is_object() || !config.contains(key))
        file_error("the configuration has no " + std::string(key));
      return references_of(config[key]);
    };
    const std::vector<Reference> ins = ends("input_layers"), outs = ends("output_layers");
    if (place.depth > 0 && ins.size() != inputs.size())
      file_error("layer " + shown(place.scope) + ": the model takes " + std::to_string(ins.size()) +
                 " inputs, it is called with " + std::to_string(inputs.size()));
    std::vector<std::vector<std::vector<Reference>>> calls;
    for (const Entry& entry : entries) {
      require_known(entry);
      calls.push_back(calls_of(entry, builder_.major_version()));
    }
    const std::map<std::string, int64_t> base = first_calls(entries, calls, outs);

    std::map<std::string, std::vector<std::vector<Value>>> values;  // by layer, call, output
    for (const Entry& entry : entries) {
      if (entry.layer_class != "InputLayer") continue;
      const auto at = std::find_if(ins.begin(), ins.end(),
                                   [&](const Reference& in) { return in.layer == entry.name; });
      if (at == ins.end()) file_error("layer " + shown(entry.name) + " is no input of its model");
      values[entry.name] = {{place.depth == 0 ? input(entry, config)
                                              : inputs[static_cast<size_t>(at - ins.begin())]}};
    }
    const auto find = [&](const Reference& r) -> const Value* {
      const auto layer = values.find(r.layer);
      if (layer == values.end()) return nullptr;
      const auto first = base.find(r.layer);
      const int64_t call = r.call - (first == base.end() ? 0 : first->second);
      if (call < 0 || call >= static_cast<int64_t>(layer->second.size())) return nullptr;
      const auto& outputs = layer->second[static_cast<size_t>(call)];
      if (r.output < 0 || r.output >= static_cast<int64_t>(outputs.size())) return nullptr;
      return &outputs[static_cast<size_t>(r.output)];
    };
    // A layer's later calls may need what comes behind it in the list.
    for (bool moved = true, waits = true; waits;) {
      if (!moved)
        file_error("the configuration's graph goes in a circle, or a layer's input is missing");
      moved = waits = false;
      for (size_t i = 0; i < entries.size(); i++) {
        if (entries[i].layer_class == "InputLayer") continue;
        auto& done = values[entries[i].name];
        while (done.size() < calls[i].size()) {
          std::vector<Value> x;
          for (const Reference& r : calls[i][done.size()])
            if (const Value* value = find(r)) x.push_back(*value);
          if (x.empty() || x.size() < calls[i][done.size()].size()) break;
          done.push_back(layer(entries[i], archives[i], x, place));
          moved = true;
        }
        waits = waits || done.size() < calls[i].size();
      }
    }
    std::vector<Value> results;
    for (const Reference& r : outs) {
      const Value* value = find(r);
      if (!value) file_error("the model's output " + shown(r.layer) + " is none of its layers'");
      results.push_back(*value);
      for (const Entry& entry : entries)
        if (entry.name == r.layer && !is_model(entry.layer_class)) last_ = entry;
    }
    return results;
  }

  // The number of each model's first call: 0, or 1 where Keras counts the model's own making.
  static std::map<std::string, int64_t> first_calls(
      const std::vector<Entry>& entries,
      const std::vector<std::vector<std::vector<Reference>>>& calls,
      const std::vector<Reference>& outs) {
    std::map<std::string, int64_t> first;
    for (const Entry& entry : entries)
      if (is_model(entry.layer_class)) first[entry.name] = 1;
    const auto see = [&](const Reference& r) {
      const auto at = first.find(r.layer);
      if (at != first.end()) at->second = std::min(at->second, r.call);
    };
    for (const auto& layer : calls)
      for (const auto& call : layer)
        for (const Reference& r : call) see(r);
    for (const Reference& r : outs) see(r);
    return first;
  }

  std::vector<Value> layer(const Entry& entry, const std::string& archive,
                           const std::vector<Value>& x, const Place& place) {
    if (++visited_ > max_layer_calls) file_error("the model has too many layers");
    if (visits_[archive]++ == 0) layers_++;
    bool trainable = place.trainable;
    if (entry.config->is_object()) {
      const auto own = entry.config->find("trainable");
      if (own != entry.config->end() && own->is_boolean()) trainable &= own->get<bool>();
    }
    const std::string top = place.depth == 0 ? entry.name : place.top;
    if (is_model(entry.layer_class))
      return model(entry, x, {top, entry.name, archive + "/", trainable, place.depth + 1});
    last_ = entry;
    require_known(entry);
    LayerCall call(builder_, *entry.config, entry.layer_class.substr(0, 200), entry.name, x);
    Builder::Layer how;
    how.place = {top, entry.name, archive, trainable, {}};
    how.scope = place.scope;
    how.calls = called_[archive]++;
    std::string& base = bases_[archive];
    if (how.calls == 0) base = place.depth == 0 ? entry.name : free_name(entry.name, place.scope);
    how.base = base;
    builder_.set_layer(how);
    const auto converter = converters().find(entry.layer_class);
    if (converter == converters().end()) call.fail("an input within the model");
    const Value y = converter->second(call);
    if (x.size() == 1 && y.call == x[0].call && entry.layer_class.rfind("Random", 0) == 0 &&
        how.calls == 0)
      inactive_++;
    return {y};
  }

  std::string free_name(const std::string& name, const std::string& model) {
    return builder_.unique(builder_.is_taken(name) ? model + "/" + name : name);
  }

  Builder& builder_;
  const NetworkOptions& options_;
  int64_t layers_ = 0, visited_ = 0, inactive_ = 0;
  std::map<std::string, int64_t> visits_, called_;  // by archive path
  std::map<std::string, std::string> bases_;
  Entry last_{};
};

}  // namespace

ReadGraph read_graph(const Json& model, Builder& to, const NetworkOptions& options) {
  const Entry entry = entry_of(model);
  if (!is_model(entry.layer_class))
    file_error("the model is a " + shown(entry.layer_class) +
               ", only Sequential and Functional models can be read");
  Graph graph(to, options);
  ReadGraph read;
  read.outputs = graph.model(entry, {}, {});
  read.layers = graph.layers();
  read.inactive = graph.inactive();
  read.last_name = graph.last().name;
  read.last_class = graph.last().layer_class;
  return read;
}

}  // namespace fulmar::keras
