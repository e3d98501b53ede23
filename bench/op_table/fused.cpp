#include <string>
#include <utility>
#include <vector>

#include "bench/op_table/op_table.h"

namespace fulmar::op_table {
namespace {

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
  // relu(batch_norm_train(x))
  Val normalised(const std::string& name, Val x) {
    const Shape c{channels(x)};
    const Val gamma = weight(name + "/gamma", c, 0.5, 1.5), beta = weight(name + "/beta", c);
    const auto state = [&](const char* what, double low, double high) {
      return operand(state_of(in_role(Role::statistic, real(name + what, c, low, high))));
    };
    const Val mean = state("/mean", -1, 1), var = state("/var", 0.5, 1.5);
    return ops::relu(tape(),
                     ops::batch_norm_train(tape(), x, gamma, beta, {mean, var, 0.9, true}, 1e-3));
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

using Body = std::function<Val(Network&)>;

Case network_case(const std::string& op, const std::string& what, const Body& body,
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

// A block of the polar-low network; `stem`: its input is normalised too.
Val block(Network& n, const Shape& x, int64_t outputs, bool stem) {
  Val u = n.operand(real("x", x));
  if (stem) u = n.normalised("norm0", u);
  const Val a = n.normalised("norm1", n.separable("separable1", u, outputs));
  const Val z = n.normalised("norm2", n.separable("separable2", a, outputs));
  return ops::add(n.tape(), n.pool(z), n.skip("skip", u, outputs));
}

}  // namespace

const std::vector<Case>& fused_cases() {
  static const std::vector<Case> all = [] {
    // Two normalisations, each of some ten roundings, between sums of up to 9 (C + 1) products. Of
    // few channels normalisation takes most of a kernel's gradient away: what is left is small
    // beside its terms.
    struct Size {
      Shape x;
      int64_t outputs;
      double tolerance = 1e-5;
    };
    const Size sizes[] = {{{2, 12, 16, 8}, 8},   {{1, 5, 7, 1}, 3, 2e-4}, {{2, 7, 5, 5}, 12},
                          {{1, 1, 9, 8}, 16},    {{1, 9, 1, 16}, 8},      {{3, 2, 2, 3}, 5},
                          {{1, 41, 37, 8}, 8},   {{1, 67, 6, 16}, 24},    {{2, 33, 34, 24}, 40},
                          {{1, 6, 140, 8}, 16},  {{2, 4, 4, 40}, 64},     {{2, 8, 8, 130}, 20},
                          {{1, 19, 21, 12}, 12}, {{2, 16, 16, 64}, 64},   {{1, 3, 150, 4}, 2, 4e-5},
                          {{2, 6, 300, 8}, 8},   {{1, 20, 75, 8}, 8}};
    std::vector<Case> cases;
    for (const Size& s : sizes) {
      const std::string what = s.x.to_string() + " to " + std::to_string(s.outputs);
      const auto add = [&](const char* op, const std::string& how, const Body& body) {
        cases.push_back(network_case(op, what + how, body, s.tolerance));
      };
      add("separable", "", [s](Network& n) {
        return n.separable("separable", n.operand(real("x", s.x)), s.outputs);
      });
      add("separable", ", its sums", [s](Network& n) {
        return n.normalised("norm",
                            n.separable("separable", n.operand(real("x", s.x)), s.outputs, false));
      });
      add("separable", ", normalised", [s](Network& n) {
        const Val a = n.normalised("norm0", n.operand(real("x", s.x, -2, 3)));
        return n.separable("separable", a, s.outputs);
      });
      add("separable", ", twice", [s](Network& n) {
        const Val a =
            n.normalised("norm1", n.separable("separable1", n.operand(real("x", s.x)), s.outputs));
        return n.normalised("norm2", n.separable("separable2", a, s.outputs));
      });
      add("pool_skip", ", block", [s](Network& n) { return block(n, s.x, s.outputs, false); });
      add("pool_skip", ", first block", [s](Network& n) { return block(n, s.x, s.outputs, true); });
    }
    // Weights so large that a task takes several images.
    cases.push_back(network_case(
        "separable", "[9,2,2,640] to 900, its sums",
        [](Network& n) {
          return n.normalised("norm",
                              n.separable("separable", n.operand(real("x", {9, 2, 2, 640})), 900));
        },
        1e-5));
    return cases;
  }();
  return all;
}

}  // namespace fulmar::op_table
