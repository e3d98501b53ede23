#include <memory>
#include <optional>
#include <sstream>

#include "kernels/error.h"
#include "model/tasks/classification.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/keras/import_keras.h"
#include "tools/output.h"
#include "tools/run/json.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string from, to, resize = "nearest";
  std::optional<std::string> classes;
  std::optional<std::vector<double>> scale;
  keras::ImportOptions import;
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

int run(const Options& options, const SharedOptions& shared) {
  const keras::ImportOptions import = resolved(options);
  CommandContext command(shared);
  const keras::Imported imported =
      keras::import_keras(options.from, options.to, import, command.device());
  for (const std::string& sentence : imported.notes) note(sentence);
  const ModelInfo& info = imported.info;
  const Preprocess& picture = info.picture();
  const auto heads = model::heads_of(info);
  const auto* task = heads.size() == 1 ? model::as_classification(*heads[0].task) : nullptr;
  if (shared.json) {
    Json json{{"model", options.to},
              {"keras", imported.keras_version},
              {"layers", imported.layers},
              {"calls", info.network.calls().size()},
              {"parameters", imported.trainable + imported.statistics},
              {"trainable", imported.trainable},
              {"output", info.network.output()},
              {"preprocess", Json::parse(picture.to_json())},
              {"notes", imported.notes}};
    if (task) json["classes"] = task->classes;
    print_pretty(json);
  } else {
    const std::string side = std::to_string(picture.size), crop = std::to_string(picture.crop);
    std::string text = options.to + ", of Keras " + imported.keras_version + "\n";
    text += "layers      " + with_separators(imported.layers) + "\n";
    text += "parameters  " + with_separators(imported.trainable + imported.statistics) + ": " +
            with_separators(imported.trainable) + " trainable, " +
            with_separators(imported.statistics) + " running statistics\n";
    text += "pictures    " + side + "x" + side + ", " + std::to_string(picture.bands) +
            (picture.bands == 1 ? " channel" : " channels") +
            (picture.crop < picture.size ? ", centre crop " + crop + "x" + crop : "") + "\n";
    text += "output      " + info.network.output() + "\n";
    if (task) text += "classes     " + listed(task->classes) + "\n";
    print(text);
  }
  flush_output();
  return exit_ok;
}

}  // namespace

void add_import(Cli& cli) {
  auto options = std::make_shared<Options>();
  keras::ImportOptions& import = options->import;
  CLI::App& command =
      add_command(cli, "import", "Make a model file of a Keras model", [options, &cli] {
        SharedOptions shared = cli.shared;
        shared.device = "cpu";  // nothing is computed
        return run(*options, shared);
      });
  command
      .add_option("FILE", options->from,
                  "A whole Keras model: HDF5 (.h5, .hdf5) of Keras 2.0 and later, or a .keras "
                  "archive;\nor weights alone, with --network")
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
             "image_dataset_from_directory (default nearest)");
  add_numbers(command, "--scale", options->scale, 2,
              "What the model's input is for a pixel of 0 and for one of 255 (default 0,255, as\n"
              "load_img gives them; -1,1, say, where the training's own code scaled)",
              "LO,HI");
  add_integer(command, "--size", import.network.size, 1, 32768,
              "Side of the pictures, pixels, where the model leaves it open, or with --network");
  add_integer(
      command, "--channels", import.network.channels, 1, WarpOptions::max_bands,
      "1: grey, 3: RGB, where the model leaves it open, or with --network (default there 3)");
  CLI::Option* network = add_choice(
      command, "--network", import.known_network, {"polar-low"},
      "For weights alone (save_weights): the network that they are of, with Keras' names");
  add_integer(command, "--crop", import.crop, 1, 32768,
              "Side of the centre crop that it sees, pixels (default: the size)")
      ->needs(network);
  add_integers(command, "--widths", import.polar_low.widths, 1, 16384,
               "Filters of its blocks (default 8,16,32,64,128,256,512)")
      ->needs(network);
}

}  // namespace fulmar::tools
