// bench_explain [--steps N] [--crop C] [--memory BYTES] [--threads N]: integrated gradients of the
// polar-low network, of one input of noise; a line of JSON. bench/peers/explain.py is Captum's.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>

#include "engine/context.h"
#include "kernels/error.h"
#include "kernels/random.h"
#include "model/explain/methods.h"
#include "model/polar_low.h"

using namespace fulmar;
using namespace fulmar::model::explain;

namespace {

double peak_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

int64_t option(int argc, char** argv, const char* name, int64_t usual) {
  for (int i = 1; i + 1 < argc; i += 2)
    if (std::strcmp(argv[i], name) == 0) return std::stoll(argv[i + 1]);
  return usual;
}

}  // namespace

int main(int argc, char** argv) try {
  const int64_t crop = option(argc, argv, "--crop", 1024);
  const int64_t threads = option(argc, argv, "--threads", 0);
  Context context(Context::Options{.threads = static_cast<int>(threads)});
  Device& device = context.device("cpu");
  ModelInfo info;
  info.network = model::polar_low();
  const Shape shape{1, crop, crop, 3};
  Tape tape;
  record(info.network, tape, ops::input(tape, "/x", {shape}), {Mode::eval});
  Model model(device, tape, 7);
  ExplainerOptions options;
  options.memory = option(argc, argv, "--memory", options.memory);
  Explainer explainer(context, device, info, model, shape, options);
  std::vector<float> x;
  for (uint64_t i = 0; i < static_cast<uint64_t>(shape.elements()); i++)
    x.push_back(static_cast<float>(uniform(philox(1, 0, i).word[0])));
  const Target target = class_logit(explainer.layer("").shape, 1);
  Settings settings;
  settings.steps = 2;
  const Method& method = model::explain::method("integrated-gradients");
  method.one(explainer, x, target, settings);  // warm-up
  settings.steps = option(argc, argv, "--steps", 200);
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const Explanation map = method.one(explainer, x, target, settings);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf(
      "{\"framework\":\"fulmar\",\"steps\":%lld,\"seconds\":%.3f,\"ms_per_step\":%.3f,"
      "\"planned_mb\":%.0f,\"peak_rss_mb\":%.0f,\"relative_error\":%.3g}\n",
      static_cast<long long>(settings.steps), seconds,
      1000 * seconds / static_cast<double>(settings.steps),
      static_cast<double>(explainer.planned_bytes()) / 1e6, peak_mb(), map.relative_error());
  return 0;
} catch (const Error& error) {
  std::fprintf(stderr, "bench_explain: %s\n", error.what());
  return 1;
}
