#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/batch_source.h"
#include "engine/io/checkpoint.h"
#include "engine/ops.h"
#include "model/named_values.h"

// What the outputs of a network mean. A task records the loss of one output, and its Meter turns
// what batches gave into metrics. Training, evaluation and files know a loss and named metrics
// alone, so that a new task is one file and one line (model/tasks/).
namespace fulmar::model {

// The tensors of a batch that a head learns from, on the tape. Empty: the batches have none.
struct Target {
  Val label;
  Val samples;  // of a label raster: how its pixels lie on the output's grid, as warp's samples
  Val weight;   // [N,1,1,1], of each sample; 0 for slots that fill up a batch
};

// The weights of samples, 1 where they have none.
inline Val weights_of(Tape& tape, const Target& target, const Shape& sample) {
  return target.weight ? target.weight : ops::constant(tape, sample, 1, Role::statistic);
}

struct LossOptions {
  double label_smoothing = 0;  // of class labels: target' = (1 - s) target + s / classes
};

// What a task recorded onto a tape.
struct Recorded {
  // [1], statistics: the loss of a batch is sum / weight. Micro-batches add up both, and divide
  // then. Empty without labels.
  Val loss_sum, loss_weight;
  // [N,1,1,1], where each sample has a loss of its own: its loss x weight, and its weight.
  Val sample_loss, sample_weight;
  // What prediction gives, by name: "probabilities".
  std::vector<std::pair<std::string, Val>> results{};
  // What the Meter reads after each run.
  std::vector<Val> watched{};
};

// What a run gave of a batch.
struct Observed {
  int64_t samples = 0;                         // the first slots; the others fill up the batch
  View label{};                                // the head's label tensor, in host memory
  std::vector<std::vector<double>> watched{};  // by Recorded::watched, all slots
};

// Gathers what a task's metrics are computed from, over the batches of an epoch. All of it goes
// into a checkpoint, so that a resumed epoch gives the same metrics.
class FULMAR_API Meter {
 public:
  virtual ~Meter() = default;
  // Error(usage) for labels that are none of the task's.
  virtual void add(const Observed& batch) = 0;
  virtual void clear() = 0;
  // What a model leaves to its validation, chosen by what was gathered there: a threshold.
  virtual NamedValues settle() const { return {}; }
  // The metrics with such settings, or with the usual ones. Names and order never change; what is
  // undefined is NaN.
  virtual NamedValues metrics(const NamedValues& settings = {}) const = 0;

  // Arrays of the state, under names that begin with `prefix`. Error(usage) where they don't fit.
  virtual void store(TrainingState& to, const std::string& prefix) const = 0;
  virtual void restore(const TrainingState& from, const std::string& prefix) = 0;
};

class FULMAR_API Task {
 public:
  virtual ~Task() = default;
  virtual std::string kind() const = 0;     // "classification", …: its name in tasks()
  virtual std::string to_json() const = 0;  // an object of all its settings

  // Records loss and results of a network's output. Error(usage) where the output or the label has
  // a shape that the task can't use.
  virtual Recorded record(Tape& tape, Val output, const Target& target,
                          const LossOptions& options) const = 0;
  // The tensor of labels that record() takes for an output of this shape; its name is the head's.
  virtual TensorSpec label_of(const Shape& output) const = 0;
  virtual std::unique_ptr<Meter> meter() const = 0;
  // The settings that Meter::settle() chooses, as they are, and the same task with others.
  virtual NamedValues settings() const { return {}; }
  virtual std::shared_ptr<const Task> with(const NamedValues& settings) const = 0;
};

// An output of a network with its task.
struct Head {
  std::shared_ptr<const Task> task;
  std::string output;             // of the network
  std::string label = "label";    // the batches' tensors that it learns from
  std::string weight = "weight";  // may be missing: all samples count alike
  double loss_weight = 1;         // the model's loss is the sum of its heads' losses times these
};
using Heads = std::vector<Head>;

// How a task is read from its JSON. Error(usage) for what it can't be.
using ReadTask = std::shared_ptr<const Task> (*)(const std::string& json);
// By kind. A new task has a line there.
FULMAR_API const std::map<std::string, ReadTask>& tasks();

// The heads that a model's description names; none where it has no task. Error(usage) naming what
// is wrong with it.
FULMAR_API Heads heads_of(const ModelInfo& info);
// The same of a file that was read. Error(file) naming the file.
FULMAR_API Heads heads_of(const Checkpoint& checkpoint);
// Writes the heads into a description. Error(usage) as heads_of.
FULMAR_API void set_heads(ModelInfo& info, const Heads& heads);

// "": the metrics and arrays of a model with one head have no prefix; else "OUTPUT" and `join`.
FULMAR_API std::string prefix_of(const Heads& heads, size_t head, const char* join);

}  // namespace fulmar::model
