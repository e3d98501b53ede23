// Times the polar-low network's training step, or one inference, from uint8 pictures in memory:
// warp, forward, backward, AdamW. Prints one line of JSON; --ops adds a table by op to stderr.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/context.h"
#include "kernels/random.h"
#include "model/evaluate.h"
#include "model/polar_low.h"
#include "model/train_step.h"

using namespace fulmar;

namespace {

struct Args {
  int64_t batch = 16, size = 1536, crop = 1024;
  int runs = 5, threads = 0;
  std::vector<int64_t> widths = model::PolarLowOptions{}.widths;
  bool inference = false, ops = false;
};

// A batch of noise, centre crop.
class Noise {
 public:
  explicit Noise(const Args& a)
      : tensors{{"image", DType::u8, {a.batch, a.size, a.size, 3}},
                {"image/samples", DType::u8, {a.batch, int64_t{sizeof(WarpSample)}}},
                {"label", DType::i32, {a.batch, 1, 1, 1}}},
        image_(static_cast<size_t>(tensors[0].shape.elements())),
        samples_(static_cast<size_t>(a.batch)),
        labels_(static_cast<size_t>(a.batch)) {
    for (size_t i = 0; i < image_.size(); i++)
      image_[i] = static_cast<uint8_t>(philox(1, 0, i / 4).word[i % 4]);
    const int64_t border = (a.size - a.crop) / 2;
    const auto margin = static_cast<double>(border);
    for (WarpSample& sample : samples_) {
      sample.map.a = {1, 0, margin, 0, 1, margin};
      sample.source_height = sample.source_width = a.size;
    }
    for (size_t i = 0; i < labels_.size(); i++) {
      labels_[i] = static_cast<int32_t>(i % 2);
      batch.samples.push_back(static_cast<int64_t>(i));
    }
    batch.tensors = {view_of(image_.data(), tensors[0].shape, DType::u8),
                     view_of(samples_.data(), tensors[1].shape, DType::u8),
                     view_of(labels_.data(), tensors[2].shape, DType::i32)};
  }

  std::vector<TensorSpec> tensors;
  Batch batch;

 private:
  std::vector<uint8_t> image_;
  std::vector<WarpSample> samples_;
  std::vector<int32_t> labels_;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void print_ops(const Session& session, const std::vector<double>& seconds, int64_t batch) {
  std::map<std::string, double> by_op;
  for (size_t i = 0; i < seconds.size(); i++)
    by_op[std::string(session.tape().node(session.plan().steps[i].node).op->name())] += seconds[i];
  for (const auto& [name, total] : by_op)
    std::fprintf(stderr, "%-32s %8.2f ms per image\n", name.c_str(),
                 total * 1e3 / static_cast<double>(batch));
}

int run(const Args& args) {
  Context context({args.threads, {}});
  Device& device = context.device("cpu");
  Noise noise(args);
  model::PolarLowOptions network;
  network.widths = args.widths;
  ModelInfo info{
      model::polar_low(network), Preprocess::of_pictures(0, args.crop, 3), {"neg", "pos"}, 1};
  Tape shapes;
  record(info.network, shapes, ops::input(shapes, "input", {{1, args.crop, args.crop, 3}}),
         {Mode::train});
  Model weights(device, shapes, 1);

  std::vector<double> times;
  if (args.inference) {
    model::Evaluator evaluator(context, device, info, weights, noise.tensors);
    for (int i = 0; i <= args.runs; i++) {
      model::Outputs out;
      times.push_back(seconds_of([&] { evaluator.predict(noise.batch, out); }));
    }
    if (args.ops) print_ops(evaluator.session(), evaluator.session().run_timed(), args.batch);
  } else {
    model::TrainStep step(context, device, info, weights, noise.tensors, {});
    for (int i = 0; i <= args.runs; i++) {
      StepState state;
      state.step = i + 1;
      state.draw = static_cast<uint64_t>(i);
      state.learning_rate = 1e-3;
      times.push_back(seconds_of([&] {
        step.accumulate(noise.batch, state);
        step.apply(state);
      }));
    }
    if (args.ops) print_ops(step.session(), step.session().run_timed(), args.batch);
  }
  times.erase(times.begin());  // the first touches the memory
  std::sort(times.begin(), times.end());
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto per_image = [&](double seconds) {
    return seconds * 1e3 / static_cast<double>(args.batch);
  };
  const nlohmann::ordered_json result{{"framework", "fulmar"},
                                      {"isa", device.backend().isa()},
                                      {"threads", context.pool().threads()},
                                      {"mode", args.inference ? "inference" : "step"},
                                      {"batch", args.batch},
                                      {"size", args.size},
                                      {"crop", args.crop},
                                      {"ms_per_image", per_image(times[times.size() / 2])},
                                      {"ms_per_image_best", per_image(times.front())},
                                      {"peak_mb", static_cast<double>(usage.ru_maxrss) / 1024}};
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Args args;
  CLI::App app{"Training step or inference of the polar-low network, timed"};
  app.add_option("--batch", args.batch);
  app.add_option("--size", args.size);
  app.add_option("--crop", args.crop);
  app.add_option("--runs", args.runs);
  app.add_option("--threads", args.threads);
  app.add_option("--widths", args.widths)->delimiter(',');
  app.add_flag("--inference", args.inference);
  app.add_flag("--ops", args.ops);
  CLI11_PARSE(app, argc, argv);
  return run(args);
}
