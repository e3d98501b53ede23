#pragma once

#include <cstdint>
#include <string>

#include "tools/run/json.h"

namespace fulmar::tools {

// What makers of scenes of any kind share.

uint64_t scene_seed(uint64_t seed, int64_t number);
// A new folder with a record of the options that its scenes are made with; or one with the same
// record, whose scenes are kept. Error(file) for another.
void prepare_folder(const std::string& folder, const Json& options);
// As many threads as half of the memory holds scenes of `bytes`, `asked` at most. Error(device)
// where it doesn't hold one.
int threads_within(double bytes, int64_t size, int asked);

}  // namespace fulmar::tools
