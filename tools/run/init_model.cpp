#include "tools/run/init_model.h"

#include <algorithm>

#include "data/raster_folder.h"
#include "kernels/error.h"
#include "model/polar_low.h"
#include "model/resnet.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

// Fulmar's networks differ in no call's op and name from each other, but for the number of blocks.
bool same_calls(const Network& a, const Network& b) {
  return std::equal(a.calls().begin(), a.calls().end(), b.calls().begin(), b.calls().end(),
                    [](const Call& x, const Call& y) { return x.op == y.op && x.name == y.name; });
}

const char* width_of(const std::string& op) {
  if (op == "dense") return "units";
  return op == "conv2d" || op == "separable_conv2d" ? "filters" : nullptr;
}

// The last call whose weights give the logits their number; empty where there is none.
std::string last_width(const Network& network) {
  std::string name = network.output();
  for (;;) {
    const Call& call = network.call(name);
    if (width_of(call.op)) return call.trainable && call.weights.empty() ? name : "";
    const bool passes = call.op == "activation" || call.op == "dropout" || call.op == "flatten" ||
                        call.op.rfind("global_", 0) == 0;
    if (!passes || call.inputs.size() != 1) return "";
    name = call.inputs[0];
  }
}

int64_t width(const Call& call) {
  const auto found = call.attributes.find(width_of(call.op));
  const auto* value =
      found == call.attributes.end() ? nullptr : std::get_if<int64_t>(&found->second);
  return value ? *value : 0;
}

// The network with another width of one call.
Network with_width(const Network& network, const std::string& name, int64_t to) {
  Network changed;
  for (Call call : network.calls()) {
    if (call.name == name) call.attributes[width_of(call.op)] = to;
    changed.add(call);
  }
  changed.set_outputs(network.outputs());
  return changed;
}

// Whether a call gives each picture one vector, as a network without its last layer does.
bool gives_features(const Call& output) {
  return output.op == "flatten" || output.op.rfind("global_", 0) == 0;
}

// Adds a last layer, whose name it gives.
std::string with_head(Network& network, int64_t classes) {
  const auto taken = [&](const std::string& name) {
    return std::any_of(network.calls().begin(), network.calls().end(),
                       [&](const Call& call) { return call.name == name; });
  };
  std::string name = "fc";
  while (taken(name)) name += "_";
  network.add(Call{"dense", name, {network.output()}, {{"units", classes}}, "head", {}, true});
  network.set_outputs({name});
  return name;
}

}  // namespace

bool is_polar_low(const Network& network) {
  for (size_t blocks = 1; blocks <= 16; blocks++) {
    model::PolarLowOptions options;
    options.widths.assign(blocks, 1);
    if (same_calls(network, model::polar_low(options))) return true;
  }
  return false;
}

std::optional<ModelInfo> foreign_model(const std::string& path) {
  const ModelFile file(path);
  if (is_polar_low(file.info().network)) return {};
  const size_t inputs = file.info().network.inputs().size();
  if (inputs != 1 || file.info().preprocess.size() != 1 ||
      file.info().network.outputs().size() != 1)
    file_error(path + ": its network isn't one of pictures with one output, which can be trained");
  return file.info();
}

void take_from_init(TrainConfig& config) {
  if (!config.init) return;
  // Networks of pixels are the configuration's; the file gives weights alone.
  if (config.by_pixel() || data::has_label_folders(config.dataset)) return;
  const std::optional<ModelInfo> foreign = foreign_model(*config.init);
  if (!foreign) return;
  const Preprocess& p = foreign->picture();
  const auto refuse = [&](const std::string& option, const std::string& what) {
    usage_error(option + ": the network of " + *config.init + " takes " + what + "; leave it out");
  };
  if (config.range || config.standardize)
    refuse(config.range ? "--range" : "--standardize", "pictures scaled as its file says");
  if (config.crop != 0 && config.crop != p.crop)
    refuse("--crop " + std::to_string(config.crop), std::to_string(p.crop));
  if (config.channels && *config.channels != p.bands)
    refuse("--channels " + std::to_string(*config.channels), std::to_string(p.bands));
  if (config.widths != TrainConfig{}.widths) refuse("--widths", "its own");
  if (config.network && model::is_resnet_name(*config.network))
    usage_error("--network " + *config.network + ": " + *config.init +
                " holds its network itself; leave it out");
  // Where the pictures' size was asked for, they are resized as asked for too.
  if (config.size == "native" && p.size > 0) {
    config.size = std::to_string(p.size);
    config.resize = p.resize == Interpolation::nearest ? "nearest" : "bilinear";
  }
  config.crop = p.crop;
  config.channels = p.bands;
}

StartedModel started_from(const ModelInfo& foreign, const std::string& path,
                          const TrainConfig& config, int64_t classes, DType type) {
  StartedModel started;
  Preprocess p = foreign.picture();
  if (!p.takes(type))
    file_error(path + ": its network takes pictures of type " + std::string(name_of(p.type)) +
               ", these are of type " + std::string(name_of(type)));
  const Preprocess asked = config.preprocess(type);
  p.size = asked.size, p.resize = asked.resize, p.pad = asked.pad, p.files = asked.files;
  started.info.preprocess[foreign.network.inputs().at(0)] = p;
  started.info.network = foreign.network;
  const std::string last = last_width(foreign.network);
  const int64_t before = last.empty() ? 0 : width(foreign.network.call(last));
  if (before == classes) return started;
  // A sigmoid's two logits come of one unit.
  const Call& output = foreign.network.call(foreign.network.output());
  if (last.empty() && output.op == "dense" && width(output) == classes) return started;
  if (last.empty() && gives_features(output)) {
    started.anew = with_head(started.info.network, classes);
    return started;
  }
  if (last.empty())
    file_error(path + ": no layer of its network can be given " + std::to_string(classes) +
               " outputs; train it with as many classes as it has");
  started.info.network = with_width(foreign.network, last, classes);
  started.anew = last;
  return started;
}

}  // namespace fulmar::tools
