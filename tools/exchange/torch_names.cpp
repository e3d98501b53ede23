#include "tools/exchange/torch_names.h"

#include <algorithm>
#include <array>
#include <map>

namespace fulmar::exchange {
namespace {

// Where a weight stands in PyTorch: what follows the layer's name, and the axes.
struct Place {
  std::string what;
  std::vector<int> axes;
};

Place place_of(const std::string& op, const std::string& what, int rank) {
  const bool separable = op == "separable_conv2d";
  if (what == "kernel")
    return {"weight", rank == 2 ? std::vector<int>{1, 0} : std::vector<int>{3, 2, 0, 1}};
  if (what == "depthwise_kernel") return {separable ? "depthwise.weight" : "weight", {2, -1, 0, 1}};
  if (what == "pointwise_kernel") return {"pointwise.weight", {3, 2, 0, 1}};
  if (what == "bias") return {separable ? "pointwise.bias" : "bias", {0}};
  if (what == "gamma") return {"weight", {0}};
  if (what == "beta") return {"bias", {0}};
  if (what == "moving_mean") return {"running_mean", {0}};
  if (what == "moving_variance") return {"running_var", {0}};
  // The slopes of a PReLU, by channel or by element.
  return {"weight", rank == 1 ? std::vector<int>{0} : std::vector<int>{0, 3, 1, 2}};
}

std::vector<int64_t> extents(const Shape& shape) {
  std::vector<int64_t> all;
  for (int axis = 0; axis < shape.rank(); axis++) all.push_back(shape[axis]);
  return all;
}

// Calls visit(PyTorch's element, Fulmar's element) for each.
template <class Visit>
void each_element(const TorchWeight& weight, const Visit& visit) {
  std::vector<int64_t> own_stride(weight.own_shape.size(), 1);
  for (size_t axis = own_stride.size(); axis-- > 1;)
    own_stride[axis - 1] = own_stride[axis] * weight.own_shape[axis];
  size_t count = 1;
  for (const int64_t extent : weight.shape) count *= static_cast<size_t>(extent);
  std::vector<int64_t> index(weight.shape.size(), 0);
  for (size_t i = 0; i < count; i++) {
    int64_t own = 0;
    for (size_t axis = 0; axis < index.size(); axis++)
      if (weight.axes[axis] >= 0)
        own += index[axis] * own_stride[static_cast<size_t>(weight.axes[axis])];
    visit(i, static_cast<size_t>(own));
    for (size_t axis = index.size(); axis-- > 0;) {
      if (++index[axis] < weight.shape[axis]) break;
      index[axis] = 0;
    }
  }
}

// What a text begins with is taken off it.
bool take(std::string& text, const std::string& beginning) {
  if (text.rfind(beginning, 0) != 0) return false;
  text.erase(0, beginning.size());
  return true;
}

// A number and the point behind it; -1 where there is none.
int64_t take_number(std::string& text) {
  const size_t end = text.find('.');
  if (end == std::string::npos || end == 0 || end > 4 ||
      !std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end),
                   [](char c) { return c >= '0' && c <= '9'; }))
    return -1;
  const int64_t number = std::stoll(text.substr(0, end));
  text.erase(0, end + 1);
  return number;
}

}  // namespace

std::vector<TorchWeight> torch_weights(const Network& network, const Model& model) {
  std::map<std::string, std::vector<std::pair<std::string, Shape>>> by_layer;
  const auto put = [&](const std::string& name, const Shape& shape) {
    by_layer[name.substr(0, name.rfind('/'))].emplace_back(name, shape);
  };
  // A model has its parameters in reverse order of first use.
  for (size_t i = model.parameters().size(); i-- > 0;)
    put(model.parameters()[i].name, model.parameters()[i].shape);
  for (const Model::Statistic& s : model.statistics()) put(s.name, s.shape);
  std::vector<TorchWeight> all;
  for (const Call& call : network.calls()) {
    const auto layer = by_layer.find(call.name);
    if (layer == by_layer.end()) continue;
    for (const auto& [name, shape] : layer->second) {
      TorchWeight weight;
      weight.name = name;
      weight.own_shape = extents(shape);
      const Place place = place_of(call.op, name.substr(name.rfind('/') + 1), shape.rank());
      weight.key = call.name + "." + place.what;
      weight.axes = place.axes;
      for (const int axis : weight.axes) weight.shape.push_back(axis < 0 ? 1 : shape[axis]);
      all.push_back(std::move(weight));
    }
    if (call.op == "batch_normalization")
      all.push_back({call.name + ".num_batches_tracked", "", {}, {}, {}});
  }
  return all;
}

std::vector<double> to_torch(const TorchWeight& weight, const std::vector<double>& own) {
  std::vector<double> theirs(own.size());
  each_element(weight, [&](size_t i, size_t at) { theirs[i] = own[at]; });
  return theirs;
}

std::vector<double> from_torch(const TorchWeight& weight, const std::vector<double>& theirs) {
  std::vector<double> own(theirs.size());
  each_element(weight, [&](size_t i, size_t at) { own[at] = theirs[i]; });
  return own;
}

std::string torchvision_key(const std::string& key) {
  std::string rest = key;
  take(rest, "resnet.");
  if (take(rest, "embedder.embedder.convolution.")) return "conv1." + rest;
  if (take(rest, "embedder.embedder.normalization.")) return "bn1." + rest;
  if (take(rest, "classifier.1.")) return "fc." + rest;
  if (!take(rest, "encoder.stages.")) return key;
  const int64_t stage = take_number(rest);
  if (stage < 0 || !take(rest, "layers.")) return key;
  const int64_t block = take_number(rest);
  const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(block) + ".";
  if (block < 0) return key;
  if (take(rest, "shortcut.convolution.")) return name + "downsample.0." + rest;
  if (take(rest, "shortcut.normalization.")) return name + "downsample.1." + rest;
  if (!take(rest, "layer.")) return key;
  const int64_t number = take_number(rest);
  if (number < 0) return key;
  const std::string behind = std::to_string(number + 1) + ".";
  if (take(rest, "convolution.")) return name + "conv" + behind + rest;
  if (take(rest, "normalization.")) return name + "bn" + behind + rest;
  return key;
}

}  // namespace fulmar::exchange
