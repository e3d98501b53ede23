// Mean and variance of a method's maps of noisy inputs: SmoothGrad, Smilkov et al. 2017; VarGrad,
// Adebayo et al. 2018.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/error.h"
#include "kernels/random.h"
#include "model/explain/kinds.h"

namespace fulmar::model::explain {
namespace {

constexpr int64_t together = 8;  // noisy inputs that a method gets at once

// Two numbers of the normal distribution by Box & Muller 1958.
void add_noise(std::span<float> input, double deviation, uint64_t seed, uint64_t sample) {
  for (size_t i = 0; i < input.size(); i += 2) {
    const RandomBits bits = philox(seed, sample, i / 2);
    const double radius = std::sqrt(-2 * std::log(1 - uniform(bits.word[0])));
    const double angle = 2 * std::numbers::pi * uniform(bits.word[1]);
    input[i] += static_cast<float>(deviation * radius * std::cos(angle));
    if (i + 1 < input.size())
      input[i + 1] += static_cast<float>(deviation * radius * std::sin(angle));
  }
}

struct Moments {
  std::vector<double> mean, squares;  // squares: of distances from the mean

  // Welford 1962.
  void add(std::span<const float> values, int64_t count) {
    mean.resize(values.size(), 0.0), squares.resize(values.size(), 0.0);
    for (size_t i = 0; i < values.size(); i++) {
      const auto value = static_cast<double>(values[i]);
      const double distance = value - mean[i];
      mean[i] += distance / static_cast<double>(count);
      squares[i] += distance * (value - mean[i]);
    }
  }
};

// One sample's map, and the moments of its noisy ones.
template <class Values>
Explanation of_noisy(Explainer& explainer, std::span<const float> input, const Target& target,
                     const Settings& settings, const Values& values_of) {
  const Method& base = method(settings.base);
  if (base.explain == smooth_grad || base.explain == var_grad)
    usage_error("'" + settings.base + "' takes noisy samples itself; name a method that doesn't");
  if (settings.samples < 1) usage_error("noise needs at least one sample");
  if (!(settings.noise >= 0)) usage_error("the noise must not be below 0");
  const auto [low, high] = std::minmax_element(input.begin(), input.end());
  const double deviation = settings.noise * static_cast<double>(*high - *low);
  Moments moments;
  Explanation e;
  int64_t count = 0;
  for (int64_t begin = 0; begin < settings.samples; begin += together) {
    const int64_t here = std::min(together, settings.samples - begin);
    std::vector<float> noisy;
    for (int64_t i = 0; i < here; i++) {
      noisy.insert(noisy.end(), input.begin(), input.end());
      if (deviation > 0)
        add_noise(std::span(noisy).last(input.size()), deviation, settings.seed,
                  static_cast<uint64_t>(begin + i));
    }
    for (Explanation& one : base.explain(explainer, noisy, target, settings)) {
      moments.add(one.values, ++count);
      e.shape = one.shape, e.layer = one.layer;
    }
  }
  for (const double value : values_of(moments)) e.values.push_back(static_cast<float>(value));
  e.score = explainer.score(target, input);
  return e;
}

}  // namespace

std::vector<Explanation> smooth_grad(Explainer& explainer, std::span<const float> inputs,
                                     const Target& target, const Settings& settings) {
  return each_input(explainer, inputs, [&](std::span<const float> input) {
    return of_noisy(explainer, input, target, settings,
                    [](const Moments& moments) { return moments.mean; });
  });
}

std::vector<Explanation> var_grad(Explainer& explainer, std::span<const float> inputs,
                                  const Target& target, const Settings& settings) {
  return each_input(explainer, inputs, [&](std::span<const float> input) {
    return of_noisy(explainer, input, target, settings, [&](const Moments& moments) {
      std::vector<double> variances = moments.squares;
      for (double& value : variances) value /= static_cast<double>(settings.samples);
      return variances;
    });
  });
}

}  // namespace fulmar::model::explain
