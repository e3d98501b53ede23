// Times the polar-low network's training step, or one inference, from uint8 pictures: warp,
// forward, backward, AdamW, on any device. Prints a line of JSON, and with --ops a table by op to
// stderr.
//   --serve   a line when ready, then one for each line on stdin: a round of --runs steps; at the
//             end of stdin one more with memory. bench/peers/alternate.py takes turns with peers.
//   --check   weights by a formula, no dropout, the losses of the first --runs steps, to be
//             compared with bench/peers/torch_cuda.py --check
// On a GPU the batch lies in its memory before the time is taken.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "bench/op_table/uniform.h"
#include "engine/context.h"
#include "engine/feeder.h"
#include "kernels/error.h"
#include "kernels/fnv1a.h"
#include "model/polar_low.h"
#include "model/program.h"
#include "model/tasks/classification.h"
#include "model/train_step.h"

using namespace fulmar;
using Json = nlohmann::ordered_json;

namespace {

struct Args {
  int64_t batch = 16, size = 1536, crop = 1024;
  int runs = 5, warmup = 1, threads = 0;
  double learning_rate = 1e-3;
  std::vector<int64_t> widths = model::PolarLowOptions{}.widths;
  std::string device = "cpu", precision;
  bool inference = false, augment = false, serve = false, check = false, ops = false;
  bool no_fuse = false;
  int64_t margin() const { return (size - crop) / 2; }  // whole pixels before the central crop
};

// The published augmentation's ranges, as one map: shift, flip, turn, zoom about the centre.
Affine drawn_map(std::mt19937_64& random, const Args& a) {
  const auto draw = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const double pi = 3.14159265358979323846;
  const auto size = static_cast<double>(a.size), centre = (size - 1) / 2;
  const double angle = draw(-0.4, 0.4) * 2 * pi, zoom = draw(0.85, 1.15);
  const double across = draw(0, 1) < 0.5 ? -1 : 1, down = draw(0, 1) < 0.5 ? -1 : 1;
  const double c = std::cos(angle) * zoom, s = std::sin(angle) * zoom;
  const std::array<double, 4> m{across * c, -across * s, down * s, down * c};
  const double start = static_cast<double>(a.margin()) - centre;
  return {{m[0], m[1], (m[0] + m[1]) * start + centre - draw(-0.1, 0.1) * size, m[2], m[3],
           (m[2] + m[3]) * start + centre - draw(-0.1, 0.1) * size}};
}

// One batch of noise, over and over; its bytes are those of bench/peers/step.py.
class Noise : public BatchSource {
 public:
  explicit Noise(const Args& a)
      : args_(a),
        specs_{{"image", DType::u8, {a.batch, a.size, a.size, 3}, true},
               {"image/samples", DType::u8, {a.batch, int64_t{sizeof(WarpSample)}}},
               {"label", DType::i32, {a.batch, 1, 1, 1}}},
        image_(static_cast<size_t>(specs_[0].shape.elements())),
        samples_(static_cast<size_t>(a.batch)),
        labels_(static_cast<size_t>(a.batch)) {
    constexpr size_t period = 1000003;
    for (size_t i = 0; i < image_.size(); i++)
      image_[i] =
          i < period ? static_cast<uint8_t>(op_table::splitmix64(i) >> 56) : image_[i - period];
    const auto margin = static_cast<double>(a.margin());
    for (WarpSample& sample : samples_) {
      sample.map.a = {1, 0, margin, 0, 1, margin};
      sample.source_height = sample.source_width = a.size;
    }
    for (size_t i = 0; i < labels_.size(); i++) {
      labels_[i] = static_cast<int32_t>(i % 2);
      batch_.samples.push_back(static_cast<int64_t>(i));
    }
    batch_.tensors = {view_of(image_.data(), specs_[0].shape, DType::u8),
                      view_of(samples_.data(), specs_[1].shape, DType::u8),
                      view_of(labels_.data(), specs_[2].shape, DType::i32)};
  }

