#include "tests/op_cases.h"

namespace fulmar::test {

void add_norm_cases(std::vector<Case>& cases) {
  const double epsilon = 1e-3;
  const std::vector<std::string> all{"x", "gamma", "beta"};
  // gamma / sqrt(var + epsilon) and x - mean are rounded once each, and dx is a difference of three
  // terms of like size: some ten roundings for a result of order 1.
  const double tolerance = 2e-6;
  const auto eval = [=](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::batch_norm(t, x[0], x[1], x[2], x[3], x[4], epsilon)};
  };
  const auto train = [=](bool unbiased) {
    return [=](Tape& t, std::span<const Val> x) {
      const ops::RunningStatistics running{x[3], x[4], 0.9, unbiased};
      return std::vector<Val>{ops::batch_norm_train(t, x[0], x[1], x[2], running, epsilon)};
    };
  };
  const auto statistic = [](const std::string& name, int64_t channels, double low, double high) {
    return constant_of(in_role(Role::statistic, real(name, {channels}, low, high)));
  };
  struct Size {
    const char* what;
    Shape x;
    bool large = false;
    double tolerance = 2e-6;
  };
  // Of two values that lie close together, x - mean is mostly the rounding of mean, and 1/s is up
  // to 1/sqrt(epsilon) = 32; the terms of dx cancel but for a few percent.
  const Size sizes[] = {{"odd", {2, 3, 5, 7}},
                        {"two values a channel", {2, 1, 1, 5}, false, 2e-4},
                        {"one row, 17 channels", {3, 1, 2, 17}},
                        {"8 channels", {2, 6, 5, 8}},
                        {"large, 8 channels", {2, 65, 63, 8}, true},
                        {"large, 130 channels", {2, 9, 8, 130}, true}};
  for (const Size& s : sizes) {
    const int64_t channels = s.x[3];
    const auto operands = [&](bool updated) {
      Operand mean = statistic("mean", channels, -1, 1), var = statistic("var", channels, 0.5, 1.5);
      mean.updated = var.updated = updated;
      return std::vector<Operand>{real("x", s.x, -2, 3), weight("gamma", {channels}, 0.5, 1.5),
                                  weight("beta", {channels}), mean, var};
    };
    cases.push_back(
        {"batch_norm", s.what, operands(false), eval, s.tolerance, {"gamma", "beta"}, s.large});
    cases.push_back(
        {"batch_norm_train", s.what, operands(true), train(true), s.tolerance, all, s.large});
  }
  const auto add_train = [&](const std::string& what, Operand x, Operand mean, bool unbiased,
                             double bound) {
    const int64_t channels = x.info.shape[3];
    mean.updated = true;
    Operand var = statistic("var", channels, 0.5, 1.5);
    var.updated = true;
    cases.push_back({"batch_norm_train",
                     what,
                     {std::move(x), weight("gamma", {channels}, 0.5, 1.5),
                      weight("beta", {channels}), std::move(mean), std::move(var)},
                     train(unbiased),
                     bound,
                     all});
  };
  add_train("biased running variance", real("x", {2, 3, 2, 3}), statistic("mean", 3, -1, 1), false,
            tolerance);
  // x - mean loses three digits of seven: 1000 is that much larger than the spread of x.
  Operand far = statistic("mean", 3, 999, 1001);
  add_train("mean far from 0", real("x", {2, 5, 4, 3}, 999, 1001), far, true, 1e-3);
  // Single values: variance 0, y = beta but for mean's rounding times 32; the gradient of x is 0
  // but for rounding, and not compared.
  Operand single = constant_of(real("x", {1, 1, 1, 4}));
  add_train("one value a channel", single, statistic("mean", 4, -1, 1), true, 2e-5);
}

