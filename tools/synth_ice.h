#pragma once

#include <cstdint>
#include <string>

#include "tools/cli.h"

namespace fulmar::tools {

struct SynthIceOptions {
  std::string folder;
  int64_t train = 40, test = 10;
  int64_t size = 512;
};

// What `fulmar synth --kind sea-ice` does.
int synth_ice(const SynthIceOptions& options, const SharedOptions& shared);

}  // namespace fulmar::tools
