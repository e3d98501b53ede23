#include "tools/run/pixel_classes.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <mutex>

#include "data/patch_loader.h"
#include "data/picture_errors.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "model/tasks/segmentation.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

int64_t number_of_class(const std::string& text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [at, reason] = std::from_chars(text.data(), end, number);
  if (reason != std::errc{} || at != end)
    usage_error("--classes: '" + text + "' is no whole number, which a class has in label rasters");
  return number;
}

[[noreturn]] void not_understood() {
  usage_error(
      "--classes takes names with commas between, or JSON: a list of names, {\"0\": \"sea\", "
      "\"2\": \"ice\"}, or {TASK: one of these} for each task");
}

PixelClasses classes_from(const std::string& task, const Json& json) {
  PixelClasses classes{task, {}, {}};
  if (!json.is_array() && !json.is_object()) not_understood();
  std::map<int64_t, std::string> names;
  int64_t next = 0;
  for (const auto& [key, name] : json.items()) {
    if (!name.is_string()) not_understood();
    names[json.is_array() ? next++ : number_of_class(key)] = name.get<std::string>();
  }
  for (const auto& [number, name] : names) {
    if (name.empty() || !data::is_utf8(name))
      usage_error("--classes: a name is empty or not UTF-8");
    if (std::count(classes.names.begin(), classes.names.end(), name) > 0)
      usage_error("--classes: '" + name + "' stands there twice");
    classes.numbers.push_back(number);
    classes.names.push_back(name);
  }
  if (classes.names.size() < 2 || classes.names.size() > data::unlabelled)
    usage_error("--classes: task '" + task + "' has " + std::to_string(classes.names.size()) +
                " classes; 2 to 255 are possible");
  return classes;
}

Json list_of_names(const std::string& text) {
  Json list = Json::array();
  for (size_t from = 0; from <= text.size();) {
    const size_t comma = std::min(text.find(',', from), text.size());
    list.push_back(text.substr(from, comma - from));
    from = comma + 1;
  }
  return list;
}

bool begins_json(const std::string& text) {
  return !text.empty() && (text[0] == '{' || text[0] == '[');
}

const model::Segmentation* segmentation(const model::Head& head) {
  return dynamic_cast<const model::Segmentation*>(head.task.get());
}

}  // namespace

std::vector<PixelClasses> read_classes(const std::string& text,
                                       const std::vector<std::string>& layers) {
  const bool is_file = text.size() > 5 && text.substr(text.size() - 5) == ".json";
  const std::string given = is_file ? read_file(text, 1 << 20) : text;
  const Json json =
      is_file || begins_json(given) ? Json::parse(given, nullptr, false) : list_of_names(given);
  if (json.is_discarded()) {
    if (is_file) file_error(text + ": not the JSON that --classes takes");
    not_understood();
  }
  const bool by_task =
      json.is_object() && std::any_of(json.begin(), json.end(),
                                      [](const Json& of_task) { return of_task.is_structured(); });
  if (!by_task && layers.size() > 1)
    usage_error("--classes: there are " + std::to_string(layers.size()) +
                " tasks; give the classes of each, as JSON {TASK: [names], ...}");
  std::vector<PixelClasses> all;
  for (const std::string& layer : layers) {
    if (by_task && !json.contains(layer))
      usage_error("--classes: it says nothing of the task '" + layer + "'");
    all.push_back(classes_from(layer, by_task ? json.at(layer) : json));
  }
  return all;
}

std::string classes_text(const std::vector<PixelClasses>& classes) {
  Json all = Json::object();
  for (const PixelClasses& of_task : classes)
    for (size_t k = 0; k < of_task.names.size(); k++)
      all[of_task.task][std::to_string(of_task.numbers[k])] = of_task.names[k];
  return all.dump();
}

