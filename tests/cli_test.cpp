#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "tests/support/built.h"
#include "tests/support/paths.h"
#include "tests/support/picture_model.h"
#include "tests/support/program.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::json;

namespace {

const std::vector<std::string> subcommands{"devices",    "train",      "eval",    "predict",
                                           "info",       "check",      "explain", "import",
                                           "robustness", "resolution", "compare"};

}  // namespace

TEST_CASE("--version tells version, commit, instruction set and backends") {
  const Ended e = fulmar_program({"--version"});
  CHECK(e.code == 0);
  for (const char* part : {"fulmar 0.", "\ncommit ", "\ninstruction set ", "\nbackends "})
    CHECK(has(e.out, part));
  CHECK(e.err.empty());
}

TEST_CASE("--help names every subcommand, and each explains itself and the shared options") {
  const Ended e = fulmar_program({"--help"});
  CHECK(e.code == 0);
  for (const std::string& name : subcommands) {
    CAPTURE(name);
    CHECK(has(e.out, "\n  " + name + " "));
    const Ended own = fulmar_program({name, "--help"});
    CHECK(own.code == 0);
    CHECK(has(own.out, name));
    for (const char* option : {"--help", "--json", "--seed N", "--threads N"})
      CHECK(has(own.out, option));
    const bool computes = name == "train" || name == "eval" || name == "predict" ||
                          name == "info" || name == "explain" || name == "robustness" ||
                          name == "resolution" || name == "compare";
    CHECK(has(own.out, "--device auto|cpu|cuda|cuda:N") == computes);
    // Of a comparison the table says it.
    CHECK(has(own.out, "--precision bf16|fp32|tf32") == (computes && name != "compare"));
    CHECK(own.err.empty());
  }
}

TEST_CASE("help SUBCOMMAND is its --help; --help-all is all of them") {
  for (const std::string& name : subcommands)
    CHECK(fulmar_program({"help", name}).out == fulmar_program({name, "--help"}).out);
  const Ended e = fulmar_program({"help"});
  CHECK(e.code == 0);
  CHECK(e.out == fulmar_program({"--help"}).out);
  CHECK(has(e.out, "\n  help "));
  const Ended all = fulmar_program({"--help-all"});
  CHECK(all.code == 0);
  for (const char* option : {"--csv", "--plateau-patience", "--report-file", "--no-masks"})
    CHECK(has(all.out, option));
  CHECK(fulmar_program({"train", "--help-all"}).code == 0);  // though --out is required
  CHECK(has(fulmar_program({"train", "--help-all"}).out, "--plateau-patience"));
}

