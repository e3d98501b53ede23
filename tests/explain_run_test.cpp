// The command `explain`: its files, its page, its errors.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "data/encode_png.h"
#include "data/geotiff.h"
#include "data/image.h"
#include "engine/io/file.h"
#include "model/explain/methods.h"
#include "tests/support/built.h"
#include "tests/support/html_page.h"
#include "tests/support/npy.h"
#include "tests/support/paths.h"
#include "tests/support/picture_model.h"
#include "tests/support/program.h"
#include "tests/support/raster.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

struct Files {
  TempFolder folder;
  std::string model = folder.path("model.safetensors"), out = folder.path("maps");
  std::string picture = folder.path("a.bmp");

  Files() {
    save_model(model, {"neg", "pos"});
    save_picture(picture, 24, 7);
  }
  Ended run(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments{"explain", model, picture, "--out", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return fulmar_program(arguments);
  }
};

}  // namespace

TEST_CASE("explain: files of every method, on the grid of the whole picture") {
  const Files files;
  const Ended e = files.run({"--method", "all", "--masks", "20", "--steps", "6", "--json"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const Json line = Json::parse(e.out);
  CHECK(line["path"] == files.picture);
  CHECK(line["seen"] == Json{{"left", 4.0}, {"top", 4.0}, {"width", 16.0}, {"height", 16.0}});
  REQUIRE(line["maps"].size() == model::explain::methods().size());
  for (const Json& map : line["maps"]) {
    const std::string name = map["method"];
    CAPTURE(name);
    const Npy npy(files.out + "/a." + name + ".npy");
    REQUIRE(npy.shape.size() >= 2);
    CHECK(npy.shape[0] == 24);
    CHECK(npy.shape[1] == 24);
    double inside = 0, outside = 0, sum = 0;
    for (int64_t row = 0; row < 24; row++)
      for (int64_t column = 0; column < 24; column++)
        for (int64_t k = 0; k < (npy.shape.size() > 2 ? npy.shape[2] : 1); k++) {
          const bool seen = row >= 4 && row < 20 && column >= 4 && column < 20;
          (seen ? inside : outside) += std::abs(static_cast<double>(npy.at(row, column, k)));
          sum += static_cast<double>(npy.at(row, column, k));
        }
    CHECK(outside == 0);
    CHECK(inside > 0);
    if (map.contains("completeness"))
      CHECK(std::abs(sum - (map["score"].get<double>() - map["baseline_score"].get<double>())) ==
            doctest::Approx(map["completeness"]["absolute"].get<double>()).epsilon(1e-3));
    const bool layer = model::explain::method(name).of_layer && name != "guided-grad-cam";
    CHECK(std::filesystem::exists(files.out + "/a." + name + ".grid.npy") == layer);
    CHECK_FALSE(std::filesystem::exists(files.out + "/a." + name + ".tif"));
    const data::Image overlay = data::read_image(files.out + "/a." + name + ".png");
    CHECK(overlay.width == 24);
    CHECK(overlay.bands == 3);
    for (const Json& file : map["files"]) CHECK(std::filesystem::exists(file.get<std::string>()));
  }
  check_page(files.out + "/report.html");
  CHECK(numbers_in(contents(files.out + "/report.html"))[0]["maps"].size() == line["maps"].size());
}

TEST_CASE("explain: the strongest place is one that the network saw, of maps below 0 too") {
  const TempFolder folder;
  const std::string model = folder.path("m.safetensors"), picture = folder.path("grey.png");
  save_linear_model(model, Preprocess::of_pictures(0, 16, 1));
  data::Image grey;
  grey.height = grey.width = 24, grey.bands = 1;
  grey.data.assign(24 * 24, 100);
  write_file(picture, data::encode_png(grey));
  double lowest = 0;
  for (const char* target : {"neg", "pos"}) {
    CAPTURE(target);
    const Ended e = fulmar_program({"explain", model, picture, "--out", folder.path("maps"),
                                    "--method", "input-x-gradient", "--target", target, "--json"});
    REQUIRE_MESSAGE(e.code == 0, e.err);
    const Json map = Json::parse(e.out)["maps"][0];
    lowest = std::min(lowest, map["largest"].get<double>());
    for (const char* axis : {"column", "row"}) {
      CHECK(map["at"][axis].get<double>() >= 4);
      CHECK(map["at"][axis].get<double>() < 20);
    }
  }
  CHECK(lowest < 0);  // one of the two speaks against its class
}

TEST_CASE("explain: --check measures, and the page shows it") {
  const Files files;
  const Ended e = files.run({"--check", "--steps", "4", "--target", "neg", "--of", "probability"});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  for (const char* part : {"deletion ", "insertion ", "infidelity ", "sensitivity ", "random"})
    CHECK(has(e.out, part));
  check_page(files.out + "/report.html");
  const std::string page = contents(files.out + "/report.html");
  CHECK(has(page, "the probability of <strong>neg</strong>"));
  const Json check = numbers_in(page)[0]["maps"][0]["check"];
  CHECK(check["deletion"]["score"].size() == 33);
  CHECK(check["randomisation"][0]["layer"] == "dense");
}

TEST_CASE("explain: a map of a picture that says where it lies, lies there too") {
  const TempFolder folder;
  const std::string model = folder.path("m.safetensors"), picture = folder.path("scene.tif");
  Preprocess preprocess = Preprocess::of_pictures(0, 16, 3);
  preprocess.type = DType::f32;
  preprocess.scale = {1, 1, 1}, preprocess.offset = {0, 0, 0};
  save_model(model, {"neg", "pos"}, preprocess);
  write_raster(picture, 20, 26, 3, [](int64_t row, int64_t column, int64_t band) {
    return std::sin(static_cast<double>(row * 7 + column * 3 + band));
  });
  const Ended e = fulmar_program({"explain", model, picture, "--out", folder.path("maps")});
  REQUIRE_MESSAGE(e.code == 0, e.err);
  for (const char* name : {"grad-cam", "integrated-gradients"}) {
    CAPTURE(name);
    const std::string stem = folder.path("maps") + "/scene." + name;
    const data::Georeference from = data::read_georeference(picture),
                             to = data::read_georeference(stem + ".tif");
    CHECK(to.epsg == from.epsg);
    CHECK(to.transform == from.transform);
    const data::Image map = data::read_image(stem + ".tif");
    const Npy npy(stem + ".npy");
    CHECK(map.height == 20);
    CHECK(map.width == 26);
    REQUIRE(map.data.size() == npy.values.size() * sizeof(float));
    CHECK(std::memcmp(map.data.data(), npy.values.data(), map.data.size()) == 0);
  }
}

TEST_CASE("explain: --layer list names the layers; another layer is looked at") {
  const Files files;
  const Ended list = files.run({"--layer", "list"});
  CHECK(list.code == 0);
  for (const char* part : {"conv2d", "activation_4", "16 x 16 x 3", "8 x 8 x 4", "all"})
    CHECK(has(list.out, part));
  const Ended e = files.run({"--layer", "activation_2", "--method", "grad-cam"});
  REQUIRE(e.code == 0);
  CHECK(Npy(files.out + "/a.grad-cam.grid.npy").shape == std::vector<int64_t>{8, 8});
}

TEST_CASE("explain: what is wrong is said, and good pictures are explained all the same") {
  const Files files;
  struct Row {
    std::vector<std::string> arguments;
    int code;
    std::string message;
  };
  for (const Row& row : std::vector<Row>{
           {{"--method", "cam"}, 2, "there is no method 'cam': there are saliency, "},
           {{"--layer", "activation_99"}, 2, "the network has no layer 'activation_99'"},
           {{"--layer", "dense", "--method", "grad-cam"}, 2, "has one pixel"},
           {{"--target", "ice"}, 2, "--target ice: the model's classes are neg, pos"},
           {{"--baseline", "/nowhere.png"}, 3, "/nowhere.png"},
           {{"--base", "var-grad", "--method", "smooth-grad"}, 2, "takes noisy samples itself"}}) {
    CAPTURE(row.message);
    const Ended e = files.run(row.arguments);
    CHECK(e.code == row.code);
    CHECK(has(e.err, row.message));
  }
  write_file(files.folder.path("bad.png"), "no picture");
  std::vector<std::string> both{"explain",     files.model, files.folder.path("bad.png"),
                                files.picture, "--out",     files.out};
  const Ended e = fulmar_program(both);
  CHECK(e.code == 3);
  CHECK(has(e.err, "1 of 2 pictures could not be used"));
  CHECK(std::filesystem::exists(files.out + "/a.grad-cam.npy"));
  check_page(files.out + "/report.html");
}

TEST_CASE("explain: masks of maps, and how they agree with masks that were drawn") {
  const Files files;
  const std::string root = files.folder.path("set"), picture = root + "/test/pos/a.bmp";
  save_picture(picture, 24, 7);
  save_picture(root + "/test/pos/unmasked.bmp", 24, 8);
  // The right half of the picture.
  data::Image drawn;
  drawn.height = drawn.width = 24, drawn.bands = 1;
  for (int64_t i = 0; i < 24 * 24; i++) drawn.data.push_back(i % 24 >= 12 ? 255 : 0);
  std::filesystem::create_directories(root + "/masks/test/pos");
  write_file(root + "/masks/test/pos/a.png", data::encode_png(drawn));
  const std::vector<std::string> how{"explain", files.model, root + "/test", "--out",    files.out,
                                     "--mask",  "--method",  "occlusion",    "--target", "pos"};
  std::vector<std::string> json = how;
  json.emplace_back("--json");
  const Ended e = fulmar_program(json);
  REQUIRE_MESSAGE(e.code == 0, e.err);
  std::istringstream lines(e.out);
  std::string first, second;
  std::getline(lines, first);
  std::getline(lines, second);
  const Json line = Json::parse(first), map = line["maps"][0];
  CHECK(line["truth"]["share"] == 0.5);
  CHECK_FALSE(Json::parse(second).contains("truth"));
  const bool right = map["at"]["column"].get<double>() >= 12;
  CHECK(map["points_inside"] == right);
  // The numbers are those of the files, within the crop.
  const data::Image mask = data::read_image(files.out + "/a.occlusion.mask.png");
  double both = 0, found = 0;
  for (int64_t i = 0; i < 24 * 24; i++) {
    CHECK((mask.data[static_cast<size_t>(i)] == 0 || mask.data[static_cast<size_t>(i)] == 255));
    found += mask.data[static_cast<size_t>(i)] > 0;
    both += mask.data[static_cast<size_t>(i)] > 0 && i % 24 >= 12;
  }
  CHECK(found > 0);
  CHECK(map["mask"]["precision"].get<double>() == doctest::Approx(both / found));
  CHECK(map["mask"]["recall"].get<double>() == doctest::Approx(both / 128));
  CHECK(has(fulmar_program(how).out, "beside masks of 1 picture"));
  check_page(files.out + "/report.html");

  drawn.height = 12;
  drawn.data.resize(12 * 24);
  write_file(root + "/masks/test/pos/a.png", data::encode_png(drawn));
  const Ended bad = fulmar_program(how);
  CHECK(bad.code == 3);
  CHECK(has(bad.err,
            "masks/test/pos/a.png: a mask of 24 x 12 pixels of u8; its picture has 24 x 24"));
}

TEST_CASE("explain: the same seed gives the same files, whatever the threads and the memory") {
  const Files files;
  const std::vector<std::string> how{"--method", "integrated-gradients,smooth-grad,rise", "--masks",
                                     "30"};
  const auto maps = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = how;
    arguments.insert(arguments.end(), more.begin(), more.end());
    REQUIRE(files.run(arguments).code == 0);
    std::vector<std::string> all;
    for (const char* name : {"integrated-gradients", "smooth-grad", "rise"})
      all.push_back(contents(files.out + "/a." + name + ".npy"));
    return all;
  };
  const auto first = maps({"--threads", "1"});
  CHECK(maps({"--threads", "2"}) == first);
  CHECK(maps({"--seed", "5"}) != first);
}
