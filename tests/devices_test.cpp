// The program with the CUDA backend's library: loaded, missing or broken. The library here is one
// whose GPUs are the emulator (fake_cuda.cpp); all else is the way that a real one goes.
#include <doctest/doctest.h>
#include <sched.h>

#include <cmath>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "engine/cuda.h"
#include "tests/support/built.h"
#include "tests/support/training.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace fs = std::filesystem;

namespace {

HowToRun with_library(const std::string& path, const std::vector<std::string>& more = {}) {
  HowToRun how;
  how.environment = {"FULMAR_CUDA_LIBRARY=" + path};
  how.environment.insert(how.environment.end(), more.begin(), more.end());
  return how;
}
HowToRun with_fake(const std::vector<std::string>& more = {}) {
  return with_library(built::fake_cuda, more);
}

const std::vector<std::string> info_cuda{"info",   "--new", "polar-low", "--size", "64",
                                         "--crop", "64",    "--device",  "cuda"};

struct Refusal {
  std::string library;
  std::vector<std::string> environment, parts;
};

// What can be wrong with the library, and how it is said.
std::vector<Refusal> refusals(const TempFolder& folder) {
  const std::string text = folder.path("text.so"), gone = folder.path("gone.so");
  write_file(text, std::string(1000, '#'));
  return {{"none", {}, {"switched off by FULMAR_CUDA_LIBRARY=none"}},
          {gone, {}, {gone + ", which FULMAR_CUDA_LIBRARY names, is not there"}},
          {text, {}, {text + " can't be loaded", "invalid ELF header"}},
          {built::unloadable,
           {},
           {"can't be loaded", "libfulmar_absent.so: cannot open shared object file",
            "LD_LIBRARY_PATH"}},
          {built::no_space, {}, {"no backend of Fulmar's", "no function fulmar_cuda_library"}},
          {built::fake_cuda,
           {"FAKE_CUDA_VERSION=77"},
           {"version 77 of the library's interface",
            "needs version " + std::to_string(CudaLibrary::current_version)}},
          {built::fake_cuda,
           {"FAKE_CUDA_LAYOUT=5"},
           {"lays out what it shares with this program in another way"}},
          {built::fake_cuda,
           {"FAKE_CUDA_TABLE=78"},
           {"version 78 of the table of kernels",
            "needs version " + std::to_string(Backend::current_version)}},
          {built::fake_cuda, {"FAKE_CUDA_GPUS=0"}, {"cudaErrorNoDevice"}}};
}

}  // namespace

TEST_CASE("devices: what is missing of CUDA is named, exit 4; cpu and auto go on") {
  const TempFolder folder;
  for (const Refusal& refusal : refusals(folder)) {
    CAPTURE(refusal.library);
    const HowToRun how = with_library(refusal.library, refusal.environment);
    const Ended cuda = fulmar_program(info_cuda, how);
    CAPTURE(cuda.err);
    CHECK(cuda.code == 4);
    CHECK(cuda.out.empty());
    const Ended devices = fulmar_program({"devices", "--json"}, how);
    CHECK(devices.code == 0);
    const Json json = Json::parse(devices.out);
    CHECK(json["devices"].size() == 1);
    for (const std::string& part : refusal.parts) {
      CAPTURE(part);
      CHECK(has(cuda.err, part));
      CHECK(has(json["cuda"]["missing"].get<std::string>(), part));
    }
  }
}

