#pragma once

#include <CLI/CLI.hpp>

#include "tools/run/train_config.h"

// Options of subcommands that train.
namespace fulmar::tools {

// The group of options that decide how a training runs, not its results.
inline constexpr const char* running_options = "Running";

// Everything that decides what a training gives.
void add_config_options(CLI::App& app, TrainConfig& config);
// The same without --size, --resize and --crop.
void add_config_options_but_size(CLI::App& app, TrainConfig& config);
void add_runtime_options(CLI::App& app, TrainRuntime& runtime);

}  // namespace fulmar::tools
