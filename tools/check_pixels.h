#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/cli.h"

namespace fulmar::tools {

struct CheckPixelsOptions {
  std::string folder, scenes = "name";
  std::string labels;  // as LabelFiles::parse takes them
  std::string pictures;
  std::optional<std::string> bands;
  std::optional<std::vector<double>> ignore;
  int64_t max_pixels = 0;
};

// `fulmar check` of pictures with label rasters.
int check_pixels(const CheckPixelsOptions& options, const SharedOptions& shared);

}  // namespace fulmar::tools
