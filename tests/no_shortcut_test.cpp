// Nothing but the shape of the vortex tells the classes of `fulmar synth` apart: neither brightness
// nor likeness of whole scenes does, and a network that finds the vortices calls the same scenes
// without them negative.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "data/image.h"
#include "tests/support/baselines.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::test;

namespace {

struct Part {
  std::vector<data::Image> pictures;
  std::vector<int> labels;

  explicit Part(const std::string& folder) {
    for (int label = 0; label < 2; label++) {
      std::vector<std::string> paths;
      for (const auto& entry :
           std::filesystem::directory_iterator(folder + (label ? "/pos" : "/neg")))
        paths.push_back(entry.path());
      std::sort(paths.begin(), paths.end());
      for (const std::string& path : paths) {
        pictures.push_back(data::read_image(path));
        labels.push_back(label);
      }
    }
  }

  template <typename Describe>
  Features features(const Describe& describe) const {
    Features list;
    for (const data::Image& picture : pictures) list.push_back(describe(picture));
    return list;
  }
};

// Of each channel: mean, standard deviation, a histogram of 16 bins; and the share of black.
std::vector<double> brightness(const data::Image& picture) {
  const auto pixels = static_cast<size_t>(picture.pixels());
  std::vector<double> f;
  for (size_t channel = 0; channel < 3; channel++) {
    double sum = 0, squares = 0;
    std::vector<double> bins(16);
    for (size_t i = 0; i < pixels; i++) {
      const double value = picture.data[3 * i + channel] / 255.0;
      sum += value;
      squares += value * value;
      bins[picture.data[3 * i + channel] / 16] += 1.0 / static_cast<double>(pixels);
    }
    const double mean = sum / static_cast<double>(pixels);
    f.push_back(mean);
    f.push_back(std::sqrt(std::max(0.0, squares / static_cast<double>(pixels) - mean * mean)));
    f.insert(f.end(), bins.begin(), bins.end());
  }
  double black = 0;
  for (size_t i = 0; i < pixels; i++)
    black += !picture.data[3 * i] && !picture.data[3 * i + 1] && !picture.data[3 * i + 2];
  f.push_back(black / static_cast<double>(pixels));
  return f;
}

// The picture averaged to 64 x 64 pixels.
std::vector<double> thumbnail(const data::Image& picture) {
  constexpr int64_t side = 64;
  REQUIRE(picture.height % side == 0);
  const int64_t block = picture.height / side;
  std::vector<double> f;
  for (int64_t row = 0; row < side; row++)
    for (int64_t column = 0; column < side; column++)
      for (int64_t channel = 0; channel < 3; channel++) {
        double sum = 0;
        for (int64_t y = row * block; y < (row + 1) * block; y++)
          for (int64_t x = column * block; x < (column + 1) * block; x++)
            sum += picture.data[static_cast<size_t>((y * picture.width + x) * 3 + channel)];
        f.push_back(sum / static_cast<double>(block * block));
      }
  return f;
}

// Patches of 8 x 8 pixels side by side, of the blue channel, less their mean and over their spread.
Features patches(const data::Image& picture) {
  constexpr int64_t side = 8;
  Features list;
  for (int64_t row = 0; row + side <= picture.height; row += side)
    for (int64_t column = 0; column + side <= picture.width; column += side) {
      std::vector<double> patch;
      double sum = 0, squares = 0;
      for (int64_t y = row; y < row + side; y++)
        for (int64_t x = column; x < column + side; x++) {
          patch.push_back(picture.data[static_cast<size_t>((y * picture.width + x) * 3 + 2)]);
          sum += patch.back();
          squares += patch.back() * patch.back();
        }
      const double mean = sum / double{side * side};
      const double spread = std::sqrt(squares / double{side * side} - mean * mean + 10);
      for (double& value : patch) value = (value - mean) / spread;
      list.push_back(patch);
    }
  return list;
}

// What the network calls each picture of a folder, by file name.
std::map<std::string, std::string> called(const std::string& model, const std::string& folder) {
  const Ended e = fulmar_program({"predict", model, folder, "--json"});
  REQUIRE(e.code == 0);
  std::map<std::string, std::string> classes;
  std::istringstream lines(e.out);
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    classes[std::filesystem::path(row["path"].get<std::string>()).filename()] = row["class"];
  }
  return classes;
}

}  // namespace

TEST_CASE("brightness, likeness and patches don't tell the classes apart; the network does") {
  const TempFolder folder;
  const std::string scenes = folder.path("scenes"), run = folder.path("run");
  REQUIRE(fulmar_program({"synth", scenes, "--train", "1600", "--test", "400", "--size", "256",
                          "--resolution", "2000", "--seed", "7", "--twins", "--no-masks"})
              .code == 0);
  {
    const Part train(scenes + "/train"), test(scenes + "/test");
    REQUIRE(train.labels.size() == 1600);
    REQUIRE(test.labels.size() == 400);
    const double by_brightness = balanced_accuracy(
        test.labels,
        logistic_regression(train.features(brightness), train.labels, test.features(brightness)));
    const double by_likeness = balanced_accuracy(
        test.labels,
        nearest_neighbour(train.features(thumbnail), train.labels, test.features(thumbnail)));
    Features samples;
    for (size_t i = 0; i < train.pictures.size(); i += 6) {
      const Features list = patches(train.pictures[i]);
      for (size_t k = i % 7; k < list.size(); k += 7) samples.push_back(list[k]);
    }
    const Features words = k_means(samples, 48, 6);
    const auto bag = [&](const data::Image& picture) {
      std::vector<double> counts(words.size());
      for (const auto& patch : patches(picture)) counts[nearest_of(words, patch)]++;
      return counts;
    };
    const double by_patches = balanced_accuracy(
        test.labels, logistic_regression(train.features(bag), train.labels, test.features(bag)));
    MESSAGE("balanced accuracy: brightness " << by_brightness << ", nearest thumbnail "
                                             << by_likeness << ", bag of patches " << by_patches);
    CHECK(by_brightness <= 0.70);
    CHECK(by_likeness <= 0.70);
  }

  REQUIRE(fulmar_program({"train",           scenes,      "--out",      run,
                          "--crop",          "168",       "--widths",   "16,32,64,128,256",
                          "--batch",         "32",        "--epochs",   "20",
                          "--schedule",      "one-cycle", "--lr",       "3e-3",
                          "--stop-patience", "0",         "--sampling", "epoch",
                          "--seed",          "1"})
              .code == 0);
  const std::string model = run + "/best.safetensors";
  const Ended evaluated = fulmar_program({"eval", model, scenes + "/test", "--json"});
  REQUIRE(evaluated.code == 0);
  const auto scores = nlohmann::json::parse(evaluated.out);
  const auto originals = called(model, scenes + "/test/pos"),
             twins = called(model, scenes + "/twins");
  REQUIRE(twins.size() == 200);
  int positive = 0, taken_back = 0;
  for (const auto& [name, what] : originals) {
    if (what != "pos") continue;
    positive++;
    taken_back += twins.at(name) == "neg";
  }
  MESSAGE("network: balanced accuracy " << scores["macro"]["recall"] << ", F1 " << scores["f1"]
                                        << "; " << positive << " of 200 called positive, "
                                        << taken_back << " of these no more without the vortex");
  CHECK(positive >= 170);
  CHECK(taken_back >= 0.95 * positive);
}
