#include "tools/run/resolution.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <set>
#include <system_error>
#include <utility>

#include "data/dataset.h"
#include "data/encode_png.h"
#include "data/thumbnail.h"
#include "engine/io/file.h"
#include "engine/picture/geometry.h"
#include "kernels/error.h"
#include "model/tasks/classification.h"
#include "tools/run/evaluate_pictures.h"
#include "tools/run/reduce_pictures.h"
#include "tools/run/robustness.h"
#include "tools/run/study.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

namespace fs = std::filesystem;

constexpr int64_t example_side = 256;  // pixels, of a crop on the page
constexpr size_t shown_of_a_kind = 2;

double metres_of(const ResolutionOptions& options, const Json& synth) {
  if (options.metres) return *options.metres;
  const Json metres = synth.is_object() ? synth.value("resolution_m", Json()) : Json();
  if (!metres.is_number())
    usage_error("how many metres is a pixel of " + options.folder +
                "? It holds no synth.json that says so: give --resolution-m N");
  return metres.get<double>();
}

data::Folder survey(const ResolutionOptions& options) {
  data::Folder folder = data::survey_folder(
      options.folder, data::scene_rule_named(options.config.scenes), options.config.band_files());
  if (!folder.faults.empty()) file_error(folder.faults.front());
  if (!folder.test && options.config.test == 0)
    usage_error(options.folder +
                " has no test part to compare on: hold one out with --test X, or make one with "
                "'fulmar split'");
  return folder;
}

// The crop at the pictures' own resolution, which every factor divides.
int64_t whole_crop(const ResolutionOptions& options, const data::Folder& folder) {
  const int64_t step = std::accumulate(options.factors.begin(), options.factors.end(), int64_t{1},
                                       [](int64_t a, int64_t b) { return std::lcm(a, b); });
  int64_t crop = options.config.crop;
  if (crop > 0 && crop % step != 0)
    usage_error("--crop " + std::to_string(crop) + " can't be divided by the factors " +
                joined(options.factors) + ": take a multiple of " + std::to_string(step));
  if (crop > 0) return crop;
  int64_t side = INT64_MAX;
  for (const data::Dataset* part : folder.parts())
    for (const data::Sample& sample : part->samples) {
      const data::ImageHeader header = data::probe_sample(sample.path, part->bands);
      side = std::min({side, header.height, header.width});
    }
  crop = side * 2 / 3 / step * step;
  if (crop == 0)
    usage_error("the smallest picture has " + std::to_string(side) +
                " pixels a side, too few for the factors " + joined(options.factors));
  return crop;
}

// Blocks that leave a crop at least 2x2 pixels; the stem and each block halve it.
size_t blocks_for(int64_t crop) {
  size_t blocks = 0;
  for (int64_t side = (crop + 1) / 2; (side + 1) / 2 >= 2; side = (side + 1) / 2) blocks++;
  return blocks;
}

void choose_widths(ResolutionStudy& study, const TrainConfig& config, Observer& observer) {
  int64_t smallest = INT64_MAX;
  for (const ResolutionLevel& level : study.levels) smallest = std::min(smallest, level.crop);
  study.widths = config.widths;
  const size_t most = blocks_for(smallest);
  if (most == 0)
    usage_error("the coarsest crop has " + std::to_string(smallest) +
                " pixels a side, too few for a network: a larger --crop or smaller --factors");
  const std::string kept = "the same network at every resolution, of widths ";
  if (study.widths.size() <= most) {
    study.rule = kept + joined(study.widths);
    return;
  }
  study.widths.resize(most);
  study.rule = kept + joined(study.widths) + ": as many blocks as leave the coarsest crop, " +
               std::to_string(smallest) + " pixels a side, 2x2 pixels";
  observer.on_note(study.rule);
}