namespace {

using Counts = std::vector<std::map<int64_t, int64_t>>;  // by layer: pixels by number

Counts count_numbers(const data::Dataset& dataset, int64_t max_pixels, Context& context,
                     Observer& observer) {
  const auto samples = std::ssize(dataset.samples);
  const Advance advance = observer.on_job("looking at labels", samples, "pictures");
  Counts counts(dataset.layers.size());
  std::mutex mutex;
  data::throw_first(data::for_each_picture(
      context.pool(), samples,
      [&](int64_t i) {
        const data::Sample& sample = dataset.samples[static_cast<size_t>(i)];
        for (size_t layer = 0; layer < counts.size(); layer++) {
          const data::LabelCounts found = data::count_labels(
              sample.label_files[layer], image_limits(max_pixels), dataset.layers[layer]);
          const std::lock_guard lock(mutex);
          for (const auto& [number, pixels] : found.pixels) counts[layer][number] += pixels;
        }
      },
      [&](int64_t done, int64_t) {
        stop_if_cancelled(context);
        advance(done);
      }));
  return counts;
}

// The classes that the labels hold.
std::vector<PixelClasses> found_classes(const data::Dataset& dataset, const Counts& counts,
                                        const std::vector<int64_t>& ignored, Observer& observer) {
  std::vector<PixelClasses> all;
  for (size_t layer = 0; layer < counts.size(); layer++) {
    PixelClasses classes{dataset.layers[layer], {}, {}};
    std::string list;
    for (const auto& [number, pixels] : counts[layer]) {
      if (data::means_unlabelled(number, ignored)) continue;
      classes.numbers.push_back(number);
      classes.names.push_back(std::to_string(number));
      list += (list.empty() ? "" : ", ") + classes.names.back();
    }
    if (classes.names.size() < 2 || classes.names.size() > data::unlabelled)
      usage_error(dataset.folder + ": the labels of '" + classes.task + "' hold " +
                  std::to_string(classes.names.size()) +
                  " numbers of classes, and 2 to 255 are possible; say with --classes which "
                  "classes there are");
    observer.on_note("classes of " + classes.task + ", as its labels have them: " + list +
                     " (--classes names them)");
    all.push_back(std::move(classes));
  }
  return all;
}

// Labels that are not trained on may hold no other numbers: a run would end at its first
// validation, or at the test after it.
void require_classes(const std::vector<PixelClasses>& classes, const data::Dataset& dataset,
                     const Counts& counts, const std::vector<int64_t>& ignored) {
  for (size_t layer = 0; layer < counts.size(); layer++)
    for (const auto& [number, pixels] : counts[layer]) {
      const std::vector<int64_t>& known = classes.at(layer).numbers;
      if (data::means_unlabelled(number, ignored) ||
          std::count(known.begin(), known.end(), number) > 0)
        continue;
      const std::string text = std::to_string(number);
      usage_error(dataset.folder + ": the labels of '" + classes[layer].task +
                  "' that are held out hold the number " + text +
                  ", and those to train on don't; say with --classes which classes there are, or "
                  "leave it out with --ignore " +
                  text);
    }
}

// As scikit-learn's class_weight="balanced"; 0 for a class that no label has. A class of a few
// pixels among billions gets the most that a loss takes, not an error about a number nobody gave.
Json balanced_weights(const std::vector<PixelClasses>& classes, const Counts& counts) {
  Json weights = Json::object();
  for (size_t i = 0; i < classes.size(); i++) {
    const auto pixels_of = [&](int64_t number) {
      const auto found = counts[i].find(number);
      return found == counts[i].end() ? 0.0 : static_cast<double>(found->second);
    };
    double all = 0, present = 0;
    for (const int64_t number : classes[i].numbers) {
      all += pixels_of(number);
      present += pixels_of(number) > 0;
    }
    Json list = Json::array();
    for (const int64_t number : classes[i].numbers)
      list.push_back(pixels_of(number) > 0
                         ? std::min(all / (present * pixels_of(number)), model::most_class_weight)
                         : 0.0);
    weights[classes[i].task] = list;
  }
  return weights;
}

// By task; none where nobody gave any.
std::vector<std::vector<double>> class_weights(const TrainConfig& config,
                                               const std::vector<PixelClasses>& classes) {
  std::vector<std::vector<double>> all(classes.size());
  if (!config.class_weights) return all;
  const auto fail = [] {
    usage_error("--class-weights takes balanced, X,X,... or JSON {TASK: [X, ...]}");
  };
  const std::string& text = *config.class_weights;
  Json json = begins_json(text) ? Json::parse(text, nullptr, false)
                                : Json::parse("[" + text + "]", nullptr, false);
  if (json.is_discarded() || (json.is_array() && classes.size() > 1)) fail();
  if (json.is_array()) json = {{classes[0].task, json}};
  for (const auto& entry : json.items())
    if (std::none_of(classes.begin(), classes.end(),
                     [&](const PixelClasses& of_task) { return of_task.task == entry.key(); }))
      usage_error("--class-weights: there is no task '" + entry.key() + "'");
  for (size_t i = 0; i < classes.size(); i++) {
    if (!json.contains(classes[i].task))
      usage_error("--class-weights: it says nothing of the task '" + classes[i].task + "'");
    const Json& list = json.at(classes[i].task);
    if (!list.is_array() || list.empty()) fail();
    for (const Json& weight : list) {
      if (!weight.is_number()) fail();
      all[i].push_back(weight.get<double>());
    }
  }
  return all;
}

// "TASK=WORD,..." or, where `alone`, one word for all; of each task its word or none.
std::vector<std::string> by_task(const std::string& option, const std::string& text,
                                 const std::vector<PixelClasses>& classes, bool alone) {
  std::vector<std::string> words(classes.size());
  if (alone && text.find('=') == std::string::npos) {
    std::fill(words.begin(), words.end(), text);
    return words;
  }
  for (size_t from = 0; from < text.size();) {
    const size_t comma = std::min(text.find(',', from), text.size());
    const std::string entry = text.substr(from, comma - from);
    from = comma + 1;
    const size_t equals = entry.find('=');
    const auto task = std::find_if(classes.begin(), classes.end(), [&](const PixelClasses& one) {
      return one.task == entry.substr(0, equals);
    });
    if (equals == std::string::npos || task == classes.end())
      usage_error(option + ": '" + entry + "' names no task; write " + classes[0].task + "=...");
    std::string& word = words[static_cast<size_t>(task - classes.begin())];
    if (!word.empty()) usage_error(option + ": the task '" + task->task + "' stands there twice");
    word = entry.substr(equals + 1);
    if (word.empty())
      usage_error(option + ": '" + entry + "' says nothing; write " + entry + "...");
  }
  return words;
}

// What the configuration says of each task.
std::vector<model::PixelLoss> losses_of(const std::vector<PixelClasses>& classes,
                                        const TrainConfig& config) {
  const std::vector<std::vector<double>> weights = class_weights(config, classes);
  const auto kinds = by_task("--loss", config.loss, classes, true);
  const auto units = by_task("--units", config.units.value_or(""), classes, false);
  std::vector<model::PixelLoss> losses;
  for (size_t i = 0; i < classes.size(); i++) {
    model::PixelLoss loss;
    if (!kinds[i].empty()) loss.kind = kinds[i];
    loss.gamma = config.focal_gamma;
    loss.class_weights = weights[i];
    if (config.tversky) loss.alpha = (*config.tversky)[0], loss.beta = (*config.tversky)[1];
    loss.unit = units[i];
    if (!loss.unit.empty() && !loss.of_numbers())
      usage_error("--units: the task '" + classes[i].task +
                  "' has classes; --loss mse or mae makes it one of numbers");
    losses.push_back(loss);
  }
  const auto any = [&](const char* kind) {
    return std::any_of(losses.begin(), losses.end(),
                       [&](const model::PixelLoss& loss) { return loss.kind == kind; });
  };
  if (config.tversky && !any("tversky")) usage_error("--tversky goes with --loss tversky");
  if (config.focal_gamma != TrainConfig().focal_gamma && !any("focal"))
    usage_error("--focal-gamma goes with --loss focal");
  return losses;
}

}  // namespace

