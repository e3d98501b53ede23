#include <array>
#include <cmath>

#include "tests/op_cases.h"

namespace fulmar::test {
namespace {

using Taps = std::array<int64_t, 2>;

struct Dense {
  const char* what;
  Shape x;
  Taps kernel;
  int64_t outputs;
  Window window;
  int64_t groups = 1;
  bool bias = true;
  bool large = false;
};

// padding: top, bottom, left, right
const Dense dense_cases[] = {
    {"1x1", {2, 5, 4, 3}, {1, 1}, 5, {}},
    {"1x1, stride 2, even size", {2, 6, 4, 8}, {1, 1}, 4, {{2, 2}, {1, 1}, {}}},
    {"1x1, stride 2, odd size", {2, 5, 7, 8}, {1, 1}, 16, {{2, 2}, {1, 1}, {}}},
    {"1x1, no bias", {2, 3, 3, 5}, {1, 1}, 7, {}, 1, false},
    {"1x1, one pixel", {1, 1, 1, 9}, {1, 1}, 2, {}},
    {"3x3, same", {2, 6, 5, 3}, {3, 3}, 4, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, valid, no bias", {2, 6, 5, 3}, {3, 3}, 4, {}, 1, false},
    {"3x3, same, stride 2, even size", {2, 8, 6, 3}, {3, 3}, 8, {{2, 2}, {1, 1}, {0, 1, 0, 1}}},
    {"3x3, same, stride 2, odd size", {2, 7, 9, 3}, {3, 3}, 8, {{2, 2}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, one pixel", {2, 1, 1, 4}, {3, 3}, 5, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, one row", {1, 1, 9, 4}, {3, 3}, 5, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, one channel", {2, 6, 6, 1}, {3, 3}, 1, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {"2x2, stride 3: larger than the kernel", {2, 8, 9, 3}, {2, 2}, 4, {{3, 3}, {1, 1}, {}}},
    {"2x2, stride 5 and 4, last rows unused", {1, 9, 10, 2}, {2, 2}, 3, {{5, 4}, {1, 1}, {}}},
    {"2x2, same", {1, 5, 4, 3}, {2, 2}, 4, {{1, 1}, {1, 1}, {0, 1, 0, 1}}},
    {"5x5, dilation 2", {1, 11, 10, 2}, {5, 5}, 3, {{1, 1}, {2, 2}, {4, 4, 4, 4}}},
    {"3x3, dilation 4: wider than the picture",
     {1, 4, 3, 2},
     {3, 3},
     3,
     {{1, 1}, {4, 4}, {4, 4, 4, 4}}},
    {"7x7, stride 2, asymmetric", {1, 12, 11, 2}, {7, 7}, 3, {{2, 2}, {1, 1}, {2, 3, 3, 3}}},
    {"1x3", {2, 4, 6, 3}, {1, 3}, 4, {{1, 1}, {1, 1}, {0, 0, 1, 1}}},
    {"5x2, everything mixed", {2, 9, 8, 3}, {5, 2}, 4, {{3, 2}, {1, 3}, {3, 0, 1, 2}}},
    {"3x3, padding larger than the kernel",
     {1, 3, 3, 2},
     {3, 3},
     2,
     {{2, 1}, {1, 1}, {5, 4, 3, 6}}},
    {"3x3, 2 groups", {2, 5, 6, 6}, {3, 3}, 4, {{1, 1}, {1, 1}, {1, 1, 1, 1}}, 2},
    {"3x3, 3 groups, dilation, no bias",
     {2, 7, 6, 6},
     {3, 3},
     9,
     {{1, 1}, {2, 1}, {2, 2, 1, 1}},
     3,
     false},
    {"1x1, 5 groups of one channel", {1, 3, 4, 5}, {1, 1}, 10, {}, 5},
    {"3x3, stride 2, 2 groups", {1, 7, 6, 4}, {3, 3}, 6, {{2, 2}, {1, 1}, {0, 1, 1, 1}}, 2},
    {"3x3, 17 to 19 channels", {1, 4, 5, 17}, {3, 3}, 19, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    // Over the edges of the packed product's blocks.
    {"1x1, 300 to 270 channels", {2, 13, 11, 300}, {1, 1}, 270, {}, 1, true, true},
    {"1x1, many pixels", {2, 57, 61, 24}, {1, 1}, 40, {}, 1, true, true},
    {"3x3, 48 to 70 channels",
     {1, 14, 13, 48},
     {3, 3},
     70,
     {{1, 1}, {1, 1}, {1, 1, 1, 1}},
     1,
     true,
     true},
    {"3x3, stem", {2, 64, 66, 3}, {3, 3}, 8, {{2, 2}, {1, 1}, {0, 1, 0, 1}}, 1, true, true},
    {"3x3, 4 groups, wide",
     {1, 12, 12, 64},
     {3, 3},
     96,
     {{1, 1}, {1, 1}, {1, 1, 1, 1}},
     4,
     true,
     true},
};

struct Depthwise {
  const char* what;
  Shape x;
  Taps kernel;
  Window window;
  bool large = false;
};

const Depthwise depthwise_cases[] = {
    {"3x3, same", {2, 6, 5, 8}, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, same, 17 channels", {2, 5, 6, 17}, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, one pixel", {2, 1, 1, 5}, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, two columns", {1, 7, 2, 16}, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, one channel", {2, 5, 5, 1}, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, valid", {1, 5, 6, 3}, {3, 3}, {}},
    {"3x3, stride 2", {2, 8, 7, 4}, {3, 3}, {{2, 2}, {1, 1}, {0, 1, 1, 1}}},
    {"5x5, dilation 2", {1, 11, 9, 3}, {5, 5}, {{1, 1}, {2, 2}, {4, 4, 4, 4}}},
    {"2x3, everything mixed", {2, 7, 8, 3}, {2, 3}, {{3, 2}, {2, 1}, {1, 0, 0, 2}}},
    {"2x2, stride 3: larger than the kernel", {1, 7, 8, 5}, {2, 2}, {{3, 3}, {1, 1}, {}}},
    {"7x7, 19 channels", {1, 9, 8, 19}, {7, 7}, {{1, 1}, {1, 1}, {3, 3, 3, 3}}},
    {"3x3, large, 8 channels", {2, 67, 45, 8}, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}, true},
    {"3x3, large, 66 channels", {2, 17, 19, 66}, {3, 3}, {{1, 1}, {1, 1}, {1, 1, 1, 1}}, true},
};

}  // namespace

void add_conv_cases(std::vector<Case>& cases) {
  for (const Dense& c : dense_cases) {
    const int64_t inputs = c.x[3] / c.groups;
    std::vector<Operand> operands{real("x", c.x),
                                  weight("w", {c.kernel[0], c.kernel[1], inputs, c.outputs})};
    if (c.bias) operands.push_back(weight("bias", {c.outputs}));
    Case added{"conv2d", c.what, std::move(operands),
               [window = c.window, groups = c.groups](Tape& t, std::span<const Val> x) {
                 const Val bias = x.size() > 2 ? x[2] : Val{};
                 return std::vector<Val>{ops::conv2d(t, x[0], x[1], bias, window, groups)};
               },
               default_tolerance};
    added.parity_only = c.large;
    cases.push_back(std::move(added));
  }
  const auto dense = [](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::dense(t, x[0], x[1], x.size() > 2 ? x[2] : Val{})};
  };
  cases.push_back({"dense",
                   "7 to 4",
                   {real("x", {3, 1, 1, 7}), weight("w", {7, 4}), weight("b", {4})},
                   dense,
                   default_tolerance});
  cases.push_back({"dense",
                   "one image, no bias",
                   {real("x", {1, 1, 1, 1024}), weight("w", {1024, 2})},
                   dense,
                   default_tolerance});
  cases.push_back({"dense",
                   "over pixels",
                   {real("x", {2, 3, 2, 19}), weight("w", {19, 17}), weight("b", {17})},
                   dense,
                   default_tolerance});

  // Weights that are computed from activations, and activations that are weights.
  cases.push_back({"conv2d",
                   "operands in other roles",
                   {weight("x", {2, 4, 3, 8}), real("w", {1, 1, 8, 5}), real("bias", {5})},
                   [](Tape& t, std::span<const Val> x) {
                     return std::vector<Val>{ops::conv2d(t, x[0], x[1], x[2], {})};
                   },
                   default_tolerance});

  for (const Depthwise& c : depthwise_cases) {
    Case added{"depthwise_conv2d",
               c.what,
               {real("x", c.x), weight("w", {c.kernel[0], c.kernel[1], c.x[3]})},
               [window = c.window](Tape& t, std::span<const Val> x) {
                 return std::vector<Val>{ops::depthwise_conv2d(t, x[0], x[1], window)};
               },
               default_tolerance};
    added.parity_only = c.large;
    cases.push_back(std::move(added));
  }
}

}  // namespace fulmar::test
