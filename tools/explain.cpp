#include <cmath>
#include <filesystem>
#include <memory>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/picture_options.h"
#include "tools/progress.h"
#include "tools/report/explanation.h"
#include "tools/run/text.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

using model::explain::Method;
using model::explain::methods;

struct Options {
  ExplainOptions explain;
  std::string methods = "grad-cam,integrated-gradients";
  std::string baseline = "black", quadrature = "gauss-legendre", fuse = "on";
  std::optional<size_t> memory;
  std::optional<double> mask_share;
  std::string of = "logit";
};

std::vector<std::string> parts_of(const std::string& list) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    parts.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// Reads what was given as text.
ExplainOptions settled(const Options& options, uint64_t seed) {
  ExplainOptions o = options.explain;
  if (options.methods == "all") {
    o.methods.clear();
    for (const Method& method : methods()) o.methods.emplace_back(method.name);
  } else {
    o.methods = parts_of(options.methods);
  }
  const std::vector<std::pair<const char*, BaselineKind>> kinds{{"black", BaselineKind::black},
                                                                {"mean", BaselineKind::mean},
                                                                {"blurred", BaselineKind::blurred}};
  o.baseline = BaselineKind::given;
  for (const auto& [name, kind] : kinds)
    if (options.baseline == name) o.baseline = kind;
  if (o.baseline == BaselineKind::given) o.baseline_file = options.baseline;
  o.settings.rule = model::explain::rule_of(options.quadrature);
  o.settings.seed = seed;
  o.probability = options.of == "probability";
  o.masks.share = options.mask_share;
  o.fuse = options.fuse == "on";
  if (options.memory) o.memory = static_cast<int64_t>(*options.memory);
  return o;
}

// The correlation once all weights are drawn anew.
double after_all(const MapCheck& check) {
  return check.randomisation.empty() ? NAN : check.randomisation.back().second;
}

void print_picture(const ExplainedPicture& p, const ExplanationReport& report) {
  const auto target = static_cast<size_t>(p.target);
  print(p.path + ": " + (report.task.empty() ? "" : report.task + ":") + report.classes[target] +
        (p.region.empty() ? " " + fixed(p.probabilities[target], 4)
                          : ", " + counted(p.pixels, "pixel", "pixels") + ", " + p.region) +
        "\n");
  for (const ShownMap& map : p.maps) {
    std::string line = "  " + std::string(map.method->name);
    line += std::string(line.size() < 24 ? 24 - line.size() : 1, ' ') + "strongest at column " +
            fixed(map.peak_x, 0) + ", row " + fixed(map.peak_y, 0) + "; " +
            rounded(map.seconds, 2) + " s";
    if (map.baseline_score)
      line += "; completeness error " + rounded(*map.error, 2) + " (" +
              rounded(100 * *map.relative_error, 2) + " %)";
    print(line + "\n");
    if (!map.check) continue;
    const MapCheck& check = *map.check;
    print(std::string(24, ' ') + "deletion " + rounded(check.deletion.area(), 3) + " (random " +
          rounded(p.random_deletion->area(), 3) + "), insertion " +
          rounded(check.insertion.area(), 3) + " (random " +
          rounded(p.random_insertion->area(), 3) + "), infidelity " + rounded(check.infidelity, 3) +
          ", sensitivity " + rounded(check.sensitivity, 3) + ",\n" + std::string(24, ' ') +
          "rank correlation with random weights " + rounded(after_all(check), 2) + "\n");
  }
}

void print_pointing(const std::vector<ExplainedPicture>& pictures) {
  const std::vector<Pointing> all = pointing_of(pictures);
  if (all.empty()) return;
  const auto percent = [](double share) { return fixed(100 * share, 1) + " %"; };
  const bool masks = std::isfinite(all[0].brightness_iou);
  Table table(
      {{"beside masks of " + counted(all[0].pictures, "picture", "pictures"), Table::Align::left},
       {"points inside", Table::Align::right},
       {"IoU", Table::Align::right},
       {"precision", Table::Align::right},
       {"recall", Table::Align::right}});
  const auto number = [](double value) { return std::isfinite(value) ? fixed(value, 3) : "-"; };
  for (const Pointing& p : all)
    table.add({p.method, percent(p.inside), number(p.iou), number(p.precision), number(p.recall)});
  table.add_rule();
  table.add({"the middle of the crop", percent(all[0].centre), "", "", ""});
  table.add({"a random pixel", percent(all[0].random), "", "", ""});
  if (masks) table.add({"the picture's brightness", "", number(all[0].brightness_iou), "", ""});
  print("\n" + table.to_string());
}

