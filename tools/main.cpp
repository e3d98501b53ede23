#include <CLI/CLI.hpp>
#include <string>

#include "kernels/version.h"

int main(int argc, char** argv) {
  CLI::App app{"Trains, evaluates and runs networks on radar images"};
  app.name("fulmar");
  app.set_version_flag("--version",
                       std::string("fulmar ") + fulmar::version() + " (" + fulmar::commit() + ")");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return 0;
}
