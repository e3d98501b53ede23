#include "tools/bench_step.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/step/floor.h"
#include "bench/step/resident.h"
#include "bench/step/step_work.h"
#include "engine/io/utc_now.h"
#include "kernels/error.h"
#include "tools/bench_counters.h"
#include "tools/output.h"
#include "tools/run/machine.h"
#include "tools/run/text.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

struct Options {
  std::optional<int64_t> batch, runs;
  std::string network = "polar-low";
  std::optional<int64_t> size, crop, channels;
  std::vector<int64_t> widths;
  std::string fuse = "on";
  bool inference = false, augment = false, recompute = false, stages = false;
  CountersOptions counters;
};

struct Result {
  bench::StepOptions step;
  std::vector<double> seconds;
  size_t peak_bytes = 0, planned_bytes = 0;
  bench::CopyCurve copies;
  double gflops = 0;  // the ceiling
  std::vector<bench::TimedStep> steps;

  double batch() const { return static_cast<double>(step.noise.batch); }
  double ms(double seconds_of_batch) const { return seconds_of_batch * 1e3 / batch(); }
  double best() const { return *std::min_element(seconds.begin(), seconds.end()); }
  double median() const { return bench::median_of(seconds); }
  bench::Need needed() const {
    bench::Need sum;
    for (const bench::TimedStep& s : steps) {
      sum.bytes += s.need.bytes / batch();
      sum.flops += s.need.flops / batch();
    }
    return sum;
  }
};

// A system may promise more memory than it has, and then end the program that uses it.
void require_memory(uint64_t bytes, const std::string& what, Device& device) {
  const MemoryInfo memory = device.backend().memory(device.stream());
  if (bytes > memory.total_bytes)
    device_error(what + " take " + readable_bytes(bytes) + " of memory, and " + device.name() +
                 " has " + readable_bytes(memory.total_bytes) +
                 ": use a smaller --batch, --size or --crop");
}

// Seconds of each step of the plan, the median over some runs.
std::vector<double> step_seconds(Session& session) {
  std::vector<std::vector<double>> runs;
  for (int i = 0; i < 3; i++) runs.push_back(session.run_timed());
  std::vector<double> seconds;
  for (size_t step = 0; step < runs[0].size(); step++) {
    std::vector<double> times;
    times.reserve(runs.size());
    for (const std::vector<double>& run : runs) times.push_back(run[step]);
    seconds.push_back(bench::median_of(times));
  }
  return seconds;
}

bench::StepOptions step_of(const Options& options) {
  bench::StepOptions step;
  step.network = options.network;
  const bench::NoiseSize usual = bench::usual_size(options.network);
  const bool whole = usual.size == usual.crop;
  const int64_t size =
      options.size.value_or(whole ? options.crop.value_or(usual.size) : usual.size);
  step.noise = {options.batch.value_or(options.inference ? 1 : usual.batch), size,
                options.crop.value_or(whole ? std::min(size, usual.crop) : usual.crop),
                options.channels.value_or(usual.channels)};
  step.widths = options.widths;
  step.inference = options.inference;
  step.augment = options.augment;
  step.fuse = options.fuse == "on";
  step.recompute = options.recompute;
  return step;
}

Result measured(const Options& options, Context& context, Device& device) {
  Result result;
  result.step = step_of(options);
  const bench::StepOptions& step = result.step;
  const auto pictures = static_cast<uint64_t>(step.noise.batch * step.noise.size * step.noise.size *
                                              step.noise.channels);
  require_memory(pictures, "the pictures", device);
  const Backend& backend = device.backend();
  bench::Ceilings ceilings;
  if (!backend.host_memory) ceilings = bench::measure_ceilings(context, device);

  const size_t free_before = backend.memory(device.stream()).free_bytes;
  bench::StepWork work(context, device, step);
  result.planned_bytes = work.planned_bytes();
  require_memory(result.planned_bytes + (backend.host_memory ? pictures : 0),
                 "the network's values", device);
  const size_t resident = bench::forget_peak();
  bench::run_round(work, 2);  // the first touches the memory, the second is captured
  std::vector<double> rates;
  const int64_t runs = options.runs.value_or(options.inference ? 20 : 5);
  result.seconds = bench::run_round(work, runs, [&] {
                     rates.push_back(bench::arithmetic_gflops(context, device, ceilings));
                     if (context.cancel) throw Error(ErrorKind::cancelled, "interrupted");
                   }).seconds;
  result.gflops = bench::median_of(rates);
  if (backend.host_memory) {
    result.peak_bytes = std::max(bench::peak_resident_bytes(), resident) - resident;
  } else {
    const size_t free_now = backend.memory(device.stream()).free_bytes;
    result.peak_bytes = free_before - std::min(free_now, free_before);
  }
  const std::vector<double> seconds = step_seconds(work.session());
  result.copies = bench::measure_copies(device);
  result.steps = bench::timed_steps(work.session().tape(), work.session().plan(), device, seconds,
                                    result.copies, result.gflops);
  return result;
}

