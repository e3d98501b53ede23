#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "data/dataset.h"
#include "engine/io/file.h"
#include "engine/io/utc_now.h"
#include "kernels/error.h"
#include "model/metrics.h"
#include "model/run_folder.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/console_observer.h"
#include "tools/eval_pixels.h"
#include "tools/output.h"
#include "tools/picture_options.h"
#include "tools/report/report.h"
#include "tools/run/audit_text.h"
#include "tools/run/evaluate_pictures.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/results.h"
#include "tools/run/text.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string model, folder;
  std::optional<std::string> bands;
  EvaluateOptions pictures;
  EvalPixelsOptions pixels;
  bool report = false;
  std::string report_file;
};

bool wants_report(const Options& options) { return options.report || !options.report_file.empty(); }

// The run folder that a model lies in.
std::string run_of(const std::string& model) {
  const std::filesystem::path folder = std::filesystem::path(model).parent_path();
  return folder.empty() ? "." : folder.string();
}

// What can't be written is told of before pictures are read.
void require_places(const Options& options) {
  const model::RunFolder run(run_of(options.model));
  if (options.report && !std::filesystem::exists(run.config()))
    usage_error("--report goes with a model in a run folder, and " + run.path() +
                " holds no config.json: write a page by itself with --report-file FILE");
  if (options.report) const AtomicFile attempt(run.report());
  if (!options.report_file.empty()) const AtomicFile attempt(options.report_file);
}

// Keeps the evaluation in the run's folder, or on a page by itself.
void report_evaluation(Evaluation evaluation, const Options& options, const SharedOptions& shared) {
  evaluation.model_crc32c = crc32c_of_file(options.model);
  evaluation.time = utc_now();
  evaluation.command = shared.command;
  if (options.report) {
    const std::string run = run_of(options.model);
    write_file(evaluation_path(run, evaluation), evaluation_text(evaluation));
    note("report: " + write_report(run));
  }
  if (options.report_file.empty()) return;
  Report report;
  report.name = options.model;
  report.evaluations.push_back({std::move(evaluation), false});
  write_file(options.report_file, report_html(report));
  note("report: " + options.report_file);
}

std::string class_report(const model::Scores& scores, const model::Classification& task) {
  using Align = Table::Align;
  Table table({{"class", Align::left},
               {"precision", Align::right},
               {"recall", Align::right},
               {"f1", Align::right},
               {"support", Align::right}});
  const auto add = [&](const std::string& name, double precision, double recall, double f1,
                       int64_t support) {
    table.add({name, score_cell(precision), score_cell(recall), score_cell(f1),
               with_separators(support)});
  };
  for (size_t k = 0; k < task.classes.size(); k++) {
    const model::ClassScores& s = scores.classes[k];
    add(task.classes[k], s.precision, s.recall, s.f1, s.support);
  }
  table.add_rule();
  const model::Averages &macro = scores.macro, &weighted = scores.weighted;
  add("macro average", macro.precision, macro.recall, macro.f1, scores.samples);
  add("weighted average", weighted.precision, weighted.recall, weighted.f1, scores.samples);
  return table.to_string();
}

std::string confusion_table(const model::Scores& scores, const model::Classification& task) {
  std::vector<Table::Column> columns{{"true \\ predicted", Table::Align::left}};
  for (const std::string& name : task.classes) columns.push_back({name, Table::Align::right});
  Table table(columns);
  const size_t count = task.classes.size();
  for (size_t truth = 0; truth < count; truth++) {
    std::vector<std::string> cells{task.classes[truth]};
    for (size_t called = 0; called < count; called++)
      cells.push_back(with_separators(scores.confusion[truth * count + called]));
    table.add(cells);
  }
  return table.to_string();
}

std::string totals(const Measured& measured, const model::Classification& task, double threshold) {
  const model::Scores& scores = measured.scores;
  std::string text;
  const auto line = [&](const std::string& name, const std::string& value) {
    text += name + std::string(name.size() < 16 ? 16 - name.size() : 1, ' ') + value + "\n";
  };
  line("accuracy", score_cell(scores.accuracy));
  line("macro f1", score_cell(scores.macro.f1));
  if (task.two_classes()) {
    const std::string& name = task.classes[static_cast<size_t>(task.positive_class)];
    line("f1", score_cell(scores.f1) + " of " + name + " at the threshold");
    line("threshold", fixed(threshold, 4) + ": " + name + " where its probability is no less");
  }
  line("area under ROC", score_cell(scores.roc_auc));
  line("area under PR", score_cell(scores.pr_auc));
  line("cross-entropy", score_cell(scores.loss));
  line("Brier score", score_cell(measured.calibration.brier));
  line("calibration", score_cell(measured.calibration.ece) + " expected calibration error");
  return text;
}

