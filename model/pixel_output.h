#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fulmar::model {

// What a network gives of each pixel, by the name of the output: logits of so many classes, or so
// many numbers.
struct PixelOutput {
  std::string name;
  int64_t channels = 2;
};
using PixelOutputs = std::vector<PixelOutput>;

// Error(usage): none, one without channels, or two of one name.
void check_outputs(const PixelOutputs& outputs);

}  // namespace fulmar::model