void print_field(const EffectiveField& field, bool json) {
  if (field.pictures == 0) return;
  if (json)
    print_line({{"receptive_field", field_json(field)}});
  else
    print("effective receptive field" + (field.task.empty() ? "" : " of " + field.task) +
          ", pixels a side: half of the gradient in " + std::to_string(field.half) + ", 90 % in " +
          std::to_string(field.most) + "; Luo et al.'s measure " + fixed(field.effective, 1) +
          "; possible " + (field.possible > 0 ? std::to_string(field.possible) : "all") + "\n");
}

// --layer list
int list_layers(const PictureExplainer& explainer, bool json) {
  Table table({{"layer", Table::Align::left},
               {"kind", Table::Align::left},
               {"values", Table::Align::left},
               {"sees, pixels", Table::Align::right}});
  for (const model::explain::LayerInfo& layer : explainer.explainer().layers()) {
    const std::string sees =
        layer.receptive_field > 0 ? std::to_string(layer.receptive_field) : "all";
    const std::string values = std::to_string(layer.shape.height()) + " x " +
                               std::to_string(layer.shape.width()) + " x " +
                               std::to_string(layer.shape.channels());
    if (json)
      print_line({{"layer", layer.name},
                  {"op", layer.op},
                  {"shape", {layer.shape.height(), layer.shape.width(), layer.shape.channels()}},
                  {"receptive_field",
                   layer.receptive_field > 0 ? Json(layer.receptive_field) : Json(nullptr)}});
    else
      table.add({layer.name, layer.op, values, sees});
  }
  if (!json) print(table.to_string());
  return exit_ok;
}

int run(const Options& given, const SharedOptions& shared) {
  ExplainOptions options = settled(given, shared.seed);
  CommandContext command(shared);
  const bool list = options.settings.layer == "list";
  if (list) options.settings.layer.clear();
  PictureExplainer explainer(command.context(), command.device(), options);
  for (const std::string& text : explainer.model().notes()) say(text);
  if (list) return list_layers(explainer, shared.json);
  const std::string page = (std::filesystem::path(options.out) / "report.html").string();
  ExplanationReport report;
  report.model = options.model;
  report.command = shared.command;
  report.task = explainer.task().name;
  report.classes = explainer.task().classes;
  report.probability = options.probability;
  int64_t failed = 0;
  Progress progress(std::ssize(explainer.paths()), "images");
  for (const std::string& path : explainer.paths()) {
    report.pictures.push_back(explainer.explain(path));
    const ExplainedPicture& picture = report.pictures.back();
    if (!picture.error.empty()) failed++;
    if (shared.json)
      print_line(explanation_json(picture, report));
    else if (!picture.error.empty())
      say(picture.error);
    else
      print_picture(picture, report);
    flush_output();
    progress.update(std::ssize(report.pictures));
  }
  if (!shared.json) print_pointing(report.pictures);
  report.fields = explainer.fields();
  for (const EffectiveField& field : report.fields) print_field(field, shared.json);
  flush_output();
  write_file(page, explanation_html(report));
  note("report: " + page);
  if (failed > 0)
    say(std::to_string(failed) + " of " + std::to_string(report.pictures.size()) +
        " pictures could not be used");
  return failed > 0 ? exit_file : exit_ok;
}

std::string method_list() {
  std::string text;
  for (const Method& method : methods())
    text += std::string(text.empty() ? "" : ", ") + method.name;
  return text;
}

}  // namespace

