#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/explain/methods.h"

namespace fulmar::model::explain {

// How well a map tells what a network's decision rests on. All take maps [h,w] on the input's grid,
// one number a pixel: per_pixel() makes them.

// The sum over the channels of an Explanation, on the input's grid.
FULMAR_API std::vector<float> per_pixel(const Explanation& explanation, const Shape& input);

// The target's number while pixels change hands, from none of them to all.
struct FULMAR_API ScoreCurve {
  std::vector<double> share, score;  // share of the pixels, 0 to 1
  double area() const;               // by trapezoids
};
enum class Order { deletion, insertion };
// Petsiuk et al. 2018: pixels go from the map's largest value down, in `steps` equal parts.
// Deletion puts the baseline in their place, insertion puts them into the baseline. A faithful map
// makes the first fall and the second rise at once.
FULMAR_API ScoreCurve curve(Explainer& explainer, Order order, std::span<const float> map,
                            std::span<const float> input, std::span<const float> baseline,
                            const Target& target, int64_t steps);
// The mean of `orders` curves whose pixels go at random, in blocks of `block` pixels a side.
FULMAR_API ScoreCurve random_curve(Explainer& explainer, Order order, std::span<const float> input,
                                   std::span<const float> baseline, const Target& target,
                                   int64_t steps, int64_t orders, int64_t block, uint64_t seed);

// Zhang et al. 2018: whether the map's largest value lies in a mask [h,w] of numbers above 0.
FULMAR_API bool points_inside(std::span<const float> map, std::span<const float> mask);

// Yeh et al. 2019, definition 2.1, for squares that are put to the baseline: the mean square of
// what a map says of the change, times the factor that suits it best, less the change of the score;
// over the mean square of the change, so that 0 is perfect, and 1 is what a map of zeros has.
struct Infidelity {
  int64_t samples = 64;
  int64_t side = 0;  // of the squares, pixels; 0: an eighth of the shorter side
  uint64_t seed = 0;
};
FULMAR_API double infidelity(Explainer& explainer, std::span<const float> map,
                             std::span<const float> input, std::span<const float> baseline,
                             const Target& target, const Infidelity& how);

// Yeh et al. 2019, definition 3.2: the largest relative change of a method's map when each number
// of the input moves by at most `radius` (of the input's range), over random moves.
FULMAR_API double sensitivity(Explainer& explainer, const Method& method,
                              std::span<const float> input, const Target& target,
                              const Settings& settings, double radius, int64_t samples,
                              uint64_t seed);

// Adebayo et al. 2018, the cascading check: layers' weights are drawn anew, from the head down,
// each kept so while the next ones follow. Gives each layer's name and Spearman's correlation
// between the absolute values of the map then and the trained network's. Maps that explain the
// network become unlike.
FULMAR_API std::vector<std::pair<std::string, double>> randomisation(
    Context& context, Device& device, const ModelInfo& info, Model& model, const Shape& shape,
    const ExplainerOptions& options, const Method& method, std::span<const float> input,
    const Target& target, const Settings& settings, uint64_t seed);

// Spearman's rank correlation; equal numbers share their mean rank. NaN where one side is constant.
FULMAR_API double rank_correlation(std::span<const float> a, std::span<const float> b);

}  // namespace fulmar::model::explain
