#pragma once

#include "model/explain/methods.h"

// The methods themselves; methods.cpp lists them.
namespace fulmar::model::explain {

#define FULMAR_EXPLAINS(function)                                                        \
  std::vector<Explanation> function(Explainer& explainer, std::span<const float> inputs, \
                                    const Target& target, const Settings& settings)
FULMAR_EXPLAINS(saliency);
FULMAR_EXPLAINS(input_times_gradient);
FULMAR_EXPLAINS(guided_backprop);
FULMAR_EXPLAINS(deconvnet);
FULMAR_EXPLAINS(integrated_gradients);
FULMAR_EXPLAINS(smooth_grad);
FULMAR_EXPLAINS(var_grad);
FULMAR_EXPLAINS(grad_cam);
FULMAR_EXPLAINS(grad_cam_plus_plus);
FULMAR_EXPLAINS(xgrad_cam);
FULMAR_EXPLAINS(hires_cam);
FULMAR_EXPLAINS(layer_cam);
FULMAR_EXPLAINS(guided_grad_cam);
FULMAR_EXPLAINS(occlusion);
FULMAR_EXPLAINS(rise);
#undef FULMAR_EXPLAINS

// The inputs one after the other, for methods that work on one at a time.
template <class Of>
std::vector<Explanation> each_input(const Explainer& explainer, std::span<const float> inputs,
                                    const Of& of) {
  const auto each = static_cast<size_t>(explainer.elements());
  std::vector<Explanation> all;
  for (size_t begin = 0; begin < inputs.size(); begin += each)
    all.push_back(of(inputs.subspan(begin, each)));
  return all;
}

// The baseline of the settings, or zeros. Error(usage) where it has other extents.
std::vector<float> baseline_of(const Explainer& explainer, const Settings& settings);

}  // namespace fulmar::model::explain
