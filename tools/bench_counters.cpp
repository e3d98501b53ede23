#include "tools/bench_counters.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "bench/gpu/gpu.h"
#include "bench/gpu/launches.h"
#include "bench/gpu/predict.h"
#include "bench/gpu/resources.h"
#include "bench/kernels/kernel_bench.h"
#include "bench/kernels/measure.h"
#include "engine/cuda.h"
#include "engine/io/utc_now.h"
#include "kernels/error.h"
#include "tools/counted_device.h"
#include "tools/output.h"
#include "tools/run/text.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

using bench::Gpu;
using bench::Prediction;
using bench::Resources;
using counted::Launch;

double number(uint64_t n) { return static_cast<double>(n); }
double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : number(part) / number(whole);
}

counted::Machine machine_of(const Gpu& gpu, const CountersOptions& options) {
  counted::Machine machine;
  machine.l2_bytes = gpu.l2_bytes;
  machine.l1_bytes = gpu.l1_bytes;
  machine.threads = gpu.threads;
  machine.max_blocks = static_cast<int>(4 * gpu.processors * number(gpu.threads / 256));
  machine.most_run = static_cast<uint64_t>(options.blocks.value_or(0));
  return machine;
}

// All launches of one kernel.
struct Kernel {
  std::string name;
  uint64_t launches = 0;
  Launch sum;
  double seconds = 0;
  std::map<std::string, double> bounds;  // seconds that each part bounds
  double occupancy = 1;                  // of the launch with the lowest
  std::optional<Resources> resources;    // of the one with the most registers

