// A Keras model's decisions explained as the published notebooks do it by Keras itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "data/encode_png.h"
#include "engine/io/file.h"
#include "tests/support/goldens.h"
#include "tests/support/keras_import.h"
#include "tests/support/npy.h"
#include "tests/support/program.h"

using namespace fulmar;
using namespace fulmar::test;

namespace {

// Pearson's.
double correlation(const Values& x, const Values& y) {
  double mx = 0, my = 0, xy = 0, xx = 0, yy = 0;
  const auto n = static_cast<double>(x.size());
  for (size_t i = 0; i < x.size(); i++) mx += x[i] / n, my += y[i] / n;
  for (size_t i = 0; i < x.size(); i++) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
  }
  return xy / std::sqrt(xx * yy);
}

// Over the largest absolute value of the golden.
double largest_error(const Values& x, const Values& golden) {
  double error = 0, peak = 0;
  for (size_t i = 0; i < x.size(); i++) {
    error = std::max(error, std::abs(x[i] - golden[i]));
    peak = std::max(peak, std::abs(golden[i]));
  }
  return error / peak;
}

}  // namespace

TEST_CASE("explain: an imported model's maps are those of the published notebooks") {
  const Golden golden("explain_keras");
  const TempFolder folder;
  const std::string model = folder.path("m.safetensors"), picture = folder.path("picture.png");
  const std::string file = golden.metadata("model")[0], layer = golden.metadata("layer")[0];
  const Ended imported = fulmar_program({"import", test::golden("keras/" + file), "--out", model});
  REQUIRE_MESSAGE(imported.code == 0, imported.err);
  const int64_t side = golden.metadata("size"), steps = golden.metadata("steps");
  data::Image image;
  image.height = image.width = side, image.bands = 3;
  for (const double u : formula_uniform("explained picture", side * side * 3))
    image.data.push_back(static_cast<uint8_t>(256 * u));
  write_file(picture, data::encode_png(image));
  const auto map_of = [&](const std::vector<std::string>& how, const std::string& name) {
    std::vector<std::string> arguments{"explain",           model,      picture, "--out",
                                       folder.path("maps"), "--target", "1"};
    arguments.insert(arguments.end(), how.begin(), how.end());
    const Ended e = fulmar_program(arguments);
    REQUIRE_MESSAGE(e.code == 0, e.err);
    const Npy map(folder.path("maps") + "/picture." + name);
    return Values(map.values.begin(), map.values.end());
  };
  Values cam = map_of({"--method", "grad-cam", "--layer", layer}, "grad-cam.grid.npy");
  CHECK(largest_error(cam, golden.values("cam")) < 1e-3);
  const double most = *std::max_element(cam.begin(), cam.end());
  for (double& value : cam) value = std::max(value, 0.0) / most;
  CHECK(largest_error(cam, golden.values("heat")) < 1e-3);
  CHECK(correlation(cam, golden.values("heat")) > 0.999);

  const Values attributions =
      map_of({"--method", "integrated-gradients", "--of", "probability", "--quadrature",
              "trapezoid", "--steps", std::to_string(steps + 1)},
             "integrated-gradients.npy");
  const Values expected = golden.values("attributions");
  REQUIRE(attributions.size() == expected.size());
  CHECK(largest_error(attributions, expected) < 1e-3);
  CHECK(correlation(attributions, expected) > 0.999);
}
