#include <cmath>
#include <memory>

#include "data/dataset.h"
#include "data/loader.h"
#include "engine/ops.h"
#include "kernels/error.h"
#include "model/evaluate.h"
#include "model/metrics.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/results.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string model, folder;
  double threshold = -1;  // -1: the model's
  int64_t batch = 0;      // 0: by the crop
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
};

// JSON has no NaN: what is undefined is null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

std::string text_of(double value) { return std::isfinite(value) ? fixed(value, 4) : "-"; }

model::Predictions predictions_on(const data::Dataset& dataset, const Options& options,
                                  const Checkpoint& checkpoint, CommandContext& command) {
  const ModelInfo& info = checkpoint.info();
  std::vector<std::string> paths;
  for (const data::Sample& sample : dataset.samples) paths.push_back(sample.path);
  data::PictureOptions pictures;
  pictures.bands = info.preprocess.bands;
  pictures.limits.max_pixels = options.max_pixels;
  pictures.once = true;
  const std::shared_ptr<const data::Pictures> opened =
      data::open_pictures(std::move(paths), pictures, command.context().pool());
  data::LoaderOptions loading;
  loading.batch = options.batch > 0 ? options.batch : customary_batch(info.preprocess);
  loading.batch = std::min(loading.batch, opened->count());
  loading.threads = command.context().pool().threads();
  data::Loader loader(opened, dataset.labels(),
                      data::sequential_sampler(opened->count(), loading.batch), info.preprocess,
                      loading);
  Model model = model::load_model(checkpoint, command.device());
  model::Evaluator evaluator(command.context(), command.device(), info, model, loader.tensors());
  Progress progress(opened->count(), "images");
  model::Outputs outputs = evaluator.predict_all(loader, [&](int64_t batches) {
    progress.update(std::min(batches * loading.batch, opened->count()));
  });
  AlphaNote().say_if(opened->dropped_alpha() > 0);
  return std::move(outputs.predictions);
}

Json json_of(const model::Scores& scores, const ModelInfo& info, double threshold,
             const Options& options, const data::Dataset& dataset) {
  const bool two = info.positive_class >= 0;
  Json classes = Json::object(), confusion = Json::array();
  const size_t count = info.classes.size();
  for (size_t truth = 0; truth < count; truth++) {
    const model::ClassScores& s = scores.classes[truth];
    classes[info.classes[truth]] = {{"precision", number(s.precision)},
                                    {"recall", number(s.recall)},
                                    {"f1", number(s.f1)},
                                    {"support", s.support}};
    const auto row = scores.confusion.begin() + static_cast<std::ptrdiff_t>(truth * count);
    confusion.push_back(std::vector<int64_t>(row, row + static_cast<std::ptrdiff_t>(count)));
  }
  const auto averages = [](const model::Averages& a) {
    return Json{
        {"precision", number(a.precision)}, {"recall", number(a.recall)}, {"f1", number(a.f1)}};
  };
  return {{"model", options.model},
          {"folder", dataset.folder},
          {"samples", scores.samples},
          {"accuracy", number(scores.accuracy)},
          {"macro_f1", number(scores.macro.f1)},
          {"f1", number(scores.f1)},
          {"positive_class",
           two ? Json(info.classes[static_cast<size_t>(info.positive_class)]) : Json(nullptr)},
          {"roc_auc", number(scores.roc_auc)},
          {"pr_auc", number(scores.pr_auc)},
          {"threshold", two ? Json(threshold) : Json(nullptr)},
          {"loss", number(scores.loss)},
          {"confusion", confusion},
          {"classes", classes},
          {"macro", averages(scores.macro)},
          {"weighted", averages(scores.weighted)}};
}

std::string class_report(const model::Scores& scores, const ModelInfo& info) {
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
  for (size_t k = 0; k < info.classes.size(); k++) {
    const model::ClassScores& s = scores.classes[k];
    add(info.classes[k], s.precision, s.recall, s.f1, s.support);
  }
  table.add_rule();
  const model::Averages &macro = scores.macro, &weighted = scores.weighted;
  add("macro average", macro.precision, macro.recall, macro.f1, scores.samples);
  add("weighted average", weighted.precision, weighted.recall, weighted.f1, scores.samples);
  return table.to_string();
}

std::string confusion_table(const model::Scores& scores, const ModelInfo& info) {
  std::vector<Table::Column> columns{{"true \\ predicted", Table::Align::left}};
  for (const std::string& name : info.classes) columns.push_back({name, Table::Align::right});
  Table table(columns);
  const size_t count = info.classes.size();
  for (size_t truth = 0; truth < count; truth++) {
    std::vector<std::string> cells{info.classes[truth]};
    for (size_t called = 0; called < count; called++)
      cells.push_back(with_separators(scores.confusion[truth * count + called]));
    table.add(cells);
  }
  return table.to_string();
}

std::string totals(const model::Scores& scores, const ModelInfo& info, double threshold) {
  std::string text;
  const auto line = [&](const std::string& name, const std::string& value) {
    text += name + std::string(name.size() < 16 ? 16 - name.size() : 1, ' ') + value + "\n";
  };
  line("accuracy", text_of(scores.accuracy));
  line("macro f1", text_of(scores.macro.f1));
  if (info.positive_class >= 0) {
    const std::string& name = info.classes[static_cast<size_t>(info.positive_class)];
    line("f1", text_of(scores.f1) + " of " + name + " at the threshold");
    line("threshold", fixed(threshold, 4) + ": " + name + " where its probability is no less");
  }
  line("area under ROC", text_of(scores.roc_auc));
  line("area under PR", text_of(scores.pr_auc));
  line("cross-entropy", text_of(scores.loss));
  return text;
}

int run(const Options& options, const SharedOptions& shared) {
  const Checkpoint checkpoint = Checkpoint::read(options.model);
  for (const std::string& note : checkpoint.notes()) say(note);
  const ModelInfo& info = checkpoint.info();
  const double threshold = threshold_of(info, options.threshold);
  const data::Dataset dataset = data::scan_for_classes(options.folder, info.classes);
  CommandContext command(shared);
  const model::Predictions predictions = predictions_on(dataset, options, checkpoint, command);
  const model::Scores scores = model::score(predictions, info.positive_class, threshold);
  if (shared.json)
    print_pretty(json_of(scores, info, threshold, options, dataset));
  else
    print(std::to_string(scores.samples) + " pictures of " + dataset.folder + "\n\n" +
          class_report(scores, info) + "\n" + totals(scores, info, threshold) + "\n" +
          confusion_table(scores, info));
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
  add_number(command, "--threshold", options->threshold, 0, 1,
             "Of two classes: the positive one from this probability on (default: the model's)");
  add_integer(command, "--batch", options->batch, 1, 4096,
              "Pictures that go through the network together (default: by the crop)");
  add_max_pixels(command, options->max_pixels);
}

}  // namespace fulmar::tools
