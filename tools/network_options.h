#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "model/deeplab.h"

namespace fulmar::tools {

// Options of networks with several subcommands: --encoder, --stages, --output-stride, --rates,
// --decoder-width, --pool, --shared-decoder.
void add_deeplab(CLI::App& app, model::DeeplabOptions& options, const std::string& group);

}  // namespace fulmar::tools