TEST_CASE("wrong arguments: exit 2, a line that names them, nothing on standard output") {
  struct Row {
    std::vector<std::string> arguments;
    std::string message;
  };
  const std::vector<Row> rows{
      {{}, "subcommand"},
      {{"bogus"}, "'bogus' is neither a subcommand nor an option"},
      {{"--bogus"}, "'--bogus' is neither"},
      {{"info"}, "--new"},
      {{"eval", "model.safetensors"}, "DIR"},
      {{"check"}, "DIR"},
      {{"check", "a", "b"}, "b"},
      {{"robustness", "model.safetensors"}, "DIR"},
      {{"resolution", "d"}, "--out"},
      {{"resolution", "d", "--out", "o", "--resume"},
       "resolution has no option --resume (train has"},
      {{"resolution", "d", "--out", "o", "--factors", "1,,2"}, "--factors: '' is not a whole"},
      {{"compare"}, "TABLE"},
      {{"compare", "t.json"}, "--out"},
      {{"predict"}, "MODEL"},
      {{"predict", "model.safetensors"}, "IMAGE"},
      {{"info", "--new", "resnet"}, "'resnet' is none of polar-low"},
      {{"info", "--new", "polar-low", "--bogus"}, "info has no option --bogus\n"},
      {{"predict", "m.safetensors", "a.png", "-o", "t.csv"}, "did you mean --out or --csv?"},
      {{"predict", "m.safetensors", "a.png", "--output=t.csv"}, "did you mean --out or --csv?"},
      {{"train", "d", "--output", "r"}, "train has no option --output: did you mean --out?"},
      {{"train", "d", "--out", "r", "--epoch", "3"}, "did you mean --epochs?"},
      {{"eval", "m.safetensors", "d", "--crop", "3"},
       "eval has no option --crop (train, explain, info"},
      {{"help", "bogus"}, "there is no subcommand 'bogus'"},
      {{"info", "--new", "polar-low", "--size"}, "--size"},
      {{"info", "--new", "polar-low", "--size", "1x"}, "--size: '1x' is not a whole number"},
      {{"info", "--new", "polar-low", "--size", ""}, "--size"},
      {{"info", "--new", "polar-low", "--size", "1e3"}, "--size: '1e3' is not a whole number"},
      {{"info", "--new", "polar-low", "--size", "0"}, "--size: 0 is not between 1 and 32768"},
      {{"info", "--new", "polar-low", "--size", "99999999999999999999"}, "is not between"},
      {{"info", "--new", "polar-low", "--widths", "8,,16"}, "--widths: '' is not a whole number"},
      {{"info", "--new", "polar-low", "--widths", "8,16,"}, "--widths: '' is not a whole number"},
      {{"info", "--new", "polar-low", "--threads", "-1"}, "--threads: -1 is not between"},
      {{"info", "--new", "polar-low", "--seed", "-1"}, "--seed"},
      {{"info", "--new", "polar-low", "--device", "tpu"}, "'tpu' is none of auto|cpu|cuda|cuda:N"},
      {{"info", "--new", "polar-low", "--device", "cuda:"}, "'cuda:' is none of"},
      {{"info", "--new", "polar-low", "--device", "cuda:-1"}, "'cuda:-1' is none of"},
      {{"info", "--new", "polar-low", "--precision", "fp16"}, "'fp16' is none of bf16|fp32|tf32"},
      {{"info", "--new", "polar-low", "--size", "512", "--crop", "1024"},
       "--crop 1024 is larger than --size 512"},
  };
  for (const Row& row : rows) {
    std::string line;
    for (const std::string& argument : row.arguments) line += argument + " ";
    CAPTURE(line);
    const Ended e = fulmar_program(row.arguments);
    CHECK(e.code == 2);
    CHECK(e.out.empty());
    CHECK(e.err.rfind("fulmar: ", 0) == 0);
    CHECK(has(e.err, row.message));
    if (!has(e.err, row.message)) MESSAGE(e.err);
  }
}

TEST_CASE("the demo takes paths as they are named and replaces nothing that it did not make") {
  const TempFolder folder;
  std::filesystem::create_directories(folder.path("mine"));
  write_file(folder.path("mine/thesis.txt"), "years of work");
  HowToRun how;
  how.folder = folder.path();
  const std::string demo = golden("../../tools/demo.sh");
  const Ended taken = run_process(demo, {"mine"}, how);
  CHECK(taken.code == 3);
  CHECK(has(taken.err, folder.path("mine") + ": holds something that no demo made"));
  CHECK(std::filesystem::exists(folder.path("mine/thesis.txt")));
  const Ended seed = run_process(demo, {"new", "one"}, how);
  CHECK(seed.code == 2);
  CHECK(has(seed.err, "'one'"));
  CHECK_FALSE(std::filesystem::exists(folder.path("new")));
}

TEST_CASE("info --new --json: the published network's numbers") {
  const Ended e =
      fulmar_program({"info", "--new", "polar-low", "--size", "1536", "--crop", "1024", "--json"});
  REQUIRE(e.code == 0);
  const Json json = Json::parse(e.out);
  CHECK(json["parameters"] == 1260322);
  CHECK(json["trainable"] == 1254194);
  CHECK(json["preprocess"]["crop"] == 1024);
  CHECK(json["layers"].size() == 73);
  CHECK(json["layers"][1]["output"] == Json{512, 512, 8});
  CHECK(json["memory"]["training"]["batch"] == 16);
  CHECK(json["memory"]["training"]["arena_bytes"] > json["memory"]["inference"]["arena_bytes"]);
  CHECK(e.err.empty());
}

TEST_CASE("info --new: widths, channels, classes and batch change what they should") {
  const Ended e =
      fulmar_program({"info", "--new", "polar-low", "--size", "88", "--crop", "88", "--channels",
                      "1", "--classes", "10", "--widths", "32,64", "--batch", "3", "--json"});
  REQUIRE(e.code == 0);
  const Json json = Json::parse(e.out);
  CHECK(json["classes"] == 10);
  CHECK(json["layers"][0]["output"] == Json{88, 88, 1});
  CHECK(json["layers"].back()["output"] == Json{1, 1, 10});
  CHECK(json["memory"]["training"]["batch"] == 3);
}

