#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

// Options of several subcommands that read pictures.
namespace fulmar::tools {

// --bands: how files make up samples; `otherwise` says what is so without it.
CLI::Option* add_bands(CLI::App& app, std::optional<std::string>& value,
                       const std::string& otherwise);
// --scenes: which pictures belong together.
CLI::Option* add_scenes(CLI::App& app, std::string& value);
// --max-pixels
CLI::Option* add_max_pixels(CLI::App& app, int64_t& value);

}  // namespace fulmar::tools
