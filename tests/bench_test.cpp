#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/program.h"
#include "tests/support/slow_build.h"

using namespace fulmar::test;
using Json = nlohmann::json;

TEST_CASE("bench: prints each kernel's rates beside what the machine reaches") {
  const Ended table = fulmar_program({"bench", "--batch", "1", "--crop", "64", "--seconds", "0",
                                      "--filter", "^(conv2d|relu)/block 3", "--device", "cpu"});
  CHECK(table.code == 0);
  CHECK(table.out.find("% of ceiling") != std::string::npos);
  CHECK(table.out.find("\nconv2d/block 3 second ") != std::string::npos);
  CHECK(table.out.find("\nrelu/block 3 ") != std::string::npos);
  CHECK(table.out.find("depthwise") == std::string::npos);

  const Ended json =
      fulmar_program({"bench", "--batch", "1", "--crop", "64", "--seconds", "0", "--filter",
                      "^(conv2d|relu)/block 3", "--json", "--device", "cpu"});
  REQUIRE(json.code == 0);
  const Json result = Json::parse(json.out);
  CHECK(result.at("ceilings").at("copy_gbytes_per_second") > 0);
  CHECK(result.at("ceilings").at("gflops_per_second") > 0);
  CHECK(result.at("machine").contains("processor"));
  bool relu = false;
  for (const Json& kernel : result.at("kernels")) {
    const double rate = kernel.at("gbytes_per_second"), bytes = kernel.at("bytes");
    CHECK(rate == doctest::Approx(bytes / kernel.at("us").get<double>() * 1e-3));
    if (kernel.at("name") != "relu/block 3") {
      CHECK(kernel.at("share_of_ceiling") > 0);
      continue;
    }
    relu = true;
    CHECK(kernel.at("shapes") == "[1,8,8,32] -> [1,8,8,32]");
    CHECK(bytes == 2 * 8 * 8 * 32 * 4);
    CHECK_FALSE(kernel.contains("flops"));
  }
  CHECK(relu);
}

TEST_CASE("bench: a filter that is none, or finds nothing, is an error") {
  for (const std::string filter : {"(", "no such kernel"}) {
    const Ended ended = fulmar_program({"bench", "--crop", "64", "--filter", filter});
    CHECK(ended.code == 2);
    CHECK(ended.out.empty());
    CHECK(ended.err.find("'" + filter + "'") != std::string::npos);
  }
}

TEST_CASE("bench: --list names the kernels and runs none") {
  const Ended list = fulmar_program({"bench", "--list", "--filter", "^warp/"});
  CHECK(list.code == 0);
  CHECK(list.out.find("warp/u8, crop\n") != std::string::npos);
  CHECK(list.out.find("relu") == std::string::npos);
  const Ended json = fulmar_program({"bench", "--list", "--filter", "^warp/u8, crop$", "--json"});
  CHECK(json.code == 0);
  CHECK(Json::parse(json.out) == Json::array({"warp/u8, crop"}));
}

TEST_CASE("bench step: time, memory and floor of a training step and of an inference") {
  for (const bool inference : {false, true}) {
    std::vector<std::string> words{"bench",  "step",     "--size",   "96",     "--crop",
                                   "64",     "--batch",  "2",        "--runs", "2",
                                   "--json", "--stages", "--device", "cpu"};
    if (inference) words.emplace_back("--inference");
    const Ended ended = fulmar_program(words);
    REQUIRE(ended.code == 0);
    const Json result = Json::parse(ended.out);
    CHECK(result.at("what") == (inference ? "inference" : "step"));
    CHECK(result.at("runs") == 2);
    CHECK(result.at("fuse") == true);
    CHECK(result.at("ms_per_image_best") <= result.at("ms_per_image"));
    const double floor = result.at("floor_ms"), arithmetic = result.at("arithmetic_ms");
    CHECK(arithmetic > 0);
    CHECK(floor >= arithmetic);
    CHECK(result.at("above_floor").size() == 5);
    double blocks = 0, ops = 0;
    for (const Json& stage : result.at("stages").at("blocks"))
      blocks += stage.at("floor_ms").get<double>();
    for (const Json& stage : result.at("stages").at("ops"))
      ops += stage.at("floor_ms").get<double>();
    CHECK(blocks == doctest::Approx(floor));
    CHECK(ops == doctest::Approx(floor));
    if (sanitized) continue;  // a sanitizer takes memory of its own
    // Beside the plan there are a few MB of code and scratch memory.
    const double planned = result.at("planned_bytes"), peak = result.at("peak_bytes");
    CHECK(planned > 1e5);
    CHECK(peak > 0.5 * planned);
    CHECK(peak < 1.5 * planned + 8e6);
  }
}

