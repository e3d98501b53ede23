// Methods that are one gradient at the input.
#include "model/explain/kinds.h"

namespace fulmar::model::explain {
namespace {

// The gradient by the input, put through `make` with the input's own numbers.
template <class Make>
std::vector<Explanation> of_gradient(Explainer& explainer, std::span<const float> inputs,
                                     const Target& target, Rectifier rectifier, const Make& make) {
  Wanted wanted;
  wanted.gradient = true;
  wanted.rectifier = rectifier;
  std::vector<Explanation> all;
  const auto each = static_cast<size_t>(explainer.elements());
  explainer.at(target, wanted, inputs, [&](int64_t number, const Point& point) {
    Explanation e;
    e.shape = explainer.shape();
    e.score = point.score;
    e.values.reserve(each);
    const auto input = inputs.subspan(static_cast<size_t>(number) * each, each);
    for (size_t i = 0; i < each; i++) e.values.push_back(make(point.gradient[i], input[i]));
    all.push_back(std::move(e));
  });
  return all;
}

float as_it_is(float gradient, float) { return gradient; }

}  // namespace

std::vector<Explanation> saliency(Explainer& explainer, std::span<const float> inputs,
                                  const Target& target, const Settings&) {
  return of_gradient(explainer, inputs, target, Rectifier::gradient, as_it_is);
}

std::vector<Explanation> input_times_gradient(Explainer& explainer, std::span<const float> inputs,
                                              const Target& target, const Settings&) {
  return of_gradient(explainer, inputs, target, Rectifier::gradient,
                     [](float gradient, float input) { return gradient * input; });
}

std::vector<Explanation> guided_backprop(Explainer& explainer, std::span<const float> inputs,
                                         const Target& target, const Settings&) {
  return of_gradient(explainer, inputs, target, Rectifier::guided, as_it_is);
}

std::vector<Explanation> deconvnet(Explainer& explainer, std::span<const float> inputs,
                                   const Target& target, const Settings&) {
  return of_gradient(explainer, inputs, target, Rectifier::deconvnet, as_it_is);
}

}  // namespace fulmar::model::explain
