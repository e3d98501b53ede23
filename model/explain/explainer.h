#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/fuse/fuse.h"
#include "engine/io/checkpoint.h"
#include "engine/session.h"
#include "model/explain/target.h"

namespace fulmar::model::explain {

// How gradients pass a rectifier (relu, relu6).
enum class Rectifier {
  gradient,  // as they are
  guided,    // only where the input and the gradient are above 0: Springenberg et al. 2015
  deconvnet  // only where the gradient is above 0: Zeiler & Fergus 2014
};

struct ExplainerOptions {
  // Bytes of activations that a run may take. So many samples go together as fit, at most
  // max_batch, and one at least. The default suits a processor's caches: at crop 1024 the polar-low
  // network takes its points one by one in 0.7 of the time that six at once take.
  int64_t memory = int64_t{64} << 20;
  int64_t max_batch = 16;
  // Fused ops where the device has them. Other roundings, the same maps otherwise.
  bool fuse = true;
};

// What is asked of each point: its score always.
struct Wanted {
  bool gradient = false;  // of the score, by the input
  std::string layer{};    // this layer's values, and the score's gradient by them
  Rectifier rectifier = Rectifier::gradient;
};

// What a point gave; row-major. Valid until the sink returns.
struct Point {
  double score = 0;
  std::span<const float> gradient{}, layer{}, layer_gradient{};
};

// An input that stays as it is; row-major.
struct FixedInput {
  Shape shape;  // [1,h,w,C]
  std::vector<float> values;
};

struct LayerInfo {
  std::string name, op;
  Shape shape;                  // of one sample
  int64_t receptive_field = 0;  // pixels of the input a side that one of its pixels sees; 0: all
};

// Scores and gradients of a network at inputs near a sample: what every method of attribution is
// made of. The network runs as for prediction, and no gradient by a weight is computed. Programs
// are recorded when first needed, and kept. Not for use by two threads at a time.
//
// An input is [1,h,w,C], as the network sees it behind the preprocessing. Of a network with several
// inputs one is explained, and the others stay as they are.
class FULMAR_API Explainer {
 public:
  // `shape`: of the explained input, [1,h,w,C]. `input`: its name; empty: the only one. Context,
  // device and model must outlive the Explainer.
  // Error(usage) where shapes don't fit the network.
  Explainer(Context& context, Device& device, const ModelInfo& info, Model& model,
            const Shape& shape, const ExplainerOptions& options = {}, std::string input = {},
            std::map<std::string, FixedInput> others = {});
  ~Explainer();

  const Shape& shape() const { return shape_; }
  int64_t elements() const { return shape_.elements(); }
  // The network's layers in order, for one sample.
  const std::vector<LayerInfo>& layers() const { return layers_; }
  // Error(usage) with the nearest names where there is no such layer; empty: the only output.
  const LayerInfo& layer(const std::string& name) const;
  // The last layer that still has pixels: where the field's Grad-CAM looks.
  const LayerInfo& last_map() const;
  // What the last layer with weights on the way to an output takes: where Grad-CAM looks of a
  // network that gives each pixel a class.
  const LayerInfo& features_of(const std::string& output) const;

  // A value of the network for one input.
  std::vector<float> value(const std::string& layer, std::span<const float> input);
  double score(const Target& target, std::span<const float> input);

  // What the network gives at each point; `points` are [n,h,w,C]. The sink is called in order.
  void at(const Target& target, const Wanted& wanted, std::span<const float> points,
          const std::function<void(int64_t, const Point&)>& sink);

  // Points between a baseline and a sample: share · sample + (1 - share) · baseline. Gives the sum
  // of the score's gradients at these points, each times its weight, added up with what rounding
  // loses.
  std::vector<double> gradient_sum(const Target& target, std::span<const float> sample,
                                   std::span<const float> baseline, std::span<const double> shares,
                                   std::span<const double> weights,
                                   Rectifier rectifier = Rectifier::gradient);

  // The scores of `count` inputs that show a sample through a mask [h,w], 1: the sample, 0: the
  // baseline. `draw` fills each mask, in order.
  std::vector<double> masked_scores(const Target& target, std::span<const float> sample,
                                    std::span<const float> baseline, int64_t count,
                                    const std::function<void(int64_t, std::span<float>)>& draw);

  // How many points `wanted` takes together, and what a run of them plans for.
  int64_t batch(const Target& target, const Wanted& wanted);
  size_t planned_bytes() const { return planned_bytes_; }  // of the largest program so far
  // The names of the ops of a gradient program, one for each step that runs.
  std::vector<std::string> steps(const Target& target, const Wanted& wanted);

 private:
  struct Recipe;
  struct Program;
  // The program for `count` points, of the target's weights.
  Program& program(const Recipe& recipe, const Target& target, int64_t count);
  enum class Fuse { no, yes };  // no: all layers are on the tape, by their names
  std::unique_ptr<Program> record(const Recipe& recipe, int64_t batch, Fuse fuses = Fuse::yes);
  Val record_forward(Program& p) const;
  void fuse_program(Program& p, Val& x, FuseFor use) const;
  void record_gradients(Program& p, Val x);
  int64_t largest_batch(const Recipe& recipe);
  void require_input(std::span<const float> values, const char* what) const;

  Context* context_;
  Device* device_;
  const ModelInfo info_;
  Model* model_;
  Shape shape_;
  ExplainerOptions options_;
  std::string input_;
  std::map<std::string, FixedInput> others_;
  std::vector<LayerInfo> layers_;
  std::shared_ptr<Arena> arena_;
  std::vector<std::unique_ptr<Program>> programs_;  // latest first
  size_t planned_bytes_ = 0;
};

}  // namespace fulmar::model::explain