TEST_CASE("info --new: ResNet-50's numbers, without its last layer and for one band") {
  const auto numbers = [](const std::vector<std::string>& more) {
    std::vector<std::string> words{"info", "--new", "resnet50", "--json", "--batch", "1"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended e = fulmar_program(words);
    REQUIRE_MESSAGE(e.code == 0, e.err);
    return Json::parse(e.out);
  };
  const Json features = numbers({"--classes", "0"});
  CHECK(features["trainable"] == 23508032);
  CHECK(features["statistics"] == 2 * 26560);
  CHECK(features["layers"].back()["output"] == Json{1, 1, 2048});
  CHECK(features["flops"] > 2 * 4.08e9);
  CHECK(features["flops"] < 2 * 4.1e9);
  const Json grey = numbers({"--channels", "1", "--classes", "1000", "--zero-gamma"});
  CHECK(grey["trainable"] == 25557032 - 2 * 64 * 49);
  CHECK(grey["preprocess"]["crop"] == 224);
  CHECK(fulmar_program({"info", "--new", "resnet50", "--widths", "8"}).code == 2);
  CHECK(fulmar_program({"info", "--new", "polar-low", "--classes", "0"}).code == 2);
}

TEST_CASE("info --new for people: a table within 100 columns") {
  const Ended e = fulmar_program({"info", "--new", "polar-low"});
  CHECK(e.code == 0);
  CHECK(has(e.out, "1,260,322"));
  CHECK(has(e.out, "activation_14"));
  for (size_t from = 0; from < e.out.size();) {
    const size_t end = e.out.find('\n', from);
    CHECK(end - from <= 100);
    from = end + 1;
  }
}

TEST_CASE("standard output on a full disk or closed: exit 3; its reader gone: as other tools") {
  HowToRun full;
  full.out = "/dev/full";
  const Ended e = fulmar_program({"info", "--new", "polar-low"}, full);
  CHECK(e.code == 3);
  CHECK(has(e.err, "standard output can't be written (No space left on device)"));

  HowToRun closed;
  closed.close_out = true;
  CHECK(fulmar_program({"--version"}, closed).code == 3);

  HowToRun deaf;
  deaf.deaf = true;
  const Ended gone = fulmar_program({"info", "--new", "polar-low"}, deaf);
  CHECK(gone.code == 128 + 13);
  CHECK(gone.err.empty());
}

TEST_CASE("train: a run folder that can't be written: exit 3, its name, nothing left behind") {
  const TempFolder folder;
  namespace fs = std::filesystem;
  const std::string closed = folder.path("closed"), data = folder.path("data");
  for (const char* name : {"neg", "pos"})
    save_picture(data + "/" + name + "/1.bmp", 16, static_cast<uint32_t>(name[0]));
  fs::create_directories(closed);
  const auto everyone_reads = fs::perms(0555);
  fs::permissions(closed, everyone_reads);
  fs::permissions(folder.path(), fs::perms(0755));
  HowToRun how;
  how.nobody = ::geteuid() == 0;
  if (fulmar_program({"--version"}, how).code != 0) {
    MESSAGE("skipped: a user without rights can't start the program where it lies");
    return;
  }
  for (const std::string& run : {closed + "/run", closed}) {
    const Ended e = fulmar_program(
        {"train", data, "--out", run, "--crop", "16", "--widths", "4", "--epochs", "1"}, how);
    CHECK(e.code == 3);
    CAPTURE(e.err);
    CHECK(has(e.err, closed));
    CHECK(has(e.err, "Permission denied"));
    CHECK(fs::is_empty(closed));
  }
}

TEST_CASE("train: a full disk: exit 3, the file's name, no half-written model") {
  const TempFolder folder;
  const std::string data = folder.path("data"), run = folder.path("run");
  for (const char* name : {"neg", "pos"})
    save_picture(data + "/" + name + "/1.bmp", 16, static_cast<uint32_t>(name[0]));
  HowToRun full;
  full.environment = {"LD_PRELOAD=" + built::no_space, "FULMAR_FULL_DISK=" + run};
  const Ended e = fulmar_program(
      {"train", data, "--out", run, "--crop", "16", "--widths", "4", "--epochs", "1"}, full);
  CHECK(e.code == 3);
  CAPTURE(e.err);
  CHECK(has(e.err, run));
  CHECK(has(e.err, "No space left on device"));
  CHECK_FALSE(std::filesystem::exists(run + "/best.safetensors"));
  CHECK_FALSE(std::filesystem::exists(run + "/best.safetensors.tmp"));
}
