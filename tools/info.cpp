#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "engine/io/checkpoint.h"
#include "kernels/error.h"
#include "model/deeplab.h"
#include "model/polar_low.h"
#include "model/program.h"
#include "model/resnet.h"
#include "model/summary.h"
#include "model/tasks/classification.h"
#include "model/tasks/segmentation.h"
#include "model/unet.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/info_tape.h"
#include "tools/network_options.h"
#include "tools/output.h"
#include "tools/run/memory.h"
#include "tools/run/text.h"
#include "tools/run/training_words.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string model;    // a file
  std::string network;  // or one to be made
  std::optional<int64_t> given_size, given_crop;
  int64_t batch = 16;
  std::string tape;  // "", "inference", "training"
  std::string tape_format = "text";
  int64_t channels = 3;
  std::vector<int64_t> classes{2};  // of each task
  std::vector<int64_t> widths;      // empty: the network's own
  model::DeeplabOptions deeplab;
  bool zero_gamma = false;

  bool residual() const { return model::is_resnet_name(network); }
  // As published: a residual network's are ImageNet's.
  int64_t size() const { return given_size.value_or(residual() ? crop() : 1536); }
  int64_t crop() const { return given_crop.value_or(residual() ? 224 : 1024); }
  bool by_pixel() const { return network == "unet" || network == "deeplab"; }
  // What a network's input of unknown pictures has; 0: its preprocessing says it.
  int64_t side() const { return by_pixel() && !network.empty() ? crop() : 0; }
};

const char* convention =
    "2 per multiply-add of convolutions and dense layers; other layers are not counted";

Json json_of(const Shape& shape) {
  Json list = Json::array();
  for (int axis = 1; axis < shape.rank(); axis++) list.push_back(shape[axis]);
  return list;
}

Json json_of(const model::MemoryNeed& need) {
  return {{"batch", need.batch},
          {"arena_bytes", need.activations},
          {"weight_bytes", need.weights},
          {"optimizer_bytes", need.optimizer},
          {"picture_bytes", need.pictures},
          {"total_bytes", need.total()}};
}

Json json_of(const model::Summary& summary) {
  Json layers = Json::array();
  for (const model::LayerSummary& layer : summary.layers)
    layers.push_back({{"name", layer.name},
                      {"op", layer.op},
                      {"scope", layer.scope},
                      {"output", json_of(layer.output)},
                      {"parameters", layer.trainable + layer.statistics},
                      {"trainable", layer.trainable},
                      {"flops", static_cast<int64_t>(layer.flops)}});
  return {{"parameters", summary.parameters()},
          {"trainable", summary.trainable},
          {"statistics", summary.statistics},
          {"flops", static_cast<int64_t>(summary.forward_flops)},
          {"training_flops", static_cast<int64_t>(summary.training_flops)},
          {"flops_convention", convention},
          {"layers", layers},
          {"memory",
           {{"inference", json_of(summary.inference)}, {"training", json_of(summary.training)}}}};
}

std::string text_of(const Shape& shape) {
  std::string text;
  for (int axis = 1; axis < shape.rank(); axis++)
    text += (axis > 1 ? "x" : "") + std::to_string(shape[axis]);
  return text;
}

std::string layer_table(const model::Summary& summary) {
  using Align = Table::Align;
  Table table({{"layer", Align::left},
               {"op", Align::left},
               {"output", Align::right},
               {"parameters", Align::right},
               {"FLOPs", Align::right}});
  std::string scope;
  for (const model::LayerSummary& layer : summary.layers) {
    if (layer.scope != scope) table.add({layer.scope, "", "", "", ""});
    scope = layer.scope;
    const int64_t parameters = layer.trainable + layer.statistics;
    table.add({(scope.empty() ? "" : "  ") + layer.name, layer.op, text_of(layer.output),
               parameters > 0 ? with_separators(parameters) : "",
               layer.flops > 0 ? readable_count(layer.flops) : ""});
  }
  table.add_rule();
  table.add({"sum", "", "", with_separators(summary.parameters()),
             readable_count(summary.forward_flops)});
  return table.to_string();
}

std::string memory_table(const model::Summary& s) {
  using Align = Table::Align;
  Table table({{"memory", Align::left}, {"inference", Align::right}, {"training", Align::right}});
  const auto row = [&](const char* what, size_t inference, size_t training) {
    table.add({what, inference > 0 ? readable_bytes(inference) : "", readable_bytes(training)});
  };
  const model::MemoryNeed &a = s.inference, &b = s.training;
  table.add({"pictures in a batch", std::to_string(a.batch), std::to_string(b.batch)});
  row("activations, scratch", a.activations, b.activations);
  row("weights, statistics", a.weights, b.weights);
  row("gradient sum, moments", a.optimizer, b.optimizer);
  row("pictures as read", a.pictures, b.pictures);
  table.add_rule();
  row("sum", a.total(), b.total());
  return table.to_string();
}

