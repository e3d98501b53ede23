// train RUN: one epoch of a small network on pictures made in memory, by the installed library.
#include <cstdio>

#include "engine/context.h"
#include "model/polar_low.h"
#include "model/program.h"
#include "model/tasks/classification.h"
#include "model/trainer.h"

namespace {

using fulmar::DType;

// Grey pictures; those of class 1 are bright.
class Pictures : public fulmar::BatchSource {
 public:
  Pictures() {
    for (int i = 0; i < count; i++) {
      labels_[i] = i % 2;
      places_[i].source_height = places_[i].source_width = side;
      batch_.samples.push_back(i);
      for (int p = 0; p < side * side; p++)
        pixels_[i * side * side + p] = static_cast<uint8_t>((i + p * 7) % 100 + 100 * (i % 2));
    }
    batch_.tensors = {fulmar::view_of(pixels_, specs_[0].shape, DType::u8),
                      fulmar::view_of(places_, specs_[1].shape, DType::u8),
                      fulmar::view_of(labels_, specs_[2].shape, DType::i32)};
  }
  const std::vector<fulmar::TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override { return 2; }
  void start(int64_t, int64_t first) override { next_ = first; }
  const fulmar::Batch* next() override { return next_++ < 2 ? &batch_ : nullptr; }

 private:
  static constexpr int side = 16, count = 4;
  std::vector<fulmar::TensorSpec> specs_{
      {"image", DType::u8, {count, side, side, 1}},
      {"image/samples", DType::u8, {count, int64_t{sizeof(fulmar::WarpSample)}}},
      {"label", DType::i32, {count, 1, 1, 1}}};
  uint8_t pixels_[count * side * side] = {};
  fulmar::WarpSample places_[count];
  int32_t labels_[count] = {};
  fulmar::Batch batch_;
  int64_t next_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  fulmar::Context context;
  fulmar::Device& device = context.device("cpu");
  const fulmar::ModelInfo info = fulmar::model::classifier_of(
      fulmar::model::polar_low({1, 2, {4, 8}, 0.5}), fulmar::Preprocess::of_pictures(0, 16, 1),
      fulmar::model::Classification({"dark", "bright"}, 1));
  fulmar::Model model = fulmar::model::new_model(info, device, 7);
  Pictures training, validation;
  fulmar::model::RunFolder folder(argv[1]);
  fulmar::model::TrainerOptions options;
  options.epochs = 1;
  fulmar::model::Trainer trainer(context, device, info, model, training, &validation, folder,
                                 options);
  fulmar::model::TrainObserver silent;
  const fulmar::model::TrainOutcome outcome = trainer.run(silent);
  const std::vector<std::string> classes =
      fulmar::model::classification_of(fulmar::Checkpoint::read(folder.best())).classes;
  std::printf("%lld epoch, loss %g, classes %s and %s\n", static_cast<long long>(outcome.epochs),
              outcome.best_value, classes[0].c_str(), classes[1].c_str());
  return outcome.epochs == 1 ? 0 : 1;
}
