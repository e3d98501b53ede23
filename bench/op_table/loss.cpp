#include <limits>
#include <utility>

#include "bench/op_table/op_table.h"

namespace fulmar::op_table {
namespace {

struct Loss {
  const char* what;
  Shape logits;
  bool soft = false;
  CrossEntropy how{};
  bool class_weight = false, pixel_weight = false;
  double scale = 4;
  Role role = Role::activation;  // of the logits
  DType labels = DType::i32;     // of index labels
};

// exp of a difference of logits of up to 10: its rounding error, relative, is up to 10 u.
constexpr double tolerance = 3e-6;

Case softmax_case(const std::string& what, Operand x) {
  return {"softmax",
          what,
          {std::move(x)},
          [](Tape& t, std::span<const Val> in) { return std::vector<Val>{ops::softmax(t, in[0])}; },
          tolerance};
}

Case argmax_case(const std::string& what, Operand x) {
  return {"argmax",
          what,
          {constant_of(std::move(x))},
          [](Tape& t, std::span<const Val> in) { return std::vector<Val>{ops::argmax(t, in[0])}; },
          tolerance};
}

Case confusion_case(const std::string& what, Operand predicted, Operand labels, int64_t classes) {
  // Counts are exact.
  return {"confusion",
          what,
          {std::move(predicted), std::move(labels)},
          [classes](Tape& t, std::span<const Val> x) {
            return std::vector<Val>{ops::confusion(t, x[0], x[1], classes)};
          },
          0};
}

// Predictions and labels of a shape, drawn from [0, drawn).
Case confusion_case(const std::string& what, const Shape& shape, int64_t drawn, DType predicted,
                    DType labels, int64_t classes) {
  return confusion_case(what, indices("predicted", shape, drawn, predicted),
                        indices("labels", shape, drawn, labels), classes);
}

Operand given_indices(const std::string& name, const Shape& shape, DType type,
                      std::vector<double> values) {
  return {name, {shape, Role::index, type}, std::move(values), {}};
}

Build loss_build(const CrossEntropy& how, bool class_weight, bool pixel_weight) {
  return [=](Tape& t, std::span<const Val> x) {
    size_t next = 2;
    const Val c = class_weight ? x[next++] : Val{}, q = pixel_weight ? x[next++] : Val{};
    const ops::Loss loss = ops::softmax_cross_entropy(t, x[0], x[1], how, c, q);
    return std::vector<Val>{loss.mean, loss.rows, loss.row_weight};
  };
}

Operand given_as(Operand x) { return constant_of(in_role(Role::statistic, std::move(x))); }

Case loss_case(const Loss& l) {
  const int64_t classes = l.logits[3];
  const Shape rows{l.logits[0], l.logits[1], l.logits[2], 1};
  std::vector<Operand> x{in_role(l.role, real("logits", l.logits, -l.scale, l.scale)),
                         l.soft ? given_as(real("labels", l.logits, 0, 1))
                                : indices("labels", rows, classes, l.labels)};
  if (l.class_weight) x.push_back(given_as(real("class_weight", {classes}, 0.5, 2)));
  if (l.pixel_weight) x.push_back(given_as(real("pixel_weight", rows, 0, 1)));
  return {"softmax_cross_entropy",
          l.what,
          std::move(x),
          loss_build(l.how, l.class_weight, l.pixel_weight),
          tolerance,
          {"logits"}};
}

}  // namespace

void add_loss_cases(std::vector<Case>& cases) {
  cases.push_back(softmax_case("two classes", real("x", {4, 1, 1, 2}, -5, 5)));
  cases.push_back(softmax_case("map of 5 classes", real("x", {2, 3, 4, 5}, -5, 5)));
  cases.push_back(softmax_case("one class", real("x", {2, 1, 2, 1}, -5, 5)));
  cases.push_back(softmax_case("33 classes", real("x", {1, 2, 3, 33}, -5, 5)));
  cases.push_back(
      softmax_case("of statistics", in_role(Role::statistic, real("x", {2, 3, 4, 5}, -5, 5))));
  cases.push_back(
      softmax_case("large logits", given("x", {2, 1, 1, 3}, {500, 499, 498, -700, -702, -701.5})));

  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  cases.push_back(argmax_case("a map of 7 classes", distinct("x", {2, 3, 5, 7})));
  cases.push_back(argmax_case("one class", real("x", {1, 2, 3, 1})));
  cases.push_back(argmax_case("300 classes", distinct("x", {1, 1, 4, 300})));
  cases.push_back(
      argmax_case("of statistics", in_role(Role::statistic, distinct("x", {1, 2, 3, 5}))));
  cases.push_back(argmax_case("equals, NaN and infinities",
                              given("x", {1, 1, 6, 3},
                                    {1, 1, 1, 0, 2, 2, nan, 3, 4, 5, nan, nan, -infinity, -infinity,
                                     -infinity, infinity, nan, infinity})));

  const Shape map{2, 13, 17, 1}, few{1, 2, 3, 1};
  cases.push_back(confusion_case("u8", map, 5, DType::u8, DType::u8, 5));
  cases.push_back(confusion_case("i32", map, 3, DType::i32, DType::i32, 3));
  cases.push_back(confusion_case("u8 with labels of i32", map, 4, DType::u8, DType::i32, 4));
  cases.push_back(confusion_case("i32 with labels of u8", map, 4, DType::i32, DType::u8, 4));
  cases.push_back(confusion_case("one class", map, 2, DType::u8, DType::u8, 1));
  cases.push_back(confusion_case("most are of no class", map, 256, DType::u8, DType::u8, 40));
  // The largest matrix that fits a block's shared memory, and the next.
  cases.push_back(confusion_case("110 classes", map, 110, DType::u8, DType::u8, 110));
  cases.push_back(confusion_case("111 classes", map, 112, DType::i32, DType::u8, 111));
  cases.push_back(confusion_case("many pixels", {2, 150, 259, 1}, 7, DType::u8, DType::u8, 6));
  cases.push_back(
      confusion_case("ignored, and of no class",
                     given_indices("predicted", few, DType::i32, {0, 1, -1, 3, 2, 2147483647}),
                     given_indices("labels", few, DType::u8, {255, 2, 0, 0, 2, 1}), 3));
  cases.push_back(confusion_case(
      "nothing counts", given_indices("predicted", few, DType::u8, {0, 1, 2, 0, 1, 2}),
      given_indices("labels", few, DType::i32, {-1, -2147483648.0, 3, 255, -1, 2147483647}), 3));

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
      {"of statistics", {2, 3, 5, 4}, false, {}, true, true, 4, Role::statistic},
      {"u8 labels", {2, 3, 5, 4}, false, {}, false, false, 4, Role::activation, DType::u8},
      {"u8 labels, everything",
       {2, 3, 5, 7},
       false,
       {0.05, 3},
       true,
       true,
       4,
       Role::activation,
       DType::u8},
  };
  for (const Loss& l : losses) cases.push_back(loss_case(l));
  const std::vector<double> zeros(6, 0.0), fives(6, 5.0);
  Operand labels = indices("labels", {2, 3, 1, 1}, 4);
  cases.push_back(
      {"softmax_cross_entropy",
       "all weights 0",
       {real("logits", {2, 3, 1, 4}), labels, given_as(given("pixel_weight", {2, 3, 1, 1}, zeros))},
       loss_build({}, false, true),
       tolerance,
       {"logits"}});
  cases.push_back({"softmax_cross_entropy",
                   "u8 labels, 255 ignored",
                   {real("logits", {2, 3, 1, 4}),
                    given_indices("labels", {2, 3, 1, 1}, DType::u8, {255, 0, 3, 255, 1, 255})},
                   loss_build({0, 255}, false, false),
                   tolerance,
                   {"logits"}});
  cases.push_back({"softmax_cross_entropy",
                   "u8 labels of no class",
                   {real("logits", {2, 3, 1, 4}),
                    given_indices("labels", {2, 3, 1, 1}, DType::u8, {254, 0, 3, 4, 255, 2})},
                   loss_build({0, 255}, false, false),
                   tolerance,
                   {"logits"},
                   true});
  labels.values = fives;
  cases.push_back({"softmax_cross_entropy",
                   "all ignored",
                   {real("logits", {2, 3, 1, 4}), labels},
                   loss_build({0, 5}, false, false),
                   tolerance,
                   {"logits"}});
}

void add_loss_benchmarks(const NetworkSize& size, std::vector<Case>& cases) {
  const Shape logits{size.batch, 1, 1, 2};
  const Shape map{size.batch, size.crop / 4, size.crop / 4, 10};
  cases.push_back(softmax_case("two classes", real("x", logits, -5, 5)));
  cases.push_back(softmax_case("a map of 10 classes", real("x", map, -5, 5)));
  cases.push_back(argmax_case("a map of 10 classes", real("x", map, -5, 5)));
  cases.push_back(loss_case({"two classes", logits}));
  cases.push_back(loss_case({"a map of 10 classes", map}));
  Loss narrow{"a map of 10 classes, u8 labels", map};
  narrow.labels = DType::u8;
  cases.push_back(loss_case(narrow));
  const Shape pixels{size.batch, size.crop, size.crop, 1};
  cases.push_back(confusion_case("10 classes", pixels, 10, DType::u8, DType::u8, 10));
  cases.push_back(confusion_case("1000 classes", pixels, 1000, DType::i32, DType::i32, 1000));
}

}  // namespace fulmar::op_table
