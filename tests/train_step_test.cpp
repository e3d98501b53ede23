#include "model/train_step.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/geometry.h"
#include "model/evaluate.h"
#include "tests/support/array.h"

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
        ModelInfo info;
        info.network = linear_network();
        info.preprocess = Preprocess::of_pictures(size, 16, bands);
        info.preprocess.resize = resize;
        Model model = model::new_model(info.network, info.preprocess, device, 1);
        std::vector<WarpSample> samples(2, centre_sample(info.preprocess, height, width));
        const Batch batch{
            {image.view(), view_of(samples.data(), specs[1].shape, DType::u8), labels.view()},
            {0, 1}};
        model::TrainStep step(context, device, info, model, specs, {});
        model::Evaluator evaluator(context, device, info, model, specs);
        const auto trained = input_of(context, device, model, step.session().tape(), specs, batch);
        CHECK(trained ==
              input_of(context, device, model, evaluator.session().tape(), specs, batch));
        seen.push_back(trained);
      }
  CHECK(seen[0] == seen[1]);  // native: nothing is resized
  CHECK(seen[2] != seen[3]);  // the two kinds differ
}
