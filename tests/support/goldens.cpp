#include "tests/support/goldens.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "kernels/fnv1a.h"
#include "tests/support/array.h"
#include "tests/support/paths.h"

namespace fulmar::test {
namespace {

double formula(uint64_t stream, int64_t i) {
  return static_cast<double>(splitmix64(stream + static_cast<uint64_t>(i)) >> 11) * 0x1p-53;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// A kernel's Glorot limit from its shape: HWIO, depthwise [Kh,Kw,C], dense [Ci,Co].
double kernel_limit(const std::string& name, const Shape& s) {
  if (ends_with(name, "/depthwise_kernel"))
    return std::sqrt(6.0 / static_cast<double>(s[0] * s[1] * s[2] + s[0] * s[1]));
  const int64_t taps = s.rank() == 4 ? s[0] * s[1] : 1;
  return std::sqrt(6.0 / static_cast<double>(taps * (s[s.rank() - 2] + s[s.rank() - 1])));
}

Values formula_weight(const std::string& name, const Shape& shape) {
  Values values = formula_uniform(name, shape.elements());
  const bool around_one = ends_with(name, "/gamma") || ends_with(name, "/moving_variance");
  const double limit = shape.rank() > 1 ? kernel_limit(name, shape) : 0;
  for (double& v : values)
    v = shape.rank() > 1 ? (2 * v - 1) * limit : around_one ? 0.5 + v : 0.2 * (v - 0.5);
  return values;
}

}  // namespace

Values formula_uniform(const std::string& name, int64_t count) {
  const uint64_t stream = fnv1a(name);
  Values values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; i++) values[static_cast<size_t>(i)] = formula(stream, i);
  return values;
}

Values formula_signed(const std::string& name, int64_t count) {
  Values values = formula_uniform(name, count);
  for (double& v : values) v = 2 * v - 1;
  return values;
}

void set_formula_weights(Model& model) {
  for (const Model::Parameter& p : model.parameters())
    model.write(p.name, formula_weight(p.name, p.shape));
  for (const Model::Statistic& s : model.statistics())
    model.write(s.name, formula_weight(s.name, s.shape));
}

Golden::Golden(const std::string& name) : file_(Safetensors::read(golden(name + ".safetensors"))) {}

Values Golden::values(const std::string& tensor) const {
  const StoredTensor& stored = file_.at(tensor);
  const auto count = static_cast<size_t>(stored.elements());
  const auto as = [&](auto* data) { return Values(data, data + count); };
  if (stored.type == StoredType::f64) return as(static_cast<const double*>(stored.data));
  if (stored.type == StoredType::f32) return as(static_cast<const float*>(stored.data));
  if (stored.type == StoredType::i32) return as(static_cast<const int32_t*>(stored.data));
  if (stored.type == StoredType::u8) return as(static_cast<const uint8_t*>(stored.data));
  usage_error("golden '" + tensor + "' has a type that this reader does not know");
}

Shape Golden::shape(const std::string& tensor) const {
  const std::vector<int64_t>& s = file_.at(tensor).shape;
  if (s.size() == 1) return {s[0]};
  if (s.size() == 2) return {s[0], s[1]};
  if (s.size() == 3) return {s[0], s[1], s[2]};
  return {s.at(0), s.at(1), s.at(2), s.at(3)};
}

std::vector<std::string> Golden::names(const std::string& prefix) const {
  std::vector<std::string> names;
  for (const StoredTensor& t : file_.tensors())
    if (t.name.compare(0, prefix.size(), prefix) == 0)
      names.push_back(t.name.substr(prefix.size()));
  return names;
}

std::array<double, 9> summary_of(const std::string& name, std::span<const double> tensor) {
  std::array<double, 9> summary{norm(tensor)};
  for (size_t k = 0; k < 8; k++) {
    const uint64_t stream = fnv1a("projection/" + std::to_string(k) + "/" + name);
    for (size_t i = 0; i < tensor.size(); i++)
      summary[k + 1] += tensor[i] * (2 * formula(stream, static_cast<int64_t>(i)) - 1);
  }
  return summary;
}

double summary_difference(const std::string& name, std::span<const double> tensor,
                          const Values& golden) {
  const std::array<double, 9> ours = summary_of(name, tensor);
  double largest = 0;
  for (size_t i = 0; i < ours.size(); i++) {
    const double d = std::abs(ours[i] - golden.at(i));
    if (std::isnan(d)) return d;
    largest = std::max(largest, d);
  }
  return golden[0] > 0 ? largest / golden[0] : largest;
}

double norm(std::span<const double> x) {
  double sum = 0;
  for (double v : x) sum += v * v;
  return std::sqrt(sum);
}

double difference(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size()) usage_error("tensors of different size are compared");
  Values d(x.begin(), x.end());
  for (size_t i = 0; i < d.size(); i++) d[i] -= y[i];
  const double scale = norm(y);
  return scale > 0 ? norm(d) / scale : norm(d);
}

}  // namespace fulmar::test