void add_explain(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command =
      add_command(cli, "explain", "Show which parts of pictures a model's decision rests on",
                  [options, &cli] { return run(*options, cli.shared); });
  ExplainOptions& o = options->explain;
  command.add_option("MODEL", o.model, "A model file, such as best.safetensors")->required();
  command
      .add_option("IMAGE", o.paths,
                  "Pictures (PNG, JPEG, BMP, TIFF), and folders of pictures, deeper ones included")
      ->required();
  add_path(command, "--out", o.out,
           "Folder for the maps (.npy, .png, and .tif where a picture says where it lies) and "
           "report.html",
           "DIR")
      ->required();
  command
      .add_option("--method", options->methods,
                  "Methods with commas between, or all: " + method_list() +
                      " (default: grad-cam,integrated-gradients)")
      ->type_name("M,...");
  command
      .add_option(
          "--target", o.target,
          "The class that is explained, by name or number; of several tasks TASK:CLASS, or\n"
          "TASK (default: the class that the model finds likeliest, or calls most pixels)")
      ->type_name("CLASS");
  command
      .add_option("--region", o.region.what,
                  "Of a model of pixels: over which pixels the class' logits are added up:\n"
                  "predicted, labelled (called or labelled so), all, the file of a mask, or a\n"
                  "folder of masks of the pictures' names (default predicted)")
      ->type_name("WHAT");
  add_labels(command, o.region.labels.labels);
  add_pictures(command, o.region.labels.pictures);
  add_ignore(command, o.region.labels.ignore);
  add_integer(command, "--crop", o.crop, 1, 1 << 16,
              "Of a model of pixels: the side of the pictures' centre that is explained (default: "
              "the model's)");
  command.add_flag("--receptive-field", o.field,
                   "Of a model of pixels: also measure and draw how far the middle pixel's logit "
                   "sees: receptive-field.TASK.npy and .png");
  add_choice(command, "--of", options->of, {"logit", "probability"},
             "Which number of the class is explained (default: logit)");
  command
      .add_option("--layer", o.settings.layer,
                  "Layer of class activation maps; list: name them all (default: the last one "
                  "with pixels; of a model of pixels, what the task's logits are made of)")
      ->type_name("NAME");
  command
      .add_option("--baseline", options->baseline,
                  "What integrated gradients, occlusion and rise take for no content: black, "
                  "mean, blurred, or a picture's file (default: black)")
      ->type_name("WHAT");
  add_integer(command, "--steps", o.settings.steps, 1, 1'000'000,
              "Steps of integrated gradients (default: 50)");
  add_choice(command, "--quadrature", options->quadrature,
             {"gauss-legendre", "trapezoid", "midpoint"},
             "Rule of integrated gradients (default: gauss-legendre)");
  command
      .add_option("--base", o.settings.base,
                  "Method of which smooth-grad and var-grad take samples (default: saliency)")
      ->type_name("M");
  add_integer(command, "--samples", o.settings.samples, 1, 1'000'000,
              "Noisy samples of smooth-grad and var-grad (default: 25)");
  add_number(command, "--noise", o.settings.noise, 0, 10,
             "Their noise, in parts of the picture's range (default: 0.15)");
  add_integer(command, "--window", o.settings.window, 1, 1'000'000,
              "Side of what occlusion hides, pixels (default: an eighth of the crop)");
  add_integer(command, "--stride", o.settings.stride, 1, 1'000'000,
              "How far it moves, pixels (default: half the window)");
  add_integer(command, "--masks", o.settings.masks, 1, 10'000'000, "Masks of rise (default: 2000)");
  command.add_flag("--check", o.check,
                   "Also measure how faithful each map is: insertion and deletion, infidelity, "
                   "sensitivity, and maps of random weights");
  command.add_flag("--mask", o.mask,
                   "Also make a mask of each map (.mask.png, .mask.tif): what lies above the "
                   "threshold that parts the map best, its largest part");
  add_number(command, "--mask-share", options->mask_share, 0, 1,
             "Share of the picture's pixels that a mask takes, instead of a threshold");
  add_integer(command, "--mask-parts", o.masks.components, 0, 1'000'000,
              "Largest connected parts of a mask that stay; 0: all (default: 1)");
  command.add_flag("--mask-refine", o.masks.refine, "Let a mask's edge follow the picture's edges");
  add_path(command, "--truth", o.truth,
           "Folder of masks that were drawn, PNG by the pictures' names: maps and masks are "
           "compared with them (default: a folder called masks, as synth writes it)",
           "DIR");
  add_bytes(command, "--memory", options->memory,
            "Memory for activations: so many samples go together as fit (default: 64 MiB)");
  add_choice(command, "--fuse", options->fuse, {"on", "off"},
             "Fused kernels, where the device has them: faster, and other roundings (default on)");
  add_bands(command, o.bands, "(default: as the model's pictures)");
  add_max_pixels(command, o.max_pixels);
  add_device(command, cli.shared);
  add_precision(command, cli.shared.precision);
}

}  // namespace fulmar::tools