std::string totals(const model::Summary& s) {
  return "parameters  " + with_separators(s.parameters()) + ": " + with_separators(s.trainable) +
         " trainable, " + with_separators(s.statistics) + " running statistics\n" + "FLOPs       " +
         readable_count(s.forward_flops) + " an image, " + readable_count(s.training_flops) +
         " an image and training step\n            (" + convention + ")\n";
}

std::string squares(int64_t side) { return std::to_string(side) + "x" + std::to_string(side); }

std::string text_of(const Preprocess& p) {
  std::string text = std::to_string(8 * size_of(p.type)) + "-bit";
  if (p.type == DType::f32) text += " float";
  text += p.bands == 1   ? " grey"
          : p.bands == 3 ? " RGB"
                         : ", " + std::to_string(p.bands) + " bands";
  if (p.size > 0)
    text += ", resized to " + squares(p.size) +
            (p.resize == Interpolation::nearest ? " (nearest)" : " (bilinear)");
  text += ", centre crop " + squares(p.crop);
  if (p.pad) text += ", padded where smaller";
  if (p.standardize) text += ", each standardized";
  for (size_t i = 0; i < p.files.size(); i++) text += (i == 0 ? ", of " : " + ") + p.files[i];
  return text;
}

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

// "neg 1093, pos 216"; empty where there is more in it than numbers.
std::string counts_in(const Json& object) {
  std::string text;
  for (const auto& [key, value] : object.items()) {
    if (!value.is_number()) return "";
    text += (text.empty() ? "" : ", ") + key + " " + value.dump();
  }
  return text;
}

// What a JSON object tells in a line each.
std::string lines_of(const Json& object) {
  std::string lines;
  for (const auto& [key, value] : object.items()) {
    if (key == "metrics" && value.is_object()) {  // one a line, as all else
      lines += lines_of(value);
      continue;
    }
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', ' ');
    const std::string text = value.is_string()         ? value.get<std::string>()
                             : value.is_structured()   ? counts_in(value)
                             : value.is_number_float() ? rounded(value)
                                                       : value.dump();
    if (text.empty()) continue;
    lines += "  " + name + std::string(name.size() < 20 ? 20 - name.size() : 1, ' ') + text + "\n";
  }
  return lines;
}

// The tape instead of all else.
void show_tape(const ModelInfo& info, const Options& options, const SharedOptions& shared,
               Device& device) {
  const bool trains = options.tape == "training";
  const auto [program, plan] =
      trains ? model::planned_step(info, options.batch, device, {}, options.side())
             : model::planned_inference(info, 1, device, true, options.side());
  if (shared.json)
    print_pretty({{"tape", options.tape}, {"nodes", tape_as_json(*program.tape, plan)}});
  else
    print(tape_in(options.tape_format, *program.tape, plan));
}

// Names of classes that have none yet.
std::vector<std::string> counted_classes(int64_t count) {
  std::vector<std::string> classes;
  for (int64_t k = 0; k < count; k++) classes.push_back(std::to_string(k));
  return classes;
}

// A network that gives each pixel classes, of one task or several.
ModelInfo new_pixel_info(const Options& options) {
  model::PixelOutputs outputs;
  for (size_t i = 0; i < options.classes.size(); i++)
    outputs.push_back({"task" + std::to_string(i + 1), options.classes[i]});
  ModelInfo info;
  if (options.network == "unet") {
    model::UnetOptions unet;
    unet.channels = options.channels;
    unet.outputs = outputs;
    if (!options.widths.empty()) unet.widths = options.widths;
    info.network = model::unet(unet);
  } else {
    model::DeeplabOptions deeplab = options.deeplab;
    deeplab.channels = options.channels;
    deeplab.outputs = outputs;
    info.network = model::deeplab(deeplab);
  }
  model::Heads heads;
  for (const model::PixelOutput& output : outputs)
    heads.push_back({std::make_shared<model::Segmentation>(counted_classes(output.channels)),
                     output.name, output.name + "/label"});
  model::set_heads(info, heads);
  return info;
}