int run(const Options& options, const SharedOptions& shared) {
  const Checkpoint checkpoint = Checkpoint::read(options.model);
  for (const std::string& note : checkpoint.notes()) say(note);
  if (is_by_pixel(model::heads_of(checkpoint))) {
    require_places(options);
    EvalPixelsOptions pixels = options.pixels;
    pixels.model = options.model;
    pixels.folder = options.folder;
    if (options.report) pixels.run = run_of(options.model);
    pixels.report_file = options.report_file;
    pixels.bands = options.bands;
    pixels.batch = options.pictures.batch;
    pixels.max_pixels = options.pictures.max_pixels;
    return eval_pixels(checkpoint, pixels, shared);
  }
  if (!options.pixels.csv.empty())
    usage_error("--csv goes with models that give each pixel a class");
  const model::Classification task = model::classification_of(checkpoint);
  const double threshold = threshold_of(task, options.pictures.threshold);
  require_places(options);
  data::LeftOut left;
  const data::Dataset dataset =
      data::scan_for_classes(options.folder, task.classes, data::SceneRule::name,
                             band_files_of(options.bands, checkpoint.info().picture()), &left);
  for (const std::string& text : left_out_notes(left)) note(text);
  for (const std::string& name : data::absent_classes(dataset))
    note(dataset.folder + ": there is no picture of the class '" + name +
         "': its recall and F1 are undefined, pictures called so are still counted");
  CommandContext command(shared);
  EvaluateOptions pictures = options.pictures;
  pictures.mistakes = wants_report(options);  // it shows them
  ConsoleObserver observer;
  Evaluation evaluation = evaluate_pictures(
      checkpoint, dataset, pictures, command.context(),
      [&]() -> Device& { return command.device(); }, observer);
  const Measured measured = measure(evaluation);
  if (shared.json)
    print_pretty(numbers_json(evaluation));
  else
    print(std::to_string(measured.scores.samples) + " pictures of " + dataset.folder + "\n\n" +
          class_report(measured.scores, task) + "\n" + totals(measured, task, threshold) + "\n" +
          confusion_table(measured.scores, task));
  flush_output();
  if (wants_report(options)) report_evaluation(std::move(evaluation), options, shared);
  return exit_ok;
}

}  // namespace

void add_eval(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command = add_command(cli, "eval", "Compare a model with a folder of labelled pictures",
                                  [options, &cli] { return run(*options, cli.shared); });
  command.add_option("MODEL", options->model, "A model file, such as best.safetensors")->required();
  command
      .add_option("DIR", options->folder,
                  "Folder with a folder of pictures for each class of the model, or with such a\n"
                  "folder called test")
      ->required();
  add_bands(command, options->bands, "(default: as the model's pictures)");
  add_labels(command, options->pixels.choice.labels);
  add_pictures(command, options->pixels.choice.pictures);
  add_ignore(command, options->pixels.choice.ignore);
  add_path(command, "--csv", options->pixels.csv,
           "Of a model of pixels: also write the scores of each picture as a table", "FILE");
  add_number(command, "--threshold", options->pictures.threshold, 0, 1,
             "Of two classes: the positive one from this probability on (default: the model's)");
  add_integer(command, "--batch", options->pictures.batch, 1, 4096,
              "Pictures that go through the network together (default: by the crop)");
  add_max_pixels(command, options->pictures.max_pixels);
  add_device(command, cli.shared);
  add_precision(command, cli.shared.precision);
  command.add_flag(
      "--report", options->report,
      "Keep the result in the run folder that MODEL lies in, and write its report.html "
      "anew");
  add_path(command, "--report-file", options->report_file,
           "Write a page of this evaluation alone, for any MODEL", "FILE");
}

}  // namespace fulmar::tools
