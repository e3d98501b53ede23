#include "tools/eval_pixels.h"

#include "data/raster_folder.h"
#include "engine/io/file.h"
#include "tools/console.h"
#include "tools/console_observer.h"
#include "tools/output.h"
#include "tools/report/report.h"
#include "tools/run/labelled_evaluation.h"
#include "tools/run/pixel_evaluation.h"
#include "tools/run/results.h"
#include "tools/run/text.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

using Align = Table::Align;

std::string class_table(const PixelEvaluation::Task& task) {
  const model::Confusion& c = task.confusion;
  Table table({{"class", Align::left},
               {"precision", Align::right},
               {"recall", Align::right},
               {"f1", Align::right},
               {"IoU", Align::right},
               {"pixels", Align::right}});
  for (size_t k = 0; k < task.classes.size(); k++)
    table.add({task.classes[k], score_cell(c.precision(k)), score_cell(c.recall(k)),
               score_cell(c.f1(k)), score_cell(c.iou(k)), with_separators(c.labelled(k))});
  table.add_rule();
  table.add({"macro average", "", "", score_cell(c.macro_f1()), score_cell(c.mean_iou()),
             with_separators(c.pixels())});
  table.add({"weighted average", "", "", score_cell(c.weighted_f1()), "", ""});
  return table.to_string();
}

std::string confusion_table(const PixelEvaluation::Task& task) {
  std::vector<Table::Column> columns{{"true \\ called", Align::left}};
  for (const std::string& name : task.classes) columns.push_back({name, Align::right});
  Table table(columns);
  for (size_t k = 0; k < task.classes.size(); k++) {
    std::vector<std::string> cells{task.classes[k]};
    for (size_t called = 0; called < task.classes.size(); called++)
      cells.push_back(with_separators(task.confusion.at(k, called)));
    table.add(cells);
  }
  return table.to_string();
}

void print_tables(const PixelEvaluation& evaluation, const data::Dataset& dataset) {
  print(counted(std::ssize(dataset.samples), "picture", "pictures") + " of " + dataset.folder +
        "\n");
  for (const PixelEvaluation::Task& task : evaluation.tasks)
    print("\n" + task.name + ": accuracy " + score_cell(task.confusion.accuracy()) +
          "; taken as numbers, R2 " + score_cell(task.confusion.r2()) + ", RMSE " +
          score_cell(task.confusion.rmse()) + "\n\n" + class_table(task) + "\n" +
          confusion_table(task));
}

}  // namespace

namespace {

void write_pages(const Json& json, const EvalPixelsOptions& options) {
  if (!options.run.empty()) {
    write_file(pixels_path(options.run, json.at("folder").get<std::string>(), options.model),
               json.dump() + "\n");
    note("report: " + write_report(options.run));
  }
  if (options.report_file.empty()) return;
  Report report;
  report.name = options.model;
  report.pixels.push_back(json);
  write_file(options.report_file, report_html(report));
  note("report: " + options.report_file);
}

}  // namespace

int eval_pixels(const Checkpoint& checkpoint, const EvalPixelsOptions& given,
                const SharedOptions& shared) {
  EvalPixelsOptions options = given;
  take_from_training(options.choice, checkpoint.info(), options.folder);
  const data::Dataset dataset = data::scan_labelled(
      options.folder, data::LabelFiles::parse(*options.choice.labels), *options.choice.pictures,
      data::SceneRule::name, band_files_of(options.bands, checkpoint.info().picture()));
  CommandContext command(shared);
  std::optional<AtomicFile> csv;
  if (!options.csv.empty()) csv.emplace(options.csv);
  ConsoleObserver observer;
  const LabelledOptions how{options.choice, options.batch, options.max_pixels};
  const PixelEvaluation evaluation =
      evaluate_labelled(checkpoint, dataset, how, command.context(), command.device(), observer);
  if (csv) {
    const std::string text = scenes_csv(evaluation);
    csv->write(text.data(), text.size());
    csv->commit();
  }
  if (shared.json)
    print_pretty(numbers_json(evaluation));
  else
    print_tables(evaluation, dataset);
  flush_output();
  if (!options.run.empty() || !options.report_file.empty())
    write_pages(pixel_report(evaluation, options.model, dataset, how, shared.command,
                             command.context(), command.device()),
                options);
  return exit_ok;
}

}  // namespace fulmar::tools
