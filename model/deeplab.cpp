#include "model/deeplab.h"

#include <string>

#include "kernels/error.h"
#include "model/conv_blocks.h"
#include "model/resnet.h"

namespace fulmar::model {
namespace {

std::string conv_norm_relu(ConvBlocks& b, const std::string& name, const std::string& x,
                           int64_t filters, int64_t kernel, int64_t dilation) {
  return b.relu(name + ".relu",
                b.norm(name + ".bn", b.conv(name + ".conv", x, filters, kernel, 1, dilation)));
}

// Atrous spatial pyramid pooling.
std::string aspp(ConvBlocks& b, const std::string& name, const std::string& x,
                 const DeeplabOptions& options) {
  Network& network = b.network();
  std::vector<std::string> branches{conv_norm_relu(b, name + ".convs.0", x, options.width, 1, 1)};
  for (size_t i = 0; i < options.rates.size(); i++)
    branches.push_back(conv_norm_relu(b, name + ".convs." + std::to_string(i + 1), x, options.width,
                                      3, options.rates[i]));
  const std::string pooled =
      options.pool == 0
          ? network.add("global_average_pooling2d", name + ".pool", {x})
          : network.add("average_pooling2d", name + ".pool", {x}, {{"pool_size", options.pool}});
  branches.push_back(
      network.add("resize", name + ".spread",
                  {conv_norm_relu(b, name + ".pooled", pooled, options.width, 1, 1), x}));
  std::string y = network.add("concatenate", name + ".concat", branches);
  y = conv_norm_relu(b, name + ".project", y, options.width, 1, 1);
  if (options.dropout > 0)
    y = network.add("dropout", name + ".dropout", {y}, {{"rate", options.dropout}});
  return y;
}

void check(const DeeplabOptions& options, const ResnetOptions& encoder) {
  check_outputs(options.outputs);
  const auto most = static_cast<int64_t>(encoder.blocks.size());
  if (options.stages < 1 || options.stages > most)
    usage_error("deeplab: " + options.encoder + " has 1 to " + std::to_string(most) +
                " stages, not " + std::to_string(options.stages));
  if (options.output_stride != 8 && options.output_stride != 16 && options.output_stride != 32)
    usage_error("deeplab: the output stride is 8, 16 or 32, not " +
                std::to_string(options.output_stride));
  for (const int64_t rate : options.rates)
    if (rate < 1) usage_error("deeplab: an atrous rate must be at least 1");
  if (options.width < 1 || options.pool < 0)
    usage_error("deeplab: the width must be at least 1, and the window at least 0");
}

}  // namespace

Network deeplab(const DeeplabOptions& options) {
  ResnetOptions encoder = resnet_named(options.encoder);
  check(options, encoder);
  encoder.blocks.resize(static_cast<size_t>(options.stages));
  encoder.widths.resize(static_cast<size_t>(options.stages));
  encoder.output_stride = options.output_stride;
  encoder.torch_initialization = false;  // so that a seed gives what it always gave
  Network network;
  ConvBlocks b(network);
  const std::string input = network.add("input", "input", {}, {{"channels", options.channels}});
  const std::string features = add_resnet_features(network, input, encoder);
  const auto decoder = [&](const std::string& name) {
    network.set_scope(name);
    const std::string joined = aspp(b, name + ".aspp", features, options);
    return conv_norm_relu(b, name, joined, options.width, 3, 1);
  };
  const std::string shared = options.shared_decoder ? decoder("decoder") : "";
  std::vector<std::string> names;
  for (const PixelOutput& output : options.outputs) {
    const std::string own = options.shared_decoder ? shared : decoder("decoder." + output.name);
    const std::string logits = b.conv(output.name + ".logits", own, output.channels, 1, 1, 1, true);
    names.push_back(network.add("resize", output.name, {logits, input}));
  }
  network.set_outputs(names);
  return network;
}

}  // namespace fulmar::model
