// Loads a classifier and says where in a picture, an array here, its decision rests.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "model/explain/methods.h"
#include "model/explain/picture.h"
#include "model/loaded_model.h"

int main(int argc, char** argv) try {
  using namespace fulmar::model::explain;
  if (argc != 2) return std::fprintf(stderr, "usage: explain MODEL\n"), 2;
  fulmar::Context context;
  fulmar::Device& device = context.device("cpu");
  const fulmar::model::LoadedModel model(argv[1], device);
  const fulmar::Preprocess& how = model.info().picture();
  Explainer explainer(context, device, model.info(), model.weights(),
                      {1, how.crop, how.crop, how.bands});

  const int64_t side = how.crop + 10;
  std::vector<uint8_t> pixels(static_cast<size_t>(side * side * how.bands));
  for (size_t i = 0; i < pixels.size(); i++) pixels[i] = static_cast<uint8_t>(i * i % 251);
  const fulmar::View picture = fulmar::view_of(pixels.data(), {1, side, side, how.bands}, how.type);
  const std::vector<float> input =
      input_of(context, device, how, picture, fulmar::centre_sample(how, side, side));

  const std::vector<float> logits = explainer.value("", input);
  const auto likeliest = std::max_element(logits.begin(), logits.end()) - logits.begin();
  const Target target = class_logit(explainer.layer("").shape, likeliest);
  const Explanation map = method("grad-cam").one(explainer, input, target, {});
  const std::vector<float> on_crop =
      on_grid(map.values, map.shape.height(), map.shape.width(), how.crop, how.crop);
  const std::vector<float> whole = on_picture(on_crop, how, side, side);
  const auto peak = std::max_element(whole.begin(), whole.end()) - whole.begin();
  std::printf("class %td %.6f, strongest at column %td, row %td\n", likeliest, map.score,
              peak % side, peak / side);
} catch (const fulmar::Error& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
