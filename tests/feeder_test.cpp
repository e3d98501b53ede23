// Batches on their way to a device with memory of its own: beside its work, and kept there.
#include "engine/feeder.h"

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/ops.h"
#include "tests/support/device_training.h"
#include "tests/support/error_of.h"

using namespace fulmar;
using namespace fulmar::test;

namespace {

constexpr size_t picture_bytes = NoiseSource::side * NoiseSource::side * NoiseSource::bands;
constexpr int64_t epochs = 4;
// Used slots of all batches.
constexpr int64_t slots = epochs * (NoiseSource::batches * NoiseSource::batch - 1);

// A device whose table may be damaged.
struct Emulated {
  simt::StreamOwner owner;
  Backend backend = simt_backend();
  Device device;
  Context context;
  Emulated() : device(backend, owner.stream()) {}
};

// Batches of one float for each of four samples, which a source says are always the same.
class FloatSource : public BatchSource {
 public:
  FloatSource() { batch_.tensors = {view_of(values_.data(), specs_[0].shape, DType::f32)}; }
  const std::vector<TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override { return 2; }
  void start(int64_t, int64_t first) override { next_ = first; }
  const Batch* next() override {
    if (next_ == 2) return nullptr;
    batch_.samples = {2 * next_, 2 * next_ + 1};
    for (size_t i = 0; i < 2; i++) values_[i] = static_cast<float>(10 + batch_.samples[i]);
    next_++;
    return &batch_;
  }
  int64_t sample_count() const override { return 4; }

 private:
  std::vector<TensorSpec> specs_{{"x", DType::f32, {2, 1, 1, 1}, true}};
  std::array<float, 2> values_{};
  int64_t next_ = 0;
  Batch batch_;
};

// Goes through epochs of the source with a session that takes each tensor as it comes.
void go_through(Emulated& e, BatchSource& source, Feeder& feeder, int64_t count) {
  auto tape = std::make_shared<Tape>();
  std::vector<Val> inputs;
  for (const TensorSpec& spec : source.tensors())
    inputs.push_back(ops::input(*tape, spec.name, {spec.shape, Role::source, spec.type}));
  Session session(e.context, e.device, tape, inputs);
  for (int64_t epoch = 0; epoch < count; epoch++) {
    feeder.start(epoch, 0);
    while (feeder.next()) {
      feeder.bind(session, inputs);
      session.run();
    }
  }
}

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

TEST_CASE("feeder: at its end the source gives whole batches again") {
  Emulated e;
  NoiseSource source;
  {
    Feeder feeder(e.device, source, size_t{1} << 20);
    go_through(e, source, feeder, 3);
    REQUIRE(feeder.kept(0) == NoiseSource::samples);
    const int64_t packed = source.packed();
    go_through(e, source, feeder, 1);
    CHECK(source.packed() == packed);
  }
  const int64_t packed = source.packed();
  Feeder other(e.device, source);
  go_through(e, source, other, 1);
  CHECK(source.packed() - packed == slots / epochs);
}

TEST_CASE("feeder: a fixed tensor that becomes an input of floats is not kept") {
  Emulated e;
  FloatSource source;
  Feeder feeder(e.device, source, 1 << 10);
  auto tape = std::make_shared<Tape>();
  const Val x = ops::input(*tape, "x", {{2, 1, 1, 1}});
  const Val y = ops::add(*tape, x, x);
  Session session(e.context, e.device, tape, std::array{y});
  for (int64_t epoch = 0; epoch < 3; epoch++) {
    feeder.start(epoch, 0);
    for (double first = 10; feeder.next(); first += 2) {
      feeder.bind(session, std::array{x});
      session.run();
      CHECK(session.read(y) == std::vector<double>{2 * first, 2 * first + 2});
    }
  }
  CHECK(feeder.kept(0) == 0);
  CHECK(feeder.kept_bytes() == 0);
  // Not by way of another session either.
  Feeder both(e.device, source, 1 << 10);
  go_through(e, source, both, 1);
  CHECK(both.kept(0) == 4);
  both.start(1, 0);
  both.next();
  CHECK(has(error_of(ErrorKind::usage, [&] { both.bind(session, std::array{x}); }),
            "'x' is an input of floats here"));
}

TEST_CASE("feeder: with a context, memory for samples that can't be had ends nothing") {
  struct Short {
    static size_t& most() {
      static size_t bytes = 0;
      return bytes;
    }
    static void* allocate(Stream& stream, size_t bytes) {
      if (bytes > most()) device_error("cuda: cudaMalloc: out of memory");
      return simt_backend().allocate(stream, bytes);
    }
  };
  Emulated e;
  e.backend.allocate = Short::allocate;
  std::vector<std::string> notes;
  const Context context({1, [&](const std::string& note) { notes.push_back(note); }});
  NoiseSource source;
  for (const int64_t fits : {6, 5, 2}) {
    notes.clear();
    Short::most() = static_cast<size_t>(fits) * picture_bytes;
    if (fits == 2) Short::most() = 4 * picture_bytes;  // what a batch takes
    const int64_t kept = fits == 6 ? 6 : 3;
    Feeder feeder(e.device, source, size_t{1} << 20, &context);
    CHECK(feeder.kept_bytes() == static_cast<size_t>(kept) * picture_bytes);
    CHECK(notes.size() == (fits == 6 ? 0 : 1));
    if (!notes.empty())
      CHECK(notes[0] ==
            "keeping 3 of 6 samples in the memory of simt: simt, taking memory to keep samples in: "
            "cuda: cudaMalloc: out of memory");
    Short::most() = size_t{1} << 20;
    go_through(e, source, feeder, 3);
    CHECK(feeder.kept(0) == kept);
  }
  Short::most() = 4 * picture_bytes;
  CHECK(error_of(ErrorKind::device, [&] { Feeder(e.device, source, size_t{1} << 20); }) ==
        "simt, taking memory to keep samples in: cuda: cudaMalloc: out of memory");
  Short::most() = 0;
  CHECK(has(error_of(ErrorKind::device, [&] { Feeder(e.device, source); }),
            "simt, taking memory for batches: "));
}

TEST_CASE("feeder: what fails on the way is told with the device") {
  Emulated e;
  NoiseSource source;
  const auto fails = [&](const char* what) {
    const std::string text = error_of(ErrorKind::device, [&] {
      Feeder feeder(e.device, source, size_t{1} << 20);
      go_through(e, source, feeder, 2);
    });
    CAPTURE(text);
    CHECK(has(text, std::string("simt, ") + what + ": cuda: broken"));
    const Backend& good = simt_backend();
    e.backend.upload = good.upload;
    e.backend.fence = good.fence;
    e.backend.copy = good.copy;
    e.backend.synchronize = good.synchronize;
  };
  e.backend.upload = [](Stream&, void*, const void*, size_t) { device_error("cuda: broken"); };
  fails("copying the next batch, or before it");
  e.backend.fence = [](Stream&) { device_error("cuda: broken"); };
  fails("waiting for a batch to be copied");
  e.backend.copy = [](Stream&, const View&, const View&) { device_error("cuda: broken"); };
  fails("copying samples that it keeps, or before it");
  e.backend.synchronize = [](Stream&) { device_error("cuda: broken"); };
  fails("waiting for the run before");
}
