#include "tools/keras/import_keras.h"

#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "model/program.h"
#include "model/tasks/classification.h"
#include "model/tasks/multilabel.h"
#include "model/tasks/segmentation.h"
#include "tools/keras/class_choice.h"
#include "tools/keras/keras_file.h"
#include "tools/keras/keras_weights.h"

namespace fulmar::keras {
namespace {

// What the output means, as a task of the model.
void set_task(ModelInfo& info, const KerasNetwork& network, const ImportOptions& options,
              std::vector<std::string>& notes) {
  if (network.output == OutputKind::unknown) {
    if (!options.classes.empty())
      usage_error("--classes: the model's last layer '" + network.output_layer + "' (" +
                  network.output_class + ") gives no probabilities of classes");
    notes.push_back("the last layer '" + network.output_layer + "' (" + network.output_class +
                    ") gives no probabilities: the model has no classes, 'fulmar predict' and "
                    "'fulmar eval' can't use it, the C API can");
    return;
  }
  const std::vector<std::string> classes = class_names(options.classes, network.classes, notes);
  std::shared_ptr<const model::Task> task;
  if (network.output == OutputKind::classes)
    task = std::make_shared<model::Classification>(classes, positive_of(options.positive, classes),
                                                   options.threshold);
  else if (network.output == OutputKind::labels)
    task = std::make_shared<model::Multilabel>(classes);
  else
    task = std::make_shared<model::Segmentation>(classes);
  model::set_heads(info, {{task, info.network.output()}});
}

// Kept files name the optimiser of the training, which a model doesn't need.
std::string optimizer_of(const KerasFile& file) {
  const auto json = nlohmann::json::parse(file.text("/", "training_config"), nullptr, false);
  const auto config = json.is_object() ? json.find("optimizer_config") : json.end();
  if (!json.is_object() || config == json.end() || !config->is_object()) return "";
  const auto name = config->find("class_name");
  return name != config->end() && name->is_string() ? name->get<std::string>().substr(0, 100) : "";
}

std::vector<std::pair<std::string, std::vector<int64_t>>> parameters_of(const Model& model) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> all;
  const auto add = [&](const std::string& name, const Shape& shape) {
    std::vector<int64_t> extents;
    for (int axis = 0; axis < shape.rank(); axis++) extents.push_back(shape[axis]);
    all.emplace_back(name, extents);
  };
  for (const auto& p : model.parameters()) add(p.name, p.shape);
  for (const auto& s : model.statistics()) add(s.name, s.shape);
  return all;
}

void write_weights(Model& model, const PlacedWeights& placed) {
  for (const auto& [name, shape] : parameters_of(model)) {
    const auto values = placed.values.find(name);
    if (values == placed.values.end()) file_error("the weight " + name + " is missing");
    model.write(name, std::vector<double>(values->second.begin(), values->second.end()));
  }
}

std::string some_of(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 8; i++) text += (i > 0 ? ", " : "") + names[i];
  return text + (names.size() > 8 ? ", ..." : "");
}

// The description and the weights of a whole model.
Model read_model(const KerasFile& file, const ImportOptions& options, Imported& result,
                 Device& device) {
  if (!options.known_network.empty())
    usage_error("--network " + options.known_network +
                " is for files of weights alone; this one tells its network itself: leave it out");
  const KerasNetwork network = read_network(file.config(), result.keras_version, options.network);
  result.layers = network.layers;
  result.notes = network.notes;
  result.info.network = network.network;
  result.info.preprocess[network.network.inputs().at(0)] = network.preprocess;
  set_task(result.info, network, options, result.notes);
  const PlacedWeights placed = place_weights(file, network.weights);
  if (!placed.left_over.empty())
    result.notes.push_back(
        std::to_string(placed.left_over.size()) +
        " arrays of the file belong to no layer and are left out: " + some_of(placed.left_over));
  Model model = model::new_model(result.info, device, {});
  write_weights(model, placed);
  return model;
}

// Weights alone, for a network that Fulmar knows.
Model read_weights(const KerasFile& file, const ImportOptions& options, Imported& result,
                   Device& device) {
  if (options.known_network.empty())
    file_error(
        "it holds weights alone, or is no file of Keras': say with --network polar-low "
        "which network they are of, or save the whole model (model.save)");
  if (!options.network.size)
    usage_error("--network polar-low takes --size, and --crop where the network sees less");
  const int64_t size = *options.network.size, crop = options.crop > 0 ? options.crop : size;
  if (crop > size)
    usage_error("--crop " + std::to_string(crop) + " is larger than --size " +
                std::to_string(size));
  Preprocess preprocess = Preprocess::of_pictures(size, crop, options.polar_low.channels);
  preprocess.resize = options.network.resize;
  const std::vector<std::string> classes =
      class_names(options.classes, options.polar_low.classes, result.notes);
  result.info = model::classifier_of(
      model::polar_low(options.polar_low), preprocess,
      model::Classification(classes, positive_of(options.positive, classes), options.threshold));
  Model model = model::new_model(result.info, device, {});
  // In the network's order; the model has the last layer first.
  std::vector<LayerWeights> layers;
  const std::vector<LayerWeights> unordered = layers_of(parameters_of(model));
  for (const Call& call : result.info.network.calls())
    for (const LayerWeights& layer : unordered)
      if (layer.name == call.name) layers.push_back(layer);
  result.layers = static_cast<int64_t>(result.info.network.calls().size());
  const PlacedWeights placed = place_weights(file, layers);
  if (!placed.left_over.empty())
    file_error("arrays that the network has no place for: " + some_of(placed.left_over) +
               " (--widths, --channels and --classes say what it is like)");
  write_weights(model, placed);
  return model;
}

}  // namespace

Imported import_keras(const std::string& from, const std::string& to, const ImportOptions& options,
                      Device& device) {
  require_place(from, to, "Keras file");
  const KerasFile file = read_keras_file(from);
  Imported result;
  save_imported(result, from, to, [&] {
    result.keras_version = file.version().substr(0, 40);
    Model model = file.config().empty() ? read_weights(file, options, result, device)
                                        : read_model(file, options, result, device);
    if (const std::string optimizer = optimizer_of(file); !optimizer.empty())
      result.notes.push_back("the state of the optimiser (" + optimizer + ") is left out");
    return MadeModel{std::move(model), "Keras " + result.keras_version};
  });
  return result;
}

}  // namespace fulmar::keras
