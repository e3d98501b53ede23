#include <string>
#include <utility>
#include <vector>

#include "bench/op_table/fused_network.h"

namespace fulmar::op_table {
namespace {

// A block of the polar-low network; `stem`: its input is normalised too.
Val block(Network& n, const Shape& x, int64_t outputs, bool stem) {
  Val u = n.operand(real("x", x));
  if (stem) u = n.normalised("norm0", u);
  const Val a = n.normalised("norm1", n.separable("separable1", u, outputs));
  const Val z = n.normalised("norm2", n.separable("separable2", a, outputs));
  return ops::add(n.tape(), n.pool(z), n.skip("skip", u, outputs));
}

void add_separable_cases(std::vector<Case>& cases) {
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
  for (const Size& s : sizes) {
    const std::string what = s.x.to_string() + " to " + std::to_string(s.outputs);
    const auto add = [&](const char* op, const std::string& how, const Body& body) {
      cases.push_back(network_case(op, what + how, body, s.tolerance));
    };
    add("separable", "",
        [s](Network& n) { return n.separable("separable", n.operand(real("x", s.x)), s.outputs); });
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
}

}  // namespace

const std::vector<Case>& fused_cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> cases;
    add_separable_cases(cases);
    add_dense_fused_cases(cases);
    add_stem_fused_cases(cases);
    return cases;
  }();
  return all;
}

}  // namespace fulmar::op_table
