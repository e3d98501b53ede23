#pragma once

#include <cstdint>
#include <vector>

#include "kernels/api.h"
#include "model/named_values.h"

namespace fulmar::model {

// Pixels counted by their class and the class that they were called, [label, called], of any number
// of pictures: all metrics of pixels come of them. What no pixel defines is NaN.
class FULMAR_API Confusion {
 public:
  explicit Confusion(size_t classes) : classes_(classes), counts_(classes * classes) {}
  // Error(usage): not classes * classes whole numbers, or one below 0.
  Confusion(size_t classes, const std::vector<double>& counts);

  size_t classes() const { return classes_; }
  int64_t at(size_t label, size_t called) const { return counts_[label * classes_ + called]; }
  const std::vector<int64_t>& counts() const { return counts_; }
  void add(const Confusion& more);

  int64_t pixels() const;  // with a label
  int64_t labelled(size_t k) const;
  int64_t called(size_t k) const;

  double precision(size_t k) const;
  double recall(size_t k) const;
  double f1(size_t k) const;
  double iou(size_t k) const;  // intersection over union

  double accuracy() const;
  // Means over the classes that a label or a call has, as scikit-learn's.
  double macro_f1() const;
  double mean_iou() const;
  double weighted_f1() const;  // by the labels of each class
  // Of the classes' places taken as numbers, which makes sense where classes are steps of one
  // quantity: 1 - Σ(t-y)² / Σ(t-mean t)², and the root of the mean (t-y)².
  double r2() const;
  double rmse() const;

  NamedValues metrics() const;  // accuracy, macro_f1, weighted_f1, miou

 private:
  double mean_over_present(double (Confusion::*metric)(size_t) const) const;

  size_t classes_;
  std::vector<int64_t> counts_;
};

}  // namespace fulmar::model
