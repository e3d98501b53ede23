#include "model/classifier.h"

#include <utility>

#include "engine/picture/geometry.h"
#include "engine/turn.h"
#include "kernels/error.h"
#include "model/from_file.h"

namespace fulmar::model {
Classifier::Classifier(Context& context, const std::string& path, const std::string& device)
    : Classifier(context, path, context.device(device)) {}

Classifier::Classifier(Context& context, const std::string& path, Device& device)
    : model_(std::make_shared<LoadedModel>(path, device)),
      preprocess_(from_file(path, [&] { return model_->info().picture(); })),
      task_(from_file(path, [&] { return classification_of(model_->info()); })),
      session_(std::make_unique<ModelSession>(model_, context, device)) {}

Classifier::~Classifier() = default;

Outputs Classifier::predict(const View& pictures) {
  require_pictures(pictures);
  const WarpSample sample =
      centre_sample(preprocess_, pictures.shape.height(), pictures.shape.width());
  return predict(pictures, std::vector(static_cast<size_t>(pictures.shape.images()), sample));
}

Outputs Classifier::predict(const View& pictures, std::span<const WarpSample> samples) {
  require_pictures(pictures);
  if (std::ssize(samples) != pictures.shape.images())
    usage_error(std::to_string(samples.size()) + " samples given for pictures " +
                pictures.shape.to_string());
  const Turn turn(busy_, "a Classifier");
  const Shape rows{pictures.shape.images(), std::ssize(task_.classes)};
  const auto elements = static_cast<size_t>(rows.elements());
  Outputs outputs{std::vector<double>(elements), std::vector<float>(elements)};
  const HostTensor picture = pictures;
  const std::array<HostTensor, 2> to{view_of(outputs.probabilities.data(), rows, DType::f32),
                                     view_of(outputs.logits.data(), rows, DType::f64)};
  session_->run({&picture, 1}, to, {&samples, 1});
  return outputs;
}

void Classifier::require_pictures(const View& pictures) const {
  const Shape& shape = pictures.shape;
  const Preprocess& preprocess = preprocess_;
  if (shape.rank() != 4 || shape.elements() == 0 || !pictures.is_contiguous())
    usage_error("pictures " + shape.to_string() + " given, contiguous [N,H,W,bands] expected");
  if (!pictures.data) usage_error("pictures " + shape.to_string() + " given by a null pointer");
  if (!preprocess.takes(pictures.type))
    usage_error(std::string("pictures of ") + name_of(pictures.type) + " given, the model " +
                model_->path() + " was trained on " + name_of(preprocess.type) +
                "; give it that, or f32 in the same units");
  if (shape.channels() != preprocess.bands)
    usage_error("pictures " + shape.to_string() + " have " + std::to_string(shape.channels()) +
                " bands, the model " + model_->path() + " takes " +
                std::to_string(preprocess.bands));
}

}  // namespace fulmar::model
