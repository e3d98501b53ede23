#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/explain/explainer.h"
#include "model/explain/quadrature.h"

namespace fulmar::model::explain {

// What methods can be told. Each reads what it has a use for.
struct Settings {
  std::vector<float> baseline{};  // an input [1,h,w,C] without content; empty: zeros

  // Integrated gradients.
  int64_t steps = 50;
  Rule rule = Rule::gauss_legendre;

  // SmoothGrad and VarGrad: samples of the method `base`, with noise of this standard deviation, in
  // parts of the input's range.
  std::string base = "saliency";
  int64_t samples = 25;
  double noise = 0.15;
  uint64_t seed = 0;

  // CAMs: the layer; empty: the last one that has pixels.
  std::string layer{};

  // Occlusion: a window of so many pixels a side, moved by `stride`; 0: an eighth of the shorter
  // side, and half the window.
  int64_t window = 0, stride = 0;

  // RISE: masks of cells x cells numbers, 1 with this probability, drawn by `seed`.
  int64_t masks = 2000, cells = 8;
  double keep = 0.5;
};

// What a method makes of one sample: raw, signed.
struct FULMAR_API Explanation {
  Shape shape;  // [1,h,w,C] as the input, or [1,h,w,1]: on its grid, or a layer's own
  std::vector<float> values;
  std::string layer{};  // whose grid it is on; empty: the input's
  double score = 0;     // the target's number

  // Of path methods: the sum of all values is score - baseline_score, but for the quadrature's
  // error (completeness: Sundararajan et al. 2017).
  std::optional<double> baseline_score{};
  double completeness_error() const;  // absolute
  double relative_error() const;      // over |score - baseline_score|; NaN where that is 0
};

struct FULMAR_API Method {
  const char* name;     // "integrated-gradients"
  const char* summary;  // one line, with its source
  bool of_layer;        // it reads Settings::layer
  // Of inputs [n,h,w,C], in order. Error(usage) where settings, target and network don't fit.
  std::vector<Explanation> (*explain)(Explainer&, std::span<const float> inputs, const Target&,
                                      const Settings&);

  Explanation one(Explainer& explainer, std::span<const float> input, const Target& target,
                  const Settings& settings) const;
};

// All methods, in the order in which help lists them.
FULMAR_API std::span<const Method> methods();
FULMAR_API const Method& method(std::string_view name);  // Error(usage) that lists them

// A layer's map on another grid: bilinear, half-pixel centres.
FULMAR_API std::vector<float> on_grid(std::span<const float> map, int64_t height, int64_t width,
                                      int64_t to_height, int64_t to_width);

}  // namespace fulmar::model::explain
