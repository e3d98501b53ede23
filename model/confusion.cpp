#include "model/confusion.h"

#include <cmath>
#include <limits>
#include <string>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : std::numeric_limits<double>::quiet_NaN();
}
double ratio(int64_t part, int64_t whole) {
  return ratio(static_cast<double>(part), static_cast<double>(whole));
}

}  // namespace

Confusion::Confusion(size_t classes, const std::vector<double>& counts) : Confusion(classes) {
  if (counts.size() != counts_.size())
    usage_error(std::to_string(counts.size()) + " counts of pixels for " + std::to_string(classes) +
                " classes");
  for (size_t i = 0; i < counts.size(); i++) {
    if (!(counts[i] >= 0) || counts[i] > 9e15 || std::floor(counts[i]) != counts[i])
      usage_error("a count of pixels is no whole number");
    counts_[i] = static_cast<int64_t>(counts[i]);
  }
}

void Confusion::add(const Confusion& more) {
  if (more.classes_ != classes_) usage_error("counts of pixels of other classes can't be added");
  for (size_t i = 0; i < counts_.size(); i++) counts_[i] += more.counts_[i];
}

int64_t Confusion::pixels() const {
  int64_t sum = 0;
  for (const int64_t count : counts_) sum += count;
  return sum;
}

int64_t Confusion::labelled(size_t k) const {
  int64_t sum = 0;
  for (size_t other = 0; other < classes_; other++) sum += at(k, other);
  return sum;
}

int64_t Confusion::called(size_t k) const {
  int64_t sum = 0;
  for (size_t other = 0; other < classes_; other++) sum += at(other, k);
  return sum;
}

double Confusion::precision(size_t k) const { return ratio(at(k, k), called(k)); }
double Confusion::recall(size_t k) const { return ratio(at(k, k), labelled(k)); }
double Confusion::f1(size_t k) const { return ratio(2 * at(k, k), labelled(k) + called(k)); }
double Confusion::iou(size_t k) const {
  return ratio(at(k, k), labelled(k) + called(k) - at(k, k));
}

double Confusion::accuracy() const {
  int64_t right = 0;
  for (size_t k = 0; k < classes_; k++) right += at(k, k);
  return ratio(right, pixels());
}

double Confusion::mean_over_present(double (Confusion::*metric)(size_t) const) const {
  double sum = 0, present = 0;
  for (size_t k = 0; k < classes_; k++) {
    if (labelled(k) + called(k) == 0) continue;
    sum += (this->*metric)(k);
    present++;
  }
  return ratio(sum, present);
}

double Confusion::macro_f1() const { return mean_over_present(&Confusion::f1); }
double Confusion::mean_iou() const { return mean_over_present(&Confusion::iou); }

double Confusion::weighted_f1() const {
  double sum = 0;
  for (size_t k = 0; k < classes_; k++)
    if (labelled(k) > 0) sum += f1(k) * static_cast<double>(labelled(k));
  return ratio(sum, static_cast<double>(pixels()));
}

double Confusion::rmse() const {
  double squares = 0;
  for (size_t t = 0; t < classes_; t++)
    for (size_t y = 0; y < classes_; y++) {
      const double apart = static_cast<double>(t) - static_cast<double>(y);
      squares += apart * apart * static_cast<double>(at(t, y));
    }
  return std::sqrt(ratio(squares, static_cast<double>(pixels())));
}

double Confusion::r2() const {
  const auto n = static_cast<double>(pixels());
  double sum = 0, spread = 0, squares = 0;
  for (size_t t = 0; t < classes_; t++)
    sum += static_cast<double>(t) * static_cast<double>(labelled(t));
  for (size_t t = 0; t < classes_; t++) {
    const double from_mean = static_cast<double>(t) - sum / n;
    spread += from_mean * from_mean * static_cast<double>(labelled(t));
    for (size_t y = 0; y < classes_; y++) {
      const double apart = static_cast<double>(t) - static_cast<double>(y);
      squares += apart * apart * static_cast<double>(at(t, y));
    }
  }
  return 1 - ratio(squares, spread);
}

NamedValues Confusion::metrics() const {
  return {{"accuracy", accuracy()},
          {"macro_f1", macro_f1()},
          {"weighted_f1", weighted_f1()},
          {"miou", mean_iou()}};
}

}  // namespace fulmar::model
