// Integrated gradients: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks".
#include "model/explain/kinds.h"

namespace fulmar::model::explain {

std::vector<Explanation> integrated_gradients(Explainer& explainer, std::span<const float> inputs,
                                              const Target& target, const Settings& settings) {
  const std::vector<float> baseline = baseline_of(explainer, settings);
  const Quadrature path = quadrature(settings.rule, settings.steps);
  const double from = explainer.score(target, baseline);
  return each_input(explainer, inputs, [&](std::span<const float> input) {
    Explanation e;
    e.shape = explainer.shape();
    const std::vector<double> mean =
        explainer.gradient_sum(target, input, baseline, path.points, path.weights);
    for (size_t i = 0; i < mean.size(); i++) {
      const double difference = static_cast<double>(input[i]) - static_cast<double>(baseline[i]);
      e.values.push_back(static_cast<float>(difference * mean[i]));
    }
    e.score = explainer.score(target, input);
    e.baseline_score = from;
    return e;
  });
}

}  // namespace fulmar::model::explain
