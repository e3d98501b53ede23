#include "kernels/warp.h"

#include <string>

#include "kernels/error.h"

namespace fulmar {

void check_warp(const View& source, const WarpSample* samples, const View& y) {
  if (y.shape.channels() > WarpOptions::max_bands)
    usage_error("warp: " + std::to_string(y.shape.channels()) + " bands, at most " +
                std::to_string(WarpOptions::max_bands) + " are possible");
  for (int64_t image = 0; image < y.shape.images(); image++) {
    const WarpSample& sample = samples[image];
    if (sample.source_height > source.shape.height() || sample.source_width > source.shape.width())
      usage_error("warp: sample " + std::to_string(image) + " claims a source of " +
                  std::to_string(sample.source_height) + "x" + std::to_string(sample.source_width) +
                  " pixels in slots of " + source.shape.to_string());
    if (sample.frames < 0 || sample.frames > WarpSample::max_frames)
      usage_error("warp: sample " + std::to_string(image) + " has " +
                  std::to_string(sample.frames) + " frames, at most " +
                  std::to_string(WarpSample::max_frames) + " are possible");
  }
}

}  // namespace fulmar
