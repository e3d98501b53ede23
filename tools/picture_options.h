#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Options of several subcommands that read pictures.
namespace fulmar::tools {

// --bands: how files make up samples; `otherwise` says what is so without it.
CLI::Option* add_bands(CLI::App& app, std::optional<std::string>& value,
                       const std::string& otherwise);
// --scenes: which pictures belong together.
CLI::Option* add_scenes(CLI::App& app, std::string& value);
// --labels of a model of pixels, where its training tells them otherwise.
CLI::Option* add_labels(CLI::App& app, std::optional<std::string>& value);
// --pictures: which of a folder's files are pictures, beside label rasters.
CLI::Option* add_pictures(CLI::App& app, std::optional<std::string>& value);
// --ignore: numbers of pixels without a label.
CLI::Option* add_ignore(CLI::App& app, std::optional<std::vector<double>>& value);
// --max-pixels
CLI::Option* add_max_pixels(CLI::App& app, int64_t& value);

}  // namespace fulmar::tools
