#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "data/dataset.h"
#include "data/loader.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "model/metrics.h"
#include "model/run_folder.h"
#include "tools/audit_text.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/evaluation.h"
#include "tools/machine.h"
#include "tools/memory.h"
#include "tools/output.h"
#include "tools/picture_notes.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/results.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string model, folder;
  std::optional<std::string> bands;
  double threshold = -1;  // -1: the model's
  int64_t batch = 0;      // 0: by the crop
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
  bool report = false;
  std::string report_file;
};

std::string text_of(double value) { return std::isfinite(value) ? fixed(value, 4) : "-"; }

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

// Batches of pictures as large as they are read, for which there must be memory.
data::LoaderOptions loading_of(const data::Pictures& pictures, const Options& options,
                               const Preprocess& preprocess, int threads) {
  constexpr int64_t usual_bytes = int64_t{512} << 20;  // of a batch
  const int64_t largest = pictures.max_height() * pictures.max_width() * pictures.bands() *
                          static_cast<int64_t>(size_of(pictures.type()));
  data::LoaderOptions loading;
  loading.batch = options.batch;
  if (loading.batch == 0)
    loading.batch = std::clamp<int64_t>(usual_bytes / largest, 1, customary_batch(preprocess));
  loading.batch = std::min(loading.batch, pictures.count());
  loading.threads = threads;
  // Batches ahead, one in the network, and a picture in each thread.
  const double held = static_cast<double>((loading.slots() + 1) * loading.batch + threads) *
                      static_cast<double>(largest);
  require_memory(held, "evaluating with batches of " + std::to_string(loading.batch) + " pictures",
                 "use a smaller --batch, fewer --threads, or smaller pictures");
  return loading;
}

Evaluation evaluation_on(const data::Dataset& dataset, const Options& options,
                         const Checkpoint& checkpoint, CommandContext& command) {
  const Preprocess& preprocess = checkpoint.info().picture();
  std::vector<std::string> paths;
  for (const data::Sample& sample : dataset.samples) paths.push_back(sample.path);
  data::PictureOptions pictures;
  pictures.bands = preprocess.bands;
  pictures.limits = image_limits(options.max_pixels);
  pictures.once = true;
  pictures.band_files = dataset.bands;
  ThreadPool& pool = command.context().pool();
  const std::vector<data::ImageHeader> headers = data::probe_pictures(paths, pictures, pool);
  data::PictureOptions seen = pictures;  // what the network sees of them
  seen.centre_of = preprocess;
  const std::shared_ptr<const data::Pictures> opened =
      data::open_pictures(paths, headers, seen, pool);
  PictureNotes notes;
  for (size_t i = 0; i < paths.size(); i++) notes.add(paths[i], headers[i], &preprocess);
  notes.say();
  const data::LoaderOptions loading = loading_of(*opened, options, preprocess, pool.threads());
  data::Loader loader(opened, dataset.labels(),
                      data::sequential_sampler(opened->count(), loading.batch), preprocess,
                      loading);
  Progress progress(opened->count(), "images");
  Evaluation evaluation = evaluate(
      checkpoint, loader, dataset, command.context(), command.device(), [&](int64_t batches) {
        progress.update(std::min(batches * loading.batch, opened->count()));
      });
  AlphaNote().say_if(opened->dropped_alpha() > 0);
  evaluation.threshold = threshold_of(model::classification_of(checkpoint), options.threshold);
  if (wants_report(options))  // which shows whole pictures
    add_mistakes(evaluation, *data::open_pictures(paths, headers, pictures, pool), preprocess);
  return evaluation;
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
    table.add({name, text_of(precision), text_of(recall), text_of(f1), with_separators(support)});
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
  line("accuracy", text_of(scores.accuracy));
  line("macro f1", text_of(scores.macro.f1));
  if (task.two_classes()) {
    const std::string& name = task.classes[static_cast<size_t>(task.positive_class)];
    line("f1", text_of(scores.f1) + " of " + name + " at the threshold");
    line("threshold", fixed(threshold, 4) + ": " + name + " where its probability is no less");
  }
  line("area under ROC", text_of(scores.roc_auc));
  line("area under PR", text_of(scores.pr_auc));
  line("cross-entropy", text_of(scores.loss));
  line("Brier score", text_of(measured.calibration.brier));
  line("calibration", text_of(measured.calibration.ece) + " expected calibration error");
  return text;
}

int run(const Options& options, const SharedOptions& shared) {
  const Checkpoint checkpoint = Checkpoint::read(options.model);
  for (const std::string& note : checkpoint.notes()) say(note);
  const model::Classification task = model::classification_of(checkpoint);
  const double threshold = threshold_of(task, options.threshold);
  require_places(options);
  data::LeftOut left;
  const data::Dataset dataset =
      data::scan_for_classes(options.folder, task.classes, data::SceneRule::name,
                             band_files_of(options.bands, checkpoint.info().picture()), &left);
  note_left_out(left);
  for (const std::string& name : data::absent_classes(dataset))
    note(dataset.folder + ": there is no picture of the class '" + name +
         "': its recall and F1 are undefined, pictures called so are still counted");
  CommandContext command(shared);
  Evaluation evaluation = evaluation_on(dataset, options, checkpoint, command);
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
  add_number(command, "--threshold", options->threshold, 0, 1,
             "Of two classes: the positive one from this probability on (default: the model's)");
  add_integer(command, "--batch", options->batch, 1, 4096,
              "Pictures that go through the network together (default: by the crop)");
  add_max_pixels(command, options->max_pixels);
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
