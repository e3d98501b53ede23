#include "model/train_step.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/picture/geometry.h"
#include "model/evaluate.h"
#include "model/tasks/classification.h"
#include "tests/support/array.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::test;

namespace {

Network linear_network() {
  Network n;
  n.add("input", "input", {});
  n.add("global_average_pooling2d", "pool", {"input"});
  n.add("dense", "dense", {"pool"}, {{"units", int64_t{2}}});
  return n;
}

ModelInfo classifier(const Network& network, const Preprocess& preprocess) {
  return model::classifier_of(network, preprocess, model::Classification({"neg", "pos"}, 1));
}

// What the network sees in a recorded program.
std::vector<double> input_of(Context& context, Device& device, Model& model, const Tape& tape,
                             const std::vector<TensorSpec>& specs, const Batch& batch) {
  const std::shared_ptr<const Tape> shared(std::shared_ptr<void>(), &tape);
  const Val input = tape.find("input");
  Session session(context, device, shared, std::vector{input}, &model, nullptr, {});
  for (size_t i = 0; i < specs.size(); i++)
    session.set_bytes(tape.find(specs[i].name), batch.tensors[i].data, batch.tensors[i].bytes());
  session.run();
  return session.read(input);
}

}  // namespace

TEST_CASE(
    "a micro-batch whose gradient is not finite is named, though the loss is, and later ones are") {
  // Of a black picture the square is 0, where the root's slope is infinite.
  Network network;
  network.add("input", "input", {});
  network.add("conv2d", "conv", {"input"}, {{"filters", int64_t{2}}});
  network.add("activation", "square", {"conv"}, {{"function", std::string("square")}});
  network.add("activation", "root", {"square"}, {{"function", std::string("sqrt")}});
  network.add("global_average_pooling2d", "pool", {"root"});
  network.add("dense", "dense", {"pool"}, {{"units", int64_t{2}}});
  constexpr int64_t side = 8;
  const std::vector<TensorSpec> specs{
      {"image", DType::u8, {2, side, side, 1}},
      {"image/samples", DType::u8, {2, int64_t{sizeof(WarpSample)}}},
      {"label", DType::i32, {2, 1, 1, 1}}};
  Context context;
  Device& device = context.device("cpu");
  const ModelInfo info = classifier(network, Preprocess::of_pictures(0, side, 1));
  Model model = model::new_model(info, device, 1);
  model::TrainStepOptions options;
  options.accumulates = true;
  model::TrainStep step(context, device, info, model::heads_of(info), model, specs, options);

  std::vector<WarpSample> samples(2, centre_sample(info.picture(), side, side));
  Array<int32_t> labels({2, 1, 1, 1}, {0, 1});
  const auto batch = [&](Array<uint8_t>& image) {
    return Batch{{image.view(), view_of(samples.data(), specs[1].shape, DType::u8), labels.view()},
                 {0, 1}};
  };
  Array<uint8_t> black(specs[0].shape), grey(specs[0].shape);
  for (int64_t i = 0; i < grey.view().shape.elements(); i++) black[i] = 0, grey[i] = 100;
  const std::vector<double> before = model.read("conv/kernel");

  StepState state;
  state.learning_rate = 1e-3;
  const std::string expected = "sqrt_grad 'root' (network): 256 of 256 values are NaN or infinite";
  CHECK(error_of(ErrorKind::diverged, [&] { step.run(batch(black), state, false); }) == expected);
  context.cancel = true;  // who interrupts now still learns of it
  CHECK(error_of(ErrorKind::diverged, [&] { step.run(batch(black), state, false); }) == expected);
  CHECK(model.read("conv/kernel") == before);
  context.cancel = false;
  CHECK(std::isfinite(step.run(batch(grey), state, false).loss));
  state.micro_batch = 1;
  CHECK(std::isfinite(step.run(batch(grey), state, true).loss));
  CHECK(model.read("conv/kernel") != before);
}

