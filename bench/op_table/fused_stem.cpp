#include <cmath>
#include <string>
#include <vector>

#include "bench/op_table/fused_network.h"
#include "bench/op_table/uniform.h"
#include "kernels/warp.h"

namespace fulmar::op_table {
namespace {

struct Stem {
  Shape x;
  int64_t outputs;
  int64_t kernel = 3, stride = 2, groups = 1, dilation = 1;
};

// A dense convolution of what nobody differentiates, normalised behind it: its weights' gradient
// takes batch_norm_grad on load.
Val stem(Network& n, Val x, const Stem& s) {
  const int64_t pad = s.dilation * (s.kernel / 2);
  Window window;
  window.stride = {s.stride, s.stride};
  window.dilation = {s.dilation, s.dilation};
  window.padding = {pad, pad, pad, pad};
  const Val w = n.weight("conv/kernel", {s.kernel, s.kernel, s.x.channels() / s.groups, s.outputs});
  const Val b = n.weight("conv/bias", {s.outputs});
  return n.normalised("norm", ops::conv2d(n.tape(), x, w, b, window, s.groups));
}

// Rows of few channels that are zipped, some lanes of them or all; products of patches, in groups,
// of blocks of columns; one row, one column.
const Stem stems[] = {
    {{2, 33, 66, 3}, 8},      {{1, 21, 150, 3}, 5},      {{3, 9, 64, 1}, 12},
    {{1, 40, 37, 4}, 16, 3},  {{2, 12, 260, 2}, 3, 5},   {{1, 1, 70, 3}, 8},
    {{1, 70, 1, 3}, 8},       {{2, 13, 14, 6}, 34, 3},   {{2, 9, 11, 10}, 14, 3, 1, 2},
    {{1, 12, 13, 8}, 300, 3}, {{2, 8, 10, 5}, 64, 1, 1}, {{1, 30, 64, 3}, 7, 3, 1, 1, 2}};

enum class Map { shifted, over_edges, turned };

Operand samples(int64_t images, int64_t side, Map map) {
  std::vector<WarpSample> all;
  for (int64_t i = 0; i < images; i++) {
    WarpSample sample;
    sample.source_height = side, sample.source_width = side - i;
    if (map == Map::shifted) sample.map.a = {1, 0, 2, 0, 1, 3};
    if (map == Map::over_edges) sample.map.a = {1, 0, -4, 0, 1, 7};
    if (map == Map::turned) sample.map.a = {0.8, -0.6, 9, 0.6, 0.8, -2};
    sample.gain = i == 0 ? 1 : 0.75;
    all.push_back(sample);
  }
  return records<WarpSample>("samples", {images, int64_t{sizeof(WarpSample)}}, DType::u8,
                             std::span(all));
}

template <class T>
Operand picture(const Shape& shape, DType type, double most) {
  std::vector<T> values;
  for (int64_t i = 0; i < shape.elements(); i++)
    values.push_back(static_cast<T>(uniform_value(5, i, 0, most)));
  return records<T>("picture", shape, type, std::span<const T>(values));
}

Operand picture(const Shape& shape, DType type) {
  switch (type) {
    case DType::u8:
      return picture<uint8_t>(shape, type, 255);
    case DType::u16:
      return picture<uint16_t>(shape, type, 65535);
    case DType::f32:
      return picture<float>(shape, type, 1);
    default:
      return picture<double>(shape, type, 1);
  }
}

}  // namespace

void add_stem_fused_cases(std::vector<Case>& cases) {
  for (const Stem& s : stems)
    cases.push_back(network_case(
        "convolution", "stem " + s.x.to_string() + " to " + std::to_string(s.outputs),
        [=](Network& n) { return stem(n, n.operand(constant_of(real("x", s.x, -2, 3))), s); },
        1e-5));
  // Sampled on load, forward and backward.
  struct Sampling {
    const char* what;
    DType type;
    int64_t bands;
    Map map;
    Interpolation how = Interpolation::bilinear;
  };
  const Sampling samplings[] = {
      {"bytes", DType::u8, 3, Map::shifted},
      {"bytes over the edges", DType::u8, 3, Map::over_edges},
      {"turned bytes", DType::u8, 3, Map::turned},
      {"turned bytes, nearest", DType::u8, 1, Map::turned, Interpolation::nearest},
      {"u16", DType::u16, 2, Map::shifted},
      {"floats", DType::f32, 4, Map::over_edges},
      {"doubles", DType::f64, 1, Map::turned}};
  for (const Sampling& s : samplings)
    for (const int64_t side : {120, 131})
      cases.push_back(network_case(
          "convolution", std::string("samples ") + s.what + ", " + std::to_string(side),
          [=](Network& n) {
            const Shape source{2, 133, 133, s.bands};
            WarpOptions how;
            how.interpolation = s.how;
            for (int64_t b = 0; b < s.bands; b++) {
              const auto i = static_cast<size_t>(b);
              how.scale[i] = s.type == DType::u8    ? 1.0F / 255
                             : s.type == DType::u16 ? 1.0F / 65535
                                                    : 1;
              how.offset[i] = -0.5F;
              how.fill[i] = static_cast<float>(b);
            }
            const Val from = n.operand(picture(source, s.type));
            const Val maps = n.operand(samples(2, 133, s.map));
            const Val x = ops::warp(n.tape(), from, maps, side, side, how, true);
            return stem(n, x, {{2, side, side, s.bands}, 8});
          },
          1e-5));
}

}  // namespace fulmar::op_table
