#pragma once

#include <cstdint>
#include <string>

#include "tools/cli.h"

namespace fulmar::tools {

struct SynthIceOptions {
  std::string folder;
  int64_t train = 40, test = 10;
  int64_t size = 512;
  bool geotiff = false;  // one file of all bands and one for each chart, instead of NetCDF
};

// What `fulmar synth --kind sea-ice` does.
int synth_ice(const SynthIceOptions& options, const SharedOptions& shared);

}  // namespace fulmar::tools
