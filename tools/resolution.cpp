#include "tools/run/resolution.h"

#include <memory>
#include <optional>
#include <string>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/report/experiments.h"
#include "tools/study_reporter.h"
#include "tools/table.h"
#include "tools/train_options.h"

namespace fulmar::tools {
namespace {

int run(const CLI::App& app, ResolutionOptions options, const SharedOptions& shared) {
  if (app.get_option("--seed")->count() > 0)
    usage_error("--seed: a comparison has several, say --seeds N,N,...");
  CommandContext command(shared);
  options.runtime.command = shared.command;
  Device& device = command.device(shared.device, options.config.precision);
  StudyReporter reporter;
  const ResolutionStudy study = compare_resolutions(options, command.context(), device, reporter);
  const std::string page = options.out + "/report.html";
  write_file(page, resolution_html(study, shared.command));
  if (shared.json)
    print_pretty(resolution_json(study));
  else
    print(pictures_line(study.generated,
                        study.levels.front().runs.front().evaluation.predictions.size(),
                        study.folder) +
          "\n\n" + text_table(resolution_table(study)) + "\n" + study.rule + "\n");
  flush_output();
  note("report: " + page);
  return exit_ok;
}

}  // namespace

void add_resolution(Cli& cli) {
  auto options = std::make_shared<ResolutionOptions>();
  auto app = std::make_shared<const CLI::App*>(nullptr);
  CLI::App& command =
      add_command(cli, "resolution", "Train on the same scenes at several resolutions, and compare",
                  [options, app, &cli] { return run(**app, *options, cli.shared); });
  *app = &command;
  command
      .add_option("DIR", options->folder,
                  "Folder with train/CLASS/* and test/CLASS/*; or CLASS/* with --test X")
      ->required();
  add_path(command, "--out", options->out,
           "Folder for METRESm/pictures (reduced copies), METRESm/seed-N (run folders) and\n"
           "report.html; repeated, the command goes on where it was",
           "OUT")
      ->required();
  add_number(command, "--resolution-m", options->metres, 1e-3, 1e6,
             "Metres of a pixel of DIR (default: as 'fulmar synth' wrote into synth.json)", "M");
  add_integers(command, "--factors", options->factors, 1, 1024,
               "How many times as large the pixels become: means over boxes (default 1,2,4).\n"
               "Blocks that leave the coarsest crop fewer than 2x2 pixels are left out of every\n"
               "network");
  add_integers(command, "--seeds", options->seeds, 0, INT64_MAX,
               "A training with each, at each resolution (default 1,2,3)");
  add_integer(command, "--crop", options->config.crop, 1, 1 << 20,
              "Side of the centre crop that the network sees, in pixels of DIR; at other\n"
              "resolutions the same area (default: two thirds of the smallest picture's side)");
  add_config_options_but_size(command, options->config);
  add_runtime_options(command, options->runtime);
  add_device(command, cli.shared);
}

}  // namespace fulmar::tools