TEST_CASE("micro-batches of unequal weight make the step that one large batch makes") {
  Network network;  // neither batch normalisation nor dropout, which depend on the batch
  network.add("input", "input", {});
  network.add("conv2d", "conv", {"input"}, {{"filters", int64_t{3}}});
  network.add("activation", "tanh", {"conv"}, {{"function", std::string("tanh")}});
  network.add("global_average_pooling2d", "pool", {"tanh"});
  network.add("dense", "dense", {"pool"}, {{"units", int64_t{2}}});
  constexpr int64_t side = 6, slots = 4, micro_batches = 3, steps = 4;
  // 3, 1 and 4 of 4 samples count: by their label, or by their weight.
  const std::vector<int32_t> labels{0, 1, 1, -1, 0, 1, 0, 1, 1, 0, 0, 1};
  const std::vector<float> weights{1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1};
  Context context;
  Device& device = context.device("reference");
  const ModelInfo info = classifier(network, Preprocess::of_pictures(0, side, 1));

  // The weights after some steps of `parts` micro-batches each.
  const auto trained = [&](const Optimizer& optimizer, int64_t parts) {
    const int64_t n = slots * micro_batches / parts;
    const std::vector<TensorSpec> specs{
        {"image", DType::u8, {n, side, side, 1}},
        {"image/samples", DType::u8, {n, int64_t{sizeof(WarpSample)}}},
        {"label", DType::i32, {n, 1, 1, 1}},
        {"weight", DType::f32, {n, 1, 1, 1}}};
    Model model = model::new_model(info, device, 1);
    model::TrainStepOptions options;
    options.optimizer = optimizer;
    options.accumulates = parts > 1;
    model::TrainStep step(context, device, info, model::heads_of(info), model, specs, options);
    std::vector<WarpSample> samples(static_cast<size_t>(n),
                                    centre_sample(info.picture(), side, side));
    StepState state;
    state.learning_rate = 0.05;
    for (state.step = 1; state.step <= steps; state.step++) {
      for (state.micro_batch = 0; state.micro_batch < parts; state.micro_batch++) {
        const int64_t first = state.micro_batch * n;
        Array<uint8_t> image(specs[0].shape);
        for (int64_t i = 0; i < image.view().shape.elements(); i++)
          image[i] = static_cast<uint8_t>(
              uniform_value(static_cast<uint64_t>(state.step), first * side * side + i, 0, 256));
        Array<int32_t> label(specs[2].shape, {labels.begin() + first, labels.begin() + first + n});
        Array<float> weight(specs[3].shape, {weights.begin() + first, weights.begin() + first + n});
        Batch batch{{image.view(), view_of(samples.data(), specs[1].shape, DType::u8), label.view(),
                     weight.view()},
                    {}};
        batch.samples.resize(static_cast<size_t>(n));
        step.run(batch, state, state.micro_batch == parts - 1);
      }
    }
    return model.read("/parameters");
  };
  for (const Optimizer& optimizer :
       {Optimizer(AdamW{.weight_decay = 0.01}), Optimizer(Sgd{0.9, 0.01, true}),
        Optimizer(Lars{0.9, 0.01, 0.1, 0})}) {
    CAPTURE(name_of(optimizer));
    const std::vector<double> whole = trained(optimizer, 1);
    const std::vector<double> parts = trained(optimizer, micro_batches);
    double size = 0, error = 0;
    for (size_t i = 0; i < whole.size(); i++) {
      size += whole[i] * whole[i];
      error += (parts[i] - whole[i]) * (parts[i] - whole[i]);
    }
    CHECK(std::sqrt(error / size) <= 1e-12);
  }
}

TEST_CASE("a batch that is not as its source announced is refused before it is read") {
  Context context;
  Device& device = context.device("cpu");
  const ModelInfo info = classifier(linear_network(), Preprocess::of_pictures(0, 8, 1));
  const std::vector<TensorSpec> specs{
      {"image", DType::u8, {1, 8, 8, 1}},
      {"image/samples", DType::u8, {1, int64_t{sizeof(WarpSample)}}},
      {"label", DType::i32, {1, 1, 1, 1}}};
  Model model = model::new_model(info, device, 1);
  model::TrainStep step(context, device, info, model::heads_of(info), model, specs, {});
  Array<uint8_t> image(specs[0].shape);
  std::vector<WarpSample> samples(1, centre_sample(info.picture(), 8, 8));
  Array<int32_t> labels({1, 1, 1, 1});
  Array<float> soft({1, 1, 1, 1});
  const View records = view_of(samples.data(), specs[1].shape, DType::u8);
  const auto refusal = [&](const Batch& batch) {
    return error_of(ErrorKind::usage, [&] { step.run(batch, {}, true); });
  };
  CHECK(refusal({{image.view(), records}, {0}}) == "a batch has 2 tensors, the program 3");
  CHECK(refusal({{image.view(), records, soft.view()}, {0}}) ==
        "an input takes [1,1,1,1] i32 without gaps, [1,1,1,1] f32 given");
  CHECK(refusal({{view_of(nullptr, specs[0].shape, DType::u8), records, labels.view()}, {0}}) ==
        "an input was given a null pointer");
  CHECK(refusal({{image.view(), records, labels.view()}, {0, 1}}) ==
        "a batch of 1 names 2 samples");
}

TEST_CASE("without augmentation, training sees to the bit the pixels that evaluation sees") {
  Context context;
  constexpr int64_t height = 40, width = 40, bands = 3;
  Array<uint8_t> image({2, height, width, bands});
  for (int64_t i = 0; i < image.view().shape.elements(); i++)
    image[i] = static_cast<uint8_t>(uniform_value(1, i, 0, 256));
  const std::vector<TensorSpec> specs{
      {"image", DType::u8, {2, height, width, bands}},
      {"image/samples", DType::u8, {2, int64_t{sizeof(WarpSample)}}},
      {"label", DType::i32, {2, 1, 1, 1}}};
  Array<int32_t> labels({2, 1, 1, 1});
  labels[1] = 1;

  std::vector<std::vector<double>> seen;
  for (const std::string name : {"cpu", "reference"})
    for (const int64_t size : {0, 27, 63})
      for (const Interpolation resize : {Interpolation::nearest, Interpolation::bilinear}) {
        CAPTURE(name);
        CAPTURE(size);
        Device& device = context.device(name);
        Preprocess preprocess = Preprocess::of_pictures(size, 16, bands);
        preprocess.resize = resize;
        const ModelInfo info = classifier(linear_network(), preprocess);
        const model::Heads heads = model::heads_of(info);
        Model model = model::new_model(info, device, 1);
        std::vector<WarpSample> samples(2, centre_sample(preprocess, height, width));
        const Batch batch{
            {image.view(), view_of(samples.data(), specs[1].shape, DType::u8), labels.view()},
            {0, 1}};
        model::TrainStep step(context, device, info, heads, model, specs, {});
        model::Evaluator evaluator(context, device, info, heads, model, specs);
        const auto trained = input_of(context, device, model, step.session().tape(), specs, batch);
        CHECK(trained ==
              input_of(context, device, model, evaluator.session().tape(), specs, batch));
        seen.push_back(trained);
      }
  CHECK(seen[0] == seen[1]);  // native: nothing is resized
  CHECK(seen[2] != seen[3]);  // the two kinds differ
}