  std::string bound() const {
    return std::max_element(bounds.begin(), bounds.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  }
};

struct Report {
  const Gpu* gpu;
  std::vector<Kernel> kernels;  // by predicted time, the longest first
  Kernel total;
  std::string arithmetic_missing, resources_missing;
};

void add_launch(Kernel& kernel, const Launch& launch, const Prediction& prediction,
                const std::optional<Resources>& resources) {
  kernel.launches++;
  bench::add(kernel.sum, launch);
  kernel.seconds += prediction.seconds;
  kernel.bounds[prediction.bound()] += prediction.seconds;
  kernel.occupancy = std::min(kernel.occupancy, prediction.occupancy);
  if (resources && (!kernel.resources || resources->registers > kernel.resources->registers))
    kernel.resources = resources;
}

Report report_of(const std::vector<std::pair<std::string, Launch>>& named, const Gpu& gpu,
                 const std::string& arithmetic_missing) {
  const bench::ResourceTable table =
      bench::ResourceTable::read(cuda_backend_library().find(), gpu.capability);
  Report report{&gpu, {}, {}, arithmetic_missing, table.missing()};
  std::map<std::string, size_t> places;
  for (const auto& [name, launch] : named) {
    const std::optional<Resources> resources = table.of(launch.symbol);
    const Prediction prediction = bench::predict(gpu, launch, resources);
    const auto [place, is_new] = places.try_emplace(name, report.kernels.size());
    if (is_new) report.kernels.emplace_back().name = name;
    add_launch(report.kernels[place->second], launch, prediction, resources);
    add_launch(report.total, launch, prediction, resources);
  }
  std::stable_sort(report.kernels.begin(), report.kernels.end(),
                   [](const Kernel& a, const Kernel& b) { return a.seconds > b.seconds; });
  report.total.name = "all";
  return report;
}

uint64_t bytes(uint64_t sectors) { return sectors * counted::sector_bytes; }

Json json_of(const Kernel& kernel) {
  Json counts;
  for_each_count(kernel.sum,
                 [&](const std::string& name, uint64_t count) { counts[name] = count; });
  counts["shared_worst_conflict"] = kernel.sum.shared.worst;
  Json json{{"kernel", kernel.name},
            {"launches", kernel.launches},
            {"counts", counts},
            {"predicted_us", kernel.seconds * 1e6},
            {"predicted_bound", kernel.bound()},
            {"predicted_occupancy", kernel.occupancy}};
  if (kernel.resources)
    json.update({{"registers", kernel.resources->registers}, {"stack", kernel.resources->stack}});
  return json;
}

Json json_of(const Report& report) {
  Json kernels = Json::array();
  for (const Kernel& kernel : report.kernels) kernels.push_back(json_of(kernel));
  const auto or_null = [](const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
  };
  return {{"gpu", report.gpu->name},
          {"time", utc_now()},
          {"arithmetic_missing", or_null(report.arithmetic_missing)},
          {"resources_missing", or_null(report.resources_missing)},
          {"kernels", kernels},
          {"total", json_of(report.total)}};
}

std::string percent(double share) { return fixed(100 * share, 0); }

// What a kernel asks of memory.
std::string memory_table(const Report& report) {
  using Align = Table::Align;
  Table table({{"memory", Align::left},
               {"launches", Align::right},
               {"read", Align::right},
               {"written", Align::right},
               {"sectors a request", Align::right},
               {"% used", Align::right},
               {"unique", Align::right},
               {"% L1 hits", Align::right},
               {"% L2 hits", Align::right},
               {"beyond L2", Align::right}});
  const auto add = [&](const Kernel& kernel) {
    const Launch& l = kernel.sum;
    const uint64_t sectors = l.loads.sectors + l.stores.sectors;
    table.add({kernel.name, std::to_string(kernel.launches), readable_bytes(bytes(l.loads.sectors)),
               readable_bytes(bytes(l.stores.sectors)),
               fixed(share(sectors, l.loads.requests + l.stores.requests), 1),
               percent(share(l.loads.used_bytes + l.stores.used_bytes, bytes(sectors))),
               readable_bytes(bytes(l.loads.unique_sectors + l.stores.unique_sectors)),
               percent(share(l.caches.l1_hits, l.loads.sectors)),
               percent(share(l.caches.l2_hits, l.caches.l2_sectors)),
               readable_bytes(bytes(l.caches.read + l.caches.written))});
  };
  for (const Kernel& kernel : report.kernels) add(kernel);
  table.add_rule();
  add(report.total);
  return table.to_string();
}

// What it computes, and the model's word on it.
std::string work_table(const Report& report) {
  using Align = Table::Align;
  Table table({{"work", Align::left},
               {"fp32", Align::right},
               {"fp64", Align::right},
               {"special", Align::right},
               {"% idle lanes", Align::right},
               {"conflicts", Align::right},
               {"worst", Align::right},
               {"barriers", Align::right},
               {"atomics", Align::right},
               {"registers", Align::right},
               {"stack", Align::right},
               {"% occupancy", Align::right},
               {"predicted us", Align::right},
               {"bound by", Align::left}});
  const auto add = [&](const Kernel& kernel) {
    const Launch& l = kernel.sum;
    const bool has_shared = l.shared.requests > 0;
    const bool has_resources = kernel.resources.has_value();
    table.add({kernel.name, readable_count(l.lanes.flops32()), readable_count(l.lanes.flops64()),
               readable_count(number(l.lanes.special + l.lanes.special64)), percent(l.idle_share()),
               has_shared ? fixed(share(l.shared.wavefronts, l.shared.phases), 2) : "",
               has_shared ? std::to_string(l.shared.worst) : "", std::to_string(l.barriers),
               std::to_string(l.atomics),
               has_resources ? std::to_string(kernel.resources->registers) : "",
               has_resources ? std::to_string(kernel.resources->stack) : "",
               percent(kernel.occupancy), fixed(kernel.seconds * 1e6, 1), kernel.bound()});
  };
  for (const Kernel& kernel : report.kernels) add(kernel);
  table.add_rule();
  add(report.total);
  return table.to_string();
}

std::string text_of(const Report& report) {
  std::string text =
      "\n" + memory_table(report) + "\n" + work_table(report) + "\npredicted for " +
      report.gpu->title + " by a model, not measured: " + fixed(report.total.seconds * 1e6, 1) +
      " us in " + counted(static_cast<int64_t>(report.total.launches), "launch", "launches") +
      " one after the other\n";
  if (!report.arithmetic_missing.empty()) text += report.arithmetic_missing + "\n";
  if (!report.resources_missing.empty())
    text += "registers unknown: " + report.resources_missing + "\n";
  return text;
}

Precision precision_of(const SharedOptions& shared) {
  return shared.precision ? precision_named(*shared.precision).value_or(Precision::bf16)
                          : Precision::bf16;
}

Context::Options context_options(const SharedOptions& shared) {
  Context::Options options;
  options.threads = static_cast<int>(shared.threads);
  return options;
}

// The launches of a step, the second: the first allocates, computes what is kept, and fills L2.
std::vector<Launch> launches_of(Context& context, CountedDevice& counted,
                                const bench::StepOptions& step) {
  bench::StepWork work(context, counted.device(), step);
  std::vector<Launch> launches;
  for (int run = 0; run < 2; run++) {
    counted.begin();
    bench::run_round(work, 1);
    launches = counted.take();
  }
  return launches;
}

double pixels_of(const bench::StepOptions& step) {
  return number(static_cast<uint64_t>(step.noise.batch * step.noise.crop * step.noise.crop));
}

// The same step with pictures of another size.
bench::StepOptions resized(bench::StepOptions step, int64_t crop) {
  step.noise.size = std::max(crop, step.noise.size * crop / step.noise.crop);
  step.noise.crop = crop;
  return step;
}

std::vector<std::pair<std::string, Launch>> by_own_name(const std::vector<Launch>& launches) {
  std::vector<std::pair<std::string, Launch>> named;
  for (const Launch& l : launches) named.emplace_back(l.name, l);
  return named;
}

void show(const Report& report, const std::string& what, const Json& about, bool json) {
  if (!json) {
    print(what + text_of(report));
    return;
  }
  Json all = about;
  all.update(json_of(report));
  print_pretty(all);
}

}  // namespace

