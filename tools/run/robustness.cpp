#include "tools/run/robustness.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "kernels/error.h"
#include "kernels/random.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t resamples = 1000;
constexpr size_t shown_of_a_kind = 2;
constexpr int64_t example_side = 128;  // pixels

// How often each class was called each, [truth, called].
using Counts = std::vector<int64_t>;

double f1_of(const Counts& counts, size_t classes, int64_t positive) {
  double sum = 0;
  int64_t present = 0;
  for (size_t k = 0; k < classes; k++) {
    if (positive >= 0 && static_cast<int64_t>(k) != positive) continue;
    int64_t support = 0, called = 0;
    for (size_t other = 0; other < classes; other++) {
      support += counts[k * classes + other];
      called += counts[other * classes + k];
    }
    if (support == 0) continue;
    sum += 2 * static_cast<double>(counts[k * classes + k]) / static_cast<double>(support + called);
    present++;
  }
  return present > 0 ? sum / static_cast<double>(present) : undefined;
}

// The 2.5th and 97.5th percentile of F1 over resamples of the outcomes, as many as there are.
Interval bootstrap_f1(const std::vector<size_t>& outcomes, size_t classes, int64_t positive,
                      uint64_t seed) {
  Counts counts(classes * classes);
  for (const size_t outcome : outcomes) counts[outcome]++;
  Interval f1{f1_of(counts, classes, positive), undefined, undefined};
  std::vector<double> values;
  const size_t n = outcomes.size();
  for (int64_t resample = 0; resample < resamples && n > 0; resample++) {
    std::fill(counts.begin(), counts.end(), 0);
    for (size_t i = 0; i < n; i += 4) {
      const RandomBits bits = philox(seed, static_cast<uint64_t>(resample), i);
      for (size_t j = i; j < std::min(i + 4, n); j++)
        counts[outcomes[uint64_t{bits.word[j - i]} * n >> 32]]++;
    }
    const double value = f1_of(counts, classes, positive);
    if (!std::isnan(value)) values.push_back(value);  // a resample may lack the class
  }
  if (std::isnan(f1.value) || values.empty()) return f1;
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
  };
  f1.low = at(0.025);
  f1.high = at(0.975);
  return f1;
}

// The right or wrong samples with the least or the most of a property: of each class one, as far as
// there is room, then the next.
std::vector<int64_t> examples_of(const RobustnessProperty& property, const Evaluation& evaluation,
                                 bool most, bool right) {
  std::vector<int64_t> order;
  for (int64_t i = 0; i < std::ssize(property.column.values); i++)
    if (evaluation.right(i) == right) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const double x = property.column.values[static_cast<size_t>(a)];
    const double y = property.column.values[static_cast<size_t>(b)];
    return most ? x > y : x < y;
  });
  std::vector<int64_t> firsts, others;
  std::vector<bool> shown(evaluation.classes.size());
  for (const int64_t sample : order) {
    const auto label =
        static_cast<size_t>(evaluation.predictions.labels[static_cast<size_t>(sample)]);
    (shown[label] ? others : firsts).push_back(sample);
    shown[label] = true;
  }
  firsts.insert(firsts.end(), others.begin(), others.end());
  firsts.resize(std::min(firsts.size(), shown_of_a_kind));
  return firsts;
}

void add_examples(RobustnessProperty& property, const Evaluation& evaluation,
                  const data::Pictures& pictures, const Preprocess& preprocess) {
  for (const bool most : {false, true})
    for (const bool right : {true, false}) {
      ExampleGroup group{std::string(most ? "most" : "least") + (right ? ", right" : ", wrong")};
      for (const int64_t sample : examples_of(property, evaluation, most, right))
        group.pictures.push_back(shown_picture(sample, pictures, preprocess, example_side));
      property.examples.push_back(std::move(group));
    }
}

Json interval_json(const Interval& interval) {
  return {{"value", number_json(interval.value)},
          {"low", number_json(interval.low)},
          {"high", number_json(interval.high)}};
}

Json scores_json(const PartScores& scores, bool two_classes) {
  Json json{{"pictures", scores.pictures}, {"accuracy", interval_json(scores.accuracy)}};
  if (!two_classes) {
    json["macro_f1"] = interval_json(scores.f1);
    return json;
  }
  json["positives"] = scores.positives;
  json["f1"] = interval_json(scores.f1);
  json["recall"] = interval_json(scores.recall);
  json["false_alarms"] = interval_json(scores.false_alarms);
  return json;
}

}  // namespace

Interval wilson(int64_t hits, int64_t count) {
  if (count == 0) return {undefined, undefined, undefined};
  constexpr double z = 1.959963984540054;  // 97.5 % of the normal distribution
  const auto n = static_cast<double>(count);
  const double share = static_cast<double>(hits) / n;
  const double centre = (share + z * z / (2 * n)) / (1 + z * z / n);
  const double half =
      z / (1 + z * z / n) * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  // Rounding must not leave 0 or 1 outside.
  return {share, hits == 0 ? 0 : centre - half, hits == count ? 1 : centre + half};
}

