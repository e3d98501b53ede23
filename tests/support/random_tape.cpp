#include "tests/support/random_tape.h"

#include <algorithm>
#include <array>

#include "engine/ops.h"
#include "tests/support/array.h"

namespace fulmar::test {
namespace {

class Author {
 public:
  Author(RandomTape& r, uint64_t seed) : r_(r), t_(*r.tape), seed_(seed) {}

  void write() {
    for (int i = 0; i < 2; i++)
      values_.push_back(input({2, 1 + below(6), 1 + below(6), 1 + below(9)}));
    const int64_t length = 5 + below(30);
    for (int64_t i = 0; i < length; i++) values_.push_back(next());
    if (below(5) > 0) differentiate();
    const int64_t count = 1 + below(4);
    for (int64_t i = 0; i < count; i++) {
      const int node = static_cast<int>(below(t_.size()));
      const auto outputs = static_cast<int64_t>(t_.node(node).outputs.size());
      if (outputs > 0) r_.outputs.push_back(Val{node, static_cast<int>(below(outputs))});
    }
    r_.outputs.push_back(values_.back());
  }

 private:
  int64_t below(int64_t n) {
    return static_cast<int64_t>(splitmix64(seed_ + 0x1234567 * ++draws_) %
                                static_cast<uint64_t>(n));
  }
  // Mostly a recent value, so that tapes grow long, and at times an old one, so that it lives long.
  Val any() {
    const int64_t count = std::ssize(values_), recent = std::min<int64_t>(count, 3);
    return values_[static_cast<size_t>(below(3) ? count - 1 - below(recent) : below(count))];
  }

  Val input(const Shape& shape, double low = -1, double high = 1, bool updated = false,
            Role role = Role::activation) {
    const Val val = ops::input(t_, "input " + std::to_string(r_.inputs.size()), {shape, role});
    r_.inputs.push_back(
        {val, random_reals(shape, seed_ + draws_, low, high).values, false, updated});
    return val;
  }
  Val weight(const Shape& shape) {
    weights_.push_back(below(3) > 0 ? input(shape, -0.5, 0.5, false, Role::parameter)
                                    : computed(of_model(shape)));
    return weights_.back();
  }
  Val of_model(const Shape& shape) {
    const std::string key = "weight " + std::to_string(r_.inputs.size());
    const Val val = ops::parameter(t_, key, shape, {}, true);
    r_.inputs.push_back(
        {val, random_reals(shape, seed_ + draws_, -0.5, 0.5).values, false, false, key});
    return val;
  }
  // Up to three functions of a weight, at times beside another that is joined with it.
  Val computed(Val w) {
    for (int64_t i = below(4); i > 0; i--) w = pointwise(w);
    if (below(3) == 0) {
      const Val other = ops::square(t_, w);
      const int64_t n = t_.shape(w).elements();
      const Val flat = ops::join(t_, std::array{w, other}, std::array<int64_t, 2>{0, n}, 2 * n);
      if (below(2)) r_.outputs.push_back(flat);
      if (below(2)) r_.outputs.push_back(other);
    }
    return w;
  }
  Val step_state() {
    if (!t_.has("/step_state"))
      r_.inputs.push_back({ops::input(t_, "/step_state", ops::step_state_info()), {}, true});
    return t_.find("/step_state");
  }
  Window window(const Shape& x, const std::array<int64_t, 2>& kernel) {
    Window w;
    for (int axis = 0; axis < 2; axis++) {
      w.stride[axis] = 1 + below(2);
      const auto [before, after] =
          ops::same_padding(axis == 0 ? x.height() : x.width(), kernel[axis], w.stride[axis], 1);
      w.padding[2 * axis] = before;
      w.padding[2 * axis + 1] = after;
    }
    return w;
  }