void add_counters(CLI::App& command, CountersOptions& options, bool scales) {
  command.add_flag("--counters", options.on,
                   "Count on the emulator what the CUDA kernels ask of a GPU, and predict their "
                   "time\n(--device simt; sizes that take the emulator seconds)");
  add_choice(command, "--gpu", options.gpu, bench::gpu_names(),
             "The GPU that --counters predicts for (default h200)");
  add_integer(command, "--blocks", options.blocks, 4, 1 << 20,
              "With --counters: of a launch with more blocks so many run, and count for all");
  if (scales)
    add_integer(command, "--scale-to", options.scale_to, 8, 32768,
                "With --counters: the crop that is meant; counts at --crop and at half of it go "
                "on along a line");
}

void check_counters(const CountersOptions& options, const SharedOptions& shared) {
  if (!options.on && shared.device == "simt")
    usage_error("the emulator has no speed to measure: --device simt goes with --counters");
  if (options.on && shared.device != "simt" && shared.device != "auto")
    usage_error("--counters counts on the emulator: --device simt, not " + shared.device);
  if (!options.on && options.blocks) usage_error("--blocks goes with --counters");
  if (!options.on && options.scale_to) usage_error("--scale-to goes with --counters");
}

int count_step(const CountersOptions& options, const bench::StepOptions& step,
               const SharedOptions& shared) {
  const Gpu& gpu = bench::gpu_named(options.gpu);
  Context context(context_options(shared));
  CountedDevice device(machine_of(gpu, options), precision_of(shared));
  std::string rule;
  if (options.blocks)
    rule = ", of a launch's blocks " + std::to_string(*options.blocks) + " for all";
  std::vector<Launch> launches = launches_of(context, device, step);
  if (options.scale_to) {
    const bench::StepOptions half = resized(step, step.noise.crop / 2);
    launches = bench::scaled_to(pixels_of(resized(step, *options.scale_to)),
                                {pixels_of(half), launches_of(context, device, half)},
                                {pixels_of(step), launches});
    rule += ", scaled along a line from crops " + std::to_string(half.noise.crop) + " and " +
            std::to_string(step.noise.crop) + " to " + std::to_string(*options.scale_to);
  }
  const Report report = report_of(by_own_name(launches), gpu, device.missing());
  const std::string what = step.inference ? "inference" : "step";
  show(report,
       what + " of " + step.network + ", batch " + std::to_string(step.noise.batch) + ", crop " +
           std::to_string(step.noise.crop) + ", " + name_of(precision_of(shared)) +
           ", counted on the emulator" + rule + "\n",
       {{"network", step.network},
        {"what", what},
        {"batch", step.noise.batch},
        {"crop", step.noise.crop},
        {"blocks", options.blocks ? Json(*options.blocks) : Json(nullptr)},
        {"scaled_to", options.scale_to ? Json(*options.scale_to) : Json(nullptr)},
        {"precision", name_of(precision_of(shared))}},
       shared.json);
  return exit_ok;
}

int count_ops(const CountersOptions& options, const std::string& filter, int64_t batch,
              int64_t crop, const SharedOptions& shared) {
  const Gpu& gpu = bench::gpu_named(options.gpu);
  Context context(context_options(shared));
  CountedDevice counted(machine_of(gpu, options), precision_of(shared));
  bench::Selection selection(filter);
  std::vector<std::pair<std::string, Launch>> named;
  for (const op_table::Case& row : op_table::benchmark_cases({batch, crop})) {
    std::vector<bench::Kernel> chosen;
    for (const bench::Kernel& kernel : bench::record(row).kernels)
      if (selection.takes(kernel)) chosen.push_back(kernel);
    if (chosen.empty()) continue;
    bench::PreparedRow prepared(context, counted.device(), row);
    for (const bench::Kernel& kernel : chosen) {
      Session session = std::move(prepared.sessions(kernel).front());
      counted.begin();
      session.run();
      for (const Launch& l : counted.take()) named.emplace_back(kernel.name, l);
    }
  }
  if (named.empty()) usage_error("no kernel has '" + filter + "' in its name");
  const Report report = report_of(named, gpu, counted.missing());
  show(report,
       "shapes of the polar-low network at batch " + std::to_string(batch) + ", crop " +
           std::to_string(crop) + ", " + name_of(precision_of(shared)) +
           ", counted on the emulator\n",
       {{"batch", batch}, {"crop", crop}, {"precision", name_of(precision_of(shared))}},
       shared.json);
  return exit_ok;
}

}  // namespace fulmar::tools
