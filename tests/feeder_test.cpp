// Batches on their way to a device with memory of its own: beside its work, and kept there.
#include "engine/feeder.h"

#include <doctest/doctest.h>

#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/support/device_training.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::test;

namespace {

constexpr size_t picture_bytes = NoiseSource::side * NoiseSource::side * NoiseSource::bands;
constexpr int64_t epochs = 4;
// Used slots of all batches.
constexpr int64_t slots = epochs * (NoiseSource::batches * NoiseSource::batch - 1);

}  // namespace

TEST_CASE("feeder: copies beside the work, and samples that stay, change no bit") {
  DeviceTraining training;
  const Trained plain = training.run(epochs);
  CHECK(plain.packed == slots);
  training.feeder = true;
  for (const simt::Timing timing : {simt::Timing::early, simt::Timing::late})
    for (const int64_t samples : {0, 1, 4, 6, 100}) {
      CAPTURE(static_cast<int>(timing));
      CAPTURE(samples);
      training.timing = timing;
      training.keep_bytes = static_cast<size_t>(samples) * picture_bytes + 1;
      const Trained fed = training.run(epochs);
      CHECK(fed.values == plain.values);
      CHECK(fed.kept == std::min(samples, NoiseSource::samples));
      // Once all are on the device, the source packs no more of them.
      if (samples >= NoiseSource::samples)
        CHECK(fed.packed < slots / 2);
      else
        CHECK(fed.packed == slots);
    }
}

TEST_CASE("feeder: a training that diverges names the layer, whatever lies on the device") {
  DeviceTraining training;
  training.rate = 1e30;
  const std::string plain = error_of(ErrorKind::diverged, [&] { training.run(epochs); });
  CHECK(has(plain, "values are NaN or infinite"));
  training.feeder = true;
  training.keep_bytes = size_t{1} << 20;
  CHECK(error_of(ErrorKind::diverged, [&] { training.run(epochs); }) == plain);
}

TEST_CASE("feeder: a source that doesn't know its samples keeps none on the device") {
  DeviceTraining training;
  const Trained plain = training.run(2);
  training.feeder = true;
  training.counted = false;
  training.keep_bytes = size_t{1} << 20;
  const Trained fed = training.run(2);
  CHECK(fed.kept == 0);
  CHECK(fed.values == plain.values);
}

TEST_CASE("feeder: where memory is the host's, batches are passed on as they are") {
  Context context;
  NoiseSource source;
  Feeder feeder(context.device("cpu"), source, 1 << 20);
  feeder.start(0, 1);
  NoiseSource other;
  other.start(0, 1);
  int64_t count = 0;
  while (const Batch* batch = feeder.next()) {
    CHECK(batch->samples == other.next()->samples);
    feeder.fetch_ahead();
    count++;
  }
  CHECK(count == NoiseSource::batches - 1);
  CHECK(feeder.kept(0) == 0);
}

TEST_CASE("feeder: a source's batch that is not what it announced is refused, not read") {
  class Lying : public NoiseSource {
   public:
    explicit Lying(std::function<void(Batch&)> change) : change_(std::move(change)) {}
    const Batch* next() override {
      batch_ = *NoiseSource::next();
      change_(batch_);
      return &batch_;
    }

   private:
    std::function<void(Batch&)> change_;
    Batch batch_;
  };
  const simt::StreamOwner owner;
  Device apart(simt_backend(), owner.stream());
  Context context;
  for (Device* device : {&apart, &context.device("cpu")}) {
    const auto refusal = [&](const std::function<void(Batch&)>& change) {
      Lying source(change);
      Feeder feeder(*device, source);
      feeder.start(0, 0);
      return error_of(ErrorKind::usage, [&] { feeder.next(); });
    };
    CHECK(refusal([](Batch& b) { b.tensors.pop_back(); }) ==
          "a batch has 3 tensors, its source announced 4");
    CHECK(refusal([](Batch& b) { b.tensors[0].data = nullptr; }) ==
          "a batch's 'image' must be [4,20,20,3] u8, it is a null pointer");
    CHECK(refusal([](Batch& b) { std::swap(b.tensors[2], b.tensors[3]); }) ==
          "a batch's 'label' must be [4,1,1,1] i32, it is [4,1,1,1] f32");
    CHECK(refusal([](Batch& b) { b.samples.assign(5, 0); }) == "a batch of 4 names 5 samples");
    CHECK(refusal([](Batch& b) { b.samples[0] = NoiseSource::samples; }) ==
          "a batch names sample 6 of 6");
    CHECK(refusal([](Batch&) {}) == "no error");
  }
}

TEST_CASE("feeder: an error of the source comes where its batch would be, and a start forgets it") {
  class Broken : public NoiseSource {
   public:
    const Batch* next() override {
      if (++calls_ == 2) file_error("picture 7 can't be read");
      return NoiseSource::next();
    }

   private:
    int calls_ = 0;
  };
  const simt::StreamOwner owner;
  Device device(simt_backend(), owner.stream());
  Broken source;
  Feeder feeder(device, source);
  feeder.start(0, 0);
  CHECK(feeder.next()->samples.size() == NoiseSource::batch);
  feeder.fetch_ahead();
  CHECK(error_of(ErrorKind::file, [&] { feeder.next(); }) == "picture 7 can't be read");
  Broken again;
  Feeder other(device, again);
  other.start(0, 0);
  other.next();
  other.fetch_ahead();
  other.start(0, 3);
  CHECK(other.next()->samples.size() == NoiseSource::batch - 1);
  other.fetch_ahead();
  CHECK(other.next() == nullptr);
}
