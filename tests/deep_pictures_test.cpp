#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "kernels/random.h"
#include "tests/support/deep_png.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

TEST_CASE("a folder of 16-bit pictures is trained on, evaluated, told of and predicted") {
  TempFolder folder;
  for (uint32_t i = 0; i < 24; i++) {
    const std::string name = i % 2 ? "pos" : "neg";
    std::filesystem::create_directories(folder.path("data/" + name));
    write_deep_png(folder.path("data/" + name + "/" + std::to_string(i) + ".png"), 16,
                   [&](int row, int column) {
                     const auto at =
                         static_cast<uint64_t>(row) * 16 + static_cast<uint64_t>(column);
                     return 20000 + philox(3, i, at).word[0] % 30000 + (i % 2 ? 10000 : 0);
                   });
  }
  const Ended trained = fulmar_program(
      {"train", folder.path("data"), "--out", folder.path("run"), "--channels", "1", "--crop", "16",
       "--widths", "4,8", "--epochs", "3", "--batch", "8", "--lr", "1e-2", "--validation", "0.25"});
  CHECK_MESSAGE(trained.code == 0, trained.err);
  const std::string model = folder.path("run/best.safetensors");
  const Json info = Json::parse(fulmar_program({"info", model, "--json"}).out);
  CHECK(info["resumable"] == false);
  CHECK(info["training"]["epoch"].get<int>() >= 1);
  CHECK(info["training"]["metrics"]["val_loss"].is_number_float());
  CHECK(info["training"]["metrics"]["threshold"] == info["threshold"]);
  CHECK(info["training"]["commit"].is_string());
  CHECK(has(fulmar_program({"info", model}).out, "\n  val loss  "));
  CHECK(Json::parse(fulmar_program({"info", folder.path("run/last.safetensors"), "--json"})
                        .out)["resumable"] == true);
  CHECK(info["preprocess"]["type"] == "u16");
  CHECK(info["preprocess"]["scale"][0] == 1.0 / 65535);

  const Ended evaluated = fulmar_program({"eval", model, folder.path("data"), "--json"});
  CHECK_MESSAGE(evaluated.code == 0, evaluated.err);
  CHECK(Json::parse(evaluated.out)["samples"] == 24);
  const Ended predicted =
      fulmar_program({"predict", model, folder.path("data/pos/1.png"), "--json"});
  CHECK_MESSAGE(predicted.code == 0, predicted.err);
  CHECK(Json::parse(predicted.out)["probabilities"].contains("pos"));
}
