#include "engine/io/checkpoint.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/safetensors.h"
#include "engine/ops.h"
#include "engine/optimizer.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using fulmar::test::error_of;
using fulmar::test::TempFolder;

namespace {

using Values = std::vector<double>;

// dense [channels, units] behind a batch normalisation
ModelInfo description(int64_t units) {
  ModelInfo info;
  info.network.add("input", "input", {});
  info.network.add("batch_normalization", "bn", {"input"});
  info.network.add("dense", "dense", {"bn"}, {{"units", units}});
  info.preprocess["input"] = Preprocess::of_pictures(0, 1, 3);
  info.task["units"] = std::to_string(units);
  return info;
}

Model model_of(Device& device, const Network& network, uint64_t seed) {
  Tape tape;
  record(network, tape, ops::input(tape, "x", {{1, 1, 1, 3}}), {});
  return Model(device, tape, seed);
}

std::string refusal(const Checkpoint& file, Model& model) {
  return error_of(ErrorKind::file, [&] { file.restore(model); });
}

}  // namespace

TEST_CASE("checkpoint: weights, statistics and description come back") {
  TempFolder folder;
  Context context;
  for (const char* name : {"cpu", "reference"}) {
    CAPTURE(name);
    Device& device = context.device(name);
    const ModelInfo info = description(2);
    Model saved = model_of(device, info.network, 3), other = model_of(device, info.network, 4);
    saved.write("bn/moving_mean", Values{0.5, -1, 2});
    save_checkpoint(folder.path("m"), info, saved);
    const Checkpoint file = Checkpoint::read(folder.path("m"));
    CHECK(file.info().network.to_json() == info.network.to_json());
    CHECK(file.info().task == info.task);
    CHECK(file.info().picture().to_json() == info.picture().to_json());
    CHECK(file.info().training_state.empty());
    CHECK(file.notes().empty());
    CHECK(other.read("dense/kernel") != saved.read("dense/kernel"));
    file.restore(other);
    for (const char* weight : {"dense/kernel", "dense/bias", "bn/gamma", "bn/moving_mean"})
      CHECK(other.read(weight) == saved.read(weight));
  }
}

TEST_CASE("checkpoint: a tensor that is missing, of another shape or of another type is named") {
  TempFolder folder;
  Context context;
  Device& device = context.device("cpu");
  const ModelInfo info = description(2);
  Model saved = model_of(device, info.network, 3);
  save_checkpoint(folder.path("m"), info, saved);
  const Checkpoint file = Checkpoint::read(folder.path("m"));

  Model wider = model_of(device, description(3).network, 1);
  CHECK(refusal(file, wider).find("tensor 'dense/bias' does not have the shape [3]") !=
        std::string::npos);

  ModelInfo renamed = info;
  renamed.network.add("dense", "more", {"dense"}, {{"units", int64_t{2}}});
  Model more = model_of(device, renamed.network, 1);
  CHECK(refusal(file, more).find("has no tensor 'more/") != std::string::npos);

  // The same file with integers for its bias.
  const Safetensors original = Safetensors::read(folder.path("m"));
  std::vector<StoredTensor> tensors = original.tensors();
  for (StoredTensor& t : tensors)
    if (t.name == "dense/bias") t.type = StoredType::i32;
  write_safetensors(folder.path("i"), tensors, original.metadata());
  Model same = model_of(device, info.network, 1);
  CHECK(refusal(Checkpoint::read(folder.path("i")), same).find("'dense/bias'") !=
        std::string::npos);
}

TEST_CASE("checkpoint: the state of any optimiser is kept, and must come back whole") {
  TempFolder folder;
  Context context;
  Device& device = context.device("cpu");
  ModelInfo info = description(2);
  info.training_state.json = "{}";
  for (const Optimizer& kind : {Optimizer(AdamW{}), Optimizer(Sgd{}), Optimizer(Lars{})}) {
    CAPTURE(name_of(kind));
    const std::vector<std::string> names = state_names(kind);
    Model saved = model_of(device, info.network, 3), other = model_of(device, info.network, 4);
    Values values(static_cast<size_t>(saved.flat_size()));
    for (const Model::Parameter& p : saved.parameters())
      for (int64_t i = 0; i < p.shape.elements(); i++)
        values[static_cast<size_t>(p.begin + i)] = static_cast<double>(p.begin + i + 1);
    for (const std::string& name : names) saved.write(name, values);
    save_checkpoint(folder.path("m"), info, saved);
    const Safetensors stored = Safetensors::read(folder.path("m"));
    for (const std::string& name : names) CHECK(stored.find(name.substr(1) + "/dense/kernel"));
    CHECK(stored.tensors().size() ==
          saved.parameters().size() * (1 + names.size()) + saved.statistics().size());

    Checkpoint::read(folder.path("m")).restore(other);
    CHECK(other.states() == names);
    for (const std::string& name : names) CHECK(other.read(name) == values);

    // A tensor of it is gone; or all, and the model has such a buffer.
    std::vector<StoredTensor> tensors = stored.tensors();
    std::erase_if(tensors, [&](const StoredTensor& t) {
      return t.name == names[0].substr(1) + "/dense/bias";
    });
    write_safetensors(folder.path("part"), tensors, stored.metadata());
    Model fresh = model_of(device, info.network, 1);
    CHECK(refusal(Checkpoint::read(folder.path("part")), fresh)
              .find("has no tensor '" + names[0].substr(1) + "/dense/bias'") != std::string::npos);
    std::erase_if(tensors, [&](const StoredTensor& t) {
      return t.name.starts_with(names[0].substr(1) + "/");
    });
    write_safetensors(folder.path("none"), tensors, stored.metadata());
    CHECK(refusal(Checkpoint::read(folder.path("none")), other)
              .find("has no tensor '" + names[0].substr(1) + "/") != std::string::npos);
  }
}

TEST_CASE("checkpoint: training starts from what fits of another model, and hears of the rest") {
  TempFolder folder;
  Context context;
  Device& device = context.device("cpu");
  const ModelInfo info = description(2);
  Model saved = model_of(device, info.network, 3);
  saved.write("bn/beta", Values{1, 2, 3});
  save_checkpoint(folder.path("m"), info, saved);

  Model wider = model_of(device, description(3).network, 1);
  const Values fresh = wider.read("dense/kernel");
  const std::vector<std::string> missing = Checkpoint::read(folder.path("m")).initialize(wider);
  CHECK(missing == std::vector<std::string>{"dense/bias", "dense/kernel"});
  CHECK(wider.read("bn/beta") == Values{1, 2, 3});
  CHECK(wider.read("dense/kernel") == fresh);

  Model same = model_of(device, info.network, 1);
  CHECK(Checkpoint::read(folder.path("m")).initialize(same).empty());
  CHECK(same.read("dense/kernel") == saved.read("dense/kernel"));
}