Network new_classifier(const Options& options, int64_t classes) {
  if (options.residual()) {
    if (!options.widths.empty()) usage_error("--widths: " + options.network + " has its own");
    model::ResnetOptions resnet = model::resnet_named(options.network);
    resnet.channels = options.channels;
    resnet.classes = classes;
    resnet.zero_gamma = options.zero_gamma;
    return model::resnet(resnet);
  }
  model::PolarLowOptions polar_low;
  polar_low.channels = options.channels;
  polar_low.classes = classes;
  if (!options.widths.empty()) polar_low.widths = options.widths;
  return model::polar_low(polar_low);
}

ModelInfo new_info(const Options& options) {
  if (options.by_pixel()) return new_pixel_info(options);
  if (options.classes.size() != 1)
    usage_error("--classes: " + options.network +
                " has one task; unet and deeplab may have several");
  if (options.channels > WarpOptions::max_bands)
    usage_error("--channels: pictures have up to " + std::to_string(WarpOptions::max_bands) +
                " bands");
  const int64_t count = options.classes[0];
  const Preprocess preprocess =
      Preprocess::of_pictures(options.size(), options.crop(), options.channels);
  const Network network = new_classifier(options, count);
  if (count == 0) {  // features alone
    ModelInfo info;
    info.network = network;
    info.preprocess[network.inputs().at(0)] = preprocess;
    return info;
  }
  return model::classifier_of(network, preprocess,
                              model::Classification(counted_classes(count), count == 2 ? 1 : -1));
}

// Error(usage) for numbers of classes that no task can have.
void check_classes(const Options& options) {
  for (const int64_t count : options.classes)
    if (count < 2 && !(count == 0 && options.residual()))
      usage_error("--classes " + std::to_string(count) + ": at least 2" +
                  (options.residual() ? ", or 0 for the features alone" : ""));
}

void show_new(const Options& options, const SharedOptions& shared) {
  check_classes(options);
  if (options.crop() > options.size() && !options.by_pixel())
    usage_error("--crop " + std::to_string(options.crop()) + " is larger than --size " +
                std::to_string(options.size()));
  const ModelInfo info = new_info(options);
  CommandContext command(shared);
  if (!options.by_pixel()) require_memory_for_weights(info, command.device());
  if (!options.tape.empty()) return show_tape(info, options, shared, command.device());
  const model::Summary summary =
      model::summarize(info, options.batch, command.device(), {}, options.side());
  const std::string small = small_crop_word(info.network, summary, options.crop());
  if (!small.empty()) say(small);
  if (shared.json) {
    Json json{{"network", options.network}};
    if (options.by_pixel()) {
      json["classes"] = options.classes;
      json["input"] = {options.crop(), options.crop(), options.channels};
    } else {
      json["classes"] = options.classes[0];
      json["preprocess"] = Json::parse(info.picture().to_json());
    }
    json.update(json_of(summary));
    print_pretty(json);
    return;
  }
  std::string classes;
  for (const int64_t count : options.classes)
    classes += (classes.empty() ? "" : ", ") + std::to_string(count);
  const std::string pictures = options.by_pixel()
                                   ? "of any extents, here " + squares(options.crop()) + ", " +
                                         std::to_string(options.channels) + " bands"
                                   : text_of(info.picture());
  print(options.network + ", new, " + classes + " classes\npictures: " + pictures + "\n\n" +
        layer_table(summary) + "\n" + totals(summary) + "\n" + memory_table(summary));
}

// What the outputs mean: of a classifier its classes, else every head.
Json tasks_json(const model::Heads& heads) {
  if (const auto* task = heads.size() == 1 ? model::as_classification(*heads[0].task) : nullptr) {
    Json json{{"classes", task->classes}};
    if (task->two_classes())
      json.update({{"positive_class", task->classes[static_cast<size_t>(task->positive_class)]},
                   {"threshold", task->threshold}});
    return json;
  }
  Json all = Json::array();
  for (const model::Head& head : heads)
    all.push_back({{"output", head.output},
                   {"task", head.task->kind()},
                   {"settings", Json::parse(head.task->to_json())}});
  return {{"heads", all}};
}

std::string tasks_text(const model::Heads& heads) {
  const Json json = tasks_json(heads);
  std::string text;
  if (json.contains("classes")) {
    std::string classes;
    for (const Json& name : json["classes"])
      classes += (classes.empty() ? "" : ", ") + name.get<std::string>();
    text = "classes     " + classes + "\n";
    if (json.contains("threshold"))
      text += "threshold   " + fixed(json["threshold"], 4) + ": " +
              json["positive_class"].get<std::string>() + " where its probability is no less\n";
    return text;
  }
  for (const Json& head : json["heads"])
    text += "output      " + head["output"].get<std::string>() + ": " +
            head["task"].get<std::string>() + " " + head["settings"].dump() + "\n";
  return text;
}

