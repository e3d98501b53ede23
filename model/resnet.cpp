#include "model/resnet.h"

#include <string>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

Attributes padded(int64_t pixels, Attributes attributes) {
  attributes["padding"] = std::string("explicit");
  for (const char* side : {"pad_top", "pad_bottom", "pad_left", "pad_right"})
    attributes[side] = pixels;
  return attributes;
}

class Builder {
 public:
  explicit Builder(Network& network) : network_(network) {}

  std::string conv(const std::string& name, const std::string& x, int64_t filters, int64_t kernel,
                   int64_t stride) {
    return network_.add(
        "conv2d", name, {x},
        padded(
            kernel / 2,
            {{"filters", filters}, {"kernel", kernel}, {"stride", stride}, {"use_bias", false}}));
  }
  std::string norm(const std::string& name, const std::string& x) {
    return network_.add("batch_normalization", name, {x}, {{"epsilon", 1e-5}, {"momentum", 0.9}});
  }
  std::string relu(const std::string& name, const std::string& x) {
    return network_.add("activation", name, {x}, {{"function", std::string("relu")}});
  }
  // 1x1, 3x3 and 1x1, and what goes past them.
  std::string bottleneck(const std::string& name, const std::string& x, int64_t width,
                         int64_t outputs, int64_t stride, bool projects) {
    std::string y = x, past = x;
    y = relu(name + ".relu1", norm(name + ".bn1", conv(name + ".conv1", y, width, 1, 1)));
    y = relu(name + ".relu2", norm(name + ".bn2", conv(name + ".conv2", y, width, 3, stride)));
    y = norm(name + ".bn3", conv(name + ".conv3", y, outputs, 1, 1));
    if (projects)
      past = norm(name + ".downsample.1", conv(name + ".downsample.0", past, outputs, 1, stride));
    return relu(name + ".relu", network_.add("add", name + ".add", {y, past}));
  }

 private:
  Network& network_;
};

}  // namespace

Network resnet(const ResnetOptions& options) {
  if (options.blocks.empty() || options.blocks.size() != options.widths.size())
    usage_error("resnet needs as many widths as numbers of blocks, and at least one");
  for (const std::vector<int64_t>* list : {&options.blocks, &options.widths})
    for (const int64_t value : *list)
      if (value < 1) usage_error("resnet: widths and numbers of blocks must be at least 1");
  Network network;
  Builder b(network);
  std::string x = network.add("input", "input", {}, {{"channels", options.channels}});
  network.set_scope("stem");
  x = b.relu("relu", b.norm("bn1", b.conv("conv1", x, options.widths.front(), 7, 2)));
  x = network.add("max_pooling2d", "maxpool", {x},
                  padded(1, {{"pool_size", int64_t{3}}, {"stride", int64_t{2}}}));
  int64_t inputs = options.widths.front();
  for (size_t stage = 0; stage < options.blocks.size(); stage++) {
    const int64_t width = options.widths[stage], outputs = options.expansion * width;
    const std::string layer = "layer" + std::to_string(stage + 1);
    network.set_scope(layer);
    for (int64_t block = 0; block < options.blocks[stage]; block++) {
      const int64_t stride = stage > 0 && block == 0 ? 2 : 1;
      x = b.bottleneck(layer + "." + std::to_string(block), x, width, outputs, stride,
                       stride > 1 || inputs != outputs);
      inputs = outputs;
    }
  }
  network.set_scope("head");
  x = network.add("global_average_pooling2d", "avgpool", {x});
  network.add("dense", "fc", {x}, {{"units", options.classes}});
  return network;
}

}  // namespace fulmar::model
