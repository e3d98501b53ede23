#include <memory>
#include <string>

#include "kernels/error.h"
#include "tools/cli.h"
#include "tools/output.h"

namespace fulmar::tools {
namespace {

// As --help gives it, of the program or of one of its subcommands.
int run(const CLI::App& program, const std::string& name) {
  const CLI::App* about = name.empty() ? &program : nullptr;
  for (const CLI::App* command : program.get_subcommands({}))
    if (command->get_name() == name) about = command;
  if (!about) usage_error("there is no subcommand '" + name + "': 'fulmar help' lists them");
  const std::string title = program.get_name() + (name.empty() ? "" : " " + name);
  print(about->get_formatter()->make_help(about, title, CLI::AppFormatMode::Normal));
  return exit_ok;
}

}  // namespace

void add_help(Cli& cli) {
  auto name = std::make_shared<std::string>();
  CLI::App& command = add_command(cli, "help", "What the program or a subcommand does and takes",
                                  [name, &cli] { return run(cli.app, *name); });
  command.add_option("SUBCOMMAND", *name, "Which; without: the list of them");
}

}  // namespace fulmar::tools
