#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace fulmar::tools {

// For an option that a subcommand doesn't take: names the subcommands that do, and the option of
// its own that is spelled alike or means the same.
std::string about_unknown_option(const CLI::App& program, const CLI::App& command,
                                 const std::string& option);

}  // namespace fulmar::tools
