#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/checkpoint.h"
#include "model/evaluate.h"

namespace fulmar::model {

// A model file ready for use on arrays: read once, then picture after picture. Not for use by two
// threads at a time.
class FULMAR_API Classifier {
 public:
  // `device` as in Context::device. Error(file) naming the file and what is wrong with it.
  Classifier(Context& context, const std::string& path, const std::string& device = "cpu");
  Classifier(Context& context, const std::string& path, Device& device);
  ~Classifier();

  const ModelInfo& info() const { return checkpoint_.info(); }
  const std::vector<std::string>& notes() const { return checkpoint_.notes(); }  // on the file

  // Logits and probabilities of pictures [N,H,W,bands] of u8, u16 or f32, contiguous, as a decoder
  // gives them: the model's own preprocessing follows. The last few shapes stay prepared.
  // Error(usage) where the pictures don't fit the model.
  Outputs predict(const View& pictures);

 private:
  struct Prepared;
  Prepared& prepare(const View& pictures);

  Context* context_;
  Device* device_;
  Checkpoint checkpoint_;
  std::shared_ptr<Arena> arena_;
  Model model_;
  std::vector<std::unique_ptr<Prepared>> prepared_;  // latest first
};

}  // namespace fulmar::model
