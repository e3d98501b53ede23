#include "tools/report/report.h"

#include <memory>

#include "tools/cli.h"
#include "tools/output.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string run;
};

int run(const Options& options, const SharedOptions& shared) {
  const std::string path = write_report(options.run);
  if (shared.json) {
    Json json = report_numbers(read_report(options.run));
    json["report"] = path;
    print_pretty(json);
  } else {
    print(path + "\n");
  }
  return exit_ok;
}

}  // namespace

void add_report(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command =
      add_command(cli, "report", "Write a run's report.html anew, from the files of its folder",
                  [options, &cli] { return run(*options, cli.shared); });
  command.add_option("RUN", options->run, "Run folder, as train's --out")->required();
}

}  // namespace fulmar::tools