int64_t PixelClasses::called(const float* values) const {
  if (!of_numbers) return std::max_element(values, values + names.size()) - values;
  const auto away = [&](int64_t number) {
    return std::abs(static_cast<double>(number) - static_cast<double>(*values));
  };
  return std::min_element(numbers.begin(), numbers.end(),
                          [&](int64_t a, int64_t b) { return away(a) < away(b); }) -
         numbers.begin();
}

std::vector<int64_t> ignored_numbers(const std::optional<std::vector<double>>& given) {
  std::vector<int64_t> numbers;
  for (const double number : given.value_or(std::vector<double>())) {
    if (std::floor(number) != number || !(std::abs(number) <= data::most_number))
      usage_error("--ignore: " + number_text(number) +
                  " is no whole number up to 1e15, as labels are");
    numbers.push_back(static_cast<int64_t>(number));
  }
  return numbers;
}

void choose_classes(TrainConfig& config, const data::Dataset& dataset,
                    const std::vector<const data::Dataset*>& held_out, int64_t max_pixels,
                    Context& context, Observer& observer) {
  const std::vector<int64_t> ignored = ignored_numbers(config.ignore);
  const bool balances = config.class_weights == "balanced";
  const Counts counts = config.classes && !balances
                            ? Counts()
                            : count_numbers(dataset, max_pixels, context, observer);
  const std::vector<PixelClasses> classes = config.classes
                                                ? read_classes(*config.classes, dataset.layers)
                                                : found_classes(dataset, counts, ignored, observer);
  for (const data::Dataset* part : held_out)
    if (!config.classes && !part->samples.empty())
      require_classes(classes, *part, count_numbers(*part, max_pixels, context, observer), ignored);
  config.classes = classes_text(classes);
  if (balances) config.class_weights = balanced_weights(classes, counts).dump();
}