// The reduced copies of all parts. Error(file) where the folder of copies holds other files too.
void write_copies(const ResolutionLevel& level, const std::string& folder,
                  const data::Folder& parts, Json synth, const TrainRuntime& runtime,
                  Context& context, Observer& observer) {
  std::vector<ReducedFile> files;
  std::set<std::string> copies;
  for (const data::Dataset* part : parts.parts())
    for (const data::Sample& sample : part->samples)
      for (const std::string& path : part->bands.files_of(sample.path)) {
        const std::string from = absolute_path(path);
        files.push_back({from, place_of_copy(from, folder, level.pictures)});
        if (!copies.insert(files.back().to).second)
          file_error(path +
                     ": another picture has the same name but for its extension; rename "
                     "one");
      }
  reduce_pictures(files, level.factor, image_limits(runtime.max_pixels), level.name(), context,
                  observer);
  // Whoever uses the copies by themselves must know that they show made scenes.
  const std::string record = level.pictures + "/synth.json";
  if (synth.is_object() && copies.insert(record).second && !fs::exists(record)) {
    synth["resolution_m"] = level.metres;
    synth["size"] = synth.value("size", int64_t{0}) / level.factor;
    write_file(record, synth.dump(2) + "\n");
  }
  for (const auto& entry : fs::recursive_directory_iterator(level.pictures))
    if (entry.is_regular_file() && !copies.contains(entry.path().string()))
      file_error(entry.path().string() + ": no copy of a picture of " + folder +
                 "; remove it, or name another --out");
}

TrainConfig config_of(const ResolutionStudy& study, const ResolutionLevel& level,
                      const TrainConfig& shared, int64_t seed) {
  TrainConfig config = shared;
  config.dataset = level.pictures;
  config.crop = level.crop;
  config.widths = study.widths;
  config.seed = seed;
  config.resolve();
  return config;
}

class Study {
 public:
  Study(const ResolutionOptions& options, Context& context, Device& device, StudyObserver& observer)
      : options_(options), context_(context), device_(device), observer_(observer) {}

  ResolutionStudy run() {
    study_.folder = absolute_path(options_.folder);
    const Json synth = synth_record(study_.folder);
    study_.generated = synth.is_object();
    const double metres = metres_of(options_, synth);
    const data::Folder parts = survey(options_);
    has_test_ = parts.test.has_value();
    const int64_t crop = whole_crop(options_, parts);
    for (const int64_t factor : options_.factors) {
      ResolutionLevel level{factor, metres * static_cast<double>(factor), crop / factor, {}};
      level.pictures = factor == 1 ? study_.folder
                                   : absolute_path(options_.out) + "/" + level.name() + "/pictures";
      study_.levels.push_back(std::move(level));
    }
    choose_widths(study_, options_.config, observer_);
    TrainConfig shared = options_.config;
    shared.crop = crop;
    shared.widths = study_.widths;
    study_.config = shared.to_json();
    for (const char* of_each : {"dataset", "seed"}) study_.config.erase(of_each);
    for (const ResolutionLevel& level : study_.levels)  // what can't be is said before
      config_of(study_, level, options_.config, 0);
    keep_settings(
        options_.out, "resolution.json",
        {{"dataset", study_.folder}, {"resolution_m", metres}, {"config", study_.config}});
    for (const ResolutionLevel& level : study_.levels)
      if (level.factor != 1)
        write_copies(level, study_.folder, parts, synth, options_.runtime, context_, observer_);
    train_all();
    add_examples();
    return std::move(study_);
  }

 private:
  void train_all() {
    const int64_t of = std::ssize(options_.seeds) * std::ssize(study_.levels);
    int64_t number = 0;
    // Seed by seed, so that an interrupted comparison has all resolutions.
    for (const int64_t seed : options_.seeds)
      for (ResolutionLevel& level : study_.levels) {
        stop_if_cancelled(context_);
        level.runs.push_back(finished(level, seed, ++number, of));
      }
  }

  std::string run_folder(const ResolutionLevel& level, int64_t seed) const {
    return absolute_path(options_.out) + "/" + level.name() + "/seed-" + std::to_string(seed);
  }

  // Where the evaluation of a run lies once the run is done.
  std::string evaluation_of(const ResolutionLevel& level, const model::RunFolder& run) const {
    if (!has_test_) return run.evaluation("test");
    Evaluation known;
    known.folder = test_set(level).folder;
    known.model = run.best();
    return evaluation_path(run.path(), known);
  }