Json json_of(const std::vector<bench::Stage>& stages, const Result& result) {
  Json list = Json::array();
  for (const bench::Stage& stage : stages)
    list.push_back({{"name", stage.name},
                    {"steps", stage.steps},
                    {"ms_per_image", result.ms(stage.seconds)},
                    {"floor_ms", result.ms(stage.floor)}});
  return list;
}

Json json_of(const Result& result, const Options& options, const Json& machine) {
  const bench::Need need = result.needed();
  Json copies = Json::array();
  for (const auto& point : result.copies.points)
    copies.push_back({{"bytes", std::llround(point.bytes)}, {"gbytes_per_second", point.gbytes}});
  const bench::StepOptions& step = result.step;
  Json json{{"machine", machine},
            {"time", utc_now()},
            {"network", step.network},
            {"what", step.inference ? "inference" : "step"},
            {"batch", step.noise.batch},
            {"size", step.noise.size},
            {"crop", step.noise.crop},
            {"channels", step.noise.channels},
            {"widths", step.widths},
            {"augment", step.augment},
            {"fuse", step.fuse},
            {"recompute", step.recompute},
            {"runs", result.seconds.size()},
            {"ms_per_image", result.ms(result.median())},
            {"ms_per_image_best", result.ms(result.best())},
            {"peak_bytes", result.peak_bytes},
            {"planned_bytes", result.planned_bytes},
            {"floor_ms", result.ms(bench::floor_seconds(result.steps))},
            {"arithmetic_ms", need.flops / result.gflops * 1e-6},
            {"bytes_per_image", std::llround(need.bytes)},
            {"flops_per_image", std::llround(need.flops)},
            {"ceilings", {{"gflops_per_second", result.gflops}, {"copies", copies}}},
            {"above_floor", json_of(bench::furthest_above_floor(result.steps, 5), result)}};
  if (options.stages)
    json["stages"] = {{"ops", json_of(bench::by_op(result.steps), result)},
                      {"blocks", json_of(bench::by_block(result.steps), result)}};
  return json;
}

std::string table_of(const std::string& title, const std::vector<bench::Stage>& stages,
                     const Result& result) {
  using Align = Table::Align;
  Table table({{title, Align::left},
               {"steps", Align::right},
               {"ms per image", Align::right},
               {"floor", Align::right},
               {"above it", Align::right}});
  for (const bench::Stage& stage : stages)
    table.add({stage.name, std::to_string(stage.steps), fixed(result.ms(stage.seconds), 3),
               fixed(result.ms(stage.floor), 3), fixed(result.ms(stage.seconds - stage.floor), 3)});
  return "\n" + table.to_string();
}

