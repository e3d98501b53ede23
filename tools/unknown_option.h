#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace fulmar::tools {

// Advice for an option that a subcommand doesn't take. It names the subcommands that take it, and
// the command's own option that is spelled alike or means the same.
std::string about_unknown_option(const CLI::App& program, const CLI::App& command,
                                 const std::string& option);

}  // namespace fulmar::tools