  data::Dataset test_set(const ResolutionLevel& level) const {
    const data::Folder parts =
        data::survey_folder(level.pictures, data::scene_rule_named(options_.config.scenes),
                            options_.config.band_files());
    return parts.test ? *parts.test : data::Dataset{};
  }

  ResolutionRun finished(const ResolutionLevel& level, int64_t seed, int64_t number, int64_t of) {
    const model::RunFolder run(run_folder(level, seed));
    const std::string evaluation = evaluation_of(level, run);
    std::error_code error;
    // It is written last: where it is there and of this model, the run is done.
    if (!fs::exists(evaluation, error) ||
        read_evaluation(evaluation).model_crc32c != crc32c_of_file(run.best()))
      train(level, run, seed, evaluation, number, of);
    ResolutionRun result{seed, run.path(), read_evaluation(evaluation)};
    const TrainingLength length = length_of(run);
    result.epochs = length.epochs;
    result.seconds = length.seconds;
    return result;
  }

  void train(const ResolutionLevel& level, const model::RunFolder& run, int64_t seed,
             const std::string& evaluation_file, int64_t number, int64_t of) {
    observer_.on_training(number_text(level.metres) + " m, seed " + std::to_string(seed),
                          run.path(), number, of);
    train_or_resume(config_of(study_, level, options_.config, seed), options_.runtime, run,
                    context_, device_, observer_);
    if (has_test_)
      evaluate_run(
          run,
          data::scan_for_classes(
              level.pictures, model::classification_of(Checkpoint::read(run.best())).classes,
              data::scene_rule_named(options_.config.scenes), options_.config.band_files()),
          options_.runtime, evaluation_file, context_, device_, observer_);
    observer_.on_evaluation(run.path());
  }

  // How many runs of a level are right of a sample, as a share.
  static double right_share(const ResolutionLevel& level, int64_t sample) {
    int64_t right = 0;
    for (const ResolutionRun& run : level.runs) right += run.evaluation.right(sample);
    return static_cast<double>(right) / static_cast<double>(level.runs.size());
  }

  // Scenes that the resolutions differ most about, either way; then the first of each class.
  std::vector<int64_t> example_samples() const {
    const ResolutionLevel &first = study_.levels.front(), &last = study_.levels.back();
    const Evaluation& e = first.runs.front().evaluation;
    std::vector<int64_t> order(static_cast<size_t>(e.predictions.size()));
    std::iota(order.begin(), order.end(), 0);
    const auto gain = [&](int64_t i) { return right_share(first, i) - right_share(last, i); };
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return gain(a) > gain(b); });
    std::vector<int64_t> chosen;
    const auto choose = [&](int64_t sample) {
      if (std::find(chosen.begin(), chosen.end(), sample) == chosen.end()) chosen.push_back(sample);
    };
    for (size_t i = 0; i < std::min(shown_of_a_kind, order.size()); i++)
      if (gain(order[i]) > 0) choose(order[i]);
    for (size_t i = 0; i < std::min(shown_of_a_kind, order.size()); i++)
      if (gain(order[order.size() - 1 - i]) < 0) choose(order[order.size() - 1 - i]);
    for (size_t k = 0; k < e.classes.size() && chosen.size() < 2 * shown_of_a_kind; k++) {
      const auto& labels = e.predictions.labels;
      const auto at = std::find(labels.begin(), labels.end(), static_cast<int32_t>(k));
      if (at != labels.end()) choose(at - labels.begin());
    }
    return chosen;
  }

  // The crops of the scenes as each resolution's network gets them.
  void add_examples() {
    const std::vector<int64_t> samples = example_samples();
    for (ResolutionLevel& level : study_.levels) {
      const ResolutionRun& run = level.runs.front();
      const Checkpoint best = Checkpoint::read(model::RunFolder(run.folder).best());
      const Preprocess& preprocess = best.info().picture();
      data::Dataset shown;
      shown.bands = options_.config.band_files();
      for (const int64_t sample : samples) {
        const std::string& name = run.evaluation.files[static_cast<size_t>(sample)];
        shown.samples.push_back({path_of(run.evaluation, name, shown.bands), name, 0, name});
      }
      EvaluateOptions how;
      how.max_pixels = options_.runtime.max_pixels;
      const auto pictures = open_whole_pictures(shown, preprocess, how, context_.pool());
      for (size_t i = 0; i < samples.size(); i++) {
        const data::Image image = data::picture_of(*pictures, static_cast<int64_t>(i));
        const SeenArea seen = seen_area(preprocess, image.height, image.width);
        const data::Image crop =
            data::cut(image, data::window(std::lround(seen.top), std::lround(seen.left),
                                          std::lround(seen.height()), std::lround(seen.width())));
        const data::Image small = data::thumbnail(crop, example_side);
        level.examples.push_back(
            {samples[i], data::encode_png(small), small.height, small.width, 0, 0, 1, 1});
      }
    }
  }

  // The first file of a sample that an evaluation names.
  static std::string path_of(const Evaluation& evaluation, const std::string& name,
                             const data::BandFiles& bands) {
    fs::path place = fs::path(evaluation.folder) / name;
    if (bands.empty()) return place.string();
    std::string file = bands.patterns().front();
    file.replace(file.find('*'), 1, place.filename().string());
    return place.replace_filename(file).string();
  }

  const ResolutionOptions& options_;
  Context& context_;
  Device& device_;
  StudyObserver& observer_;
  ResolutionStudy study_;
  bool has_test_ = false;
};

