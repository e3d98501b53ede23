#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/api.h"

namespace fulmar::model::explain {

// Rules for the integral of a function over [0, 1].
enum class Rule {
  gauss_legendre,  // exact for polynomials of degree 2 steps - 1
  trapezoid,       // ends included; its error falls with the square of the steps
  midpoint         // of equal parts; likewise
};

struct Quadrature {
  std::vector<double> points, weights;  // the weights' sum is 1
};

// Error(usage) where there are no steps, or one for the trapezoid's two ends.
FULMAR_API Quadrature quadrature(Rule rule, int64_t steps);
// "gauss-legendre", "trapezoid", "midpoint". Error(usage) for another.
FULMAR_API Rule rule_of(std::string_view name);
FULMAR_API const char* name_of(Rule rule);

}  // namespace fulmar::model::explain