TEST_CASE("devices: training goes where it is told, and auto says why it is not on a GPU") {
  const TempFolder folder;
  const std::vector<Refusal> all = refusals(folder);
  const TrainingFiles files;
  const auto train = [&](const std::string& device, const HowToRun& how) {
    fs::remove_all(files.run);
    return fulmar_program(files.arguments({"--epochs", "1", "--device", device}), how);
  };
  const HowToRun broken = with_library(all[3].library);
  const Ended cpu = train("cpu", broken);
  CHECK(cpu.code == 0);
  CHECK_FALSE(has(cpu.err, "libfulmar_absent"));
  const std::string expected = tensors_in(files.run + "/last.safetensors");
  const Ended automatic = train("auto", broken);
  CHECK(automatic.code == 0);
  CHECK(has(automatic.err, "computing on the CPU: cuda: "));
  CHECK(has(automatic.err, "libfulmar_absent.so"));
  CHECK(tensors_in(files.run + "/last.safetensors") == expected);
  fs::remove_all(files.run);
  const Ended none = fulmar_program(
      files.arguments({"--epochs", "1", "--device", "auto", "--precision", "tf32"}), broken);
  CHECK(none.code == 2);
  CHECK(has(none.err, "tf32 is for GPUs, and none can be used here"));
  CHECK(has(none.err, "libfulmar_absent.so"));
  const Ended beyond = train("cuda:2", with_fake());
  CHECK(beyond.code == 4);
  CHECK(has(beyond.err, "there is no GPU 2: the last is cuda:1, Emulated GPU 1"));
}

TEST_CASE("devices: without a library there is no GPU, and what was looked for is named") {
  const Ended e = fulmar_program(info_cuda, with_library(""));
  if (has(e.err, "is not there (looked for ")) {
    CHECK(e.code == 4);
    CHECK(has(e.err, CudaLibrary::file_name));
    CHECK(has(e.err, fs::path(built::program).parent_path().string() + "/"));
  } else {
    MESSAGE("skipped: this build has the library beside the program: ", e.err);
  }
  // Beside the program, whatever it was called by, and wherever it is called from.
  const TempFolder folder;
  fs::create_directories(folder.path("bin"));
  fs::create_directories(folder.path("bin2"));
  const std::string program = folder.path("bin/fulmar");
  fs::copy_file(built::program, program);
  fs::copy_file(built::fake_cuda, folder.path("bin/") + CudaLibrary::file_name);
  fs::create_symlink(program, folder.path("bin2/fulmar"));
  HowToRun how = with_library("", {"PATH=" + folder.path("bin2") + ":/usr/bin:/bin"});
  how.folder = folder.path();
  for (const std::vector<std::string>& line :
       {std::vector<std::string>{program, "devices", "--json"},
        {"./bin/fulmar", "devices", "--json"},
        {"fulmar", "devices", "--json"}}) {
    CAPTURE(line[0]);
    const Ended found = run_process("/usr/bin/env", line, how);
    REQUIRE_MESSAGE(found.code == 0, found.err);
    CHECK(Json::parse(found.out)["cuda"]["library"] ==
          folder.path("bin/") + CudaLibrary::file_name);
  }
}

TEST_CASE("devices: the list tells of the processor and of each GPU") {
  const Ended e = fulmar_program({"devices", "--json", "--threads", "2"}, with_fake());
  REQUIRE(e.code == 0);
  const Json json = Json::parse(e.out);
  REQUIRE(json["devices"].size() == 3);
  CHECK(json["devices"][0]["device"] == "cpu");
  CHECK(json["devices"][0]["threads"] == 2);
  CHECK(json["devices"][0]["instruction_set"] == cpu_backend().isa());
  CHECK(json["devices"][2]["device"] == "cuda:1");
  CHECK(json["devices"][2]["name"] == "Emulated GPU 1");
  CHECK(json["devices"][2]["compute_capability"] == "9.0");
  CHECK(json["devices"][2]["memory_bytes"] == 1 << 30);
  CHECK(json["cuda"]["library"] == built::fake_cuda);
  CHECK(json["cuda"]["cudnn"] == "9.9.9");
  CHECK(json["cuda"]["missing"].is_null());
  const Ended people = fulmar_program({"devices"}, with_fake());
  CHECK(people.code == 0);
  CHECK(has(people.out, "cuda:1  Emulated GPU 1, compute capability 9.0, 3 multiprocessors"));
  CHECK(has(people.out, "driver 13.0, runtime 13.0, cuDNN 9.9.9"));
}

