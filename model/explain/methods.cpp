#include "model/explain/methods.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/error.h"
#include "model/explain/bilinear.h"
#include "model/explain/kinds.h"

namespace fulmar::model::explain {
namespace {

constexpr Method all_methods[] = {
    {"saliency", "the gradient by the input", false, saliency},
    {"input-x-gradient", "the gradient times the input", false, input_times_gradient},
    {"integrated-gradients", "the mean gradient on the way from a baseline, times the way", false,
     integrated_gradients},
    {"smooth-grad", "the mean of another method's maps of noisy inputs", false, smooth_grad},
    {"var-grad", "the variance of another method's maps of noisy inputs", false, var_grad},
    {"guided-backprop", "the gradient that passes only active units, where it is positive", false,
     guided_backprop},
    {"deconvnet", "the gradient that passes where it is positive", false, deconvnet},
    {"grad-cam", "a layer's channels, weighted by their mean gradients", true, grad_cam},
    {"grad-cam++", "Grad-CAM with weights for each pixel's positive gradient", true,
     grad_cam_plus_plus},
    {"xgrad-cam", "Grad-CAM with gradients weighted by the channel's values", true, xgrad_cam},
    {"hires-cam", "a layer's values times their gradients", true, hires_cam},
    {"layer-cam", "a layer's values times their positive gradients", true, layer_cam},
    {"guided-grad-cam", "guided backpropagation where Grad-CAM is positive", true, guided_grad_cam},
    {"occlusion", "how far the score falls where a window is hidden", false, occlusion},
    {"rise", "the mean score under random masks that show a pixel", false, rise},
};

}  // namespace

std::span<const Method> methods() { return all_methods; }

const Method& method(std::string_view name) {
  for (const Method& known : all_methods)
    if (name == known.name) return known;
  std::string names;
  for (const Method& known : all_methods)
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  usage_error("there is no method '" + std::string(name) + "': there are " + names);
}

Explanation Method::one(Explainer& explainer, std::span<const float> input, const Target& target,
                        const Settings& settings) const {
  if (std::ssize(input) != explainer.elements())
    usage_error("the input has " + std::to_string(input.size()) + " elements, the network's " +
                explainer.shape().to_string() + " has " + std::to_string(explainer.elements()));
  return std::move(explain(explainer, input, target, settings).at(0));
}

double Explanation::completeness_error() const {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  return std::abs(sum - (score - baseline_score.value_or(0)));
}

double Explanation::relative_error() const {
  const double difference = std::abs(score - baseline_score.value_or(0));
  return difference > 0 ? completeness_error() / difference
                        : std::numeric_limits<double>::quiet_NaN();
}

std::vector<float> baseline_of(const Explainer& explainer, const Settings& settings) {
  if (settings.baseline.empty())
    return std::vector<float>(static_cast<size_t>(explainer.elements()), 0.0F);
  if (std::ssize(settings.baseline) != explainer.elements())
    usage_error("the baseline has " + std::to_string(settings.baseline.size()) +
                " elements, the network's input " + explainer.shape().to_string());
  return settings.baseline;
}

std::vector<float> on_grid(std::span<const float> map, int64_t height, int64_t width,
                           int64_t to_height, int64_t to_width) {
  const auto taps = [](int64_t from, int64_t to) {
    std::vector<Tap> all;
    for (int64_t i = 0; i < to; i++)
      all.push_back(Tap::at(
          (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) -
              0.5,
          from));
    return all;
  };
  return bilinear(map, width, 1, taps(height, to_height), taps(width, to_width));
}

}  // namespace fulmar::model::explain