  // Functions that keep values of order 1, however many follow each other.
  Val pointwise(Val x) {
    switch (below(6)) {
      case 0:
        return ops::tanh(t_, x);
      case 1:
        return ops::sigmoid(t_, x);
      case 2:
        return ops::relu(t_, x);
      case 3:
        return ops::leaky_relu(t_, x, 0.2);
      case 4:
        return ops::softplus(t_, x);
      default:
        return ops::affine(t_, x, -0.7, 0.1);
    }
  }
  Val partner(Val x) {
    std::vector<Val> same;
    for (Val v : values_)
      if (t_.shape(v) == t_.shape(x)) same.push_back(v);
    const Shape shape = t_.shape(x);
    switch (below(8)) {
      case 0:
      case 1:
        return weight({shape[3]});
      case 2:  // computed, often in as many bytes as x after rounding, and repeats
        return ops::sigmoid(t_, ops::sum(t_, x, {shape[0], 1, 1, shape[3]}));
      case 3:
        return ops::tanh(t_, ops::sum(t_, x, {shape[0], shape[1], shape[2], 1}));
      default:
        return same[static_cast<size_t>(below(std::ssize(same)))];
    }
  }
  Val joined(Val x) {
    std::vector<Val> parts{x};
    for (Val v : values_) {
      const Shape &a = t_.shape(v), &b = t_.shape(x);
      if (a[1] == b[1] && a[2] == b[2] && parts.size() < 3 && a[3] + b[3] < 12 && below(2))
        parts.push_back(v);
    }
    return ops::concat(t_, parts);
  }
  Val normed(Val x) {
    const Shape channels{t_.shape(x)[3]};
    if (!updates_)
      return ops::batch_norm(t_, x, weight(channels), weight(channels),
                             computed(of_model(channels)),
                             input(channels, 0.5, 1.5, false, Role::statistic), 1e-2);
    const ops::RunningStatistics running{input(channels, -1, 1, true, Role::statistic),
                                         input(channels, 0.5, 1.5, true, Role::statistic)};
    return ops::batch_norm_train(t_, x, weight(channels), weight(channels), running, 1e-2);
  }

  Val next() {
    const Val x = any();
    const Shape shape = t_.shape(x);
    const std::array<int64_t, 2> kernel{1 + below(3), 1 + below(3)};
    switch (below(14)) {
      case 0:
      case 1:
        return pointwise(x);
      case 2:
        return ops::tanh(t_, ops::add(t_, x, partner(x)));
      case 3:
        return ops::mul(t_, ops::sigmoid(t_, x), partner(x));
      case 4: {
        const int64_t outputs = 1 + below(9);
        const Val w = weight({kernel[0], kernel[1], shape[3], outputs});
        const Val bias = below(2) ? weight({outputs}) : Val{};
        return ops::tanh(t_, ops::conv2d(t_, x, w, bias, window(shape, kernel)));
      }
      case 5:
        return ops::depthwise_conv2d(t_, x, weight({kernel[0], kernel[1], shape[3]}),
                                     window(shape, kernel));
      case 6:
        return ops::max_pool(t_, x, kernel, window(shape, kernel));
      case 7:
        return ops::average_pool(t_, x, kernel, window(shape, kernel));
      case 8:
        return ops::resize(t_, x, 1 + below(6), 1 + below(6), {});
      case 9:
        return joined(x);
      case 10:
        return normed(x);
      case 11: {
        Shape part = shape;
        std::array<int64_t, 4> begin{};
        for (int axis = 0; axis < 4; axis++) {
          part[axis] = axis == 0 ? shape[0] : 1 + below(shape[axis]);
          begin[axis] = below(shape[axis] - part[axis] + 1);
        }
        return ops::slice(t_, x, begin, part);
      }
      case 12:
        step_state();
        return ops::dropout(t_, x, 0.3, static_cast<uint64_t>(t_.size()));
      default:
        return ops::softmax(t_, x);
    }
  }

  void differentiate() {
    const Val loss = ops::sum_all(t_, ops::square(t_, any()));
    std::vector<Val> wrt = weights_;
    for (int64_t i = below(3); i > 0; i--) wrt.push_back(any());
    std::sort(wrt.begin(), wrt.end());
    wrt.erase(std::unique(wrt.begin(), wrt.end()), wrt.end());
    if (wrt.empty()) return;
    const std::vector<Val> gradients = grad(t_, loss, wrt);
    std::vector<int64_t> offsets;
    int64_t end = below(3);
    for (Val g : gradients) {
      offsets.push_back(end);
      end += t_.shape(g).elements() + below(3);
    }
    const Val flat = ops::join(t_, gradients, offsets, end + below(3));
    if (updates_) {
      step_state();
      ops::accumulate(t_, flat, input(t_.shape(flat), -1, 1, true, Role::parameter));
    }
    if (below(2)) r_.outputs.push_back(flat);
    if (below(2))
      values_.push_back(
          ops::relu(t_, gradients[static_cast<size_t>(below(std::ssize(gradients)))]));
    else
      values_.push_back(loss);
  }

  RandomTape& r_;
  Tape& t_;
  uint64_t seed_;
  uint64_t draws_ = 0;
  const bool updates_ = seed_ % 2 == 0;
  std::vector<Val> values_;   // pictures that can be used
  std::vector<Val> weights_;  // what can be trained
};

}  // namespace

RandomTape::RandomTape(uint64_t seed) { Author(*this, splitmix64(seed)).write(); }

}  // namespace fulmar::test
