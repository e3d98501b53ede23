#include "model/classifier.h"

#include <algorithm>
#include <utility>

#include "engine/picture/geometry.h"
#include "engine/turn.h"
#include "kernels/error.h"
#include "model/observe.h"
#include "model/program.h"

namespace fulmar::model {
namespace {

constexpr size_t prepared_shapes = 4;

const Preprocess& picture_of(const Checkpoint& checkpoint) {
  try {
    return checkpoint.info().picture();
  } catch (const Error& error) {
    file_error(checkpoint.path() + ": not a usable model: " + error.what());
  }
}

}  // namespace

struct Classifier::Prepared {
  Shape shape;
  DType type;
  std::vector<WarpSample> samples;
  Program program;
  Val logits, probabilities;
  std::unique_ptr<Session> session;
};

Classifier::Classifier(Context& context, const std::string& path, const std::string& device)
    : Classifier(context, path, context.device(device)) {}

Classifier::Classifier(Context& context, const std::string& path, Device& device)
    : context_(&context),
      device_(&device),
      checkpoint_(Checkpoint::read(path)),
      preprocess_(picture_of(checkpoint_)),
      task_(classification_of(checkpoint_)),
      arena_(std::make_shared<Arena>()),
      model_(load_model(checkpoint_, *device_)) {}

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
  Prepared& p = prepare(pictures);
  p.samples.assign(samples.begin(), samples.end());
  const Shape records{pictures.shape.images(), static_cast<int64_t>(sizeof(WarpSample))};
  set_inputs(*p.session, p.program,
             {{pictures, view_of(p.samples.data(), records, DType::u8)}, {}});
  p.session->run();
  const std::vector<double> probabilities = p.session->read(p.probabilities);
  return {p.session->read(p.logits), {probabilities.begin(), probabilities.end()}};
}

void Classifier::require_pictures(const View& pictures) const {
  const Shape& shape = pictures.shape;
  const Preprocess& preprocess = preprocess_;
  if (shape.rank() != 4 || shape.elements() == 0 || !pictures.is_contiguous())
    usage_error("pictures " + shape.to_string() + " given, contiguous [N,H,W,bands] expected");
  if (!pictures.data) usage_error("pictures " + shape.to_string() + " given by a null pointer");
  if (!preprocess.takes(pictures.type))
    usage_error(std::string("pictures of ") + name_of(pictures.type) + " given, the model " +
                checkpoint_.path() + " was trained on " + name_of(preprocess.type) +
                "; give it that, or f32 in the same units");
  if (shape.channels() != preprocess.bands)
    usage_error("pictures " + shape.to_string() + " have " + std::to_string(shape.channels()) +
                " bands, the model " + checkpoint_.path() + " takes " +
                std::to_string(preprocess.bands));
}

Classifier::Prepared& Classifier::prepare(const View& pictures) {
  const auto known = std::find_if(prepared_.begin(), prepared_.end(), [&](const auto& p) {
    return p->shape == pictures.shape && p->type == pictures.type;
  });
  if (known != prepared_.end()) {
    std::rotate(prepared_.begin(), known, known + 1);
    return *prepared_.front();
  }

  const Shape& shape = pictures.shape;
  auto p = std::make_unique<Prepared>();
  p->shape = shape;
  p->type = pictures.type;
  const std::vector<TensorSpec> tensors{
      {"image", pictures.type, shape},
      {"image/samples", DType::u8, {shape.images(), static_cast<int64_t>(sizeof(WarpSample))}}};
  const std::string output = info().network.output();
  p->program = record_program(info(), {{std::make_shared<Classification>(task_), output}}, tensors,
                              {Mode::eval});
  p->logits = p->program.outputs.at(output);
  p->probabilities = p->program.heads[0].results[0].second;
  p->session = std::make_unique<Session>(*context_, *device_, p->program.tape,
                                         std::vector{p->logits, p->probabilities}, &model_, arena_);
  prepared_.insert(prepared_.begin(), std::move(p));
  if (prepared_.size() > prepared_shapes) prepared_.pop_back();
  return *prepared_.front();
}

}  // namespace fulmar::model