TEST_CASE("devices: threads by affinity, and what keeps from the other processors") {
  cpu_set_t all;
  REQUIRE(::sched_getaffinity(0, sizeof all, &all) == 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; CPU_COUNT(&one) == 0; i++)
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);  // which the program inherits
  const Ended json = fulmar_program({"devices", "--json"});
  const Ended people = fulmar_program({"devices"});
  REQUIRE(::sched_setaffinity(0, sizeof all, &all) == 0);
  const Json cpu = Json::parse(json.out)["devices"][0];
  CHECK(cpu["threads"] == 1);
  CHECK(cpu["affinity"] == 1);
  CHECK(has(people.out, ", 1 threads of "));
  if (cpu["processors"] > 1) CHECK(has(people.out, "its affinity is 1 processor"));
}

TEST_CASE("devices: the CPU has no tf32, and says so") {
  const TrainingFiles files;
  const std::string model = files.folder.path("m.safetensors");
  save_model(model, {"neg", "pos"});
  for (const std::vector<std::string>& line :
       {files.arguments({"--epochs", "1"}), std::vector<std::string>{"eval", model, files.data},
        std::vector<std::string>{"predict", model, files.data}}) {
    std::vector<std::string> all = line;
    all.insert(all.end(), {"--device", "cpu", "--precision", "tf32"});
    const Ended e = fulmar_program(all);
    CAPTURE(e.err);
    CHECK(e.code == 2);
    CHECK(has(e.err, "precision tf32 is for GPUs: the device cpu computes in fp32 or bf16"));
  }
  CHECK_FALSE(fs::exists(files.run));
}

TEST_CASE("devices: train, eval, predict, explain and bench in bf16 on the CPU") {
  const TrainingFiles files;
  const auto run = [&](const std::vector<std::string>& line) {
    Ended e = fulmar_program(line);
    CHECK_MESSAGE(e.code == 0, e.err);
    return e;
  };
  run(files.arguments({"--epochs", "2", "--device", "cpu", "--precision", "bf16"}));
  CHECK(json_in(files.run + "/config.json")["precision"] == "bf16");
  CHECK(json_in(files.run + "/run.json")["sessions"][0]["machine"]["precision"] == "bf16");
  const std::string model = files.run + "/best.safetensors";
  // A model is of no precision, and its scores differ by rounding alone.
  const auto loss = [&](const std::string& precision) {
    const Ended e = run({"eval", model, files.data, "--precision", precision, "--json"});
    return Json::parse(e.out)["loss"].get<double>();
  };
  const double exact = loss("fp32"), rounded = loss("bf16");
  CHECK(exact != rounded);
  CHECK(std::abs(exact - rounded) < 0.02);
  run({"predict", model, files.data, "--precision", "bf16"});
  run({"explain", model, files.data + "/neg/100.bmp", "--out", files.folder.path("maps"),
       "--precision", "bf16", "--method", "saliency,integrated-gradients,grad-cam"});
  run({"bench", "step", "--size", "96", "--crop", "64", "--batch", "2", "--precision", "bf16"});
  const Ended resumed =
      fulmar_program({"train", "--out", files.run, "--resume", "--precision", "fp32"});
  CHECK(resumed.code == 2);
  CHECK(has(resumed.err, "--precision was \"bf16\" in the run to resume"));
}

