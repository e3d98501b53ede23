#include "bench/step/noise.h"

#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "bench/op_table/uniform.h"
#include "kernels/fnv1a.h"

namespace fulmar::bench {
namespace {

// The published augmentation's ranges, as one map: shift, flip, turn, zoom about the centre.
Affine drawn_map(std::mt19937_64& random, const NoiseSize& a) {
  const auto draw = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const double pi = 3.14159265358979323846;
  const auto size = static_cast<double>(a.size), centre = (size - 1) / 2;
  const double angle = draw(-0.4, 0.4) * 2 * pi, zoom = draw(0.85, 1.15);
  const double across = draw(0, 1) < 0.5 ? -1 : 1, down = draw(0, 1) < 0.5 ? -1 : 1;
  const double c = std::cos(angle) * zoom, s = std::sin(angle) * zoom;
  const std::array<double, 4> m{across * c, -across * s, down * s, down * c};
  const double start = static_cast<double>(a.margin()) - centre;
  return {{m[0], m[1], (m[0] + m[1]) * start + centre - draw(-0.1, 0.1) * size, m[2], m[3],
           (m[2] + m[3]) * start + centre - draw(-0.1, 0.1) * size}};
}

}  // namespace

Noise::Noise(const NoiseSize& size, bool augment, const std::vector<LabelNoise>& by_pixel)
    : size_(size),
      augment_(augment),
      specs_{
          {"image", DType::u8, {size.batch, size.size, size.size, size.channels}, true},
          {"image/samples", DType::u8, {size.batch, int64_t{sizeof(WarpSample)}}, false, !augment}},
      image_(static_cast<size_t>(specs_[0].shape.elements()) / sizeof(Line) + 1),
      samples_(static_cast<size_t>(size.batch)) {
  constexpr size_t period = 1000003;
  const auto byte = [](size_t i) {
    return static_cast<uint8_t>(op_table::splitmix64(i % period) >> 56);
  };
  uint8_t* const image = image_[0].bytes;
  for (size_t i = 0; i < static_cast<size_t>(specs_[0].shape.elements()); i++)
    image[i] = i < period ? byte(i) : image[i - period];
  const auto margin = static_cast<double>(size.margin());
  for (WarpSample& sample : samples_) {
    sample.map.a = {1, 0, margin, 0, 1, margin};
    sample.source_height = sample.source_width = size.size;
  }
  batch_.tensors = {view_of(image, specs_[0].shape, DType::u8),
                    view_of(samples_.data(), specs_[1].shape, DType::u8)};
  for (int64_t i = 0; i < size.batch; i++) {
    batch_.samples.push_back(i);
    labels_.push_back(static_cast<int32_t>(i % 2));
  }
  const auto add_labels = [&](const TensorSpec& spec, void* data) {
    specs_.push_back(spec);
    batch_.tensors.push_back(view_of(data, spec.shape, spec.type));
  };
  if (by_pixel.empty()) add_labels({"label", DType::i32, {size.batch, 1, 1, 1}}, labels_.data());
  const Shape pixels{size.batch, size.crop, size.crop, 1};
  for (const LabelNoise& labels : by_pixel) {
    std::vector<uint8_t> of_pixels(static_cast<size_t>(pixels.elements()));
    for (size_t i = 0; i < of_pixels.size(); i++)
      of_pixels[i] = static_cast<uint8_t>(byte(i) % labels.classes);
    pixel_labels_.push_back(std::move(of_pixels));
    add_labels({labels.tensor(), DType::u8, pixels}, pixel_labels_.back().data());
  }
}

const Batch* Noise::next() {
  if (augment_)
    for (WarpSample& sample : samples_) sample.map = drawn_map(random_, size_);
  return &batch_;
}

void set_formula_weights(Model& model) {
  const auto ends_with = [](const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
  };
  for (const Model::Parameter& p : model.parameters()) {
    const Shape& s = p.shape;
    const auto taps = static_cast<double>(s.rank() == 2 ? 1 : s[0] * s[1]);
    const auto out = static_cast<double>(s.channels());
    const double fan_in =
        s.rank() == 3 ? taps * out : taps * static_cast<double>(s[s.rank() == 2 ? 0 : 2]);
    const double fan_out = s.rank() == 3 ? taps : taps * out;
    const double limit = std::sqrt(6 / (fan_in + fan_out));
    std::vector<double> values(static_cast<size_t>(s.elements()));
    for (size_t i = 0; i < values.size(); i++) {
      const uint64_t bits = op_table::splitmix64(fnv1a(p.name) + i) >> 11;
      const double u = static_cast<double>(bits) * 0x1p-53;
      values[i] = s.rank() > 1                 ? (2 * u - 1) * limit
                  : ends_with(p.name, "gamma") ? 0.5 + u
                                               : 0.2 * (u - 0.5);
    }
    model.write(p.name, values);
  }
}

}  // namespace fulmar::bench
