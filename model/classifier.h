#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "engine/session.h"
#include "model/tasks/classification.h"

namespace fulmar::model {

// What a classifier says of pictures, row by row.
struct Outputs {
  std::vector<double> logits;        // [pictures, classes]
  std::vector<float> probabilities;  // [pictures, classes]
};

// A model file ready for use on arrays: read once, then picture after picture. Not for use by two
// threads at a time: the second gets an Error(usage). Give each thread its own, with a Context of
// its own where they should not wait for each other.
class FULMAR_API Classifier {
 public:
  // `device` as in Context::device. Error(file) naming the file and what is wrong with it, also
  // where its model is no classifier of pictures.
  Classifier(Context& context, const std::string& path, const std::string& device = "cpu");
  Classifier(Context& context, const std::string& path, Device& device);
  ~Classifier();

  const ModelInfo& info() const { return checkpoint_.info(); }
  const Preprocess& preprocess() const { return preprocess_; }
  const Classification& task() const { return task_; }
  const std::vector<std::string>& notes() const { return checkpoint_.notes(); }  // as Checkpoint's

  // Logits and probabilities of pictures [N,H,W,bands], contiguous, as a decoder gives them: the
  // model's own preprocessing follows. Elements are of the type that the model was trained on
  // (preprocess().type), or f32 in the same units. The last few shapes stay prepared.
  // Error(usage) where the pictures don't fit the model, or another thread's call has not ended.
  Outputs predict(const View& pictures);
  // The same with how each of them is read, as centre_part() has it for pictures of which a part
  // alone was decoded.
  Outputs predict(const View& pictures, std::span<const WarpSample> samples);

 private:
  struct Prepared;
  void require_pictures(const View& pictures) const;
  Prepared& prepare(const View& pictures);

  Context* context_;
  Device* device_;
  Checkpoint checkpoint_;
  Preprocess preprocess_;
  Classification task_;
  std::shared_ptr<Arena> arena_;
  Model model_;
  std::atomic<bool> busy_{false};
  std::vector<std::unique_ptr<Prepared>> prepared_;  // latest first
};

}  // namespace fulmar::model
