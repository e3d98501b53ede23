// Runs on a GPU, emulated as in devices_test.cpp, that go on: there or elsewhere.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "kernels/cuda/choices.h"
#include "tests/support/fake_cuda.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace fs = std::filesystem;

namespace {

std::string choices_text(const std::string& first) {
  cuda::Choices choices;
  choices.set("first", first);
  return choices.text();
}

// A training long enough to be interrupted.
struct LongTraining {
  TrainingFiles files{{"neg", "pos"}, 20, 64};

  std::vector<std::string> arguments(const std::string& run,
                                     const std::string& precision = "fp32") const {
    return {"train",    files.data, "--out",      run,     "--crop",      "64",
            "--widths", "4,8",      "--epochs",   "2",     "--batch",     "2",
            "--device", "cuda:1",   "--sampling", "epoch", "--precision", precision};
  }
  // Interrupted in the first epoch.
  std::string part(const std::string& name, const std::string& precision = "fp32") const {
    const std::string run = files.folder.path(name);
    HowToRun how = with_fake();
    how.interrupt_at = "takes about";
    const Ended stopped = fulmar_program(arguments(run, precision), how);
    REQUIRE_MESSAGE(stopped.code == 130, stopped.err);
    return run;
  }
};

Ended resumed(const std::string& run, const std::vector<std::string>& more = {},
              const HowToRun& how = with_fake()) {
  std::vector<std::string> all{"train", "--out", run, "--resume"};
  all.insert(all.end(), more.begin(), more.end());
  return fulmar_program(all, how);
}

}  // namespace

TEST_CASE("devices: a run goes on where it began, to the same bits, or elsewhere with a word") {
  const LongTraining training;
  const std::string whole = training.files.folder.path("whole"), run = training.part("part");
  REQUIRE(fulmar_program(training.arguments(whole), with_fake()).code == 0);
  const std::string copy = training.files.folder.path("copy");
  fs::copy(run, copy, fs::copy_options::recursive);

  const std::string kept = choices_text("kept with the run");
  CHECK(contents(run + "/convolutions.txt") == choices_text("chosen"));
  write_file(run + "/convolutions.txt", kept);
  CHECK(resumed(run, {}, with_library("none")).code == 4);  // not silently on the CPU
  const std::string log = training.files.folder.path("log");
  const Ended e = resumed(run, {}, with_fake({"FAKE_CUDA_LOG=" + log}));
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK(contents(log) == "open fp32\nchoices: kept with the run\n");
  CHECK(contents(run + "/convolutions.txt") == kept);
  CHECK(json_in(run + "/run.json")["sessions"].back()["machine"]["device"] == "cuda:1");
  CHECK(tensors_in(run + "/last.safetensors") == tensors_in(whole + "/last.safetensors"));

  const Ended moved = resumed(copy, {"--device", "cpu"});
  CHECK_MESSAGE(moved.code == 0, moved.err);
  CHECK(has(moved.err, "this run began on Emulated GPU 1; here it is "));
  CHECK(has(moved.err, "not with the same bits"));
}

TEST_CASE("devices: a run in bf16 goes on elsewhere in the precision that is asked for") {
  const LongTraining training;
  const std::string run = training.part("run", "bf16");
  const Ended stuck = resumed(run, {"--device", "cpu"});
  CHECK(stuck.code == 2);
  CHECK(has(stuck.err, "the precision bf16 is for GPUs"));
  CHECK(has(stuck.err, "say --precision fp32 to go on here, though not to the same bits"));
  const Ended asked = resumed(run, {"--device", "cpu", "--precision", "bf16"});
  CHECK(asked.code == 2);
  CHECK_FALSE(has(asked.err, "to go on here"));
  const Ended e = resumed(run, {"--device", "cpu", "--precision", "fp32"});
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK(has(e.err, "this run came so far in bf16; here it goes on in fp32, and not with the same"));
  CHECK(json_in(run + "/run.json")["sessions"].back()["machine"]["precision"] == "fp32");
}

TEST_CASE("devices: several seeds go on, each with its own choices, and new ones beside them") {
  const TrainingFiles files;
  const auto train = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = files.arguments(more);
    all.insert(all.end(), {"--epochs", "1", "--device", "cuda:1", "--precision", "fp32"});
    return fulmar_program(all, with_fake());
  };
  REQUIRE(train({"--seeds", "2"}).code == 0);
  for (const char* seed : {"0", "1"})
    write_file(files.run + "/seed-" + seed + "/convolutions.txt", choices_text(seed));
  const std::string log = files.folder.path("log");
  const Ended e = resumed(files.run, {"--seeds", "3"}, with_fake({"FAKE_CUDA_LOG=" + log}));
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK(contents(log) == "open fp32\nchoices: 0\nchoices: 1\n");
  const Json third = json_in(files.run + "/seed-2/config.json");
  CHECK(third["device"] == "cuda:1");  // as the others, not as --device has by default
  CHECK(third["precision"] == "fp32");
}

TEST_CASE("devices: choices of algorithms that are damaged are named by their file") {
  const LongTraining training;
  const std::string run = training.part("run"), path = run + "/convolutions.txt";
  write_file(path, contents(path) + "more => than said\n");
  const Ended e = resumed(run);
  CHECK(e.code == 3);
  CHECK(has(e.err, path + ": cuda choices: "));
  CHECK(has(e.err, "remove it: algorithms are then chosen anew"));
  fs::remove(path);
  const Ended anew = resumed(run);
  CHECK_MESSAGE(anew.code == 0, anew.err);
  CHECK(has(anew.err, path + " is missing: algorithms are chosen anew on cuda:1"));
}

TEST_CASE("devices: runs from before there were GPUs go on, on the CPU, to the same bits") {
  const TrainingFiles files;
  const auto train = [&](const std::vector<std::string>& more) {
    return fulmar_program(files.arguments(more), with_fake());
  };
  REQUIRE(train({"--epochs", "3", "--device", "cpu"}).code == 0);
  const std::string expected = tensors_in(files.run + "/last.safetensors");
  fs::remove_all(files.run);
  HowToRun how = with_fake();
  how.interrupt_at = "takes about";
  REQUIRE(fulmar_program(files.arguments({"--epochs", "3", "--device", "cpu"}), how).code == 130);
  const std::string path = files.run + "/config.json";
  Json config = json_in(path);
  config.erase("device");
  config.erase("precision");
  write_file(path, config.dump(2) + "\n");
  const Ended e = resumed(files.run);
  CHECK_MESSAGE(e.code == 0, e.err);
  CHECK_FALSE(has(e.err, "not with the same bits"));
  CHECK(tensors_in(files.run + "/last.safetensors") == expected);
  CHECK(json_in(files.run + "/run.json")["sessions"].back()["machine"]["device"] == "cpu");
}
