#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/task.h"

namespace fulmar::model {

// Any of several labels a picture: logits [N,1,1,K], labels f32 [N,1,1,K] of 0 and 1. The loss is
// the binary cross-entropy, softplus(x) - x t, as a mean over all labels; the result
// "probabilities" [N,1,1,K] is the logits' sigmoid. Metrics: "accuracy" of single labels and
// "macro_f1" at a probability of 0.5, and "map", the mean of the labels' average precisions.
struct FULMAR_API Multilabel final : Task {
  // Error(usage) without a label.
  explicit Multilabel(std::vector<std::string> label_names);

  std::string kind() const override { return "multilabel"; }
  std::string to_json() const override;
  Recorded record(Tape& tape, Val output, const Target& target,
                  const LossOptions& options) const override;
  TensorSpec label_of(const Shape& output) const override { return {"", DType::f32, output}; }
  std::unique_ptr<Meter> meter() const override;
  std::shared_ptr<const Task> with(const NamedValues&) const override {
    return std::make_shared<Multilabel>(labels);
  }

  std::vector<std::string> labels;  // in the order of the logits
};

std::shared_ptr<const Task> read_multilabel(const std::string& json);

}  // namespace fulmar::model
