#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bench/kernels/measure.h"
#include "engine/io/utc_now.h"
#include "kernels/error.h"
#include "tools/bench_counters.h"
#include "tools/bench_step.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/run/machine.h"
#include "tools/run/text.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

struct Options {
  int64_t batch = 16, crop = 1024;
  double seconds = 0.1;
  std::string filter;
  bool list = false;
  CountersOptions counters;
};

struct Run {
  bench::Ceilings ceilings;
  std::vector<bench::Timing> timings;
};

// The kernels of a row that the selection takes.
std::vector<size_t> chosen(const bench::Recorded& recorded, bench::Selection& selection) {
  std::vector<size_t> places;
  for (size_t k = 0; k < recorded.kernels.size(); k++)
    if (selection.takes(recorded.kernels[k])) places.push_back(k);
  return places;
}

void list_kernels(const Options& options, bool json) {
  bench::Selection selection(options.filter);
  std::vector<std::string> names;
  for (const op_table::Case& row : op_table::benchmark_cases({options.batch, options.crop})) {
    const bench::Recorded recorded = bench::record(row);
    for (const size_t k : chosen(recorded, selection)) names.push_back(recorded.kernels[k].name);
  }
  if (json) {
    print_pretty(Json(names));
    return;
  }
  std::string lines;
  for (const std::string& name : names) lines += name + "\n";
  print(lines);
}

Run time_kernels(const Options& options, Context& context, Device& device) {
  bench::Selection selection(options.filter);
  Run run;
  run.ceilings = bench::measure_ceilings(context, device);
  for (const op_table::Case& row : op_table::benchmark_cases({options.batch, options.crop})) {
    const std::vector<size_t> places = chosen(bench::record(row), selection);
    if (places.empty()) continue;
    if (Console::standard().width() > 0) Console::standard().status(row.name());
    bench::PreparedRow prepared(context, device, row);
    for (const size_t k : places) {
      if (context.cancel) throw Error(ErrorKind::cancelled, "interrupted");
      run.timings.push_back(bench::measure(context, device, prepared, prepared.kernels()[k],
                                           run.ceilings, options.seconds));
    }
  }
  if (Console::standard().width() > 0) Console::standard().status("");
  if (run.timings.empty()) usage_error("no kernel has '" + options.filter + "' in its name");
  return run;
}

Json json_of(const Run& run, const Options& options, const Json& machine) {
  Json kernels = Json::array();
  for (const bench::Timing& t : run.timings) {
    Json kernel{{"name", t.name},
                {"shapes", t.shapes},
                {"us", t.seconds * 1e6},
                {"bytes", static_cast<int64_t>(t.bytes)},
                {"gbytes_per_second", t.gbytes_per_second()},
                {"share_of_copy", t.gbytes_per_second() / run.ceilings.copy_gbytes}};
    if (t.flops > 0)
      kernel.update({{"flops", static_cast<int64_t>(t.flops)},
                     {"gflops_per_second", t.gflops_per_second()},
                     {"gflops_ceiling", t.gflops_ceiling},
                     {"share_of_ceiling", t.gflops_per_second() / t.gflops_ceiling}});
    kernels.push_back(std::move(kernel));
  }
  return {{"machine", machine},
          {"time", utc_now()},
          {"batch", options.batch},
          {"crop", options.crop},
          {"ceilings",
           {{"copy_gbytes_per_second", run.ceilings.copy_gbytes},
            {"gflops_per_second", run.ceilings.gflops}}},
          {"kernels", kernels}};
}

std::string text_of(const Run& run, const Options& options, const Device& device) {
  using Align = Table::Align;
  Table table({{"kernel", Align::left},
               {"us", Align::right},
               {"GB/s", Align::right},
               {"% of copy", Align::right},
               {"GFLOP/s", Align::right},
               {"% of ceiling", Align::right}});
  for (const bench::Timing& t : run.timings) {
    const double bytes = t.gbytes_per_second(), flops = t.gflops_per_second();
    table.add({t.name, fixed(t.seconds * 1e6, 1), fixed(bytes, 1),
               fixed(100 * bytes / run.ceilings.copy_gbytes, 0), t.flops > 0 ? fixed(flops, 1) : "",
               t.flops > 0 ? fixed(100 * flops / t.gflops_ceiling, 0) : ""});
  }
  return "device " + device.name() + ", " + device.hardware() + ", " + name_of(device.precision()) +
         "; shapes of the polar-low network at batch " + std::to_string(options.batch) + ", crop " +
         std::to_string(options.crop) + "\na copy reaches " + fixed(run.ceilings.copy_gbytes, 1) +
         " GB/s, arithmetic " + fixed(run.ceilings.gflops, 1) + " GFLOP/s\n\n" + table.to_string();
}

int run(const Options& options, const SharedOptions& shared) {
  if (options.list) {
    list_kernels(options, shared.json);
    return exit_ok;
  }
  check_counters(options.counters, shared);
  if (options.counters.on)
    return count_ops(options.counters, options.filter, options.batch, options.crop, shared);
  CommandContext command(shared);
  Device& device = command.device();
  const Run run = time_kernels(options, command.context(), device);
  if (shared.json)
    print_pretty(json_of(run, options, machine_json(device, command.context())));
  else
    print(text_of(run, options, device));
  return exit_ok;
}

}  // namespace

void add_bench(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command = add_command(
      cli, "bench", "Time of each kernel, or of a training step, beside what this machine reaches",
      {});
  command.callback([options, &cli, &command, run_step = add_bench_step(cli, command)] {
    if (command.get_subcommands().empty()) {
      cli.chosen = [options, &cli] { return run(*options, cli.shared); };
      return;
    }
    for (const CLI::Option* option : command.get_options())
      if (option->count() > 0)
        throw CLI::ValidationError(option->get_name(), "options of 'bench step' stand behind it");
    cli.chosen = run_step;
  });
  command.add_option("--filter", options->filter, "Only kernels whose name has this (ECMAScript)")
      ->type_name("REGEX");
  add_integer(command, "--batch", options->batch, 1, 4096, "Pictures in a batch (default 16)");
  add_integer(command, "--crop", options->crop, 8, 32768,
              "Side of the pictures that the network sees, pixels (default 1024)");
  add_number(command, "--seconds", options->seconds, 0, 3600,
             "Spent on each kernel, at least (default 0.1)");
  command.add_flag("--list", options->list, "Only the names of the kernels");
  add_counters(command, options->counters, false);
  add_device_or_emulator(command, cli.shared);
  add_precision(command, cli.shared.precision);
}

}  // namespace fulmar::tools
