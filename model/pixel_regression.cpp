#include "model/pixel_regression.h"

#include <string>
#include <vector>

#include "model/conv_blocks.h"

namespace fulmar::model {

Network pixel_regression(int64_t channels, const PixelOutputs& outputs) {
  check_outputs(outputs);
  Network network;
  ConvBlocks b(network);
  const std::string x = network.add("input", "input", {}, {{"channels", channels}});
  network.set_scope("heads");
  std::vector<std::string> names;
  for (const PixelOutput& output : outputs)
    names.push_back(b.conv(output.name, x, output.channels, 1, 1, 1, true));
  network.set_outputs(names);
  return network;
}

}  // namespace fulmar::model