PartScores score_part(const Evaluation& evaluation, const std::vector<int64_t>& samples,
                      uint64_t seed) {
  const size_t classes = evaluation.classes.size();
  const int64_t positive = evaluation.positive_class;
  PartScores scores;
  scores.pictures = std::ssize(samples);
  int64_t right = 0, found = 0, alarms = 0;
  std::vector<size_t> outcomes;
  for (const int64_t sample : samples) {
    const int64_t truth = evaluation.predictions.labels[static_cast<size_t>(sample)];
    const int64_t called = evaluation.decision(sample);
    outcomes.push_back(static_cast<size_t>(truth) * classes + static_cast<size_t>(called));
    right += truth == called;
    scores.positives += truth == positive;
    found += truth == positive && called == positive;
    alarms += truth != positive && called == positive;
  }
  scores.accuracy = wilson(right, scores.pictures);
  scores.f1 = bootstrap_f1(outcomes, classes, positive, seed);
  scores.recall = wilson(found, evaluation.two_classes() ? scores.positives : 0);
  scores.false_alarms =
      wilson(alarms, evaluation.two_classes() ? scores.pictures - scores.positives : 0);
  return scores;
}

std::vector<RobustnessBin> quantile_bins(const std::vector<double>& values, int64_t bins) {
  if (bins < 1) usage_error("--bins " + std::to_string(bins) + ": at least one");
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto value = [&](int64_t sample) { return values[static_cast<size_t>(sample)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return value(a) < value(b); });
  std::vector<RobustnessBin> result;
  for (size_t from = 0; from < order.size();) {
    size_t to = from;
    while (to < order.size() && value(order[to]) == value(order[from])) to++;
    const auto here = static_cast<double>(to - from);
    // Equal values go where they leave the bin's count nearer to an equal share of the rest.
    bool begins = result.empty();
    if (!begins && std::ssize(result) < bins) {
      const auto count = static_cast<double>(result.back().samples.size());
      const double rest = count + static_cast<double>(order.size() - from);
      const double share = rest / static_cast<double>(bins - std::ssize(result) + 1);
      begins = std::abs(count - share) <= std::abs(count + here - share);
    }
    if (begins) result.push_back({value(order[from]), value(order[from])});
    RobustnessBin& bin = result.back();
    bin.high = value(order[from]);
    for (; from < to; from++) bin.samples.push_back(order[from]);
  }
  for (RobustnessBin& bin : result) {
    for (const int64_t sample : bin.samples) bin.mean += value(sample);
    bin.mean /= static_cast<double>(bin.samples.size());
    std::sort(bin.samples.begin(), bin.samples.end());
  }
  return result;
}

Robustness measure_robustness(const Checkpoint& checkpoint, const std::string& folder,
                              const data::Dataset& dataset, const RobustnessOptions& options,
                              Context& context, const std::function<Device&()>& device,
                              Observer& observer) {
  const SceneTable table(options.table, folder, dataset);
  const Preprocess& preprocess = checkpoint.info().picture();
  const std::unique_ptr<const data::Pictures> pictures =
      open_whole_pictures(dataset, preprocess, options.pictures, context.pool());
  Robustness result;
  result.table = table.path();
  result.generated = table.generated();
  if (result.table.empty())
    observer.on_note(
        "no table of the scenes: only what is black in the pictures is known; "
        "--table FILE gives more");
  for (SceneColumn& column :
       table.columns(options.columns, dataset, *pictures, context, observer)) {
    RobustnessProperty property{std::move(column)};
    property.bins = quantile_bins(property.column.values, options.bins);
    result.properties.push_back(std::move(property));
  }
  result.evaluation =
      evaluate_pictures(checkpoint, dataset, options.pictures, context, device, observer);
  std::vector<int64_t> all(static_cast<size_t>(result.evaluation.predictions.size()));
  std::iota(all.begin(), all.end(), 0);
  result.whole = score_part(result.evaluation, all, options.seed);
  for (RobustnessProperty& property : result.properties) {
    for (RobustnessBin& bin : property.bins)
      bin.scores = score_part(result.evaluation, bin.samples, options.seed);
    if (options.examples) add_examples(property, result.evaluation, *pictures, preprocess);
  }
  return result;
}

std::string pictures_line(bool generated, int64_t count, const std::string& folder) {
  std::string pictures = counted(count, "picture", "pictures") + " of " + folder;
  if (!generated) return pictures;
  return "Made scenes: the numbers here describe the generator 'fulmar synth' and a network on its "
         "scenes, not real ones (" +
         pictures + ").";
}

Json robustness_json(const Robustness& r) {
  const Evaluation& e = r.evaluation;
  Json properties = Json::array();
  for (const RobustnessProperty& property : r.properties) {
    Json bins = Json::array();
    for (const RobustnessBin& bin : property.bins) {
      Json json{{"low", bin.low}, {"high", bin.high}, {"mean", bin.mean}};
      json.update(scores_json(bin.scores, e.two_classes()));
      bins.push_back(json);
    }
    properties.push_back(
        {{"name", property.column.name}, {"meaning", property.column.meaning}, {"bins", bins}});
  }
  return {
      {"pictures", pictures_line(r.generated, e.predictions.size(), e.folder)},
      {"generated", r.generated},
      {"model", e.model},
      {"folder", e.folder},
      {"table", r.table.empty() ? Json(nullptr) : Json(r.table)},
      {"positive_class", e.two_classes() ? Json(e.positive()) : Json(nullptr)},
      {"threshold", e.two_classes() ? Json(e.threshold) : Json(nullptr)},
      {"intervals", "95 %: of accuracy, recall and false alarms Wilson's, of F1 the bootstrap's"},
      {"whole", scores_json(r.whole, e.two_classes())},
      {"properties", properties}};
}

}  // namespace fulmar::tools
