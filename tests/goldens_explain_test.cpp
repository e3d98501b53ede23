// Attribution methods against Captum's, on the polar-low network in float64.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "model/explain/methods.h"
#include "model/polar_low.h"
#include "tests/support/explained.h"
#include "tests/support/goldens.h"

using namespace fulmar;
using namespace fulmar::test;
using namespace fulmar::model::explain;

TEST_CASE("explain: maps are Captum's") {
  const Golden golden("explain_captum");
  const int64_t crop = golden.metadata("crop");
  model::PolarLowOptions options;
  options.widths = golden.metadata("widths").get<std::vector<int64_t>>();
  for (const std::string device : {"reference", "cpu"}) {
    CAPTURE(device);
    const double bound = device == "cpu" ? 2e-4 : 1e-6;
    Explained e(device, model::polar_low(options), Shape{1, crop, crop, 3});
    set_formula_weights(*e.model);
    const int64_t seed = golden.metadata("seed");
    const Values drawn = formula_uniform("input/" + std::to_string(seed), e.explainer->elements());
    const std::vector<float> x(drawn.begin(), drawn.end());
    const Target target = class_logit(Shape{1, 1, 1, 2}, golden.metadata("target"));
    CHECK(e.explainer->score(target, x) ==
          doctest::Approx(golden.values("logits")[1]).epsilon(bound));
    Settings settings;
    settings.layer = "activation_" + golden.metadata("activation").dump();
    settings.steps = golden.metadata("steps");
    settings.window = golden.metadata("window"), settings.stride = golden.metadata("stride");
    const auto map = [&](const std::string& name) {
      const std::vector<float> values = e.explain(name, x, target, settings).values;
      return Values(values.begin(), values.end());
    };
    for (const char* name : {"saliency", "guided-backprop", "grad-cam", "occlusion"}) {
      CAPTURE(name);
      CHECK(summary_difference(name, map(name), golden.values("summary/" + std::string(name))) <
            bound);
    }
    CHECK(difference(map("grad-cam"), golden.values("grad-cam")) < bound);
    for (const Rule rule : {Rule::gauss_legendre, Rule::midpoint, Rule::trapezoid}) {
      const std::string name = std::string("integrated-gradients/") + name_of(rule);
      CAPTURE(name);
      settings.rule = rule;
      // The trapezoid asks at the black picture too, where whole planes of equal values lie at ties
      // and kinks. In float32 the gradient of that one point is 3e-3 off by its norm, that of
      // points beside it 3e-7.
      const bool at_black = device == "cpu" && rule == Rule::trapezoid;
      CHECK(summary_difference(name, map("integrated-gradients"),
                               golden.values("summary/" + name)) < (at_black ? 5e-4 : bound));
    }
  }
}
