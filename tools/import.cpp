#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>

#include "kernels/error.h"
#include "model/resnet.h"
#include "model/tasks/classification.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/exchange/import_weights.h"
#include "tools/keras/import_keras.h"
#include "tools/output.h"
#include "tools/run/json.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string from, to;
  std::optional<std::string> resize, classes;
  std::optional<std::vector<double>> scale, mean, deviation;
  std::vector<int64_t> widths;  // empty: the network's own
  bool partial = false;
  keras::ImportOptions import;

  bool residual() const { return model::is_resnet_name(import.known_network); }
};

std::vector<std::string> names_in(const std::string& list) {
  std::vector<std::string> names;
  std::istringstream parts(list);
  for (std::string name; std::getline(parts, name, ',');) names.push_back(name);
  if (!list.empty() && list.back() == ',') names.emplace_back();
  for (const std::string& name : names)
    if (name.empty()) usage_error("--classes " + list + ": a name is empty");
  return names;
}

keras::ImportOptions resolved(const Options& options) {
  keras::ImportOptions import = options.import;
  import.network.resize =
      options.resize == "bilinear" ? Interpolation::bilinear : Interpolation::nearest;
  if (options.mean || options.deviation || options.partial)
    usage_error("--mean, --std and --partial go with --network resnet18 to resnet152");
  if (!options.widths.empty()) import.polar_low.widths = options.widths;
  if (options.scale) import.network.scale = {(*options.scale)[0], (*options.scale)[1]};
  if (options.classes) import.classes = names_in(*options.classes);
  if (import.known_network.empty()) return import;
  if (options.scale)
    usage_error("--scale goes with a whole model: the network polar-low takes 0 to 1");
  if (import.network.channels) import.polar_low.channels = *import.network.channels;
  if (!import.classes.empty())
    import.polar_low.classes = static_cast<int64_t>(import.classes.size());
  return import;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

exchange::ImportOptions weights_options(const Options& options, const SharedOptions& shared) {
  if (options.scale) usage_error("--scale goes with Keras models; say --mean and --std");
  const keras::ImportOptions& given = options.import;
  exchange::ImportOptions import;
  import.network = given.known_network;
  import.widths = options.widths;
  import.bands = given.network.channels;
  if (options.classes) import.classes = names_in(*options.classes);
  import.positive = given.positive;
  import.threshold = given.threshold;
  import.crop = given.crop > 0 ? given.crop : given.network.size.value_or(import.crop);
  import.size = given.network.size.value_or(import.crop);
  if (import.crop > import.size)
    usage_error("--crop " + std::to_string(import.crop) + " is larger than --size " +
                std::to_string(import.size));
  import.resize = options.resize == "nearest" ? Interpolation::nearest : Interpolation::bilinear;
  if (options.mean) import.mean = *options.mean;
  if (options.deviation) import.deviation = *options.deviation;
  import.partial = options.partial;
  import.seed = shared.seed;
  return import;
}

// `version`: of Keras, or the format of weights; `keras_layers`: of a Keras model.
void print_result(const Options& options, const SharedOptions& shared,
                  const keras::ImportedModel& result, const std::string& version,
                  std::optional<int64_t> keras_layers) {
  for (const std::string& sentence : result.notes) note(sentence);
  const ModelInfo& info = result.info;
  const Preprocess& picture = info.picture();
  const auto heads = model::heads_of(info);
  const auto* task = heads.size() == 1 ? model::as_classification(*heads[0].task) : nullptr;
  const auto layers = static_cast<int64_t>(info.network.calls().size());
  const int64_t parameters = result.trainable + result.statistics;
  if (shared.json) {
    const bool keras = keras_layers.has_value();
    Json json{{"model", options.to}, {keras ? "keras" : "format", version}};
    if (keras) json["layers"] = *keras_layers;
    json.update({{"calls", layers},
                 {"parameters", parameters},
                 {"trainable", result.trainable},
                 {"output", info.network.output()},
                 {"preprocess", Json::parse(picture.to_json())},
                 {"notes", result.notes}});
    if (task) json["classes"] = task->classes;
    print_pretty(json);
    return;
  }
  const std::string side = std::to_string(picture.size), crop = std::to_string(picture.crop);
  std::string text = options.to + ", of " + (keras_layers ? "Keras " : "") + version + "\n";
  text += "layers      " + with_separators(keras_layers.value_or(layers)) + "\n";
  text += "parameters  " + with_separators(parameters) + ": " + with_separators(result.trainable) +
          " trainable, " + with_separators(result.statistics) + " running statistics\n";
  text += "pictures    " + side + "x" + side + ", " + std::to_string(picture.bands) +
          (picture.bands == 1 ? " channel" : " channels") +
          (picture.crop < picture.size ? ", centre crop " + crop + "x" + crop : "") + "\n";
  text += "output      " + info.network.output() + "\n";
  if (task) text += "classes     " + listed(task->classes) + "\n";
  print(text);
}

// Error(usage) for a file of PyTorch weights without the network that they are of.
void require_network(const Options& options) {
  const std::string ending = std::filesystem::path(options.from).extension();
  if (options.import.known_network.empty() &&
      (ending == ".pth" || ending == ".pt" || ending == ".safetensors"))
    usage_error(options.from +
                " holds weights alone: say with --network resnet50 (or another "
                "one) which network they are of");
}

int run(const Options& options, const SharedOptions& shared) {
  require_network(options);
  if (options.residual()) {
    const exchange::ImportOptions import = weights_options(options, shared);
    CommandContext command(shared);
    const exchange::Imported got =
        exchange::import_weights(options.from, options.to, import, command.device());
    print_result(options, shared, got, got.format, {});
    flush_output();
    return exit_ok;
  }
  const keras::ImportOptions import = resolved(options);
  CommandContext command(shared);
  const keras::Imported got =
      keras::import_keras(options.from, options.to, import, command.device());
  print_result(options, shared, got, got.keras_version, got.layers);
  flush_output();
  return exit_ok;
}

}  // namespace

