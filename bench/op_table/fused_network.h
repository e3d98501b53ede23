#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bench/op_table/op_table.h"

namespace fulmar::op_table {

// Records a network out of named operands, which it lists on the way.
class Network {
 public:
  Network(Tape& tape, std::span<const Val> x) : tape_(&tape), x_(x.begin(), x.end()) {}
  // Only lists the operands, on a tape that nobody keeps.
  explicit Network(std::vector<Operand>& operands) : operands_(&operands) { tape_ = &scratch_; }

  Val operand(Operand operand) {
    if (!operands_) return x_[next_++];
    const Val v = ops::input(scratch_, operand.name, operand.info);
    operands_->push_back(std::move(operand));
    return v;
  }
  Val weight(const std::string& name, const Shape& shape, double low = -1, double high = 1) {
    return operand(op_table::weight(name, shape, low, high));
  }
  int64_t channels(Val x) { return tape_->shape(x).channels(); }
  Tape& tape() { return *tape_; }

  Val separable(const std::string& name, Val x, int64_t outputs, bool bias = true) {
    Window same;
    same.padding = {1, 1, 1, 1};
    const int64_t inputs = channels(x);
    const Val depthwise = weight(name + "/depthwise", {3, 3, inputs});
    const Val pointwise = weight(name + "/pointwise", {1, 1, inputs, outputs});
    const Val b = bias ? weight(name + "/bias", {outputs}) : Val{};
    return ops::conv2d(tape(), ops::depthwise_conv2d(tape(), x, depthwise, same), pointwise, b, {});
  }
  // batch_norm_train(x), or by given mean and variance
  Val norm(const std::string& name, Val x, bool train = true) {
    const Shape c{channels(x)};
    const Val gamma = weight(name + "/gamma", c, 0.5, 1.5), beta = weight(name + "/beta", c);
    const auto state = [&](const char* what, double low, double high) {
      const Operand statistic = in_role(Role::statistic, real(name + what, c, low, high));
      return operand(train ? state_of(statistic) : constant_of(statistic));
    };
    const Val mean = state("/mean", -1, 1), var = state("/var", 0.5, 1.5);
    if (!train) return ops::batch_norm(tape(), x, gamma, beta, mean, var, 1e-3);
    return ops::batch_norm_train(tape(), x, gamma, beta, {mean, var, 0.9, true}, 1e-3);
  }
  // relu of it
  Val normalised(const std::string& name, Val x, bool train = true) {
    return ops::relu(tape(), norm(name, x, train));
  }
  Val pool(Val x) {
    const Shape& shape = tape().shape(x);
    const auto rows = ops::same_padding(shape.height(), 3, 2, 1);
    const auto columns = ops::same_padding(shape.width(), 3, 2, 1);
    Window window;
    window.stride = {2, 2};
    window.padding = {rows[0], rows[1], columns[0], columns[1]};
    return ops::max_pool(tape(), x, {3, 3}, window);
  }
  Val skip(const std::string& name, Val x, int64_t outputs) {
    Window strided;
    strided.stride = {2, 2};
    const Val w = weight(name + "/kernel", {1, 1, channels(x), outputs});
    return ops::conv2d(tape(), x, w, weight(name + "/bias", {outputs}), strided);
  }

 private:
  Tape scratch_;
  Tape* tape_;
  std::vector<Operand>* operands_ = nullptr;
  std::vector<Val> x_;
  size_t next_ = 0;
};

// The dense convolutions of fused_cases().
void add_dense_fused_cases(std::vector<Case>& cases);
// Convolutions that begin a network.
void add_stem_fused_cases(std::vector<Case>& cases);

using Body = std::function<Val(Network&)>;

inline Case network_case(const std::string& op, const std::string& what, const Body& body,
                         double tolerance) {
  Case c{op, what, {}, {}, tolerance};
  Network lists(c.operands);
  body(lists);
  for (Operand& operand : c.operands) operand = listed(std::move(operand));
  c.build = [body](Tape& tape, std::span<const Val> x) {
    Network records(tape, x);
    return std::vector<Val>{body(records)};
  };
  return c;
}

}  // namespace fulmar::op_table
