// Class activation maps: a layer's channels, each weighted by what the gradient says of it. Maps
// are raw, before the ReLU with which the papers draw them.
#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "model/explain/kinds.h"

namespace fulmar::model::explain {
namespace {

// A layer's values a and the score's gradient g by them, of one sample: [pixels, channels].
struct LayerView {
  std::span<const float> a, g;
  int64_t pixels, channels;

  double value(int64_t pixel, int64_t channel) const { return at(a, pixel, channel); }
  double gradient(int64_t pixel, int64_t channel) const { return at(g, pixel, channel); }
  // The sum over the pixels of one channel.
  template <class Of>
  double over_pixels(const Of& of) const {
    double sum = 0;
    for (int64_t pixel = 0; pixel < pixels; pixel++) sum += of(pixel);
    return sum;
  }

 private:
  double at(std::span<const float> values, int64_t pixel, int64_t channel) const {
    return static_cast<double>(values[static_cast<size_t>(pixel * channels + channel)]);
  }
};

const LayerInfo& layer_of(const Explainer& explainer, const Settings& settings) {
  const LayerInfo& layer =
      settings.layer.empty() ? explainer.last_map() : explainer.layer(settings.layer);
  if (layer.shape.height() * layer.shape.width() < 2)
    usage_error("the layer '" + layer.name + "' " + layer.shape.to_string() +
                " has one pixel; a map needs one with more");
  return layer;
}

// The map of each input: at each pixel the sum over channels of pixel_of(view, pixel, channel),
// which may use what channel_of(view, channel) gave for the channel.
template <class Channel, class Pixel>
std::vector<Explanation> of_layer(Explainer& explainer, std::span<const float> inputs,
                                  const Target& target, const Settings& settings,
                                  const Channel& channel_of, const Pixel& pixel_of) {
  const LayerInfo& layer = layer_of(explainer, settings);
  Wanted wanted;
  wanted.layer = layer.name;
  std::vector<Explanation> all;
  explainer.at(target, wanted, inputs, [&](int64_t, const Point& point) {
    const LayerView view{point.layer, point.layer_gradient,
                         layer.shape.height() * layer.shape.width(), layer.shape.channels()};
    std::vector<double> sums(static_cast<size_t>(view.pixels), 0.0);
    for (int64_t channel = 0; channel < view.channels; channel++) {
      const double factor = channel_of(view, channel);
      for (int64_t pixel = 0; pixel < view.pixels; pixel++)
        sums[static_cast<size_t>(pixel)] += pixel_of(view, pixel, channel, factor);
    }
    Explanation e;
    e.shape = {1, layer.shape.height(), layer.shape.width(), 1};
    e.layer = layer.name;
    e.score = point.score;
    for (const double value : sums) e.values.push_back(static_cast<float>(value));
    all.push_back(std::move(e));
  });
  return all;
}

double times_value(const LayerView& v, int64_t pixel, int64_t channel, double factor) {
  return factor * v.value(pixel, channel);
}

double one(const LayerView&, int64_t) { return 1; }

}  // namespace

// Selvaraju et al. 2017: a channel counts by its mean gradient.
std::vector<Explanation> grad_cam(Explainer& explainer, std::span<const float> inputs,
                                  const Target& target, const Settings& settings) {
  const auto mean_gradient = [](const LayerView& v, int64_t channel) {
    return v.over_pixels([&](int64_t pixel) { return v.gradient(pixel, channel); }) /
           static_cast<double>(v.pixels);
  };
  return of_layer(explainer, inputs, target, settings, mean_gradient, times_value);
}

// Chattopadhay et al. 2018, equations 10 and 19, for the score's exponential; its positive factor,
// which all pixels share, is left out.
std::vector<Explanation> grad_cam_plus_plus(Explainer& explainer, std::span<const float> inputs,
                                            const Target& target, const Settings& settings) {
  const auto weight = [](const LayerView& v, int64_t channel) {
    const double sum = v.over_pixels([&](int64_t pixel) { return v.value(pixel, channel); });
    return v.over_pixels([&](int64_t pixel) {
      const double g = v.gradient(pixel, channel);
      const double below = 2 * g * g + sum * g * g * g;
      return below == 0 ? 0 : g * g / below * std::max(g, 0.0);
    });
  };
  return of_layer(explainer, inputs, target, settings, weight, times_value);
}

// Fu et al. 2020, equation 8: gradients count by the share of the channel's sum where they are.
std::vector<Explanation> xgrad_cam(Explainer& explainer, std::span<const float> inputs,
                                   const Target& target, const Settings& settings) {
  const auto weight = [](const LayerView& v, int64_t channel) {
    const double sum = v.over_pixels([&](int64_t pixel) { return v.value(pixel, channel); });
    const double both = v.over_pixels(
        [&](int64_t pixel) { return v.value(pixel, channel) * v.gradient(pixel, channel); });
    return sum == 0 ? 0 : both / sum;
  };
  return of_layer(explainer, inputs, target, settings, weight, times_value);
}

// Draelos & Carin 2020: each element times its own gradient.
std::vector<Explanation> hires_cam(Explainer& explainer, std::span<const float> inputs,
                                   const Target& target, const Settings& settings) {
  return of_layer(explainer, inputs, target, settings, one,
                  [](const LayerView& v, int64_t pixel, int64_t channel, double) {
                    return v.value(pixel, channel) * v.gradient(pixel, channel);
                  });
}

// Jiang et al. 2021: the same where the gradient is above 0.
std::vector<Explanation> layer_cam(Explainer& explainer, std::span<const float> inputs,
                                   const Target& target, const Settings& settings) {
  return of_layer(explainer, inputs, target, settings, one,
                  [](const LayerView& v, int64_t pixel, int64_t channel, double) {
                    return v.value(pixel, channel) * std::max(v.gradient(pixel, channel), 0.0);
                  });
}

// Selvaraju et al. 2017, section 3.2: guided backpropagation where Grad-CAM is above 0.
std::vector<Explanation> guided_grad_cam(Explainer& explainer, std::span<const float> inputs,
                                         const Target& target, const Settings& settings) {
  const std::vector<Explanation> cams = grad_cam(explainer, inputs, target, settings);
  std::vector<Explanation> all = guided_backprop(explainer, inputs, target, settings);
  for (size_t number = 0; number < all.size(); number++) {
    Explanation& e = all[number];
    const Explanation& cam = cams[number];
    const std::vector<float> map = on_grid(cam.values, cam.shape.height(), cam.shape.width(),
                                           e.shape.height(), e.shape.width());
    const auto channels = static_cast<size_t>(e.shape.channels());
    for (size_t i = 0; i < e.values.size(); i++) e.values[i] *= std::max(map[i / channels], 0.0F);
  }
  return all;
}

}  // namespace fulmar::model::explain