  const std::vector<TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override { return INT64_MAX; }
  void start(int64_t, int64_t) override {}
  const Batch* next() override {
    if (args_.augment)
      for (WarpSample& sample : samples_) sample.map = drawn_map(random_, args_);
    return &batch_;
  }
  int64_t sample_count() const override { return args_.batch; }
  void leave_out(size_t) override {}  // there is nothing to save

 private:
  Args args_;
  std::mt19937_64 random_{2};
  std::vector<TensorSpec> specs_;
  Batch batch_;
  std::vector<uint8_t> image_;
  std::vector<WarpSample> samples_;
  std::vector<int32_t> labels_;
};

// u(name, i) = (splitmix64(fnv1a64(name) + i) >> 11) 2^-53. Kernels: Glorot's range; gamma: 0.5 to
// 1.5; beta and biases: within 0.1.
void set_formula_weights(Model& model) {
  const auto ends_with = [](const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
  };
  for (const Model::Parameter& p : model.parameters()) {
    const Shape& s = p.shape;
    const auto taps = static_cast<double>(s.rank() == 2 ? 1 : s[0] * s[1]);
    const auto out = static_cast<double>(s.channels());
    const double fan_in =
        s.rank() == 3 ? taps * out : taps * static_cast<double>(s[s.rank() == 2 ? 0 : 2]);
    const double fan_out = s.rank() == 3 ? taps : taps * out;
    const double limit = std::sqrt(6 / (fan_in + fan_out));
    std::vector<double> values(static_cast<size_t>(s.elements()));
    for (size_t i = 0; i < values.size(); i++) {
      const uint64_t bits = op_table::splitmix64(fnv1a(p.name) + i) >> 11;
      const double u = static_cast<double>(bits) * 0x1p-53;
      values[i] = s.rank() > 1                 ? (2 * u - 1) * limit
                  : ends_with(p.name, "gamma") ? 0.5 + u
                                               : 0.2 * (u - 0.5);
    }
    model.write(p.name, values);
  }
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

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

// What is timed.
class Work {
 public:
  Work(Context& context, Device& device, const Args& args)
      : args_(args),
        device_(device),
        noise_(args),
        feeder_(device, noise_, size_t{1} << 40),
        info_(model::classifier_of(network_of(args), Preprocess::of_pictures(0, args.crop, 3),
                                   model::Classification({"neg", "pos"}, 1))),
        weights_(model::new_model(info_, device, 1)) {
    const model::Heads heads = model::heads_of(info_);
    weights_.decay_all();
    if (args.check) set_formula_weights(weights_);
    if (args.inference) {
      program_ = model::record_program(info_, heads, noise_.tensors(), {Mode::eval});
      if (!args.no_fuse) program_ = model::fused(program_, device);
      probabilities_ = program_.heads[0].results[0].second;
      inference_.emplace(context, device, program_.tape, std::vector{probabilities_}, &weights_);
    } else {
      model::TrainStepOptions options;
      options.fuse = !args.no_fuse;
      options.optimizer = AdamW{0.9, 0.999, 1e-7, 1e-4, true, false};  // PyTorch's form
      step_.emplace(context, device, info_, heads, weights_, noise_.tensors(), options);
    }
    feeder_.start(0, 0);
  }

  double run() {  // gives the loss; 0 in inference
    const Batch& batch = *feeder_.next();
    if (inference_) {
      feeder_.bind(*inference_, program_.inputs);
      inference_->run();
      feeder_.fetch_ahead();
      inference_->read(probabilities_);
      return 0;
    }
    StepState state;
    state.step = ++done_;
    state.draw = static_cast<uint64_t>(done_);
    state.learning_rate = args_.learning_rate;
    const model::TrainStep::Result* now = step_->run(feeder_, batch, state, true);
    const model::TrainStep::Result* rest = step_->finish();
    return (rest ? rest : now)->loss;
  }
  // Of which the loss was read before the weights were changed: all work is done.
  void wait() { device_.backend().synchronize(device_.stream()); }

  Session& session() { return inference_ ? *inference_ : step_->session(); }
  size_t planned_bytes() {
    return session().plan().arena_bytes + session().input_bytes() + weights_.bytes();
  }

 private:
  static Network network_of(const Args& args) {
    model::PolarLowOptions options;
    options.widths = args.widths;
    if (args.check) options.dropout = 0;
    return model::polar_low(options);
  }

  Args args_;
  Device& device_;
  Noise noise_;
  Feeder feeder_;
  ModelInfo info_;
  Model weights_;
  model::Program program_;
  Val probabilities_;
  std::optional<Session> inference_;
  std::optional<model::TrainStep> step_;
  int64_t done_ = 0;
};

struct Round {
  std::vector<double> seconds;
  double loss = 0;
};

Round run_round(Work& work, int runs) {
  Round round;
  for (int i = 0; i < runs; i++)
    round.seconds.push_back(seconds_of([&] {
      round.loss = work.run();
      work.wait();
    }));
  return round;
}

int run(const Args& args) {
  Context context({args.threads, {}});
  std::optional<Precision> precision;
  if (!args.precision.empty() && !(precision = precision_named(args.precision)))
    usage_error("--precision is fp32, tf32 or bf16");
  Device& device = context.device(args.device, precision);
  const Backend& backend = device.backend();
  const size_t free_before = backend.memory(device.stream()).free_bytes;
  Work work(context, device, args);
  Json what{{"framework", "fulmar"},
            {"name", device.hardware()},
            {"mode", args.inference ? "inference" : "step"},
            {"precision", name_of(device.precision())},
            {"augment", args.augment},
            {"threads", context.pool().threads()},
            {"batch", args.batch},
            {"size", args.size},
            {"crop", args.crop}};
  if (args.check) {
    what["losses"] = Json::array();
    for (int i = 0; i < args.runs; i++) what["losses"].push_back(work.run());
    say(what);
    return 0;
  }
  const auto memory = [&] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    Json json{{"planned_bytes", work.planned_bytes()}};
    if (backend.host_memory) json["peak_mb"] = static_cast<double>(usage.ru_maxrss) / 1024;
    return json;
  };
  run_round(work, args.warmup);  // the first touches the memory, the second is captured
  if (args.serve) {
    what["ready"] = true;
    // Read now: later others may have taken some.
    const size_t free_now = backend.memory(device.stream()).free_bytes;
    if (!backend.host_memory) what["taken_bytes"] = free_before - std::min(free_now, free_before);
    say(what);
    std::string line;
    while (std::getline(std::cin, line)) {
      const Round round = run_round(work, args.runs);
      say({{"ms_per_step", median(round.seconds) * 1e3},
           {"ms_min", *std::min_element(round.seconds.begin(), round.seconds.end()) * 1e3},
           {"loss", round.loss}});
    }
    Json last = memory();
    last["replays"] = work.session().replays();
    say(last);
    return 0;
  }
  const Round round = run_round(work, args.runs);
  const double images = static_cast<double>(args.batch) / 1e3;
  what["ms_per_image"] = median(round.seconds) / images;
  what["ms_per_image_best"] =
      *std::min_element(round.seconds.begin(), round.seconds.end()) / images;
  what.update(memory());
  say(what);
  if (args.ops) print_ops(work.session(), args.batch);
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
  app.add_option("--warmup", args.warmup);
  app.add_option("--threads", args.threads);
  app.add_option("--widths", args.widths)->delimiter(',');
  app.add_option("--lr", args.learning_rate);
  app.add_option("--device", args.device);
  app.add_option("--precision", args.precision);
  app.add_flag("--inference", args.inference);
  app.add_flag("--augment", args.augment);
  app.add_flag("--serve", args.serve);
  app.add_flag("--check", args.check);
  app.add_flag("--ops", args.ops);
  app.add_flag("--no-fuse", args.no_fuse);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(args);
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_step: %s\n", error.what());
    return error.kind() == ErrorKind::device ? 4 : 2;
  }
}
