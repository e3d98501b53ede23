#include "model/running_statistics.h"

#include <algorithm>
#include <set>
#include <string>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

// Of the channels of one layer, over batches of one size.
struct WelfordMoments {
  int64_t batches = 0;
  std::vector<double> mean, within, between;  // sums of variances; squared distances of means

  // Welford's update: squares of means that are far from 0 would cancel.
  void add(const std::vector<double>& batch_mean, const std::vector<double>& batch_var) {
    batches++;
    mean.resize(batch_mean.size());
    within.resize(batch_mean.size());
    between.resize(batch_mean.size());
    for (size_t c = 0; c < mean.size(); c++) {
      const double apart = batch_mean[c] - mean[c];
      mean[c] += apart / static_cast<double>(batches);
      between[c] += apart * (batch_mean[c] - mean[c]);
      within[c] += batch_var[c];
    }
  }

  // `values` of each channel in a batch.
  std::vector<double> variance(int64_t values, bool unbiased) const {
    const auto n = static_cast<double>(values * batches);
    const double divisor =
        static_cast<double>(batches) * (unbiased ? std::max(n - 1, 1.0) / n : 1.0);
    std::vector<double> variances;
    for (size_t c = 0; c < mean.size(); c++)
      variances.push_back((within[c] + between[c]) / divisor);
    return variances;
  }
};

// For its life a source gives samples that calibrate.
class Calibrating {
 public:
  explicit Calibrating(BatchSource& source) : source_(source) { source_.set_calibrating(true); }
  ~Calibrating() { source_.set_calibrating(false); }
  Calibrating(const Calibrating&) = delete;
  Calibrating& operator=(const Calibrating&) = delete;

 private:
  BatchSource& source_;
};

}  // namespace

KeptStatistics::KeptStatistics(Model& model) : model_(model) {
  for (const Model::Statistic& statistic : model.statistics())
    values_.push_back(model.read(statistic.name));
}

void KeptStatistics::restore() const {
  for (size_t i = 0; i < values_.size(); i++) model_.write(model_.statistics()[i].name, values_[i]);
}

StatisticsEstimator::StatisticsEstimator(Context& context, Device& device, const ModelInfo& info,
                                         Model& model, const std::vector<TensorSpec>& tensors,
                                         bool unbiased_variance, std::shared_ptr<Arena> arena)
    : model_(model),
      unbiased_(unbiased_variance),
      program_(record_program(info, {}, tensors, {Mode::estimate})),
      updates_(ops::running_updates(*program_.tape)),
      session_(context, device, program_.tape, {}, &model, std::move(arena)) {
  std::set<std::string> known;
  for (const ops::RunningUpdate& update : updates_)
    if (!known.insert(update.mean).second)
      usage_error("'" + update.mean +
                  "' belongs to a layer that is used twice: its statistics can't be measured; keep "
                  "running averages");
}

void StatisticsEstimator::estimate(Feeder& feeder, int64_t epoch, int64_t batches) {
  std::vector<WelfordMoments> moments(updates_.size());
  const Calibrating calibrating(feeder.source());
  feeder.start(epoch, 0);
  for (int64_t i = 0; i < batches; i++) {
    if (!feeder.next()) usage_error("the source gave fewer batches than it announced");
    feeder.bind(session_, program_.inputs);
    session_.run();
    if (i + 1 < batches) feeder.fetch_ahead();
    for (size_t layer = 0; layer < updates_.size(); layer++)
      moments[layer].add(model_.read(updates_[layer].mean), model_.read(updates_[layer].var));
  }
  for (size_t layer = 0; layer < updates_.size(); layer++) {
    model_.write(updates_[layer].mean, moments[layer].mean);
    model_.write(updates_[layer].var, moments[layer].variance(updates_[layer].values, unbiased_));
  }
}

}  // namespace fulmar::model
