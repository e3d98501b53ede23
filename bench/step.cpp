// Times a network's training step, or one inference, from uint8 pictures, on any device. Prints a
// line of JSON, and with --ops a table by op to stderr; `fulmar bench step` prints more. On a GPU
// the batch lies in its memory before the time is taken.
//   --serve   a line when ready, then one for each line on stdin: a round of --runs steps; at the
//             end of stdin one more with memory. bench/peers/alternate.py takes turns with peers.
//   --check   weights by a formula, no dropout, the losses of the first --runs steps or the logits
//             of an inference, to be compared with what bench/peers' programs give with --check
//   --save    writes these weights as a model file, for `fulmar predict`
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/step/resident.h"
#include "bench/step/step_work.h"
#include "engine/context.h"
#include "kernels/error.h"

using namespace fulmar;
using namespace fulmar::bench;
using Json = nlohmann::ordered_json;

namespace {

struct Args {
  StepOptions step;
  int runs = 5, warmup = 1, threads = 0;
  std::string device = "cpu", precision, save;
  bool serve = false, ops = false, no_fuse = false;
};

void print_ops(Session& session, int64_t batch) {
  const std::vector<double> seconds = session.run_timed();
  std::map<std::string, double> by_op;
  for (size_t i = 0; i < seconds.size(); i++)
    by_op[std::string(session.tape().node(session.plan().steps[i].node).op->name())] += seconds[i];
  for (const auto& [name, total] : by_op)
    std::fprintf(stderr, "%-32s %8.2f ms per image\n", name.c_str(),
                 total * 1e3 / static_cast<double>(batch));
}

void say(const Json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

Json what_of(const Args& args, Context& context, const Device& device) {
  return {{"framework", "fulmar"},
          {"name", device.hardware()},
          {"network", args.step.network},
          {"mode", args.step.inference ? "inference" : "step"},
          {"precision", name_of(device.precision())},
          {"fuse", args.step.fuse},
          {"recompute", args.step.recompute},
          {"augment", args.step.augment},
          {"threads", context.pool().threads()},
          {"batch", args.step.noise.batch},
          {"size", args.step.noise.size},
          {"crop", args.step.noise.crop},
          {"channels", args.step.noise.channels},
          {"widths", args.step.widths}};
}

// Gives results instead of times.
void check(StepWork& work, const Args& args, Json what) {
  Json losses = Json::array();
  for (int i = 0; i < args.runs; i++) losses.push_back(work.run());
  if (args.step.inference)
    what["logits"] = work.logits();
  else
    what["losses"] = losses;
  say(what);
}

// Answers each line on stdin by a round.
void serve(StepWork& work, const Args& args) {
  std::string line;
  while (std::getline(std::cin, line)) {
    const Round round = run_round(work, args.runs);
    say({{"ms_per_step", median_of(round.seconds) * 1e3},
         {"ms_min", *std::min_element(round.seconds.begin(), round.seconds.end()) * 1e3},
         {"loss", round.loss}});
  }
}

int run(Args args) {
  args.step.fuse = !args.no_fuse;
  Context context({args.threads, {}});
  std::optional<Precision> precision;
  if (!args.precision.empty() && !(precision = precision_named(args.precision)))
    usage_error("--precision is fp32, tf32 or bf16");
  Device& device = context.device(args.device, precision);
  const Backend& backend = device.backend();
  const size_t free_before = backend.memory(device.stream()).free_bytes;
  StepWork work(context, device, args.step);
  Json what = what_of(args, context, device);
  if (!args.save.empty()) work.save(args.save);
  if (args.step.check) {
    check(work, args, what);
    return 0;
  }
  const size_t resident = forget_peak();
  const auto memory = [&] {
    Json json{{"planned_bytes", work.planned_bytes()}};
    if (backend.host_memory)
      json["peak_bytes"] = std::max(peak_resident_bytes(), resident) - resident;
    return json;
  };
  run_round(work, args.warmup);  // the first touches the memory, the second is captured
  if (args.serve) {
    what["ready"] = true;
    // Read now: later others may have taken some.
    const size_t free_now = backend.memory(device.stream()).free_bytes;
    if (!backend.host_memory) what["taken_bytes"] = free_before - std::min(free_now, free_before);
    say(what);
    serve(work, args);
    Json last = memory();
    last["replays"] = work.session().replays();
    say(last);
    return 0;
  }
  const Round round = run_round(work, args.runs);
  const double images = static_cast<double>(args.step.noise.batch) / 1e3;
  what["ms_per_image"] = median_of(round.seconds) / images;
  what["ms_per_image_best"] =
      *std::min_element(round.seconds.begin(), round.seconds.end()) / images;
  what.update(memory());
  say(what);
  if (args.ops) print_ops(work.session(), args.step.noise.batch);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Args args;
  CLI::App app{"Training step or inference of a network, timed"};
  app.add_option("--network", args.step.network);
  app.add_option("--batch", args.step.noise.batch);
  app.add_option("--size", args.step.noise.size);
  app.add_option("--crop", args.step.noise.crop);
  app.add_option("--channels", args.step.noise.channels);
  app.add_option("--runs", args.runs);
  app.add_option("--warmup", args.warmup);
  app.add_option("--threads", args.threads);
  app.add_option("--widths", args.step.widths)->delimiter(',');
  app.add_option("--lr", args.step.learning_rate);
  app.add_option("--device", args.device);
  app.add_option("--precision", args.precision);
  app.add_option("--save", args.save);
  app.add_flag("--inference", args.step.inference);
  app.add_flag("--augment", args.step.augment);
  app.add_flag("--serve", args.serve);
  app.add_flag("--check", args.step.check);
  app.add_flag("--ops", args.ops);
  app.add_flag("--no-fuse", args.no_fuse);
  app.add_flag("--recompute", args.step.recompute);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(args);
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_step: %s\n", error.what());
    return error.kind() == ErrorKind::device ? 4 : 2;
  }
}