void add_loss_cases(std::vector<Case>& cases) {
  const auto softmax = [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::softmax(t, x[0])};
  };
  // exp of a difference of logits of up to 10: its rounding error, relative, is up to 10 u.
  const double tolerance = 3e-6;
  const auto add_softmax = [&](const char* what, Operand x) {
    cases.push_back({"softmax", what, {std::move(x)}, softmax, tolerance});
  };
  add_softmax("two classes", real("x", {4, 1, 1, 2}, -5, 5));
  add_softmax("map of 5 classes", real("x", {2, 3, 4, 5}, -5, 5));
  add_softmax("one class", real("x", {2, 1, 2, 1}, -5, 5));
  add_softmax("33 classes", real("x", {1, 2, 3, 33}, -5, 5));
  add_softmax("large logits", given("x", {2, 1, 1, 3}, {500, 499, 498, -700, -702, -701.5}));

  struct Loss {
    const char* what;
    Shape logits;
    bool soft = false;
    CrossEntropy how{};
    bool class_weight = false, pixel_weight = false;
    double scale = 4;
  };
  const Loss losses[] = {
      {"index labels", {3, 1, 1, 4}},
      {"two classes", {5, 1, 1, 2}},
      {"a map of index labels", {2, 3, 5, 4}},
      {"soft labels", {2, 3, 5, 4}, true},
      {"smoothing", {2, 3, 5, 4}, false, {0.1, -1}},
      {"soft labels, smoothing", {2, 3, 5, 4}, true, {0.1, -1}},
      {"class weights", {2, 3, 5, 4}, false, {}, true},
      {"soft labels, class weights", {2, 3, 5, 4}, true, {}, true},
      {"ignored label", {2, 3, 5, 4}, false, {0, 2}},
      {"pixel weights", {2, 3, 5, 4}, false, {}, false, true},
      {"everything", {2, 3, 5, 7}, false, {0.05, 3}, true, true},
      {"soft labels, everything", {2, 3, 5, 7}, true, {0.05, -1}, true, true},
      {"33 classes", {1, 3, 5, 33}, false, {0.05, -1}, true, true},
      {"large logits", {2, 3, 5, 4}, false, {}, false, false, 80},
  };
  const auto build = [](const CrossEntropy& how, bool class_weight, bool pixel_weight) {
    return [=](Tape& t, std::span<const Val> x) {
      size_t next = 2;
      const Val c = class_weight ? x[next++] : Val{}, q = pixel_weight ? x[next++] : Val{};
      const ops::Loss loss = ops::softmax_cross_entropy(t, x[0], x[1], how, c, q);
      return std::vector<Val>{loss.mean, loss.rows, loss.row_weight};
    };
  };
  const auto given_as = [](Operand x) {
    return constant_of(in_role(Role::statistic, std::move(x)));
  };
  for (const Loss& l : losses) {
    const int64_t classes = l.logits[3];
    const Shape rows{l.logits[0], l.logits[1], l.logits[2], 1};
    std::vector<Operand> x{
        real("logits", l.logits, -l.scale, l.scale),
        l.soft ? given_as(real("labels", l.logits, 0, 1)) : indices("labels", rows, classes)};
    if (l.class_weight) x.push_back(given_as(real("class_weight", {classes}, 0.5, 2)));
    if (l.pixel_weight) x.push_back(given_as(real("pixel_weight", rows, 0, 1)));
    cases.push_back({"softmax_cross_entropy",
                     l.what,
                     std::move(x),
                     build(l.how, l.class_weight, l.pixel_weight),
                     tolerance,
                     {"logits"}});
  }
  const std::vector<double> zeros(6, 0.0), fives(6, 5.0);
  Operand labels = indices("labels", {2, 3, 1, 1}, 4);
  cases.push_back(
      {"softmax_cross_entropy",
       "all weights 0",
       {real("logits", {2, 3, 1, 4}), labels, given_as(given("pixel_weight", {2, 3, 1, 1}, zeros))},
       build({}, false, true),
       tolerance,
       {"logits"}});
  labels.values = fives;
  cases.push_back({"softmax_cross_entropy",
                   "all ignored",
                   {real("logits", {2, 3, 1, 4}), labels},
                   build({0, 5}, false, false),
                   tolerance,
                   {"logits"}});
}

}  // namespace fulmar::test