TEST_CASE("devices: train, eval, predict and resume on a GPU that is emulated") {
  const TrainingFiles files;
  const auto on_gpu = [&](const std::vector<std::string>& arguments,
                          const std::vector<std::string>& environment = {}) {
    Ended e = fulmar_program(arguments, with_fake(environment));
    CHECK_MESSAGE(e.code == 0, e.err);
    return e;
  };
  const Ended trained = on_gpu(files.arguments(
      {"--epochs", "2", "--validation", "0.25", "--device", "cuda:1", "--precision", "fp32"}));
  CHECK(has(trained.err, "of the memory of cuda:1 (Emulated GPU 1)"));
  const Json config = json_in(files.run + "/config.json");
  CHECK(config["device"] == "cuda:1");
  CHECK(config["precision"] == "fp32");
  const Json machine = json_in(files.run + "/run.json")["sessions"][0]["machine"];
  CHECK(machine["device"] == "cuda:1");
  CHECK(machine["hardware"] == "Emulated GPU 1");
  CHECK(machine["precision"] == "fp32");
  CHECK(machine["instruction_set"] == cpu_backend().isa());
  CHECK(has(contents(files.run + "/report.html"), "cuda:1, Emulated GPU 1, fp32"));

  // bf16 unless told.
  fs::rename(files.run, files.run + "-fp32");
  on_gpu(files.arguments({"--epochs", "1", "--device", "auto"}));
  CHECK(json_in(files.run + "/config.json")["precision"] == "bf16");
  CHECK(json_in(files.run + "/config.json")["device"] == "cuda:0");
  const Json scores = Json::parse(
      on_gpu({"eval", files.run + "/best.safetensors", files.data, "--device", "cpu", "--json"})
          .out);
  CHECK(scores["loss"].is_number());  // a model is of no precision
  fs::remove_all(files.run);
  fs::rename(files.run + "-fp32", files.run);

  // The same numbers as on the CPU, but for rounding.
  const std::string model = files.run + "/best.safetensors";
  const auto loss = [](const Ended& e) { return Json::parse(e.out)["loss"].get<double>(); };
  const double gpu_loss = loss(
      on_gpu({"eval", model, files.data, "--device", "cuda", "--precision", "fp32", "--json"}));
  const double cpu_loss = loss(on_gpu({"eval", model, files.data, "--device", "cpu", "--json"}));
  CHECK(gpu_loss == doctest::Approx(cpu_loss).epsilon(1e-5));
  const Ended predicted =
      on_gpu({"predict", model, files.data, "--device", "cuda", "--precision", "fp32", "--json"});
  CHECK(count_of(predicted.out, "\"path\"") == 24);
}

TEST_CASE("devices: a run goes on where it began, to the same bits, or elsewhere with a word") {
  const TrainingFiles files({"neg", "pos"}, 20, 64);
  const auto arguments = [&](const std::string& run) {
    return std::vector<std::string>{"train",   files.data,    "--out",    run,        "--crop",
                                    "64",      "--widths",    "4,8",      "--epochs", "2",
                                    "--batch", "2",           "--device", "cuda",     "--sampling",
                                    "epoch",   "--precision", "fp32"};
  };
  const std::string whole = files.folder.path("whole"), run = files.folder.path("part");
  REQUIRE(fulmar_program(arguments(whole), with_fake()).code == 0);
  HowToRun how = with_fake();
  how.interrupt_at = "takes about";
  const Ended stopped = fulmar_program(arguments(run), how);
  REQUIRE_MESSAGE(stopped.code == 130, stopped.err);
  const std::string copy = files.folder.path("copy");
  fs::copy(run, copy, fs::copy_options::recursive);

  CHECK(contents(run + "/convolutions.txt") == "chosen at first\n");
  write_file(run + "/convolutions.txt", "kept with the run\n");
  const Ended missing = fulmar_program({"train", "--out", run, "--resume"}, with_library("none"));
  CHECK(missing.code == 4);  // not silently on the CPU
  const std::string log = files.folder.path("log");
  const Ended resumed =
      fulmar_program({"train", "--out", run, "--resume"}, with_fake({"FAKE_CUDA_LOG=" + log}));
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
  CHECK(contents(log) == "open fp32\nchoices: kept with the run\n");
  CHECK(contents(run + "/convolutions.txt") == "kept with the run\n");
  CHECK(tensors_in(run + "/last.safetensors") == tensors_in(whole + "/last.safetensors"));

  const Ended other =
      fulmar_program({"train", "--out", copy, "--resume", "--precision", "bf16"}, with_fake());
  CHECK(other.code == 2);
  CHECK(has(other.err, "--precision was \"fp32\" in the run to resume"));
  const Ended moved =
      fulmar_program({"train", "--out", copy, "--resume", "--device", "cpu"}, with_fake());
  CHECK_MESSAGE(moved.code == 0, moved.err);
  CHECK(has(moved.err, "this run began on Emulated GPU 0; here it is "));
  CHECK(has(moved.err, "not with the same bits"));
}

