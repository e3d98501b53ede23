#include "tools/run/training_words.h"

#include <algorithm>
#include <cmath>

#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr float nearly_equal = 0.02F;      // probabilities
constexpr int64_t few = 10;                // pictures of a class
constexpr double right = 0.9;              // accuracy in training
constexpr double at_chance = 0.6;          // area under ROC; 0.5 is guessing
constexpr size_t epochs_that_improve = 5;  // a first epoch that is the best of fewer says nothing

// A metric of an epoch; NaN where there is none.
double metric(const model::MetricsTable& table, size_t row, const std::string& name) {
  const auto found = std::find(table.columns.begin(), table.columns.end(), name);
  if (found == table.columns.end() || row >= table.rows.size()) return NAN;
  return table.rows[row][static_cast<size_t>(found - table.columns.begin())];
}

// Lowest and highest probability of a class over all pictures.
std::pair<float, float> extent(const Evaluation& e, int64_t label) {
  float low = 1, high = 0;
  for (int64_t i = 0; i < e.predictions.size(); i++) {
    low = std::min(low, e.probability(i, label));
    high = std::max(high, e.probability(i, label));
  }
  return {low, high};
}

bool all_nearly_equal(const Evaluation& e) {
  if (e.predictions.size() < 2) return false;
  for (int64_t label = 0; label < e.predictions.classes; label++) {
    const auto [low, high] = extent(e, label);
    if (!(high - low < nearly_equal)) return false;
  }
  return true;
}

void say_of_outputs(const Evaluation& e, std::vector<std::string>& words) {
  const std::string pictures = with_separators(e.predictions.size()) + " validation pictures";
  const bool equal = all_nearly_equal(e);
  if (equal) {
    const int64_t label = e.two_classes() ? e.positive_class : 0;
    const auto [low, high] = extent(e, label);
    words.push_back("The best model gives all " + pictures + " nearly the same probability of '" +
                    e.classes[static_cast<size_t>(label)] + "', " + fixed(low, 4) + " to " +
                    fixed(high, 4) + ": it doesn't tell the classes apart.");
  }
  if (!e.two_classes()) return;
  const auto positives = std::count(e.predictions.labels.begin(), e.predictions.labels.end(),
                                    static_cast<int32_t>(e.positive_class));
  const int64_t others = e.predictions.size() - positives;
  if (equal || std::min<int64_t>(positives, others) < few)
    words.push_back("The threshold " + fixed(e.threshold, 4) + " was chosen on " +
                    with_separators(positives) + " validation pictures of '" + e.positive() +
                    "' and " + with_separators(others) + " others" +
                    (equal ? ", whose probabilities are nearly equal: it means nothing."
                           : ": on so few it may be far off."));
}

}  // namespace

std::vector<std::string> training_words(const model::MetricsTable& metrics, int64_t best_epoch,
                                        const Evaluation* validation) {
  std::vector<std::string> words;
  if (validation) say_of_outputs(*validation, words);
  if (metrics.rows.empty()) return words;
  const size_t last = metrics.rows.size() - 1;
  const double accuracy = metric(metrics, last, "accuracy");
  const double area = metric(metrics, last, "val_roc_auc");
  if (accuracy >= right && area < at_chance)
    words.push_back("In the last epoch " + fixed(100 * accuracy, 0) +
                    " % of the training pictures are right, and validation is at chance (area "
                    "under ROC " +
                    fixed(area, 2) +
                    "): what was learnt holds for the training pictures only, or the validation "
                    "pictures are of another kind.");
  if (best_epoch == 1 && metrics.rows.size() >= epochs_that_improve)
    words.push_back("The best epoch is the first of " + std::to_string(metrics.rows.size()) +
                    ": its model has hardly been trained. More pictures, another --lr or "
                    "--augment none may help.");
  return words;
}

std::string small_crop_word(const Network& network, const model::Summary& summary, int64_t crop) {
  const model::LayerSummary* layer = model::layer_without_pixels(network, summary);
  if (!layer) return "";
  return "a crop of " + std::to_string(crop) + " leaves " + layer->name +
         (layer->scope.empty() ? "" : " (" + layer->scope + ")") +
         " fewer than 2x2 pixels: a larger --crop or fewer --widths make use of it";
}

}  // namespace fulmar::tools
