#include "tools/run/robustness.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/utc_now.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/console_observer.h"
#include "tools/output.h"
#include "tools/picture_options.h"
#include "tools/report/experiments.h"
#include "tools/run/audit_text.h"
#include "tools/run/results.h"
#include "tools/run/text.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string model, folder;
  std::optional<std::string> bands;
  RobustnessOptions robustness;
  std::string report_file;
};

std::string text_of(const Robustness& r) {
  std::string text =
      pictures_line(r.generated, r.evaluation.predictions.size(), r.evaluation.folder) + "\n";
  for (const RobustnessProperty& property : r.properties)
    text += "\n" + property.column.name + ": " + property.column.meaning + "\n" +
            text_table(robustness_table(r, property));
  return text + "\nIn brackets 95 % intervals: Wilson's for shares, the bootstrap's for F1.\n";
}

int run(const Options& options, const SharedOptions& shared) {
  const Checkpoint checkpoint = Checkpoint::read(options.model);
  for (const std::string& text : checkpoint.notes()) say(text);
  const model::Classification task = model::classification_of(checkpoint);
  threshold_of(task, options.robustness.pictures.threshold);  // what can't be is said first
  if (!options.report_file.empty()) const AtomicFile attempt(options.report_file);
  data::LeftOut left;
  const data::Dataset dataset =
      data::scan_for_classes(options.folder, task.classes, data::SceneRule::name,
                             band_files_of(options.bands, checkpoint.info().picture()), &left);
  for (const std::string& text : left_out_notes(left)) note(text);
  CommandContext command(shared);
  RobustnessOptions robustness = options.robustness;
  robustness.seed = shared.seed;
  robustness.examples = !options.report_file.empty();
  ConsoleObserver observer;
  Robustness result = measure_robustness(
      checkpoint, options.folder, dataset, robustness, command.context(),
      [&]() -> Device& { return command.device(); }, observer);
  if (shared.json)
    print_pretty(robustness_json(result));
  else
    print(text_of(result));
  flush_output();
  if (options.report_file.empty()) return exit_ok;
  result.evaluation.time = utc_now();
  write_file(options.report_file, robustness_html(result, shared.command));
  note("report: " + options.report_file);
  return exit_ok;
}

}  // namespace

void add_robustness(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command = add_command(
      cli, "robustness", "Tell a model's results by what covers the scenes: swath edge, ice, land",
      [options, &cli] { return run(*options, cli.shared); });
  command.add_option("MODEL", options->model, "A model file, such as best.safetensors")->required();
  command
      .add_option("DIR", options->folder,
                  "Folder with a folder of pictures for each class of the model, or with such a\n"
                  "folder called test")
      ->required();
  RobustnessOptions& robustness = options->robustness;
  add_path(command, "--table", robustness.table,
           "CSV file with numbers for each picture, which the column file, picture, scene or name\n"
           "(else the first) names by its file or stem (default: index.csv as 'fulmar synth'\n"
           "leaves it in DIR or above it)",
           "FILE");
  command
      .add_option("--columns", robustness.columns,
                  "Columns to go by. nodata: the share of the picture that is black or not a\n"
                  "number, measured; hidden: 1 - visible, of the table (default: those of nodata,\n"
                  "cut, ice, land and hidden that there are)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  add_integer(command, "--bins", robustness.bins, 1, 1000,
              "Bins of about equal counts (default 5)");
  add_bands(command, options->bands, "(default: as the model's pictures)");
  add_number(command, "--threshold", robustness.pictures.threshold, 0, 1,
             "Of two classes: the positive one from this probability on (default: the model's)");
  add_integer(command, "--batch", robustness.pictures.batch, 1, 4096,
              "Pictures that go through the network together (default: by the crop)");
  add_max_pixels(command, robustness.pictures.max_pixels);
  add_device(command, cli.shared);
  add_precision(command, cli.shared.precision);
  add_path(command, "--report-file", options->report_file,
           "Also write a page: tables, curves, example pictures", "FILE");
}

}  // namespace fulmar::tools
