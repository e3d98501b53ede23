#include "tools/keras/keras_weights.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "kernels/error.h"

namespace fulmar::keras {
namespace {

// "conv2d/kernel:0" -> "kernel"
std::string base_name(const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  const size_t colon = name.find(':');
  return colon == std::string::npos ? name : name.substr(0, colon);
}

// "inner/conv2d/kernel:0" -> "conv2d"
std::string owner_name(const std::string& path) {
  const size_t end = path.rfind('/');
  if (end == std::string::npos || end == 0) return "";
  const size_t begin = path.rfind('/', end - 1);
  return path.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1));
}

// Arrays that Keras keeps beside the weights: states of random numbers, how much was measured.
bool is_aside(const std::string& path) {
  for (const char* part : {"/seed_generator", "/random_generator", "/optimizer", "/metrics/",
                           "StateVar", "/count:0", "/count"})
    if (path.find(part) != std::string::npos) return true;
  return false;
}

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i > 0 ? "," : "") + std::to_string(shape[i]);
  return text + "]";
}

// What is missing, listed up to a line's length.
std::string listed(const std::vector<std::string>& names, size_t most = 12) {
  std::string text;
  for (size_t i = 0; i < names.size(); i++) {
    if (i == most) return text + " and " + std::to_string(names.size() - i) + " more";
    text += (i > 0 ? ", " : "") + names[i];
  }
  return text;
}

std::vector<int64_t> without_ones(const std::vector<int64_t>& shape) {
  std::vector<int64_t> rest;
  for (const int64_t extent : shape)
    if (extent != 1) rest.push_back(extent);
  return rest;
}

int64_t elements_of(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t extent : shape) elements *= extent;
  return elements;
}

// The first archives had another name for "layers".
std::string in_keras_2_12(std::string archive) {
  const std::string old = "_layer_checkpoint_dependencies/", usual = "layers/";
  for (size_t at = 0; (at = archive.find(usual, at)) != std::string::npos; at += old.size())
    archive.replace(at, usual.size(), old);
  return archive;
}

// A wanted weight and its layer.
struct Wanted {
  const LayerWeights* layer;
  const WeightPlace* weight;

  std::string text() const { return layer->name + "/" + weight->keras[0]; }
  bool is_called(const std::string& path) const {
    const auto& names = weight->keras;
    return std::find(names.begin(), names.end(), base_name(path)) != names.end();
  }
};

class Placing {
 public:
  explicit Placing(const KerasFile& file) : file_(file) {}

  // Of an HDF5 file: a group for each layer of the outermost model.
  void place_groups(const std::vector<LayerWeights>& layers) {
    const std::string root = file_.attributes.count("/model_weights\nlayer_names") > 0 ||
                                     file_.attributes.count("/model_weights\nlayer_names0") > 0
                                 ? "/model_weights/"
                                 : "/";
    std::vector<std::string> tops;
    for (const LayerWeights& layer : layers)
      if (std::find(tops.begin(), tops.end(), layer.top) == tops.end()) tops.push_back(layer.top);
    for (const std::string& top : tops) {
      std::vector<const LayerWeights*> inside;
      for (const LayerWeights& layer : layers)
        if (layer.top == top) inside.push_back(&layer);
      const std::string group = root + top;
      std::vector<std::string> paths;
      for (const std::string& name : file_.list(group, "weight_names")) {
        const std::string path = group + "/" + name;
        if (file_.arrays.count(path) == 0)
          file_error("the array " + path + ", which its group names, is missing");
        if (!is_aside(path)) paths.push_back(path);
      }
      place_group(in_order(inside), paths);
    }
  }

  // Of an archive: arrays lie where the layers stand.
  void place_archive(const std::vector<LayerWeights>& layers) {
    for (const LayerWeights& layer : layers) {
      int64_t i = 0;
      for (const WeightPlace& weight : layer.weights) {
        if (weight.keras.empty()) continue;
        const std::string number = std::to_string(i++);
        bool found = false;
        for (const std::string& place : {layer.archive, in_keras_2_12(layer.archive)}) {
          const std::string path = "/" + place + "/vars/" + number;
          if (found || file_.arrays.count(path) == 0) continue;
          found = true;
          take({&layer, &weight}, path);
        }
        if (!found) missing_.push_back(Wanted{&layer, &weight}.text());
      }
    }
  }

  PlacedWeights finish(const std::vector<LayerWeights>& layers) {
    if (!missing_.empty() || !wrong_.empty())
      file_error((missing_.empty() ? "" : "weights are missing: " + listed(missing_)) +
                 (missing_.empty() || wrong_.empty() ? "" : "; ") +
                 (wrong_.empty() ? "" : "weights have other shapes: " + listed(wrong_, 4)));
    for (const LayerWeights& layer : layers)
      for (const WeightPlace& weight : layer.weights)
        if (weight.keras.empty()) fill(weight);
    for (const auto& [path, array] : file_.arrays)
      if (used_.count(path) == 0 && !is_aside(path)) placed_.left_over.push_back(path);
    return std::move(placed_);
  }

