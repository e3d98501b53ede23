#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "model/model_session.h"
#include "model/tasks/classification.h"

namespace fulmar::model {

// What a classifier says of pictures, row by row.
struct Outputs {
  std::vector<double> logits;        // [pictures, classes]
  std::vector<float> probabilities;  // [pictures, classes]
};

// A LoadedModel that classifies pictures, and a ModelSession of it. Not for use by two threads at a
// time: the second gets an Error(usage). Give each thread its own. With one Context they take turns
// at its thread pool.
class FULMAR_API Classifier {
 public:
  // `device` as in Context::device. Error(file) naming the file and what is wrong with it, also
  // where its model is no classifier of pictures.
  Classifier(Context& context, const std::string& path, const std::string& device = "cpu");
  Classifier(Context& context, const std::string& path, Device& device);
  ~Classifier();

  const ModelInfo& info() const { return model_->info(); }
  const Preprocess& preprocess() const { return preprocess_; }
  const Classification& task() const { return task_; }
  const std::vector<std::string>& notes() const { return model_->notes(); }  // as Checkpoint's

  // Logits and probabilities of pictures [N,H,W,bands], contiguous, as a decoder gives them: the
  // model's own preprocessing follows. Elements are of the type that the model was trained on
  // (preprocess().type), or f32 in the same units. The last few shapes stay prepared.
  // Error(usage) where the pictures don't fit the model, or another thread's call has not ended.
  Outputs predict(const View& pictures);
  // The same with how each of them is read, as centre_part() has it for pictures of which a part
  // alone was decoded.
  Outputs predict(const View& pictures, std::span<const WarpSample> samples);

 private:
  void require_pictures(const View& pictures) const;

  std::shared_ptr<const LoadedModel> model_;
  Preprocess preprocess_;
  Classification task_;
  std::unique_ptr<ModelSession> session_;
  std::atomic<bool> busy_{false};
};

}  // namespace fulmar::model
