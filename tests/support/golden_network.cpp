#include "tests/support/golden_network.h"

#include <algorithm>
#include <array>

#include "engine/fuse/fuse.h"
#include "engine/ops.h"
#include "model/polar_low.h"

namespace fulmar::test {

GoldenNetwork::GoldenNetwork(const Golden& golden, Mode mode, bool unbiased_running_variance) {
  model::PolarLowOptions options;
  options.widths = golden.metadata("widths").get<std::vector<int64_t>>();
  options.dropout = 0;
  const int64_t batch = golden.metadata("batch"), crop = golden.metadata("crop");
  x = ops::input(*tape, "x", {{batch, crop, crop, 3}});
  labels = ops::input(*tape, "labels", {{batch, 1, 1, 1}, Role::index, DType::i32});
  logits = record(model::polar_low(options), *tape, x, {mode, unbiased_running_variance});
  loss = ops::softmax_cross_entropy(*tape, logits, labels).mean;
}

void GoldenNetwork::fuse(const Device& device) {
  const Rewritten fused = fulmar::fuse(*tape, device, std::array{x, labels, logits, loss});
  for (Val* v : {&x, &labels, &logits, &loss}) *v = fused.now(*v);
  tape = fused.tape;
}

void GoldenNetwork::set_batch(Session& session, const Golden& golden, int64_t seed) const {
  session.set(x, formula_uniform("input/" + std::to_string(seed), tape->shape(x).elements()));
  session.set(labels, golden.metadata("labels").get<std::vector<int32_t>>());
}

std::vector<Val> parameter_gradients(Tape& tape, const Model& model, Val loss) {
  std::vector<Val> weights;
  for (const Model::Parameter& p : model.parameters()) weights.push_back(tape.find(p.name));
  return grad(tape, loss, weights);
}

bool has_zero_gradient(const Golden& golden, const std::string& parameter) {
  const bool published = golden.metadata("widths")[0] == 8;
  const Golden torch(std::string("polar_low_torch_64_") + (published ? "published" : "narrow"));
  const nlohmann::json names = torch.metadata("zero_gradients");
  return std::find(names.begin(), names.end(), parameter) != names.end();
}

double layer_gradient_norm(const Golden& golden, const std::string& prefix,
                           const std::string& parameter) {
  const std::string layer = parameter.substr(0, parameter.find('/') + 1);
  double largest = 0;
  for (const std::string& other : golden.names(prefix + layer))
    if (layer + other != parameter)
      largest = std::max(largest, golden.value(prefix + layer + other));
  return largest;
}

AdamW adamw_of(const nlohmann::json& how) {
  AdamW adamw;
  adamw.beta1 = how["beta1"], adamw.beta2 = how["beta2"], adamw.epsilon = how["epsilon"];
  adamw.weight_decay = how["decay"];
  adamw.decay_scaled_by_lr = how.value("decay_scaled_by_lr", true);
  adamw.keras_epsilon = how.value("epsilon_placement", "torch") == "keras";
  return adamw;
}

}  // namespace fulmar::test
