#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/context.h"
#include "engine/io/file.h"
#include "model/classifier.h"
#include "model/tasks/regression.h"
#include "model/tasks/segmentation.h"
#include "tests/support/built.h"
#include "tests/support/paths.h"
#include "tests/support/picture_model.h"
#include "tests/support/program.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

struct Files {
  TempFolder folder;
  std::string model = folder.path("model.safetensors");
  std::string pictures = folder.path("pictures");

  Files() {
    save_model(model, {"neg", "pos"});
    picture("a.bmp", 20);
    picture("b.bmp", 24);
    picture("c.bmp", 20);
    picture("deeper/d.bmp", 20);
    picture("e.bmp", 16);
  }
  void picture(const std::string& name, int side) const {
    save_picture(pictures + "/" + name, side, static_cast<uint32_t>(name[0]));
  }
};

std::vector<Json> lines_of(const std::string& text) {
  std::vector<Json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(Json::parse(line));
  return lines;
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

}  // namespace

TEST_CASE("predict --json: a line a picture, in order, with what the library says of it") {
  const Files files;
  const Ended e = fulmar_program({"predict", files.model, files.pictures, "--json"});
  CHECK(e.code == 0);
  CHECK(has(e.err, "only the centre 16 x 16 of 20 x 20 pixels is used, 64 % (3 pictures)\n"));
  CHECK(has(e.err, "only the centre 16 x 16 of 24 x 24 pixels is used, 44 % (1 picture)\n"));
  CHECK_FALSE(has(e.err, "of 16 x 16"));
  const std::vector<Json> lines = lines_of(e.out);
  REQUIRE(lines.size() == 5);
  Context context;
  model::Classifier classifier(context, files.model, "reference");
  const std::vector<std::string> names{"a.bmp", "b.bmp", "c.bmp", "deeper/d.bmp", "e.bmp"};
  for (size_t i = 0; i < 5; i++) {
    const std::string path = files.pictures + "/" + names[i];
    CHECK(keys_of(lines[i]) ==
          std::vector<std::string>{"path", "class", "probabilities", "logits", "seen"});
    CHECK(keys_of(lines[i]["probabilities"]) == std::vector<std::string>{"neg", "pos"});
    CHECK(lines[i]["path"] == path);
    const double side = i == 1 ? 24 : i == 4 ? 16 : 20;
    CHECK(lines[i]["seen"] == Json{{"left", (side - 16) / 2},
                                   {"top", (side - 16) / 2},
                                   {"width", 16.0},
                                   {"height", 16.0}});
    data::Image image = data::read_image(path);
    const model::Outputs outputs = classifier.predict(image.view());
    const double pos = lines[i]["probabilities"]["pos"];
    CHECK(pos == doctest::Approx(outputs.probabilities[1]).epsilon(1e-5));
    CHECK(lines[i]["logits"][0].get<double>() == doctest::Approx(outputs.logits[0]).epsilon(1e-5));
    CHECK(lines[i]["class"] == (pos >= 0.25 ? "pos" : "neg"));
  }

  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"--batch", "1"}, {"--batch", "2"}, {"--threads", "1"}}) {
    std::vector<std::string> arguments{"predict", files.model, files.pictures, "--json"};
    arguments.insert(arguments.end(), how.begin(), how.end());
    CHECK(fulmar_program(arguments).out == e.out);
  }
}

TEST_CASE("predict: the threshold of the model decides, or another") {
  const Files files;
  const std::string picture = files.pictures + "/a.bmp";
  const auto decided = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"predict", files.model, picture};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ended e = fulmar_program(arguments);
    CHECK(e.code == 0);
    return e.out.substr(0, e.out.find('\t'));
  };
  CHECK(decided({"--threshold", "0"}) == "pos");
  CHECK(decided({"--threshold", "1"}) == "neg");
  const Ended e = fulmar_program({"predict", files.model, picture});
  CHECK(e.out.substr(e.out.size() - picture.size() - 1) == picture + "\n");

  const std::string three = files.folder.path("three.safetensors");
  save_model(three, {"a", "b", "c"});
  CHECK(fulmar_program({"predict", three, picture}).code == 0);
  const Ended wrong = fulmar_program({"predict", three, picture, "--threshold", "0.5"});
  CHECK(wrong.code == 2);
  CHECK(has(wrong.err, "--threshold goes with two classes"));
}

