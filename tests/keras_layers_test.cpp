#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "model/tasks/classification.h"
#include "tests/support/array.h"
#include "tests/support/goldens.h"
#include "tests/support/keras_import.h"
#include "tools/keras/layer_call.h"

// Files that Keras wrote (goldens/keras), each imported and compared with Keras' own predictions.

using namespace fulmar;
using namespace fulmar::test;

namespace {

constexpr double bound = 1e-4;  // of the largest output, where that is above 1

double largest_difference(const std::vector<float>& y, const Values& golden) {
  REQUIRE(y.size() == golden.size());
  double most = 1, difference = 0;
  for (const double value : golden) most = std::max(most, std::abs(value));
  for (size_t i = 0; i < y.size(); i++)
    difference = std::max(difference, std::abs(static_cast<double>(y[i]) - golden[i]));
  return difference / most;
}

Array<uint8_t> pictures_of(const Golden& golden, const std::string& file) {
  const Values values = golden.values(file + "/x");
  Array<uint8_t> x(golden.shape(file + "/x"));
  for (size_t i = 0; i < values.size(); i++)
    x[static_cast<int64_t>(i)] = static_cast<uint8_t>(values[i]);
  return x;
}

std::vector<float> softmax(std::vector<float> x, size_t classes) {
  for (size_t row = 0; row < x.size(); row += classes) {
    double sum = 0;
    for (size_t k = 0; k < classes; k++) sum += std::exp(static_cast<double>(x[row + k]));
    for (size_t k = 0; k < classes; k++)
      x[row + k] = static_cast<float>(std::exp(static_cast<double>(x[row + k])) / sum);
  }
  return x;
}

void compare_files(const std::string& goldens) {
  const Golden golden(goldens);
  for (const std::string& name : golden.names("")) {
    if (!name.ends_with("/x")) continue;
    const std::string file = name.substr(0, name.size() - 2);
    if (file.find("weights") != std::string::npos) continue;
    CAPTURE(file);
    ImportedModel model(test::golden("keras/" + file));
    Array<uint8_t> x = pictures_of(golden, file);
    std::vector<float> y = model.run(x.view());
    if (golden.has(file + "/logits"))
      CHECK(largest_difference(y, golden.values(file + "/logits")) < bound);
    const auto heads = model::heads_of(model.result.info);
    if (heads.size() == 1 && heads[0].task->kind() == "multilabel")
      for (float& value : y) value = 1 / (1 + std::exp(-value));
    else if (heads.size() == 1)
      y = softmax(y, static_cast<size_t>(Golden(goldens).shape(file + "/y").channels() == 1
                                             ? 2
                                             : golden.shape(file + "/y").channels()));
    Values expected = golden.values(file + "/y");
    if (y.size() == 2 * expected.size()) {  // a sigmoid of one unit became two classes
      for (size_t i = 0; i < expected.size(); i++) y[i] = y[2 * i + 1];
      y.resize(expected.size());
    }
    CHECK(largest_difference(y, expected) < bound);
  }
}

}  // namespace

TEST_CASE("keras: files of Keras 2.15 predict as Keras does") {
  if (!reads_keras()) {
    MESSAGE("skipped: built without HDF5");
    return;
  }
  compare_files("keras/predictions_2_15");
}

TEST_CASE("keras: files of Keras 3 predict as Keras does") {
  if (!reads_keras()) {
    MESSAGE("skipped: built without HDF5");
    return;
  }
  compare_files("keras/predictions_3");
}

TEST_CASE("keras: models that others trained with Keras 2.0.5 predict as Keras does") {
  if (!reads_keras()) {
    MESSAGE("skipped: built without HDF5");
    return;
  }
  const auto folder = test_data("keras-h5/emotion");
  if (!folder) {
    MESSAGE("skipped: keras-h5 is not in the folder of test data");
    return;
  }
  const Golden golden("keras/predictions_face_classification");
  const Values noise = formula_uniform("picture", 20 * 64 * 64);
  Array<uint8_t> x({20, 64, 64, 1});
  for (size_t i = 0; i < noise.size(); i++)
    x[static_cast<int64_t>(i)] = static_cast<uint8_t>(256 * noise[i]);
  keras::ImportOptions options;
  options.network.scale = {-1, 1};
  CHECK(golden.names("").size() == 3);
  for (const std::string& file : golden.names("")) {
    CAPTURE(file);
    ImportedModel model(*folder + "/" + file, options);
    CHECK(model.result.info.picture().bands == 1);
    CHECK(largest_difference(softmax(model.run(x.view()), 7), golden.values(file)) < bound);
  }
}
