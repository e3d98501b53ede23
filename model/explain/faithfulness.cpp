#include "model/explain/faithfulness.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/error.h"
#include "kernels/random.h"

namespace fulmar::model::explain {
namespace {

std::vector<int64_t> largest_first(std::span<const float> map) {
  std::vector<int64_t> order(map.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return map[static_cast<size_t>(a)] > map[static_cast<size_t>(b)];
  });
  return order;
}

void require_pixels(std::span<const float> map, const Shape& input, const char* what) {
  if (std::ssize(map) != input.height() * input.width())
    usage_error(std::string(what) + " has " + std::to_string(map.size()) +
                " pixels, the network's input " + input.to_string());
}

ScoreCurve curve_of(Explainer& explainer, Order kind, std::span<const int64_t> order,
                    std::span<const float> input, std::span<const float> baseline,
                    const Target& target, int64_t steps) {
  if (steps < 1) usage_error("a curve needs at least one step");
  const float before = kind == Order::deletion ? 1.0F : 0.0F;
  const int64_t pixels = std::ssize(order);
  const auto gone_at = [&](int64_t step) { return step * pixels / steps; };
  ScoreCurve curve;
  std::vector<float> mask(order.size(), before);
  int64_t gone = 0;
  curve.score = explainer.masked_scores(
      target, input, baseline, steps + 1, [&](int64_t step, std::span<float> to) {
        for (; gone < gone_at(step); gone++)
          mask[static_cast<size_t>(order[static_cast<size_t>(gone)])] = 1 - before;
        std::copy(mask.begin(), mask.end(), to.begin());
      });
  for (int64_t step = 0; step <= steps; step++)
    curve.share.push_back(static_cast<double>(gone_at(step)) / static_cast<double>(pixels));
  return curve;
}

double uniform_of(uint64_t seed, uint64_t stream, uint64_t at, int word = 0) {
  return uniform(philox(seed, stream, at).word[word]);
}

std::vector<double> ranks(std::span<const float> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> rank(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) end++;
    for (size_t i = begin; i < end; i++)
      rank[order[i]] = (static_cast<double>(begin) + static_cast<double>(end) - 1) / 2;
    begin = end;
  }
  return rank;
}

std::vector<float> absolute(std::span<const float> values) {
  std::vector<float> sizes;
  for (const float value : values) sizes.push_back(std::abs(value));
  return sizes;
}

}  // namespace

std::vector<float> per_pixel(const Explanation& e, const Shape& input) {
  if (!e.layer.empty())
    return on_grid(e.values, e.shape.height(), e.shape.width(), input.height(), input.width());
  const auto channels = static_cast<size_t>(e.shape.channels());
  std::vector<float> sums;
  for (size_t at = 0; at < e.values.size(); at += channels) {
    double sum = 0;
    for (size_t k = 0; k < channels; k++) sum += static_cast<double>(e.values[at + k]);
    sums.push_back(static_cast<float>(sum));
  }
  return sums;
}

double ScoreCurve::area() const {
  double sum = 0;
  for (size_t i = 1; i < share.size(); i++)
    sum += (share[i] - share[i - 1]) * (score[i] + score[i - 1]) / 2;
  return sum;
}

ScoreCurve curve(Explainer& explainer, Order order, std::span<const float> map,
                 std::span<const float> input, std::span<const float> baseline,
                 const Target& target, int64_t steps) {
  require_pixels(map, explainer.shape(), "the map");
  return curve_of(explainer, order, largest_first(map), input, baseline, target, steps);
}

ScoreCurve random_curve(Explainer& explainer, Order order, std::span<const float> input,
                        std::span<const float> baseline, const Target& target, int64_t steps,
                        int64_t orders, int64_t block, uint64_t seed) {
  if (orders < 1 || block < 1) usage_error("random curves need an order, and blocks of pixels");
  const int64_t height = explainer.shape().height(), width = explainer.shape().width();
  const int64_t columns = (width + block - 1) / block;
  ScoreCurve mean;
  for (int64_t number = 0; number < orders; number++) {
    std::vector<float> drawn(static_cast<size_t>(height * width));
    for (int64_t row = 0; row < height; row++)
      for (int64_t column = 0; column < width; column++)
        drawn[static_cast<size_t>(row * width + column)] = static_cast<float>(
            uniform_of(seed, static_cast<uint64_t>(number),
                       static_cast<uint64_t>(row / block * columns + column / block)));
    const ScoreCurve one =
        curve_of(explainer, order, largest_first(drawn), input, baseline, target, steps);
    mean.share = one.share;
    mean.score.resize(one.score.size(), 0.0);
    for (size_t i = 0; i < one.score.size(); i++)
      mean.score[i] += one.score[i] / static_cast<double>(orders);
  }
  return mean;
}

bool points_inside(std::span<const float> map, std::span<const float> mask) {
  if (map.size() != mask.size() || map.empty())
    usage_error("a mask of " + std::to_string(mask.size()) + " pixels was given for a map of " +
                std::to_string(map.size()));
  return mask[static_cast<size_t>(std::max_element(map.begin(), map.end()) - map.begin())] > 0;
}

