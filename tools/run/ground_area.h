#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "data/georeference.h"
#include "tools/run/scene_map.h"

namespace fulmar::tools {

// The area of each class of a task on the ground, square kilometres: pixels are as large as they
// are where they lie, on a sphere of the Earth's mean radius, told anew every 32 pixels. None where
// the picture doesn't say where it lies, or in a system whose longitudes are not known.
std::optional<std::vector<double>> class_areas(const SceneMap& map, size_t task, size_t classes,
                                               const data::Georeference& place);

}  // namespace fulmar::tools
