#include "model/resnet.h"

#include <map>
#include <string>

#include "kernels/error.h"
#include "model/conv_blocks.h"

namespace fulmar::model {
namespace {

using Block = ResnetOptions::Block;

// How a block's 3x3 convolution samples, and what the block gives.
struct BlockShape {
  int64_t width, outputs, stride, dilation;
  bool projects;  // what goes past it changes its extents or channels
  bool zero_gamma;
};

std::string add_block(ConvBlocks& b, const std::string& name, const std::string& x, Block kind,
                      const BlockShape& s) {
  const std::string last = kind == Block::bottleneck ? "3" : "2";
  const auto layer = [&](const std::string& of, const std::string& number, int64_t filters,
                         int64_t kernel, int64_t stride, int64_t dilation) {
    const std::string z =
        b.conv(name + ".conv" + number, of, filters, kernel, stride, kernel > 1 ? dilation : 1);
    return b.norm(name + ".bn" + number, z, s.zero_gamma && number == last);
  };
  std::string y = x, past = x;
  if (kind == Block::bottleneck) {
    y = b.relu(name + ".relu1", layer(y, "1", s.width, 1, 1, 1));
    y = b.relu(name + ".relu2", layer(y, "2", s.width, 3, s.stride, s.dilation));
    y = layer(y, "3", s.outputs, 1, 1, 1);
  } else {
    y = b.relu(name + ".relu1", layer(y, "1", s.width, 3, s.stride, s.dilation));
    y = layer(y, "2", s.outputs, 3, 1, s.dilation);
  }
  if (s.projects)
    past = b.norm(name + ".downsample.1",
                  b.conv(name + ".downsample.0", past, s.outputs, 1, s.stride));
  return b.relu(name + ".relu", b.network().add("add", name + ".add", {y, past}));
}

void check(const ResnetOptions& options) {
  if (options.blocks.empty() || options.blocks.size() != options.widths.size())
    usage_error("resnet needs as many widths as numbers of blocks, and at least one");
  for (const std::vector<int64_t>* list : {&options.blocks, &options.widths})
    for (const int64_t value : *list)
      if (value < 1) usage_error("resnet: widths and numbers of blocks must be at least 1");
  if (options.classes < 0) usage_error("resnet: the number of classes can't be negative");
  if (options.output_stride < 4)
    usage_error("resnet: its stem alone has a stride of 4, and the output stride is " +
                std::to_string(options.output_stride));
}

const std::map<std::string, ResnetOptions>& named() {
  const auto of = [](Block block, std::vector<int64_t> blocks) {
    ResnetOptions options;
    options.block = block;
    options.blocks = std::move(blocks);
    return options;
  };
  static const std::map<std::string, ResnetOptions> all{
      {"resnet18", of(Block::basic, {2, 2, 2, 2})},
      {"resnet34", of(Block::basic, {3, 4, 6, 3})},
      {"resnet50", of(Block::bottleneck, {3, 4, 6, 3})},
      {"resnet101", of(Block::bottleneck, {3, 4, 23, 3})},
      {"resnet152", of(Block::bottleneck, {3, 8, 36, 3})},
  };
  return all;
}

}  // namespace

ResnetOptions resnet_named(const std::string& name) {
  const auto found = named().find(name);
  if (found == named().end())
    usage_error("there is no network '" + name + "': resnet18, 34, 50, 101 and 152 are known");
  return found->second;
}

std::vector<std::string> resnet_names() {
  return {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"};
}

bool is_resnet_name(const std::string& name) { return named().count(name) > 0; }

std::string add_resnet_features(Network& network, const std::string& input,
                                const ResnetOptions& options) {
  check(options);
  ConvBlocks b(network, options.torch_initialization ? "kaiming_normal" : "");
  network.set_scope("stem");
  std::string x = b.relu("relu", b.norm("bn1", b.conv("conv1", input, options.widths[0], 7, 2)));
  x = network.add("max_pooling2d", "maxpool", {x},
                  ConvBlocks::padded(1, {{"pool_size", int64_t{3}}, {"stride", int64_t{2}}}));
  int64_t inputs = options.widths.front(), reached = 4, dilation = 1;
  for (size_t stage = 0; stage < options.blocks.size(); stage++) {
    const int64_t outputs = options.outputs(stage), before = dilation;
    const std::string layer = "layer" + std::to_string(stage + 1);
    network.set_scope(layer);
    int64_t stride = stage > 0 ? 2 : 1;
    if (reached * stride > options.output_stride) {
      dilation *= stride;
      stride = 1;
    }
    reached *= stride;
    for (int64_t block = 0; block < options.blocks[stage]; block++) {
      const bool first = block == 0;
      const int64_t own = first ? stride : 1;
      x = add_block(b, layer + "." + std::to_string(block), x, options.block,
                    {options.widths[stage], outputs, own, first ? before : dilation,
                     own > 1 || inputs != outputs, options.zero_gamma});
      inputs = outputs;
    }
  }
  network.set_scope("");
  return x;
}

Network resnet(const ResnetOptions& options) {
  Network network;
  std::string x = network.add("input", "input", {}, {{"channels", options.channels}});
  x = add_resnet_features(network, x, options);
  network.set_scope("head");
  x = network.add("global_average_pooling2d", "avgpool", {x});
  if (options.classes == 0) return network;
  Attributes last{{"units", options.classes}};
  if (options.torch_initialization) last["initializer"] = std::string("fan_in_uniform");
  network.add("dense", "fc", {x}, last);
  return network;
}

}  // namespace fulmar::model
