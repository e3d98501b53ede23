#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/checkpoint.h"
#include "model/explain/methods.h"

namespace fulmar::test {

// A network of our own, with drawn weights, ready to be explained.
struct Explained {
  Context context;
  Device* device;
  ModelInfo info;
  Shape shape;  // of the input
  std::unique_ptr<Model> model;
  std::unique_ptr<model::explain::Explainer> explainer;

  Explained(const std::string& device_name, const Network& network, const Shape& input,
            const model::explain::ExplainerOptions& options = {});
  // On a device of the caller's.
  Explained(Device& on, const Network& network, const Shape& input,
            const model::explain::ExplainerOptions& options = {});

  void prepare(const model::explain::ExplainerOptions& options);
  std::vector<float> input(uint64_t seed, double low = 0, double high = 1) const;
  model::explain::Explanation explain(const std::string& method, std::span<const float> input,
                                      const model::explain::Target& target,
                                      const model::explain::Settings& settings = {});
};

// [h,w,channels] -> 5 channels, `function`, pooling, 4 channels, `function`, mean, 3 classes.
Network small_network(int64_t channels, const std::string& function, const std::string& pooling);

}  // namespace fulmar::test
