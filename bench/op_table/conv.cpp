#include <algorithm>
#include <array>

#include "bench/op_table/op_table.h"

namespace fulmar::op_table {
namespace {

using Taps = std::array<int64_t, 2>;

struct Dense {
  std::string what;
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
    // Few inputs and wide rows: pixels are lanes.
    {"3x3, stride 2, wide",
     {2, 9, 139, 3},
     {3, 3},
     8,
     {{2, 2}, {1, 1}, {1, 1, 1, 1}},
     1,
     true,
     true},
    {"5x5, one channel to 13",
     {1, 6, 75, 1},
     {5, 5},
     13,
     {{1, 1}, {1, 1}, {2, 2, 2, 2}},
     1,
     true,
     true},
    {"3x3, stride 3, 4 to 6 channels",
     {1, 8, 211, 4},
     {3, 3},
     6,
     {{3, 3}, {1, 1}, {2, 0, 1, 0}},
     1,
     false,
     true},
    {"3x3, dilation, 2 to 3 channels",
     {2, 5, 67, 2},
     {3, 3},
     3,
     {{1, 1}, {2, 3}, {2, 2, 3, 3}},
     1,
     true,
     true},
    {"7x7, stride 2, 3 to 20 channels",
     {1, 9, 78, 3},
     {7, 7},
     20,
     {{2, 2}, {1, 1}, {3, 2, 3, 2}},
     1,
     true,
     true},
    {"3x3, one wide row", {1, 1, 71, 3}, {3, 3}, 8, {{1, 1}, {1, 1}, {1, 1, 1, 1}}, 1, true, true},
    {"1x2, padding wider than the row",
     {1, 3, 2, 1},
     {1, 2},
     2,
     {{1, 1}, {1, 1}, {0, 0, 34, 40}},
     1,
     true,
     true},
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
  std::string what;
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

Case dense_case(const Dense& c) {
  const int64_t inputs = c.x[3] / c.groups;
  std::vector<Operand> operands{real("x", c.x),
                                weight("w", {c.kernel[0], c.kernel[1], inputs, c.outputs})};
  if (c.bias) operands.push_back(weight("bias", {c.outputs}));
  Case made{"conv2d", c.what, std::move(operands),
            [window = c.window, groups = c.groups](Tape& t, std::span<const Val> x) {
              const Val bias = x.size() > 2 ? x[2] : Val{};
              return std::vector<Val>{ops::conv2d(t, x[0], x[1], bias, window, groups)};
            },
            default_tolerance};
  made.parity_only = c.large;
  for (size_t axis = 0; axis < 2; axis++)
    made.reads *= std::min(
        1.0, static_cast<double>(c.kernel[axis]) / static_cast<double>(c.window.stride[axis]));
  return made;
}

Case depthwise_case(const Depthwise& c) {
  Case made{"depthwise_conv2d",
            c.what,
            {real("x", c.x), weight("w", {c.kernel[0], c.kernel[1], c.x[3]})},
            [window = c.window](Tape& t, std::span<const Val> x) {
              return std::vector<Val>{ops::depthwise_conv2d(t, x[0], x[1], window)};
            },
            default_tolerance};
  made.parity_only = c.large;
  return made;
}

// A layer over the channels.
Case layer_case(const std::string& what, const Shape& x, int64_t outputs, bool bias) {
  std::vector<Operand> operands{real("x", x), weight("w", {x[3], outputs})};
  if (bias) operands.push_back(weight("b", {outputs}));
  return {"dense", what, std::move(operands),
          [](Tape& t, std::span<const Val> in) {
            return std::vector<Val>{ops::dense(t, in[0], in[1], in.size() > 2 ? in[2] : Val{})};
          },
          default_tolerance};
}

Window same_window(const Shape& x, const Taps& kernel, int64_t stride) {
  const auto rows = ops::same_padding(x[1], kernel[0], stride, 1);
  const auto columns = ops::same_padding(x[2], kernel[1], stride, 1);
  return {{stride, stride}, {1, 1}, {rows[0], rows[1], columns[0], columns[1]}};
}

}  // namespace

void add_conv_cases(std::vector<Case>& cases) {
  for (const Dense& c : dense_cases) cases.push_back(dense_case(c));
  cases.push_back(layer_case("7 to 4", {3, 1, 1, 7}, 4, true));
  cases.push_back(layer_case("one image, no bias", {1, 1, 1, 1024}, 2, false));
  cases.push_back(layer_case("over pixels", {2, 3, 2, 19}, 17, true));
  // Weights that are computed from activations, and activations that are weights.
  cases.push_back({"conv2d",
                   "operands in other roles",
                   {weight("x", {2, 4, 3, 8}), real("w", {1, 1, 8, 5}), real("bias", {5})},
                   [](Tape& t, std::span<const Val> x) {
                     return std::vector<Val>{ops::conv2d(t, x[0], x[1], x[2], {})};
                   },
                   default_tolerance});
  for (const Depthwise& c : depthwise_cases) cases.push_back(depthwise_case(c));

  const auto add_product = [&](const std::string& what, const Shape& a, const Shape& b,
                               ops::Transposed which) {
    cases.push_back({"product",
                     what,
                     {real("a", a), real("b", b)},
                     [which](Tape& t, std::span<const Val> x) {
                       return std::vector<Val>{ops::product(t, x[0], x[1], which)};
                     },
                     default_tolerance});
  };
  add_product("a b", {5, 7}, {7, 3}, ops::Transposed::none);
  add_product("transposed a", {7, 5}, {7, 3}, ops::Transposed::a);
  add_product("transposed b", {5, 7}, {3, 7}, ops::Transposed::b);
  add_product("both transposed", {7, 5}, {3, 7}, ops::Transposed::both);
  add_product("vectors, both transposed", {1, 4}, {6, 1}, ops::Transposed::both);
  add_product("vectors", {1, 19}, {1, 19}, ops::Transposed::b);
  // As the similarities of embeddings.
  cases.push_back({"product",
                   "a matrix with itself",
                   {real("a", {6, 17})},
                   [](Tape& t, std::span<const Val> x) {
                     return std::vector<Val>{ops::product(t, x[0], x[0], ops::Transposed::b)};
                   },
                   default_tolerance});
}

void add_conv_benchmarks(const NetworkSize& size, std::vector<Case>& cases) {
  const Shape picture{size.batch, size.crop, size.crop, 3};
  const Taps one{1, 1}, three{3, 3};
  const auto add = [&](const std::string& what, const Shape& x, const Taps& kernel, int64_t outputs,
                       int64_t stride, int64_t groups = 1) {
    cases.push_back(dense_case({what, x, kernel, outputs, same_window(x, kernel, stride), groups}));
  };
  add("stem", picture, three, 8, 2);
  const std::vector<Block> all = blocks(size);
  for (const Block& block : all) {
    const std::string name = "block " + std::to_string(block.number);
    const Shape x{size.batch, block.side, block.side, block.inputs};
    add(name + " first", x, one, block.width, 1);
    add(name + " second", block_shape(size, block), one, block.width, 1);
    add(name + " skip", x, one, block.width, 2);
  }
  const int64_t side = (all.back().side + 1) / 2;
  const Shape tail{size.batch, side, side, all.back().width};
  add("tail", tail, one, 2 * all.back().width, 1);
  const Shape x64 = block_shape(size, all[3]);
  add("3x3, 64 to 64", x64, three, 64, 1);
  add("3x3, 64 to 64, 4 groups", x64, three, 64, 1, 4);
  cases.push_back(layer_case("head", {size.batch, 1, 1, 2 * all.back().width}, 2, true));

  const auto add_depthwise = [&](const std::string& what, const Shape& x, const Taps& kernel) {
    cases.push_back(depthwise_case({what, x, kernel, same_window(x, kernel, 1)}));
  };
  for (const Block& block : all)
    add_depthwise("block " + std::to_string(block.number), block_shape(size, block), three);
  add_depthwise("tail", tail, three);
  add_depthwise("5x5, block 3", block_shape(size, all[2]), {5, 5});
}

}  // namespace fulmar::op_table
