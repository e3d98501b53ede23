#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "kernels/api.h"

namespace fulmar::model {

// State machines that look at one monitored number after each epoch. Each gives its state as JSON,
// without its options, and restores it (Error(usage) for other text). A NaN is never an
// improvement.

enum class Goal { lowest, highest };

// Keras' ReduceLROnPlateau (2.15). An epoch improves where its number beats the best by more than
// min_delta. After `patience` epochs in a row without improvement (cooldown not counted) the rate
// is multiplied by `factor`, but not below min_rate.
class FULMAR_API ReduceOnPlateau {
 public:
  struct Options {
    double factor = 0.5;
    int64_t patience = 10;
    double min_delta = 1e-4;
    int64_t cooldown = 0;  // epochs after a reduction in which nothing is counted
    double min_rate = 0;
    Goal goal = Goal::lowest;
  };

  // Error(usage) for a factor outside 0..1.
  ReduceOnPlateau(double rate, const Options& options);

  double rate() const { return rate_; }
  // True: the rate was reduced.
  bool epoch_ended(double monitored);

  std::string state() const;
  void restore(const std::string& state);

 private:
  Options options_;
  double rate_;
  double best_;
  int64_t waited_ = 0;
  int64_t cooldown_left_ = 0;
};

// Keras' EarlyStopping (2.15): stop after `patience` epochs in a row that are not better than the
// best by more than min_delta, but not after the first epoch.
class FULMAR_API EarlyStopping {
 public:
  struct Options {
    int64_t patience = 20;
    double min_delta = 0;
    Goal goal = Goal::lowest;
  };

  explicit EarlyStopping(const Options& options);

  // True: stop.
  bool epoch_ended(double monitored);

  std::string state() const;
  void restore(const std::string& state);

 private:
  Options options_;
  double best_;
  int64_t epochs_ = 0;
  int64_t waited_ = 0;
};

// The epoch whose weights are kept as the best: the first one with the best number (Keras'
// ModelCheckpoint with save_best_only). While all numbers are NaN, the first epoch.
class FULMAR_API BestEpoch {
 public:
  explicit BestEpoch(Goal goal);

  // True: this epoch, counted from 1, is the best so far.
  bool epoch_ended(int64_t epoch, double monitored);

  int64_t epoch() const { return epoch_; }  // 0 before the first
  double best() const { return best_; }     // NaN where there was no number yet

  std::string state() const;
  void restore(const std::string& state);

 private:
  Goal goal_;
  int64_t epoch_ = 0;
  double best_ = std::numeric_limits<double>::quiet_NaN();
};

}  // namespace fulmar::model
