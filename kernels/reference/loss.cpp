#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/class_indices.h"
#include "kernels/first_largest.h"
#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

namespace fulmar::reference {
namespace {

// log(sum exp z), without overflow.
double log_sum_exp(const double* z, int64_t count) {
  const double largest = *std::max_element(z, z + count);
  double sum = 0;
  for (int64_t k = 0; k < count; k++) sum += std::exp(z[k] - largest);
  return largest + std::log(sum);
}

// What a row's labels and weights say about each of its classes.
class Targets {
 public:
  Targets(const View& labels, const View& class_weight, const View& pixel_weight, int64_t classes,
          const CrossEntropy& options)
      : labels_(labels),
        indices_(labels),
        class_weight_(class_weight),
        pixel_weight_(pixel_weight),
        classes_(classes),
        options_(options) {}

  bool ignored(int64_t row) const { return indices_ && indices_[row] == options_.ignore_index; }
  bool invalid(int64_t row) const {
    if (!indices_ || ignored(row)) return false;
    return indices_[row] < 0 || indices_[row] >= classes_;
  }
  // t_k
  double target(int64_t row, int64_t k) const {
    return indices_ ? (indices_[row] == k ? 1 : 0) : reals(labels_)[row * classes_ + k];
  }
  // q c_k
  double weight(int64_t row, int64_t k) const {
    return (pixel_weight_ ? reals(pixel_weight_)[row] : 1) *
           (class_weight_ ? reals(class_weight_)[k] : 1);
  }
  // q c_k t'_k
  double weighted(int64_t row, int64_t k) const {
    const double s = options_.label_smoothing;
    const double smoothed = (1 - s) * target(row, k) + s / static_cast<double>(classes_);
    return weight(row, k) * smoothed;
  }

 private:
  const View& labels_;
  const ClassIndices indices_;
  const View& class_weight_;
  const View& pixel_weight_;
  const int64_t classes_;
  const CrossEntropy& options_;
};

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void softmax(Stream&, const View& x, const View& y) {
  const int64_t classes = x.shape.channels();
  for (int64_t row = 0; row < x.shape.pixels(); row++) {
    const double* z = reals(x) + row * classes;
    const double normaliser = log_sum_exp(z, classes);
    for (int64_t k = 0; k < classes; k++) reals(y)[row * classes + k] = std::exp(z[k] - normaliser);
  }
}

void argmax(Stream&, const View& x, const View& y) {
  const int64_t channels = x.shape.channels();
  for (int64_t row = 0; row < x.shape.pixels(); row++) {
    const int64_t place = first_largest(reals(x) + row * channels, channels);
    if (y.type == DType::u8)
      y.as<uint8_t>()[row] = static_cast<uint8_t>(place);
    else
      y.as<int32_t>()[row] = static_cast<int32_t>(place);
  }
}

void confusion(Stream&, const View& predicted, const View& labels, const View& counts) {
  const int64_t classes = counts.shape.channels();
  const ClassIndices prediction(predicted), truth(labels);
  double* const sums = reals(counts);
  std::fill_n(sums, classes * classes, 0.0);
  for (int64_t i = 0; i < labels.shape.pixels(); i++) {
    const int64_t p = prediction[i], t = truth[i];
    if (p >= 0 && p < classes && t >= 0 && t < classes) sums[t * classes + p]++;
  }
}

void softmax_cross_entropy(Stream&, const View& logits, const View& labels,
                           const View& class_weight, const View& pixel_weight, const View& row_loss,
                           const View& row_weight, const CrossEntropy& options) {
  const int64_t classes = logits.shape.channels();
  const Targets targets(labels, class_weight, pixel_weight, classes, options);
  for (int64_t row = 0; row < logits.shape.pixels(); row++) {
    double loss = targets.invalid(row) ? nan : 0, weight = loss;
    if (!targets.ignored(row)) {
      const double* z = reals(logits) + row * classes;
      const double normaliser = log_sum_exp(z, classes);
      for (int64_t k = 0; k < classes; k++) {
        loss -= targets.weighted(row, k) * (z[k] - normaliser);
        weight += targets.weight(row, k) * targets.target(row, k);
      }
    }
    reals(row_loss)[row] = loss;
    reals(row_weight)[row] = weight;
  }
}

// d/dz_j of -sum_k a_k log p_k, where a_k = q c_k t'_k, is p_j sum_k a_k - a_j.
void softmax_cross_entropy_grad(Stream&, const View& logits, const View& labels,
                                const View& class_weight, const View& pixel_weight,
                                const View& drow_loss, const View& dlogits,
                                const CrossEntropy& options) {
  const int64_t classes = logits.shape.channels();
  const Targets targets(labels, class_weight, pixel_weight, classes, options);
  for (int64_t row = 0; row < logits.shape.pixels(); row++) {
    const double* z = reals(logits) + row * classes;
    double* grad = reals(dlogits) + row * classes;
    std::fill_n(grad, classes, targets.invalid(row) ? nan : 0);
    if (targets.ignored(row)) continue;
    const double normaliser = log_sum_exp(z, classes);
    double total = 0;
    for (int64_t k = 0; k < classes; k++) total += targets.weighted(row, k);
    for (int64_t k = 0; k < classes; k++)
      grad[k] +=
          reals(drow_loss)[row] * (std::exp(z[k] - normaliser) * total - targets.weighted(row, k));
  }
}

}  // namespace fulmar::reference