void add_import(Cli& cli) {
  auto options = std::make_shared<Options>();
  keras::ImportOptions& import = options->import;
  CLI::App& command = add_command(
      cli, "import", "Make a model file of a Keras model, or of PyTorch weights", [options, &cli] {
        SharedOptions shared = cli.shared;
        shared.device = "cpu";  // nothing is computed
        return run(*options, shared);
      });
  command
      .add_option(
          "FILE", options->from,
          "A whole Keras model: HDF5 (.h5, .hdf5) of Keras 2.0 and later, or a .keras "
          "archive;\nor weights alone, with --network: of residual networks a state dict of "
          "torch.save (.pth,\n.pt) or .safetensors")
      ->required();
  add_path(command, "--out", options->to, "The model file to write", "MODEL")->required();
  command
      .add_option("--classes", options->classes,
                  "Names of the classes, in the order of the outputs")
      ->type_name("NAME,NAME,...");
  command
      .add_option("--positive", import.positive,
                  "Of two classes, the one that F1 and the threshold are about (default: pos or\n"
                  "positive, else the second)")
      ->type_name("CLASS");
  add_number(command, "--threshold", import.threshold, 0, 1,
             "Of two classes: the positive one from this probability on (default 0.5)");
  add_choice(command, "--resize", options->resize, {"nearest", "bilinear"},
             "How pictures are resized to the model's size: as Keras' load_img, or as its\n"
             "image_dataset_from_directory (default nearest; with resnets bilinear)");
  add_numbers(command, "--scale", options->scale, 2,
              "What the model's input is for a pixel of 0 and for one of 255 (default 0,255, as\n"
              "load_img gives them; -1,1, say, where the training's own code scaled)",
              "LO,HI");
  add_integer(command, "--size", import.network.size, 1, 32768,
              "Side of the pictures, pixels, where the model leaves it open, or with --network");
  add_integer(
      command, "--channels,--bands", import.network.channels, 1, WarpOptions::max_bands,
      "1: grey, 3: RGB, where the model leaves it open, or with --network (default there 3;\n"
      "of resnets as the file has it; 1 sums its first convolution over the bands)");
  std::vector<std::string> networks{"polar-low"};
  for (const std::string& name : model::resnet_names()) networks.push_back(name);
  CLI::Option* network =
      add_choice(command, "--network", import.known_network, networks,
                 "For weights alone: the network that they are of, polar-low with Keras' names, "
                 "resnets with\ntorchvision's or Hugging Face's");
  add_integer(command, "--crop", import.crop, 1, 32768,
              "Side of the centre crop that it sees, pixels (default: the size; of resnets 224)")
      ->needs(network);
  add_integers(command, "--widths", options->widths, 1, 16384,
               "Filters of its blocks (default 8,16,32,64,128,256,512), or of a resnet's four "
               "stages")
      ->needs(network);
  add_numbers(command, "--mean", options->mean, 0,
              "Of resnets: what is subtracted from values of 0 to 1, by band (default 0)",
              "X,X,...")
      ->needs(network);
  add_numbers(command, "--std", options->deviation, 0,
              "Of resnets: what they are divided by then (default 1)", "X,X,...")
      ->needs(network);
  command
      .add_flag("--partial", options->partial,
                "Of resnets: weights that the file lacks begin anew (--seed), and what the network "
                "has no place\nfor is left out; else both are refused, and listed")
      ->needs(network);
}

}  // namespace fulmar::tools
