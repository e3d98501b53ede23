#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/batch_source.h"
#include "engine/fuse/fuse.h"
#include "engine/io/checkpoint.h"
#include "engine/ops.h"
#include "model/task.h"

namespace fulmar::model {

struct ProgramOptions {
  Mode mode = Mode::eval;
  LossOptions loss{};
  bool unbiased_running_variance = true;
  // Height and width that are cut out of pictures, instead of the record's crop: for networks that
  // take any.
  std::optional<std::array<int64_t, 2>> extents{};
};

// A network on a tape between its preprocessing and its heads.
struct Program {
  std::shared_ptr<Tape> tape;
  std::vector<Val> inputs;             // one for each tensor of the source, in their order
  std::map<std::string, Val> outputs;  // of the network
  std::vector<Recorded> heads;         // one for each head
  // [1], statistics, of all heads together; empty where a head's batches have no labels.
  // loss = loss_sum / loss_weight, 0 where the weight is 0.
  Val loss, loss_sum, loss_weight;
};

// Records a program for batches of these tensors. An input NAME of the network reads the tensor
// NAME; where it has a Preprocess, source pictures, and NAME/samples says how each is sampled. A
// network's only input may be called "image" there.
// Of several heads, sum / weight of a batch is the sum of the heads' losses times their
// loss_weights, and its weight is the mean of the heads' weights: so a head with few labels in a
// batch counts as much there as one with many, and batches count by their labels.
// Error(usage) where a tensor is missing or the pictures' bands are not the network's, naming the
// layer where shapes don't fit, and the head whose task can't use its output.
FULMAR_API Program record_program(const ModelInfo& info, const Heads& heads,
                                  std::span<const TensorSpec> tensors,
                                  const ProgramOptions& options);

// The program with fused ops where the device has them; to be called before grad, if any.
FULMAR_API Program fused(const Program& program, const Device& device,
                         FuseFor use = FuseFor::gradients);
// The same program on another tape: `now` tells where a value went.
FULMAR_API Program moved(const Program& program, std::shared_ptr<Tape> tape,
                         const std::function<Val(Val)>& now);

// The tensors of batches of 8-bit pictures, as large as they are before the crop, and of what the
// heads learn from. Error(usage) as new_model.
std::vector<TensorSpec> tensors_of(const ModelInfo& info, const Heads& heads, int64_t batch,
                                   int64_t side = 0);

// Error(usage) naming the tensor of labels that a head lacks: `what` (training, …) needs it.
void require_labels(const Program& program, const Heads& heads, const std::string& what);

// A network's weights and statistics before training, drawn by `seed`; without one all are 0.
// Error(usage) naming the layer where shapes don't fit, or where the first input has no Preprocess
// that says how large pictures are, and `side` doesn't say it.
FULMAR_API Model new_model(const ModelInfo& info, Device& device, std::optional<uint64_t> seed,
                           int64_t side = 0);
// What the network's inputs are of one sample, by name: [1,h,w,C]. `side` pixels a side are taken
// where the first has no Preprocess that says how large pictures are. Error(usage) where that is 0,
// or nothing says how many channels there are.
std::map<std::string, Shape> input_shapes(const ModelInfo& info, int64_t side = 0);

// How the pictures of a tensor NAME are sampled: its tensor NAME/samples.
TensorSpec samples_spec(const std::string& name, int64_t batch);
// What prediction gives, by name: first the heads' results (with prefix_of), then the network's
// outputs.
std::vector<std::pair<std::string, Val>> named_outputs(const Program& program, const Heads& heads,
                                                       const Network& network);

// The weights and statistics of a model file. Error(file) as Checkpoint::restore.
FULMAR_API Model load_model(const Checkpoint& checkpoint, Device& device);

}  // namespace fulmar::model