// The way of each input's pictures to the network.
Json preprocess_json(const ModelInfo& info) {
  if (info.network.inputs().size() == 1 && info.preprocess.size() == 1)
    return Json::parse(info.picture().to_json());
  Json all = Json::object();
  for (const auto& [name, preprocess] : info.preprocess)
    all[name] = Json::parse(preprocess.to_json());
  return all;
}

void show_model(const Options& options, const SharedOptions& shared) {
  const Checkpoint checkpoint = Checkpoint::read(options.model);
  for (const std::string& note : checkpoint.notes()) say(note);
  const ModelInfo& info = checkpoint.info();
  const model::Heads heads = model::heads_of(checkpoint);
  CommandContext command(shared);
  if (!options.tape.empty()) return show_tape(info, options, shared, command.device());
  model::load_model(checkpoint, command.device());  // none is missing
  const model::Summary summary = model::summarize(info, options.batch, command.device());
  Json training = Json::parse(info.summary, nullptr, false);
  if (!training.is_object()) training = Json::object();

  if (shared.json) {
    Json json{{"model", options.model}};
    json.update(tasks_json(heads));
    json["preprocess"] = preprocess_json(info);
    json["resumable"] = !info.training_state.empty();
    json["training"] = training;
    json.update(json_of(summary));
    print_pretty(json);
    return;
  }
  std::string text = options.model + "\n\n" + tasks_text(heads);
  const bool one = info.preprocess.size() == 1;
  for (const auto& [name, preprocess] : info.preprocess)
    text += "pictures    " + (one ? "" : name + ": ") + text_of(preprocess) + "\n";
  if (!training.empty()) text += "training\n" + lines_of(training);
  print(text + "\n" + layer_table(summary) + "\n" + totals(summary) + "\n" + memory_table(summary));
}

std::vector<std::string> new_networks() {
  std::vector<std::string> names{"polar-low", "unet", "deeplab"};
  for (const std::string& name : model::resnet_names()) names.push_back(name);
  return names;
}

int run(const Options& options, const SharedOptions& shared) {
  if (options.model.empty() == options.network.empty())
    usage_error(
        "info takes a model file, or --new polar-low (unet, deeplab, resnet50, ...) for a network "
        "that is not trained yet");
  options.model.empty() ? show_new(options, shared) : show_model(options, shared);
  return exit_ok;
}

}  // namespace

void add_info(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command = add_command(
      cli, "info", "Layers, parameters, arithmetic and memory of a network", [options, &cli] {
        SharedOptions shared = cli.shared;
        if (shared.device == "auto") shared.device = "cpu";  // nothing is computed
        return run(*options, shared);
      });
  command.add_option("MODEL", options->model, "A model file");
  CLI::Option* fresh = add_choice(command, "--new", options->network, new_networks(),
                                  "Instead: a network that is not trained yet");
  add_integer(command, "--size", options->given_size, 1, 32768,
              "Side that pictures are resized to, pixels (default 1536, of resnets the crop)")
      ->needs(fresh);
  add_integer(command, "--crop", options->given_crop, 1, 32768,
              "Side of the centre crop that the network sees, pixels (default 1024, of resnets "
              "224)")
      ->needs(fresh);
  add_integer(command, "--channels", options->channels, 1, 4096, "Bands of a picture (default 3)")
      ->needs(fresh);
  add_integers(command, "--classes", options->classes, 0, 65536,
               "Classes, of unet and deeplab for each task; 0: of resnets the features alone "
               "(default 2)")
      ->needs(fresh);
  add_integers(command, "--widths", options->widths, 1, 16384,
               "Filters of each block (default 8,16,32,64,128,256,512; of unet 16,32,64,64)")
      ->needs(fresh);
  add_deeplab(command, options->deeplab, "Of deeplab");
  command
      .add_flag("--zero-gamma", options->zero_gamma,
                "Of resnets: the last gamma of each block begins at 0")
      ->needs(fresh);
  add_integer(command, "--batch", options->batch, 1, 4096,
              "Pictures in a training step (default 16)");
  CLI::Option* tape = add_choice(command, "--tape", options->tape, {"inference", "training"},
                                 "Instead of tables: the nodes that run, of inference or of a "
                                 "training step up to the sum of its gradients");
  add_choice(command, "--tape-format", options->tape_format, {"text", "graphviz", "mermaid"},
             "How (default text; with --json nodes with all their settings)")
      ->needs(tape);
  add_device(command, cli.shared, "cpu");
  add_precision(command, cli.shared.precision);
}

}  // namespace fulmar::tools
