#pragma once

#include <functional>

#include "tools/cli.h"

namespace fulmar::tools {

// Adds `step` to `fulmar bench`, and gives what runs it.
std::function<int()> add_bench_step(Cli& cli, CLI::App& bench);

}  // namespace fulmar::tools