TEST_CASE("bench step: pictures are read where they lie") {
  if (sanitized) return;  // a sanitizer takes memory of its own
  const Ended ended = fulmar_program({"bench", "step", "--size", "2048", "--crop", "64", "--batch",
                                      "4", "--runs", "1", "--json", "--device", "cpu"});
  REQUIRE(ended.code == 0);
  const Json result = Json::parse(ended.out);
  const double pictures = 4.0 * 2048 * 2048 * 3;
  CHECK(result.at("peak_bytes") < result.at("planned_bytes").get<double>() + pictures / 2);
}

TEST_CASE("bench step: prints a table, and says whether ops were fused") {
  const Ended ended =
      fulmar_program({"bench", "step", "--size", "64", "--crop", "64", "--batch", "1", "--runs",
                      "1", "--fuse", "off", "--augment", "--device", "cpu"});
  REQUIRE(ended.code == 0);
  for (const char* part : {"unfused, batch 1, 64 pixels, crop 64, augmented\n", "ms per image",
                           "\nfloor ", " planned\n", "furthest above the floor"})
    CHECK(ended.out.find(part) != std::string::npos);
}

TEST_CASE("bench step: impossible sizes and misplaced options are errors") {
  const auto expect = [](const std::vector<std::string>& words, int code, const char* message) {
    const Ended ended = fulmar_program(words);
    CHECK(ended.code == code);
    CHECK(ended.out.empty());
    INFO(ended.err);
    CHECK(ended.err.find(message) != std::string::npos);
  };
  expect({"bench", "step", "--size", "64", "--crop", "96"}, 2, "doesn't fit into pictures of 64");
  expect({"bench", "step", "--crop", "4"}, 2, "4 is not between 8 and 32768");
  expect({"bench", "step", "--batch", "0"}, 2, "--batch");
  expect({"bench", "step", "--inference", "--augment"}, 2, "--augment is for training steps");
  expect({"bench", "--batch", "2", "step"}, 2, "options of 'bench step' stand behind it");
  expect({"bench", "step", "--sise", "64"}, 2, "did you mean --size?");
  expect({"bench", "step", "--size", "32768", "--batch", "4096", "--device", "cpu"}, 4,
         "use a smaller --batch");
}

namespace {

const Json* find_kernel(const Json& result, const std::string& name) {
  for (const Json& kernel : result.at("kernels"))
    if (kernel.at("kernel") == name) return &kernel;
  return nullptr;
}

}  // namespace