double infidelity(Explainer& explainer, std::span<const float> map, std::span<const float> input,
                  std::span<const float> baseline, const Target& target, const Infidelity& how) {
  const Shape& shape = explainer.shape();
  require_pixels(map, shape, "the map");
  const int64_t shorter = std::min(shape.height(), shape.width());
  const int64_t side = how.side > 0 ? how.side : std::max<int64_t>(1, shorter / 8);
  if (side > shorter || how.samples < 1)
    usage_error("infidelity needs samples, and squares of at most " + std::to_string(shorter) +
                " pixels");
  const auto corner = [&](int64_t number, int word, int64_t extent) {
    return static_cast<int64_t>(uniform_of(how.seed, static_cast<uint64_t>(number), 0, word) *
                                static_cast<double>(extent - side + 1));
  };
  const auto in_square = [&](int64_t number, const auto& of) {
    const int64_t top = corner(number, 0, shape.height()), left = corner(number, 1, shape.width());
    for (int64_t row = top; row < top + side; row++)
      for (int64_t column = left; column < left + side; column++)
        of(static_cast<size_t>(row * shape.width() + column));
  };
  const std::vector<double> scores = explainer.masked_scores(
      target, input, baseline, how.samples, [&](int64_t number, std::span<float> mask) {
        std::fill(mask.begin(), mask.end(), 1.0F);
        in_square(number, [&](size_t pixel) { mask[pixel] = 0; });
      });
  const double whole = explainer.score(target, input);
  // What the map says: attributions of what is taken away.
  double said_squares = 0, products = 0, change_squares = 0;
  for (int64_t number = 0; number < how.samples; number++) {
    double said = 0;
    in_square(number, [&](size_t pixel) { said += static_cast<double>(map[pixel]); });
    const double change = whole - scores[static_cast<size_t>(number)];
    said_squares += said * said;
    products += said * change;
    change_squares += change * change;
  }
  if (change_squares == 0) return said_squares == 0 ? 0 : 1;
  const double factor = said_squares > 0 ? products / said_squares : 0;
  return 1 - 2 * factor * products / change_squares +
         factor * factor * said_squares / change_squares;
}

double sensitivity(Explainer& explainer, const Method& method, std::span<const float> input,
                   const Target& target, const Settings& settings, double radius, int64_t samples,
                   uint64_t seed) {
  if (!(radius > 0) || samples < 1) usage_error("sensitivity needs a radius above 0, and samples");
  const auto [low, high] = std::minmax_element(input.begin(), input.end());
  const double reach = radius * static_cast<double>(*high - *low);
  const Explanation still = method.one(explainer, input, target, settings);
  double size = 0, most = 0;
  for (const float value : still.values)
    size += static_cast<double>(value) * static_cast<double>(value);
  std::vector<float> moved(input.size());
  for (int64_t sample = 0; sample < samples; sample++) {
    for (size_t i = 0; i < input.size(); i++)
      moved[i] =
          input[i] +
          static_cast<float>((2 * uniform_of(seed, static_cast<uint64_t>(sample), i) - 1) * reach);
    const Explanation e = method.one(explainer, moved, target, settings);
    double square = 0;
    for (size_t i = 0; i < e.values.size(); i++) {
      const double change = static_cast<double>(e.values[i]) - static_cast<double>(still.values[i]);
      square += change * change;
    }
    most = std::max(most, square);
  }
  return size > 0 ? std::sqrt(most / size) : std::numeric_limits<double>::quiet_NaN();
}

std::vector<std::pair<std::string, double>> randomisation(
    Context& context, Device& device, const ModelInfo& info, Model& model, const Shape& shape,
    const ExplainerOptions& options, const Method& method, std::span<const float> input,
    const Target& target, const Settings& settings, uint64_t seed) {
  Tape tape;
  record(info.network, tape, ops::input(tape, "/x", {shape}), {Mode::eval});
  Model changed(device, tape, std::nullopt), drawn(device, tape, seed);
  std::vector<std::string> names;
  for (const Model::Parameter& p : changed.parameters()) names.push_back(p.name);
  for (const Model::Statistic& s : changed.statistics()) names.push_back(s.name);
  for (const std::string& name : names) changed.write_bytes(name, model.read_bytes(name));
  Explainer explainer(context, device, info, changed, shape, options);
  const auto map = [&] {
    return absolute(per_pixel(method.one(explainer, input, target, settings), shape));
  };
  const std::vector<float> trained = map();
  std::vector<std::pair<std::string, double>> correlations;
  std::vector<Call> head_first = info.network.calls();
  std::reverse(head_first.begin(), head_first.end());
  for (const Call& call : head_first) {
    bool any = false;
    for (const std::string& name : names) {
      if (!name.starts_with(call.name + "/")) continue;
      changed.write_bytes(name, drawn.read_bytes(name));
      any = true;
    }
    if (any) correlations.emplace_back(call.name, rank_correlation(map(), trained));
  }
  return correlations;
}

double rank_correlation(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size() || a.empty())
    usage_error("ranks of " + std::to_string(a.size()) + " and " + std::to_string(b.size()) +
                " numbers can't be compared");
  const std::vector<double> x = ranks(a), y = ranks(b);
  const double mean = static_cast<double>(a.size() - 1) / 2;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); i++) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace fulmar::model::explain
