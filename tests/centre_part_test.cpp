#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "engine/picture/geometry.h"
#include "model/classifier.h"
#include "model/polar_low.h"
#include "model/program.h"
#include "model/tasks/classification.h"
#include "tests/support/array.h"
#include "tests/support/raster.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;

namespace {

Preprocess record(int64_t size, int64_t crop, bool pad, Interpolation resize) {
  Preprocess p;
  p.size = size;
  p.crop = crop;
  p.bands = 2;
  p.pad = pad;
  p.resize = resize;
  p.type = DType::f32;
  p.scale = {0.5, 0.25};
  p.offset = {0.125, -1};
  p.fill = {-2, 0.5};
  return p;
}

}  // namespace

TEST_CASE("a network says of the part that it sees what it says of the whole, to the bit") {
  const test::TempFolder folder;
  const std::string path = folder.path("model.safetensors");
  constexpr auto nearest = Interpolation::nearest, bilinear = Interpolation::bilinear;
  const auto value = [](int64_t row, int64_t column, int64_t band) {
    const int64_t at = (row * 1000 + column) * 2 + band;
    return at % 31 == 0 ? std::nan("") : test::uniform_value(5, at, -3, 3);
  };
  for (const Preprocess& preprocess :
       {record(0, 16, false, nearest), record(0, 17, true, nearest), record(24, 16, true, nearest),
        record(100, 16, true, nearest), record(16, 20, true, nearest),
        record(24, 16, true, bilinear)}) {
    Context context(Context::Options{1});
    const ModelInfo info = model::classifier_of(model::polar_low({2, 2, {4}, 0.5}), preprocess,
                                                model::Classification({"neg", "pos"}, 1));
    Model weights = model::new_model(info, context.device("reference"), 7);
    save_checkpoint(path, info, weights);
    model::Classifier classifier(context, path, "cpu");
    for (const std::array<int64_t, 2>& extents : {std::array<int64_t, 2>{61, 90},
                                                  {90, 61},
                                                  {48, 48},
                                                  {17, 40},
                                                  {16, 16},
                                                  {18, 19},
                                                  {33, 16}}) {
      const int64_t height = extents[0], width = extents[1];
      if (!misfit(preprocess, height, width).empty()) continue;
      CAPTURE(preprocess.size);
      CAPTURE(preprocess.crop);
      CAPTURE(height);
      CAPTURE(width);
      data::Image whole = test::float_raster(height, width, 2, value);
      const CentrePart part = centre_part(preprocess, height, width);
      data::Image some = data::cut(whole, {part.rows, part.columns});
      const bool cuts = preprocess.size == 0 || preprocess.resize == nearest;
      const int64_t most = (preprocess.crop + 1) * (preprocess.crop + 1);
      if (cuts) CHECK(some.pixels() <= std::max(most, int64_t{0}));
      const model::Outputs expected = classifier.predict(whole.view());
      const model::Outputs found = classifier.predict(some.view(), std::vector{part.sample});
      CHECK(found.logits == expected.logits);
    }
  }
}

TEST_CASE("the area that a network sees is the crop's, cut at the picture's edges") {
  const SeenArea native = seen_area(record(0, 16, false, Interpolation::nearest), 60, 41);
  CHECK(native.left == 12);
  CHECK(native.top == 22);
  CHECK(native.width() == 16);
  CHECK(native.height() == 16);
  const SeenArea half = seen_area(record(32, 16, true, Interpolation::bilinear), 64, 32);
  CHECK(half.left == doctest::Approx(0));
  CHECK(half.width() == doctest::Approx(32));
  CHECK(half.top == doctest::Approx(16));
  CHECK(half.height() == doctest::Approx(32));
}
