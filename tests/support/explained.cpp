#include "tests/support/explained.h"

#include "tests/support/array.h"

namespace fulmar::test {

using namespace model::explain;

Explained::Explained(const std::string& device_name, const Network& network, const Shape& input,
                     const ExplainerOptions& options)
    : device(&context.device(device_name)), shape(input) {
  info.network = network;
  prepare(options);
}

Explained::Explained(Device& on, const Network& network, const Shape& input,
                     const ExplainerOptions& options)
    : device(&on), shape(input) {
  info.network = network;
  prepare(options);
}

void Explained::prepare(const ExplainerOptions& options) {
  Tape tape;
  record(info.network, tape, ops::input(tape, "/x", {shape}), {Mode::eval});
  model = std::make_unique<Model>(*device, tape, 7);
  explainer = std::make_unique<Explainer>(context, *device, info, *model, shape, options);
}

std::vector<float> Explained::input(uint64_t seed, double low, double high) const {
  const auto drawn = random_reals(shape, seed, low, high).values;
  return {drawn.begin(), drawn.end()};
}

Explanation Explained::explain(const std::string& name, std::span<const float> input,
                               const Target& target, const Settings& settings) {
  return method(name).one(*explainer, input, target, settings);
}

Network small_network(int64_t channels, const std::string& function, const std::string& pooling) {
  Network n;
  const Attributes act{{"function", function}};
  n.add("input", "input", {}, {{"channels", channels}});
  n.add("conv2d", "conv", {"input"}, {{"filters", int64_t{5}}, {"kernel", int64_t{3}}});
  n.add("activation", "act", {"conv"}, act);
  n.add(pooling, "pool", {"act"});
  n.add("separable_conv2d", "sep", {"pool"}, {{"filters", int64_t{4}}});
  n.add("activation", "act_1", {"sep"}, act);
  n.add("global_average_pooling2d", "mean", {"act_1"});
  n.add("dense", "logits", {"mean"}, {{"units", int64_t{3}}});
  return n;
}

}  // namespace fulmar::test
