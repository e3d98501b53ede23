#include <memory>
#include <string>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "tools/cli.h"
#include "tools/compare_table.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/report/experiments.h"
#include "tools/run/robustness.h"
#include "tools/study_reporter.h"
#include "tools/table.h"
#include "tools/train_options.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string table, out;
  TrainRuntime runtime;
};

int run(const CLI::App& app, const Options& given, const SharedOptions& shared) {
  if (app.get_option("--seed")->count() > 0)
    usage_error("--seed: a comparison has several, in the table: \"seeds\": [1, 2, 3]");
  ComparisonOptions options = read_comparison(given.table);
  options.out = given.out;
  options.runtime = given.runtime;
  options.runtime.command = shared.command;
  CommandContext command(shared);
  StudyReporter reporter;
  const Comparison comparison = compare_trainings(
      options, command.context(),
      [&](const TrainConfig& config) -> Device& {
        return command.device(shared.device, config.precision);
      },
      reporter);
  const std::string page = options.out + "/report.html";
  write_file(options.out + "/report.json", comparison_json(comparison).dump(2) + "\n");
  write_file(options.out + "/report.csv", comparison_csv(comparison));
  write_file(page, comparison_html(comparison, shared.command));
  if (shared.json) {
    print_pretty(comparison_json(comparison));
  } else {
    print(pictures_line(comparison.generated, std::ssize(comparison.tested), comparison.folder) +
          "\n");
    for (const HtmlTable& table : comparison_tables(comparison))
      print("\n" + table.caption + "\n\n" + text_table(table));
  }
  flush_output();
  note("report: " + page + ", and report.json and report.csv beside it");
  return exit_ok;
}

}  // namespace

void add_compare(Cli& cli) {
  auto options = std::make_shared<Options>();
  auto app = std::make_shared<const CLI::App*>(nullptr);
  CLI::App& command =
      add_command(cli, "compare", "Train with each line of a table of options, and compare",
                  [options, app, &cli] { return run(**app, *options, cli.shared); });
  *app = &command;
  add_path(command, "TABLE", options->table,
           "JSON file: {\"data\": \"DIR\", \"common\": {\"epochs\": 30}, \"axes\": {\"rates\":\n"
           "[\"6,12,18\", \"12,24,36\"]}, \"seeds\": [1, 2, 3]}: options as 'fulmar train' takes "
           "them;\nan axis may also name several: {\"network\": {\"U-Net\": {\"network\": "
           "\"unet\"}, ...}};\n\"explain\": [\"SIC:4\"] names the classes of Grad-CAMs",
           "TABLE")
      ->required();
  add_path(command, "--out", options->out,
           "Folder for NAME/seed-N (run folders), report.html, .json and .csv; repeated, the\n"
           "command goes on where it was",
           "OUT")
      ->required();
  add_runtime_options(command, options->runtime);
  add_device(command, cli.shared);
}

}  // namespace fulmar::tools
