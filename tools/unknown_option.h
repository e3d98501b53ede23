#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace fulmar::tools {

// Says of an option that a subcommand doesn't take which others do, and which of its own may have
// been meant: one spelled alike, or another word for the same thing.
std::string about_unknown_option(const CLI::App& program, const CLI::App& command,
                                 const std::string& option);

}  // namespace fulmar::tools
