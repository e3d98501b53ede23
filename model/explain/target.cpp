#include "model/explain/target.h"

#include <cmath>

#include "kernels/error.h"

namespace fulmar::model::explain {

Target region(const Shape& value, int64_t number, std::span<const float> mask) {
  const int64_t classes = value.channels(), pixels = value.height() * value.width();
  if (number < 0 || number >= classes)
    usage_error("there is no class " + std::to_string(number) + ": the value " + value.to_string() +
                " has " + std::to_string(classes) + ", counted from 0");
  if (std::ssize(mask) != pixels)
    usage_error("a mask of " + std::to_string(mask.size()) + " pixels was given for the value " +
                value.to_string() + ", which has " + std::to_string(pixels));
  Target target;
  target.weights.assign(static_cast<size_t>(pixels * classes), 0.0F);
  for (int64_t pixel = 0; pixel < pixels; pixel++)
    target.weights[static_cast<size_t>(pixel * classes + number)] =
        mask[static_cast<size_t>(pixel)];
  return target;
}

Target class_logit(const Shape& value, int64_t number) {
  const auto pixels = static_cast<size_t>(value.height() * value.width());
  return region(value, number, std::vector<float>(pixels, 1.0F));
}

Target class_probability(const Shape& value, int64_t number) {
  Target target = class_logit(value, number);
  target.link = Target::Link::softmax;
  return target;
}

Target similarity(std::span<const float> features) {
  double square = 0;
  for (const float f : features) square += static_cast<double>(f) * static_cast<double>(f);
  if (!(square > 0) || !std::isfinite(square))
    usage_error("the features to be compared with are all 0, or not finite");
  Target target;
  target.link = Target::Link::direction;
  for (const float f : features)
    target.weights.push_back(static_cast<float>(static_cast<double>(f) / std::sqrt(square)));
  return target;
}

Val record_score(Tape& tape, Val value, Target::Link link, Val weights) {
  const auto scope = tape.scope("target");
  Val x = ops::as_role(tape, value, Role::statistic);
  const Shape each{tape.shape(x).images(), 1, 1, 1};
  switch (link) {
    case Target::Link::none:
      break;
    case Target::Link::softmax:
      x = ops::softmax(tape, x);
      break;
    case Target::Link::sigmoid:
      x = ops::sigmoid(tape, x);
      break;
    case Target::Link::direction:
      x = ops::div_no_nan(tape, x, ops::sqrt(tape, ops::sum(tape, ops::square(tape, x), each)));
      break;
  }
  return ops::sum(tape, ops::mul(tape, x, weights), each);
}

}  // namespace fulmar::model::explain
