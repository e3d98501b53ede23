#include "model/curves.h"

#include <algorithm>
#include <utility>

#include "model/score_ties.h"

namespace fulmar::model {
namespace {

double rate(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

// Positives and negatives of all ties.
std::pair<int64_t, int64_t> totals_of(const std::vector<Tie>& ties) {
  std::pair<int64_t, int64_t> totals{0, 0};
  for (const Tie& tie : ties) {
    totals.first += tie.positives;
    totals.second += tie.negatives;
  }
  return totals;
}

// The values of a curve on both sides of an x: the first and the last of a jump.
std::pair<double, double> sides_at(const Curve& curve, double x) {
  const auto below = [](const CurvePoint& p, double value) { return p.x < value; };
  const auto above = [](double value, const CurvePoint& p) { return value < p.x; };
  const auto first = std::lower_bound(curve.begin(), curve.end(), x, below);
  const auto end = std::upper_bound(first, curve.end(), x, above);
  if (first != end) return {first->y, (end - 1)->y};
  const CurvePoint &left = *(first - 1), &right = *first;
  const double y = left.y + (right.y - left.y) * (x - left.x) / (right.x - left.x);
  return {y, y};
}

}  // namespace

Curve roc_curve(std::span<const float> scores, std::span<const uint8_t> positive) {
  const std::vector<Tie> ties = ties_of(scores, positive);
  const auto [positives, negatives] = totals_of(ties);
  if (positives == 0 || negatives == 0) return {};
  Curve curve{{0, 0}};
  int64_t hits = 0, alarms = 0;
  for (const Tie& tie : ties) {
    hits += tie.positives;
    alarms += tie.negatives;
    curve.push_back({rate(alarms, negatives), rate(hits, positives)});
  }
  return curve;
}

Curve precision_recall_curve(std::span<const float> scores, std::span<const uint8_t> positive) {
  const std::vector<Tie> ties = ties_of(scores, positive);
  const int64_t positives = totals_of(ties).first;
  if (positives == 0) return {};
  Curve curve;
  int64_t hits = 0, called = 0;
  for (const Tie& tie : ties) {
    const double before = rate(hits, positives);
    hits += tie.positives;
    called += tie.positives + tie.negatives;
    curve.push_back({before, rate(hits, called)});
    if (tie.positives > 0) curve.push_back({rate(hits, positives), rate(hits, called)});
  }
  return curve;
}

Curve mean_curve(std::span<const Curve> curves) {
  std::vector<double> places;
  double count = 0;
  for (const Curve& curve : curves) {
    count += !curve.empty();
    for (const CurvePoint& point : curve) places.push_back(point.x);
  }
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  Curve mean;
  for (const double x : places) {
    double before = 0, after = 0;
    for (const Curve& curve : curves) {
      if (curve.empty()) continue;
      const auto [first, last] = sides_at(curve, x);
      before += first / count;
      after += last / count;
    }
    mean.push_back({x, before});
    if (after != before) mean.push_back({x, after});
  }
  return mean;
}

double area_under(const Curve& curve) {
  double area = 0;
  for (size_t i = 1; i < curve.size(); i++)
    area += (curve[i].x - curve[i - 1].x) * (curve[i].y + curve[i - 1].y) / 2;
  return area;
}

}  // namespace fulmar::model
