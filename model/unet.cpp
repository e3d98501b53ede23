#include "model/unet.h"

#include <algorithm>
#include <string>

#include "kernels/error.h"
#include "model/conv_blocks.h"

namespace fulmar::model {
namespace {

std::string two_convs(ConvBlocks& b, const std::string& name, std::string x, int64_t filters) {
  for (const char* number : {"1", "2"})
    x = b.relu(name + ".relu" + number,
               b.norm(name + ".bn" + number, b.conv(name + ".conv" + number, x, filters, 3)));
  return x;
}

}  // namespace

void check_outputs(const PixelOutputs& outputs) {
  if (outputs.empty()) usage_error("a network needs at least one output");
  for (size_t i = 0; i < outputs.size(); i++) {
    if (outputs[i].channels < 1)
      usage_error("output '" + outputs[i].name + "' needs at least one channel");
    for (size_t other = 0; other < i; other++)
      if (outputs[other].name == outputs[i].name)
        usage_error("there are two outputs '" + outputs[i].name + "'");
  }
}

Network unet(const UnetOptions& options) {
  check_outputs(options.outputs);
  if (options.widths.empty()) usage_error("unet needs at least one width");
  if (std::any_of(options.widths.begin(), options.widths.end(), [](int64_t w) { return w < 1; }))
    usage_error("unet: a width must be at least 1");
  Network network;
  ConvBlocks b(network);
  std::string x = network.add("input", "input", {}, {{"channels", options.channels}});
  std::vector<std::string> levels;
  for (size_t level = 0; level < options.widths.size(); level++) {
    const std::string name = "down" + std::to_string(level + 1);
    network.set_scope(name);
    if (level > 0) x = network.add("max_pooling2d", name + ".pool", {x});
    x = two_convs(b, name, x, options.widths[level]);
    levels.push_back(x);
  }
  network.set_scope("bridge");
  x = network.add("max_pooling2d", "bridge.pool", {x});
  x = two_convs(b, "bridge", x, options.widths.back());
  for (size_t level = options.widths.size(); level-- > 0;) {
    const std::string name = "up" + std::to_string(level + 1);
    network.set_scope(name);
    Attributes doubling{{"size", int64_t{2}}, {"interpolation", std::string("bilinear")}};
    if (options.align_corners) doubling["align_corners"] = true;
    x = network.add("upsampling2d", name + ".double", {x}, doubling);
    x = network.add("zero_padding2d", name + ".pad", {x, levels[level]});
    x = network.add("concatenate", name + ".concat", {x, levels[level]});
    x = two_convs(b, name, x, options.widths[level]);
  }
  network.set_scope("heads");
  std::vector<std::string> names;
  for (const PixelOutput& output : options.outputs)
    names.push_back(b.conv(output.name, x, output.channels, 1, 1, 1, true));
  network.set_outputs(names);
  return network;
}

}  // namespace fulmar::model
