#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/context.h"
#include "tools/run/observer.h"

namespace fulmar::tools {

// A picture file and its reduced copy.
struct ReducedFile {
  std::string from, to;
};

// Writes what is missing of the copies with pixels `factor` times as large (data::reduced), each
// whole or not at all; TIFFs as GeoTIFFs, others as PNG. A copy that is older than its picture is
// made anew. Error(file), Error(cancelled).
void reduce_pictures(const std::vector<ReducedFile>& files, int64_t factor,
                     const data::ImageLimits& limits, const std::string& label, Context& context,
                     Observer& observer);

// Where in `out` the copy of a file of `folder` goes: the same place and name, but .png where it is
// no TIFF.
std::string place_of_copy(const std::string& file, const std::string& folder,
                          const std::string& out);

}  // namespace fulmar::tools