TEST_CASE("predict: a bad file is told of, the rest goes on, exit 3 at the end") {
  const Files files;
  write_file(files.pictures + "/b1.bmp", "BM");
  write_file(files.pictures + "/b2.png", "");
  write_file(files.pictures + "/b3.jpg", "not a picture");
  write_file(files.pictures + "/readme.txt", "not a picture, nor called one");
  files.picture("b4.bmp", 15);
  write_bitmap(files.pictures + "/b5.bmp", 16, 20, [](int, int) { return 0u; });
  const std::string wide = golden("../fuzz/corpus/image/wide.png");  // 16 bits
  const std::string absent = files.folder.path("absent.png");
  const Ended e = fulmar_program({"predict", files.model, absent, files.pictures, wide, "--json"});
  CHECK(e.code == 3);
  CHECK(has(e.err, "6 of 12 pictures could not be used"));
  const std::vector<Json> lines = lines_of(e.out);
  REQUIRE(lines.size() == 12);
  CHECK(lines[0]["path"] == absent);
  CHECK(lines[11]["path"] == wide);
  int failed = 0;
  for (const Json& line : lines) {
    const std::string path = line["path"];
    if (!line.contains("error")) {
      CHECK(line.contains("class"));
      continue;
    }
    failed++;
    CHECK(keys_of(line) == std::vector<std::string>{"path", "error"});
    CHECK(has(line["error"], path));
  }
  CHECK(failed == 6);
  CHECK(has(lines[11]["error"], "u16"));

  const Ended text = fulmar_program({"predict", files.model, files.pictures});
  CHECK(text.code == 3);
  CHECK(std::count(text.out.begin(), text.out.end(), '\n') == 6);
  CHECK(has(text.err, "fulmar: " + files.pictures + "/b2.png"));
}

TEST_CASE("predict --csv: the same as a table, whole or not at all") {
  const Files files;
  const std::string csv = files.folder.path("table.csv");
  write_file(files.pictures + "/b,\"1\".png", "no");
  const Ended e = fulmar_program({"predict", files.model, files.pictures, "--json", "--csv", csv});
  CHECK(e.code == 3);
  const std::vector<Json> lines = lines_of(e.out);
  std::string expected = "path,class,probability_neg,probability_pos,logit_neg,logit_pos,error\n";
  for (const Json& line : lines) {
    std::vector<std::string> cells{line["path"]};
    if (line.contains("error")) {
      cells.insert(cells.end(), {"", "", "", "", "", line["error"].get<std::string>()});
    } else {
      cells.push_back(line["class"]);
      for (const Json& value : line["probabilities"])
        cells.push_back(tools::number_text(value.get<double>()));
      for (const Json& value : line["logits"])
        cells.push_back(tools::number_text(value.get<double>()));
      cells.emplace_back();
    }
    expected += tools::csv_row(cells);
  }
  CHECK(read_file(csv, 1 << 20) == expected);
  CHECK(has(expected, "b,\"\"1\"\".png\""));

  const Ended nowhere = fulmar_program(
      {"predict", files.model, files.pictures, "--csv", files.folder.path("absent/table.csv")});
  CHECK(nowhere.code == 3);
  CHECK(has(nowhere.err, "absent/table.csv"));

  HowToRun full;
  full.environment = {"LD_PRELOAD=" + built::no_space, "FULMAR_FULL_DISK=" + files.folder.path()};
  const std::string unwritten = files.folder.path("unwritten.csv");
  full.out = "/dev/null";
  const Ended no_space =
      fulmar_program({"predict", files.model, files.pictures, "--csv", unwritten}, full);
  CHECK(no_space.code == 3);
  CHECK(has(no_space.err, unwritten));
  CHECK(has(no_space.err, "No space left on device"));
  CHECK_FALSE(std::filesystem::exists(unwritten));
  CHECK_FALSE(std::filesystem::exists(unwritten + ".tmp"));
}

TEST_CASE("predict: an interrupt ends it with 130, and nothing half-written stays") {
  const Files files;
  const std::string csv = files.folder.path("table.csv");
  std::vector<std::string> arguments{"predict", files.model, "--csv", csv, "--batch", "1"};
  for (int i = 0; i < 20000; i++) arguments.push_back(files.pictures + "/a.bmp");
  HowToRun how;
  how.interrupt = true;
  const Ended e = fulmar_program(arguments, how);
  CHECK(e.code == 130);
  CHECK(has(e.err, "interrupted"));
  CHECK_FALSE(std::filesystem::exists(csv));
  CHECK_FALSE(std::filesystem::exists(csv + ".tmp"));
}

TEST_CASE(
    "a model file that is absent, cut short, damaged or something else: exit 3 and its name") {
  const Files files;
  const std::string good = read_file(files.model, 1 << 24);
  const std::string bad = files.folder.path("bad.safetensors");
  const auto flipped = [&](size_t at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    return bytes;
  };
  const std::vector<std::string> contents{"",
                                          "hello",
                                          good.substr(0, 100),
                                          good.substr(0, good.size() - 1),
                                          flipped(200),
                                          flipped(good.size() - 5),
                                          read_file(files.pictures + "/a.bmp", 1 << 20)};
  for (const std::string& content : contents) {
    CAPTURE(content.size());
    write_file(bad, content);
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"predict", bad, files.pictures}, {"info", bad}}) {
      const Ended e = fulmar_program(arguments);
      CHECK(e.code == 3);
      CHECK(has(e.err, bad));
      CHECK(e.out.empty());
    }
  }
  for (const char* command : {"predict", "info"}) {
    std::vector<std::string> arguments{command, files.folder.path("absent")};
    if (std::string(command) == "predict") arguments.push_back(files.pictures);
    const Ended e = fulmar_program(arguments);
    CHECK(e.code == 3);
    CHECK(has(e.err, files.folder.path("absent")));
  }
}