double metric_of(const ResolutionRun& run, const std::string& metric) {
  if (metric == "seconds") return run.seconds;
  const Measured measured = measure(run.evaluation);
  if (metric == "accuracy") return measured.scores.accuracy;
  if (metric == "roc_auc") return measured.scores.roc_auc;
  return run.evaluation.two_classes() ? measured.scores.f1 : measured.scores.macro.f1;
}

constexpr const char* metrics[] = {"accuracy", "f1", "roc_auc", "seconds"};

}  // namespace

std::string ResolutionLevel::name() const { return number_text(metres) + "m"; }

Spread ResolutionLevel::spread(const std::string& metric) const {
  std::vector<double> values;
  for (const ResolutionRun& run : runs) values.push_back(metric_of(run, metric));
  return spread_of(values);
}

ResolutionStudy compare_resolutions(const ResolutionOptions& options, Context& context,
                                    Device& device, StudyObserver& observer) {
  require_distinct(options.factors, "--factors");
  require_distinct(options.seeds, "--seeds");
  if (options.config.by_pixel())
    usage_error("--labels: resolutions are compared on pictures that have one label each");
  ResolutionOptions sorted = options;  // the finest first
  std::sort(sorted.factors.begin(), sorted.factors.end());
  return Study(sorted, context, device, observer).run();
}

Json resolution_json(const ResolutionStudy& study) {
  Json levels = Json::array();
  for (const ResolutionLevel& level : study.levels) {
    Json runs = Json::array();
    for (const ResolutionRun& run : level.runs) {
      Json json{{"seed", run.seed}, {"run", run.folder}, {"epochs", run.epochs}};
      for (const char* metric : metrics) json[metric] = number_json(metric_of(run, metric));
      runs.push_back(json);
    }
    Json json{{"metres", level.metres},
              {"factor", level.factor},
              {"crop", level.crop},
              {"pictures", level.pictures},
              {"runs", runs}};
    for (const char* metric : metrics) json[metric] = spread_json(level.spread(metric));
    levels.push_back(json);
  }
  const Evaluation& e = study.levels.front().runs.front().evaluation;
  return {{"pictures", pictures_line(study.generated, e.predictions.size(), study.folder)},
          {"generated", study.generated},
          {"folder", study.folder},
          {"positive_class", e.two_classes() ? Json(e.positive()) : Json(nullptr)},
          {"network", study.rule},
          {"widths", study.widths},
          {"levels", levels},
          {"config", study.config}};
}

}  // namespace fulmar::tools