std::string text_of(const Result& result, const Options& options, Device& device,
                    Context& context) {
  const bench::StepOptions& step = result.step;
  const bench::Need need = result.needed();
  const double floor = bench::floor_seconds(result.steps);
  std::string text =
      std::string(step.inference ? "inference" : "training step") + " of " + step.network + ", " +
      (step.fuse ? "" : "unfused, ") + (step.recompute ? "recomputing, " : "") + "batch " +
      std::to_string(step.noise.batch) + ", " + std::to_string(step.noise.size) + " pixels, crop " +
      std::to_string(step.noise.crop) + (step.augment ? ", augmented" : "") + "\ndevice " +
      device.name() + ", " + device.hardware() + ", " + name_of(device.precision()) + ", " +
      counted(context.pool().threads(), "thread", "threads") + "\n\n";
  text += "ms per image    " + fixed(result.ms(result.median()), 2) + " in the median of " +
          std::to_string(result.seconds.size()) + ", " + fixed(result.ms(result.best()), 2) +
          " at best\n";
  text += "floor           " + fixed(result.ms(floor), 2) + " ms per image; the median is " +
          fixed(result.median() / floor, 2) + " times that\n";
  text += "needs           " + readable_bytes(static_cast<uint64_t>(need.bytes)) + " and " +
          readable_count(need.flops) + "FLOP per image (arithmetic alone " +
          fixed(need.flops / result.gflops * 1e-6, 2) + " ms)\n";
  text += "memory          " + readable_bytes(result.peak_bytes) + " at the peak, " +
          readable_bytes(result.planned_bytes) + " planned\n";
  text += "ceilings        " + fixed(result.gflops, 1) + " GFLOP/s, copies of " +
          readable_bytes(static_cast<uint64_t>(result.copies.points.front().bytes)) + " to " +
          readable_bytes(static_cast<uint64_t>(result.copies.points.back().bytes)) + " at " +
          fixed(result.copies.points.front().gbytes, 1) + " to " +
          fixed(result.copies.points.back().gbytes, 1) + " GB/s\n";
  text +=
      table_of("furthest above the floor", bench::furthest_above_floor(result.steps, 5), result);
  if (!options.stages) return text;
  return text + table_of("op", bench::by_op(result.steps), result) +
         table_of("block", bench::by_block(result.steps), result);
}

int run(const Options& options, const SharedOptions& shared) {
  if (options.inference && options.augment) usage_error("--augment is for training steps");
  if (options.inference && options.recompute) usage_error("--recompute is for training steps");
  check_counters(options.counters, shared);
  if (options.counters.on && (options.stages || options.runs))
    usage_error("--stages and --runs are for times, not for --counters");
  if (options.counters.on) return count_step(options.counters, step_of(options), shared);
  CommandContext command(shared);
  Device& device = command.device();
  const Result result = measured(options, command.context(), device);
  if (shared.json)
    print_pretty(json_of(result, options, machine_json(device, command.context())));
  else
    print(text_of(result, options, device, command.context()));
  return exit_ok;
}

}  // namespace

std::function<int()> add_bench_step(Cli& cli, CLI::App& bench) {
  auto options = std::make_shared<Options>();
  CLI::App& command = *bench.add_subcommand(
      "step", "Time of a network's training step, memory, and the machine's floor");
  add_choice(command, "--network", options->network, bench::step_networks(),
             "The network (default polar-low)");
  add_integer(command, "--batch", options->batch, 1, 4096,
              "Pictures in a batch (default 16; of --inference 1)");
  add_integer(command, "--size", options->size, 8, 32768,
              "Side of the pictures, pixels (default 1536; of resnet-50 and unet the crop's)");
  add_integer(command, "--crop", options->crop, 8, 32768,
              "Side of the part that the network sees, pixels (default 1024; of resnet-50 224, of "
              "unet 256)");
  add_integer(command, "--channels", options->channels, 1, 64,
              "Bands of the pictures (default 3; of unet 24)");
  add_integers(command, "--widths", options->widths, 1, 16384,
               "Channels of the network's blocks, in place of its own: 16,32,64");
  add_integer(command, "--runs", options->runs, 1, 100000,
              "Times that it is run (default 5; of --inference 20)");
  command.add_flag("--inference", options->inference, "One inference instead of a training step");
  command.add_flag("--augment", options->augment, "Pictures shifted, flipped, turned and zoomed");
  add_choice(command, "--fuse", options->fuse, {"on", "off"},
             "Several ops in one pass over memory, where the device can (default on)");
  command.add_flag("--recompute", options->recompute,
                   "Activations are computed again instead of kept: less memory");
  command.add_flag("--stages", options->stages, "Time by op and by block of the network, too");
  add_counters(command, options->counters, true);
  add_device_or_emulator(command, cli.shared);
  add_precision(command, cli.shared.precision);
  return [options, &cli] { return run(*options, cli.shared); };
}

}  // namespace fulmar::tools
