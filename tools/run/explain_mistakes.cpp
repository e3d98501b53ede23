#include "tools/run/explain_mistakes.h"

#include <algorithm>

#include "data/encode_png.h"
#include "kernels/error.h"
#include "model/explain/methods.h"
#include "model/explain/picture.h"
#include "model/program.h"
#include "tools/run/heat.h"

namespace fulmar::tools {

using namespace model::explain;

void explain_mistakes(Evaluation& evaluation, const Checkpoint& checkpoint,
                      const data::Pictures& pictures, Context& context, Device& device) {
  if (evaluation.mistakes.empty()) return;
  const Preprocess& preprocess = checkpoint.info().picture();
  Model model = model::load_model(checkpoint, device);
  Explainer explainer(context, device, checkpoint.info(), model,
                      {1, preprocess.crop, preprocess.crop, preprocess.bands});
  const auto& layers = explainer.layers();
  if (std::none_of(layers.begin() + 1, layers.end(), [](const LayerInfo& layer) {
        return layer.shape.height() * layer.shape.width() > 1;
      }))
    return;
  for (Mistake& mistake : evaluation.mistakes) {
    data::Image image = data::picture_of(pictures, mistake.sample);
    const std::vector<float> input = input_of(context, device, preprocess, image.view(),
                                              centre_sample(preprocess, image.height, image.width));
    const Target target =
        class_logit(explainer.layer("").shape, evaluation.decision(mistake.sample));
    const Explanation map = method("grad-cam").one(explainer, input, target, {});
    std::vector<float> seen = on_grid(map.values, map.shape.height(), map.shape.width(),
                                      preprocess.crop, preprocess.crop);
    for (float& value : seen) value = std::max(value, 0.0F);
    const std::vector<float> small =
        shrunk(on_picture(seen, preprocess, image.height, image.width), image.height, image.width,
               mistake.height, mistake.width);
    mistake.cam_png =
        data::encode_png(heat_picture(small, mistake.height, mistake.width, heat_peak(small)));
  }
}

}  // namespace fulmar::tools
