#pragma once

#include <memory>
#include <string>

#include "model/task.h"

namespace fulmar::model {

// Numbers: the output and the label, f32, are [N,H,W,C]. The loss is the mean squared error; the
// weight may be [N,H,W,1], for numbers that are missing. There are no results but the output.
// Metrics: "mae" and "rmse", in the label's units, and "r2" (Σ(y-t)² against Σ(t-mean t)²).
struct FULMAR_API Regression final : Task {
  std::string kind() const override { return "regression"; }
  std::string to_json() const override { return "{}"; }
  Recorded record(Tape& tape, Val output, const Target& target,
                  const LossOptions& options) const override;
  TensorSpec label_of(const Shape& output) const override { return {"", DType::f32, output}; }
  std::unique_ptr<Meter> meter() const override;
  std::shared_ptr<const Task> with(const NamedValues&) const override {
    return std::make_shared<Regression>();
  }
};

std::shared_ptr<const Task> read_regression(const std::string& json);

}  // namespace fulmar::model