TEST_CASE("devices: pictures that stay on the GPU change no bit; --debug neither") {
  const TrainingFiles files;
  std::vector<std::string> tensors;
  for (const std::vector<std::string>& how : {std::vector<std::string>{"--device-cache", "off"},
                                              {"--device-cache", "2000"},
                                              {"--device-cache", "auto"},
                                              {"--debug"}}) {
    CAPTURE(how[0]);
    fs::remove_all(files.run);
    std::vector<std::string> more{"--epochs", "3",    "--validation", "0.25",
                                  "--device", "cuda", "--precision",  "fp32"};
    more.insert(more.end(), how.begin(), how.end());
    const Ended e = fulmar_program(files.arguments(more), with_fake());
    CHECK_MESSAGE(e.code == 0, e.err);
    tensors.push_back(tensors_in(files.run + "/last.safetensors"));
    CHECK(tensors.back() == tensors.front());
  }
}

TEST_CASE("devices: a GPU's memory is looked at before pictures are read, exit 4") {
  const TrainingFiles files({"neg", "pos"}, 12, 64);
  const auto train = [&](const std::string& batch, const std::string& memory) {
    fs::remove_all(files.run);
    return fulmar_program(
        {"train", files.data, "--out", files.run, "--crop", "64", "--widths", "4,8", "--batch",
         batch, "--epochs", "1", "--device", "cuda", "--precision", "fp32"},
        with_fake({"FAKE_CUDA_MEMORY=" + memory}));
  };
  const Ended e = train("64", "8000000");
  CAPTURE(e.err);
  CHECK(e.code == 4);
  CHECK(has(e.err, "out of memory: training with batches of 64 pictures takes about"));
  CHECK(has(e.err, "of cuda:0 (Emulated GPU 0) are free; a batch of "));
  CHECK(has(e.err, "use a smaller --batch"));
  CHECK_FALSE(fs::exists(files.run));
  // The batch that it names does fit, with what other memory is there.
  const size_t at = e.err.find("a batch of ") + 11;
  const std::string fits = e.err.substr(at, e.err.find(' ', at) - at);
  const Ended good = train(fits, "8000000");
  CHECK_MESSAGE(good.code == 0, good.err);
}

TEST_CASE("devices: the program names no library of CUDA's") {
  const Ended e = run_process("/usr/bin/env", {"ldd", built::program});
  if (e.code == 127) {
    MESSAGE("skipped: no ldd here");
    return;
  }
  REQUIRE_MESSAGE(e.code == 0, e.err);
  // Names alone: the folders that they were found in may be called anything.
  std::string names, line;
  for (std::istringstream lines(e.out); std::getline(lines, line);)
    names += line.substr(0, line.find(" =>")) + "\n";
  CHECK(has(names, "libc.so"));
  for (const char* name : {"cuda", "cudnn", "cublas", "nvrtc", "nvidia"}) {
    CAPTURE(name);
    CHECK_FALSE(has(names, name));
  }
}

TEST_CASE("devices: the real library without cuDNN is named, and the CPU goes on") {
  if (built::real_cuda.empty()) {
    MESSAGE("skipped: the CUDA backend's library was not built");
    return;
  }
  const TempFolder folder;
  const std::string library = folder.path("libfulmar_cuda.so"), needed = "libcudnn.so.9";
  std::string bytes = read_file(built::real_cuda, uint64_t{1} << 30);
  for (size_t at; (at = bytes.find(needed)) != std::string::npos;) bytes.replace(at, 3, "lob");
  write_file(library, bytes);
  const Ended e = fulmar_program(info_cuda, with_library(library));
  CAPTURE(e.err);
  CHECK(e.code == 4);
  CHECK(has(e.err, "lobcudnn.so.9: cannot open shared object file"));
  const TrainingFiles files;
  for (const char* device : {"cpu", "auto"}) {
    fs::remove_all(files.run);
    const Ended train = fulmar_program(files.arguments({"--epochs", "1", "--device", device}),
                                       with_library(library));
    CHECK_MESSAGE(train.code == 0, train.err);
    CHECK(has(train.err, "computing on the CPU: ") == (device == std::string("auto")));
  }
}