TEST_CASE("info of a model file: classes, threshold, preprocessing, how it was trained") {
  const Files files;
  const Ended e = fulmar_program({"info", files.model, "--json"});
  REQUIRE(e.code == 0);
  const Json json = Json::parse(e.out);
  CHECK(json["classes"] == Json{"neg", "pos"});
  CHECK(json["positive_class"] == "pos");
  CHECK(json["threshold"] == 0.25);
  CHECK(json["preprocess"]["crop"] == 16);
  CHECK(json["resumable"] == false);
  CHECK(json["training"]["epoch"] == 7);
  CHECK(json["parameters"].get<int64_t>() > 0);
  const Ended text = fulmar_program({"info", files.model});
  CHECK(text.code == 0);
  for (const char* part :
       {"neg, pos", "threshold   0.2500: pos", "centre crop 16x16", "epoch               7",
        "val loss            0.03125", "separable_conv2d_1"})
    CHECK(has(text.out, part));
  CHECK(fulmar_program({"info", files.model, "--size", "64"}).code == 2);
  const auto tape = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"info", files.model});
    const Ended printed = fulmar_program(more);
    CHECK_MESSAGE(printed.code == 0, printed.err);
    return printed.out;
  };
  const std::string inference = tape({"--tape", "inference"});
  CHECK(has(inference, " [1,8,8,4]  layers=warp conv2d+relu  in place of warp, conv2d, relu\n"));
  CHECK(has(inference, "layers=separable+relu  in place of depthwise_conv2d, conv2d, relu\n"));
  CHECK_FALSE(has(inference, "= batch_norm("));
  CHECK(has(tape({"--tape", "training", "--batch", "3"}), "= conv2d_weight_grad("));
  CHECK(tape({"--tape", "inference", "--tape-format", "graphviz"}).find("digraph tape {") == 0);
  CHECK(tape({"--tape", "inference", "--tape-format", "mermaid"}).find("flowchart TD") == 0);
  const Json nodes = Json::parse(tape({"--tape", "inference", "--json"}))["nodes"];
  const auto run = std::find_if(nodes.begin(), nodes.end(),
                                [](const Json& node) { return node["op"] == "row_run"; });
  REQUIRE(run != nodes.end());
  CHECK((*run)["inputs"][0] == Json{0, 0});
  CHECK((*run)["inputs"][1] == Json{1, 0});
  CHECK((*run)["outputs"][0] == Json{{"shape", {1, 8, 8, 4}}, {"role", "activation"}});
  CHECK(fulmar_program({"info", files.model, "--tape-format", "mermaid"}).code == 2);
  CHECK(fulmar_program({"info", files.model, "--new", "polar-low"}).code == 2);
}

TEST_CASE("info tells the tasks of a model that is no classifier; predict and eval refuse it") {
  TempFolder folder;
  const std::string path = folder.path("pixels.safetensors"), data = folder.path("data");
  ModelInfo info;
  info.network.add("input", "input", {}, {{"channels", int64_t{3}}});
  info.network.add("conv2d", "surface", {"input"}, {{"filters", int64_t{2}}});
  info.preprocess["input"] = Preprocess::of_pictures(0, 16, 3);
  model::set_heads(
      info,
      {{std::make_shared<model::Segmentation>(std::vector<std::string>{"sea", "ice"}), "surface"}});
  Context context;
  Model weights = model::new_model(info, context.device("cpu"), 7);
  save_checkpoint(path, info, weights);

  const Ended shown = fulmar_program({"info", path});
  CHECK(shown.code == 0);
  CHECK(shown.out.find("output      surface: segmentation {\"classes\":[\"sea\",\"ice\"]") !=
        std::string::npos);
  const auto json = nlohmann::json::parse(fulmar_program({"info", path, "--json"}).out);
  CHECK(json["heads"][0]["settings"]["classes"][1] == "ice");

  model::set_heads(info, {{std::make_shared<model::Regression>(), "surface"}});
  save_checkpoint(path, info, weights);
  save_picture(data + "/sea/1.bmp", 16, 1);
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"predict", path, data + "/sea/1.bmp"},
        std::vector<std::string>{"eval", path, data}}) {
    const Ended refused = fulmar_program(command);
    CHECK(refused.code == 3);
    CHECK(refused.err.find(path + ": not a usable model: it is no classifier (surface: "
                                  "regression)") != std::string::npos);
  }
}
