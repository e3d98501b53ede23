#include <array>

#include "bench/op_table/op_table.h"

namespace fulmar::op_table {
namespace {

using Taps = std::array<int64_t, 2>;

struct Pool {
  std::string what;
  Shape x;
  Taps kernel;
  Window window;
};

const Pool pools[] = {
    {"3x3, same, stride 2, even size", {2, 8, 6, 4}, {3, 3}, {{2, 2}, {1, 1}, {0, 1, 0, 1}}},
    {"3x3, same, stride 2, odd size", {2, 7, 5, 17}, {3, 3}, {{2, 2}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, one pixel", {2, 1, 1, 3}, {3, 3}, {{2, 2}, {1, 1}, {1, 1, 1, 1}}},
    {"3x3, two pixels", {1, 2, 2, 8}, {3, 3}, {{2, 2}, {1, 1}, {0, 1, 0, 1}}},
    {"2x2", {2, 6, 7, 5}, {2, 2}, {{2, 2}, {1, 1}, {}}},
    {"2x2, stride 3: larger than the kernel", {2, 8, 8, 3}, {2, 2}, {{3, 3}, {1, 1}, {}}},
    {"3x2, stride 1, asymmetric", {1, 5, 6, 17}, {3, 2}, {{1, 1}, {1, 1}, {1, 1, 1, 0}}},
    {"3x3, dilation 2", {1, 7, 8, 3}, {3, 3}, {{1, 2}, {2, 2}, {2, 2, 2, 2}}},
    {"1x1, stride 2", {1, 5, 4, 3}, {1, 1}, {{2, 2}, {1, 1}, {}}},
    {"5x7", {1, 9, 8, 2}, {5, 7}, {{1, 1}, {1, 1}, {2, 2, 3, 3}}},
};

Case make(const std::string& op, const std::string& what, std::vector<Operand> x, Build build,
          std::vector<std::string> once = {}, bool large = false) {
  return {op, what, std::move(x), std::move(build), default_tolerance, std::move(once), large};
}

Build max_pool(const Taps& kernel, const Window& window) {
  return [=](Tape& t, std::span<const Val> x) {
    const Val y = ops::max_pool(t, x[0], kernel, window);
    return std::vector<Val>{y, Val{y.node, 1}};
  };
}

Build average_pool(const Taps& kernel, const Window& window) {
  return [=](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::average_pool(t, x[0], kernel, window)};
  };
}

Build resize_to(int64_t height, int64_t width, const Resize& how) {
  return [=](Tape& t, std::span<const Val> x) {
    return std::vector<Val>{ops::resize(t, x[0], height, width, how)};
  };
}

}  // namespace

void add_pool_cases(std::vector<Case>& cases) {
  const auto add = [&](const std::string& op, const std::string& what, std::vector<Operand> x,
                       Build build, std::vector<std::string> once, bool large = false) {
    cases.push_back(make(op, what, std::move(x), std::move(build), std::move(once), large));
  };
  for (const Pool& p : pools) {
    add("max_pool", p.what, {distinct("x", p.x)}, max_pool(p.kernel, p.window), {"x"});
    add("average_pool", p.what, {real("x", p.x)}, average_pool(p.kernel, p.window), {});
  }
  for (const Shape& x : {Shape{2, 5, 7, 3}, Shape{1, 17, 40, 2}, Shape{2, 1, 1, 4}})
    add(
        "global_max_pool", x.to_string(), {distinct("x", x)},
        [](Tape& t, std::span<const Val> in) {
          return std::vector<Val>{ops::global_max_pool(t, in[0])};
        },
        x.height() > 1 ? std::vector<std::string>{"x"} : std::vector<std::string>{});
  const Pool& same = pools[0];
  // The first of equals wins on every device; after a ReLU most windows are all 0.
  add("max_pool", "all equal", {given("x", {1, 6, 4, 3}, std::vector<double>(72, -1.5))},
      max_pool(same.kernel, same.window), {"x"}, true);
  add("max_pool", "large", {real("x", {2, 66, 47, 8})}, max_pool(same.kernel, same.window), {"x"},
      true);
  add("max_pool", "large, 70 channels", {real("x", {1, 16, 18, 70})},
      max_pool(same.kernel, same.window), {"x"}, true);
  add("average_pool", "large", {real("x", {2, 66, 47, 8})}, average_pool(same.kernel, same.window),
      {}, true);

  struct Size {
    const char* what;
    Shape x;
    int64_t height, width;
  };
  const Size sizes[] = {{"up", {2, 4, 5, 3}, 9, 8},
                        {"down", {2, 9, 8, 3}, 4, 5},
                        {"double", {1, 3, 4, 17}, 6, 8},
                        {"mixed", {1, 7, 3, 2}, 3, 7},
                        {"from one pixel", {2, 1, 1, 3}, 3, 2},
                        {"to one pixel", {1, 5, 4, 3}, 1, 1},
                        {"same size", {1, 3, 4, 2}, 3, 4}};
  for (const Size& s : sizes)
    for (const bool corners : {false, true})
      for (const Interpolation how : {Interpolation::bilinear, Interpolation::nearest}) {
        const Resize resize{how, corners};
        add("resize",
            std::string(how == Interpolation::nearest ? "nearest, " : "bilinear, ") +
                (corners ? "corners, " : "") + s.what,
            {real("x", s.x)}, resize_to(s.height, s.width, resize), {});
      }
}

void add_pool_benchmarks(const NetworkSize& size, std::vector<Case>& cases) {
  const std::vector<Block> all = blocks(size);
  for (const Block& block : all) {
    const Shape x = block_shape(size, block);
    const auto padding = ops::same_padding(block.side, 3, 2, 1);
    const Window window{{2, 2}, {1, 1}, {padding[0], padding[1], padding[0], padding[1]}};
    cases.push_back(make("max_pool", "block " + std::to_string(block.number), {real("x", x)},
                         max_pool({3, 3}, window)));
  }
  const Shape x = block_shape(size, all[0]);
  cases.push_back(make("average_pool", "2x2, block 1", {real("x", x)},
                       average_pool({2, 2}, {{2, 2}, {1, 1}, {}})));
  const Shape half{x[0], x[1] / 2, x[2] / 2, x[3]};
  for (const Interpolation how : {Interpolation::bilinear, Interpolation::nearest})
    cases.push_back(make("resize",
                         std::string(how == Interpolation::nearest ? "nearest" : "bilinear") +
                             ", to twice the side, block 1",
                         {real("x", half)}, resize_to(2 * half[1], 2 * half[2], {how, false})));
}

}  // namespace fulmar::op_table