 private:
  // Keras writes what is trained first, then the rest.
  static std::vector<Wanted> in_order(const std::vector<const LayerWeights*>& layers) {
    std::vector<Wanted> trained, rest;
    for (const LayerWeights* layer : layers)
      for (const WeightPlace& weight : layer->weights)
        if (!weight.keras.empty())
          (layer->trainable && !weight.statistic ? trained : rest).push_back({layer, &weight});
    trained.insert(trained.end(), rest.begin(), rest.end());
    return trained;
  }

  void place_group(const std::vector<Wanted>& wanted, const std::vector<std::string>& paths) {
    bool same = wanted.size() == paths.size();
    for (size_t i = 0; same && i < paths.size(); i++) same = wanted[i].is_called(paths[i]);
    if (same) {
      for (size_t i = 0; i < paths.size(); i++) take(wanted[i], paths[i]);
      return;
    }
    // In another order: by the layers' names.
    for (const Wanted& one : wanted) {
      std::vector<std::string> found;
      for (const std::string& path : paths)
        if (one.is_called(path) &&
            (owner_name(path) == one.layer->name || one.layer->top == one.layer->name))
          found.push_back(path);
      if (found.empty())
        missing_.push_back(one.text());
      else if (found.size() > 1)
        file_error("the weight " + one.text() + " is there " + std::to_string(found.size()) +
                   " times: " + listed(found));
      else
        take(one, found[0]);
    }
  }

  void take(const Wanted& wanted, const std::string& path) {
    const Array& array = file_.arrays.at(path);
    const WeightPlace& weight = *wanted.weight;
    used_.insert(path);
    const auto elements = static_cast<size_t>(elements_of(weight.shape));
    // A kernel of several filters a channel lies the same under another shape.
    const bool grouped = weight.keras[0] == "depthwise_kernel";
    const bool one_for_all = weight.statistic && array.values.size() == 1;
    if (without_ones(array.shape) != without_ones(weight.shape) && !one_for_all &&
        !(grouped && array.values.size() == elements))
      return wrong_.push_back(path + " is " + text_of(array.shape) + " where layer '" +
                              wanted.layer->name + "' takes " + text_of(weight.shape));
    std::vector<float>& values = placed_.values[weight.parameter];
    for (const float value : array.values) {
      if (!std::isfinite(value))
        file_error("the weight " + path +
                   " holds NaN or infinity: the model was not saved whole, " +
                   "or its training had diverged");
      values.push_back(weight.least > 0 ? std::max(value, static_cast<float>(weight.least))
                                        : value);
    }
    if (one_for_all) values.assign(elements, values.at(0));
  }

  // What the file's configuration says itself.
  void fill(const WeightPlace& weight) {
    const auto elements = static_cast<size_t>(elements_of(weight.shape));
    std::vector<float> values = weight.values;
    if (values.empty()) values = {static_cast<float>(weight.value)};
    if (values.size() == 1) values.assign(elements, values[0]);
    if (values.size() != elements)
      file_error("the numbers for " + weight.parameter + " are " + std::to_string(values.size()) +
                 ", " + std::to_string(elements) + " are expected");
    for (float& value : values)
      if (weight.least > 0) value = std::max(value, static_cast<float>(weight.least));
    placed_.values[weight.parameter] = std::move(values);
  }

  const KerasFile& file_;
  PlacedWeights placed_;
  std::set<std::string> used_;
  std::vector<std::string> missing_, wrong_;
};

}  // namespace

PlacedWeights place_weights(const KerasFile& file, const std::vector<LayerWeights>& layers) {
  Placing placing(file);
  if (file.is_archive())
    placing.place_archive(layers);
  else
    placing.place_groups(layers);
  return placing.finish(layers);
}

std::vector<LayerWeights> layers_of(
    const std::vector<std::pair<std::string, std::vector<int64_t>>>& parameters) {
  std::vector<LayerWeights> layers;
  for (const auto& [name, shape] : parameters) {
    const size_t slash = name.rfind('/');
    const std::string layer = name.substr(0, slash), weight = name.substr(slash + 1);
    auto at = std::find_if(layers.begin(), layers.end(),
                           [&](const LayerWeights& l) { return l.name == layer; });
    if (at == layers.end()) at = layers.insert(layers.end(), {layer, layer, "", true, {}});
    at->weights.push_back({name, shape, {weight}, 0, {}, 0, weight.rfind("moving_", 0) == 0});
  }
  return layers;
}

}  // namespace fulmar::keras
