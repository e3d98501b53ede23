#pragma once

#include <string>
#include <vector>

#include "data/band_files.h"

namespace fulmar::tools {

// What files about pictures are called by: the pictures' names without folder and extension, or,
// with `bands`, the names of the samples as they are. Those that are there twice get a number.
std::vector<std::string> stems_of(const std::vector<std::string>& paths,
                                  const data::BandFiles& bands = {});

}  // namespace fulmar::tools