TEST_CASE("bench --counters: what kernels ask of a GPU, and a time that is called predicted") {
  if (built::counted.empty()) return;
  const std::vector<std::string> words{
      "bench", "step",   "--device", "simt",     "--counters", "--batch",     "1",   "--size",
      "32",    "--crop", "32",       "--widths", "8,16",       "--precision", "fp32"};
  const Ended table = fulmar_program(words);
  REQUIRE(table.code == 0);
  CHECK(table.out.find("predicted us") != std::string::npos);
  CHECK(table.out.find("predicted for H200 SXM by a model, not measured") != std::string::npos);
  CHECK(table.out.find("\nadamw ") != std::string::npos);
  CHECK(table.out.find("registers unknown: ") != std::string::npos);

  std::vector<std::string> json = words;
  json.insert(json.end(), {"--json", "--gpu", "a100"});
  const Ended ended = fulmar_program(json);
  REQUIRE(ended.code == 0);
  const Json result = Json::parse(ended.out);
  CHECK(result.at("gpu") == "a100");
  CHECK(result.at("precision") == "fp32");
  CHECK(result.at("arithmetic_missing").is_null());
  double us = 0;
  for (const Json& kernel : result.at("kernels")) us += kernel.at("predicted_us").get<double>();
  CHECK(result.at("total").at("predicted_us") == doctest::Approx(us));
  const Json* const adamw = find_kernel(result, "adamw");
  REQUIRE(adamw);
  CHECK(adamw->at("launches") == 1);
  CHECK(adamw->at("counts").at("lane_fma32") > 0);

  // Twice the side: pooled pixels are four times as many, the weights as many.
  json.insert(json.end(), {"--scale-to", "64"});
  const Ended larger = fulmar_program(json);
  REQUIRE(larger.code == 0);
  const Json scaled = Json::parse(larger.out);
  CHECK(scaled.at("scaled_to") == 64);
  CHECK(find_kernel(scaled, "adamw")->at("counts").at("store_sectors") ==
        adamw->at("counts").at("store_sectors"));
  CHECK(find_kernel(scaled, "pool_skip")->at("counts").at("store_sectors") ==
        4 * find_kernel(result, "pool_skip")->at("counts").at("store_sectors").get<int>());

  // A few blocks for all: their numbers are others', what they move isn't.
  json.erase(json.end() - 2, json.end());
  json.insert(json.end(), {"--blocks", "4"});
  const Ended few = fulmar_program(json);
  REQUIRE(few.code == 0);
  const Json sampled = Json::parse(few.out);
  CHECK(sampled.at("blocks") == 4);
  for (const char* name : {"adamw", "pool_skip"})
    CHECK(find_kernel(sampled, name)->at("counts").at("store_used_bytes").get<double>() ==
          doctest::Approx(
              find_kernel(result, name)->at("counts").at("store_used_bytes").get<double>())
              .epsilon(0.1));
}

TEST_CASE("bench --counters: the kernels of rows, whose counts are known") {
  if (built::counted.empty()) return;
  const Ended ended = fulmar_program({"bench", "--device", "simt", "--counters", "--batch", "1",
                                      "--crop", "64", "--filter", "^relu/block 1$", "--json"});
  REQUIRE(ended.code == 0);
  const Json relu = Json::parse(ended.out).at("kernels").at(0);
  CHECK(relu.at("kernel") == "relu/block 1");
  // 32 x 32 pixels of 8 bf16.
  const Json& counts = relu.at("counts");
  CHECK(counts.at("load_requests") == 32 * 32 / 32);
  CHECK(counts.at("load_sectors") == 32 * 32 * 16 / 32);
  CHECK(counts.at("load_used_bytes") == 32 * 32 * 16);
  CHECK(counts.at("store_sectors") == 32 * 32 * 16 / 32);
  CHECK(counts.at("lane_slots") == counts.at("lane_runs"));
}

TEST_CASE("bench --counters: what is missing or does not go together is named") {
  const auto expect = [](std::vector<std::string> words, int code, const std::string& part) {
    words.insert(words.begin(), {"bench", "step"});
    HowToRun how;
    how.environment = {"FULMAR_COUNTED_LIBRARY=none"};
    const Ended ended = fulmar_program(words, how);
    CAPTURE(ended.err);
    CHECK(ended.code == code);
    CHECK(ended.out.empty());
    CHECK(ended.err.find(part) != std::string::npos);
  };
  expect({"--counters"}, 4, "switched off by FULMAR_COUNTED_LIBRARY=none");
  expect({"--device", "simt"}, 2, "goes with --counters");
  expect({"--device", "cpu", "--counters"}, 2, "not cpu");
  expect({"--blocks", "64"}, 2, "--blocks goes with --counters");
  expect({"--scale-to", "64"}, 2, "--scale-to goes with --counters");
  expect({"--counters", "--gpu", "h300"}, 2, "'h300' is none of h100|h200|a100|rtx-4090");
}
