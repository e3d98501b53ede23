#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/metrics.h"
#include "model/task.h"

namespace fulmar::model {

// One of several classes a picture: logits [N,1,1,K], labels i32 [N,1,1,1]. The loss is
// ops::softmax_cross_entropy, the result "probabilities" [N,1,1,K].
struct FULMAR_API Classification final : Task {
  // Error(usage): fewer than two classes; a positive class though there are not two, or none though
  // there are; a threshold outside 0..1.
  explicit Classification(std::vector<std::string> class_names, int64_t positive = -1,
                          double positive_from = 0.5);

  std::string kind() const override { return "classification"; }
  std::string to_json() const override;
  Recorded record(Tape& tape, Val output, const Target& target,
                  const LossOptions& options) const override;
  TensorSpec label_of(const Shape& output) const override {
    return {"", DType::i32, Shape{output.images(), 1, 1, 1}};
  }
  std::unique_ptr<Meter> meter() const override;
  NamedValues settings() const override;
  std::shared_ptr<const Task> with(const NamedValues& settings) const override;

  bool two_classes() const { return positive_class >= 0; }

  std::vector<std::string> classes;  // in the order of the logits
  int64_t positive_class;            // of two classes, the one that F1 is about; -1: more classes
  double threshold;                  // of two classes: positive from this probability on
};

// With two classes the settings hold a threshold, the one with the best F1.
class FULMAR_API ClassificationMeter final : public Meter {
 public:
  ClassificationMeter(int64_t classes, int64_t positive_class);

  void add(const Observed& batch) override;
  void clear() override { seen_ = Predictions(seen_.classes); }
  NamedValues settle() const override;
  NamedValues metrics(const NamedValues& settings) const override;
  void store(TrainingState& to, const std::string& prefix) const override;
  void restore(const TrainingState& from, const std::string& prefix) override;

  // Without losses.
  const Predictions& predictions() const { return seen_; }

 private:
  Predictions seen_;
  int64_t positive_class_;
};

std::shared_ptr<const Task> read_classification(const std::string& json);

// A model with one head that classifies has entries "classes", "positive_class" and "threshold" in
// its file; nullptr where there are none. Error(usage) for what they can't be.
std::shared_ptr<const Classification> classification_entries(
    const std::map<std::string, std::string>& entries);
std::map<std::string, std::string> entries_of(const Classification& task);

inline const Classification* as_classification(const Task& task) {
  return dynamic_cast<const Classification*>(&task);
}
// The description of a classifier of pictures. Error(usage) where the network has several inputs or
// outputs.
FULMAR_API ModelInfo classifier_of(Network network, Preprocess preprocess,
                                   const Classification& task);
// The task of a classifier. Error(usage) where the model is none.
FULMAR_API Classification classification_of(const ModelInfo& info);
// Error(file) naming the file.
FULMAR_API Classification classification_of(const Checkpoint& checkpoint);

}  // namespace fulmar::model