std::vector<data::LabelLayer> label_layers(const data::Dataset& dataset,
                                           const std::vector<PixelClasses>& classes,
                                           const std::optional<std::vector<double>>& ignore) {
  std::vector<data::LabelLayer> layers;
  const std::vector<int64_t> ignored = ignored_numbers(ignore);
  for (const PixelClasses& of_task : classes) {
    const auto found = std::find(dataset.layers.begin(), dataset.layers.end(), of_task.task);
    if (found == dataset.layers.end())
      usage_error(dataset.folder + ": it has no labels of the task '" + of_task.task +
                  "'; say with --labels where they are, as " + of_task.task + "=*_" + of_task.task +
                  ".tif");
    data::LabelLayer layer{of_task.task, {of_task.numbers, ignored, of_task.task}, {}};
    for (const data::Sample& sample : dataset.samples)
      layer.files.push_back(
          sample.label_files[static_cast<size_t>(found - dataset.layers.begin())]);
    layers.push_back(std::move(layer));
  }
  return layers;
}

model::PixelOutputs pixel_outputs(const std::vector<PixelClasses>& classes,
                                  const TrainConfig& config) {
  const std::vector<model::PixelLoss> losses = losses_of(classes, config);
  model::PixelOutputs outputs;
  for (size_t i = 0; i < classes.size(); i++)
    outputs.push_back({classes[i].task, losses[i].of_numbers() ? 1 : std::ssize(classes[i].names)});
  return outputs;
}

model::Heads pixel_heads(const std::vector<PixelClasses>& classes, const TrainConfig& config) {
  const auto& weights = config.task_weights;
  if (weights && weights->size() != classes.size())
    usage_error("--task-weights: " + std::to_string(weights->size()) + " weights for " +
                std::to_string(classes.size()) + (classes.size() == 1 ? " task" : " tasks"));
  const std::vector<model::PixelLoss> losses = losses_of(classes, config);
  model::Heads heads;
  for (size_t i = 0; i < classes.size(); i++) {
    heads.push_back({std::make_shared<model::Segmentation>(classes[i].names, data::unlabelled,
                                                           classes[i].numbers, losses[i]),
                     classes[i].task, data::PatchLoader::label_tensor(classes[i].task), "weight",
                     weights ? (*weights)[i] : 1});
  }
  return heads;
}

bool is_by_pixel(const model::Heads& heads) {
  return !heads.empty() && std::all_of(heads.begin(), heads.end(), segmentation);
}

std::vector<PixelClasses> classes_of(const model::Heads& heads) {
  std::vector<PixelClasses> all;
  for (const model::Head& head : heads)
    if (const model::Segmentation* task = segmentation(head))
      all.push_back({head.output, task->numbers, task->classes, task->loss.of_numbers()});
  return all;
}

}  // namespace fulmar::tools
