#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "kernels/error.h"
#include "model/program.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/exchange/export_onnx.h"
#include "tools/exchange/export_weights.h"
#include "tools/output.h"
#include "tools/run/json.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::string model, to;
  std::optional<int64_t> crop;
};

using Write = std::function<exchange::Exported(const ModelInfo&, Model&)>;

// By the file's ending.
Write writer_of(const Options& options) {
  const std::string to = options.to, ending = std::filesystem::path(to).extension();
  if (ending == ".onnx")
    return [to, crop = options.crop](const ModelInfo& info, Model& model) {
      std::optional<std::array<int64_t, 2>> extents;
      if (crop) extents = {*crop, *crop};
      return exchange::export_onnx(to, info, model, extents);
    };
  if (options.crop) usage_error("--crop goes with .onnx: weights have no extents of pictures");
  if (ending == ".safetensors")
    return [to](const ModelInfo& info, Model& model) {
      return exchange::export_safetensors(to, info, model);
    };
  if (ending == ".npz")
    return
        [to](const ModelInfo& info, Model& model) { return exchange::export_npz(to, info, model); };
  usage_error("--out " + to + ": its name must end in .safetensors, .npz or .onnx");
}

int run(const Options& options, const SharedOptions& shared) {
  const Write write = writer_of(options);
  std::error_code ignored;
  if (std::filesystem::equivalent(options.model, options.to, ignored))
    usage_error(options.to + " is the model itself: choose another place");
  const Checkpoint checkpoint = Checkpoint::read(options.model);
  for (const std::string& sentence : checkpoint.notes()) note(sentence);
  CommandContext command(shared);
  Model model = model::load_model(checkpoint, command.device());
  const exchange::Exported exported = write(checkpoint.info(), model);
  if (shared.json)
    print_pretty(
        {{"file", options.to}, {"tensors", exported.tensors}, {"values", exported.values}});
  else
    print(options.to + ": " + with_separators(exported.tensors) + " tensors, " +
          with_separators(exported.values) + " values\n");
  flush_output();
  return exit_ok;
}

}  // namespace

void add_export(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command =
      add_command(cli, "export", "Write a model for other programs", [options, &cli] {
        SharedOptions shared = cli.shared;
        shared.device = "cpu";  // nothing is computed
        return run(*options, shared);
      });
  command.add_option("MODEL", options->model, "A model file")->required();
  add_path(command, "--out", options->to,
           "By its ending: .safetensors, PyTorch's state_dict; .npz, the same as NumPy's arrays; "
           ".onnx,\nthe network itself (opset 17)",
           "FILE")
      ->required();
  add_integer(command, "--crop", options->crop, 1, 32768,
              "Of .onnx: side of the pictures that it takes, pixels (default: the model's crop)");
}

}  // namespace fulmar::tools
