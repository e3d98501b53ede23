#include "model/explain/quadrature.h"

#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "kernels/error.h"

namespace fulmar::model::explain {
namespace {

constexpr std::array<std::pair<Rule, const char*>, 3> rules{
    {{Rule::gauss_legendre, "gauss-legendre"},
     {Rule::trapezoid, "trapezoid"},
     {Rule::midpoint, "midpoint"}}};

// The roots of Legendre's polynomial by Newton's method, from Tricomi's estimates of them.
Quadrature gauss_legendre(int64_t steps) {
  Quadrature q;
  q.points.resize(static_cast<size_t>(steps));
  q.weights.resize(static_cast<size_t>(steps));
  const auto n = static_cast<double>(steps);
  for (int64_t i = 0; i < (steps + 1) / 2; i++) {
    double x = (1 - (n - 1) / (8 * n * n * n)) *
               std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (n + 0.5));
    double slope = 0;
    for (int round = 0; round < 100; round++) {
      double before = 1, value = x;  // P_0, P_1
      for (int64_t k = 2; k <= steps; k++) {
        const auto m = static_cast<double>(k);
        before = std::exchange(value, ((2 * m - 1) * x * value - (m - 1) * before) / m);
      }
      slope = n * (x * value - before) / (x * x - 1);
      const double move = value / slope;
      x -= move;
      if (std::abs(move) < 1e-16) break;
    }
    const double weight = 1 / ((1 - x * x) * slope * slope);  // half, for [0, 1]
    const auto low = static_cast<size_t>(i), high = static_cast<size_t>(steps - 1 - i);
    q.points[low] = (1 - x) / 2, q.points[high] = (1 + x) / 2;
    q.weights[low] = q.weights[high] = weight;
  }
  if (steps % 2 == 1) q.points[static_cast<size_t>(steps / 2)] = 0.5;
  return q;
}

}  // namespace

Quadrature quadrature(Rule rule, int64_t steps) {
  const int64_t least = rule == Rule::trapezoid ? 2 : 1;
  if (steps < least)
    usage_error(std::string("the rule ") + name_of(rule) + " takes at least " +
                std::to_string(least) + " step" + (least == 1 ? "" : "s") + ", " +
                std::to_string(steps) + " given");
  if (rule == Rule::gauss_legendre) return gauss_legendre(steps);
  Quadrature q;
  const auto n = static_cast<double>(steps);
  for (int64_t i = 0; i < steps; i++) {
    const auto at = static_cast<double>(i);
    const bool end = i == 0 || i == steps - 1;
    q.points.push_back(rule == Rule::midpoint ? (at + 0.5) / n : at / (n - 1));
    q.weights.push_back(rule == Rule::midpoint ? 1 / n : (end ? 0.5 : 1) / (n - 1));
  }
  return q;
}

Rule rule_of(std::string_view name) {
  for (const auto& [rule, known] : rules)
    if (name == known) return rule;
  usage_error("there is no quadrature '" + std::string(name) +
              "': there are gauss-legendre, trapezoid, midpoint");
}

const char* name_of(Rule rule) {
  for (const auto& [known, name] : rules)
    if (rule == known) return name;
  return "";
}

}  // namespace fulmar::model::explain
