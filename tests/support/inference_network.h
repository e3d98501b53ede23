#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/fuse/fuse.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "kernels/warp.h"
#include "tests/support/array.h"

// Networks for inference out of random operands: fused on the CPU, and the same tape on the float64
// reference.
namespace fulmar::test {

// A network out of random operands.
struct Network {
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  std::map<int, std::vector<double>> values;  // by node
  std::map<int, std::vector<std::byte>> bytes;
  std::vector<Val> keep;
  uint64_t seed = 1;

  Val operand(const Shape& shape, Role role, double low = -1, double high = 1) {
    const Val v = ops::input(*tape, "v" + std::to_string(seed), {shape, role});
    Reals reals = random_reals(shape, seed++, low, high);
    for (double& x : reals.values) x = static_cast<double>(static_cast<float>(x));
    values[v.node] = {reals.values.begin(), reals.values.end()};
    return v;
  }
  Val weight(const Shape& shape, double low = -1, double high = 1) {
    return operand(shape, Role::parameter, low, high);
  }
  Val input(const Shape& shape) { return operand(shape, Role::activation); }

  // Pictures of bytes, shifted by whole pixels or by parts of one; bands have scales of their own,
  // pictures gains.
  Val picture(const Shape& shape, int64_t side, bool whole, double down = 1, float offset = 0) {
    const Val source = ops::input(*tape, "picture", {shape, Role::source, DType::u8});
    const Reals reals = random_reals(shape, seed++, 0, 255);
    for (const double x : reals.values) bytes[source.node].push_back(static_cast<std::byte>(x));
    const Val samples =
        ops::input(*tape, "samples",
                   {{shape[0], static_cast<int64_t>(sizeof(WarpSample))}, Role::source, DType::u8});
    for (int64_t i = 0; i < shape[0]; i++) {
      WarpSample sample;
      sample.map.a = {1, 0, whole ? 2.0 : 1.25, 0, 1, whole ? down : -0.5};
      sample.gain = 1 + 0.25 * static_cast<double>(i);
      sample.source_height = shape[1];
      sample.source_width = shape[2];
      const auto* raw = reinterpret_cast<const std::byte*>(&sample);
      bytes[samples.node].insert(bytes[samples.node].end(), raw, raw + sizeof sample);
    }
    WarpOptions options;
    for (int64_t b = 0; b < shape[3]; b++) {
      options.scale[static_cast<size_t>(b)] = static_cast<float>(2 + b) / 510;
      options.offset[static_cast<size_t>(b)] = offset;
    }
    return ops::warp(*tape, source, samples, side, side, options);
  }
  int64_t channels(Val x) { return tape->shape(x).channels(); }
  Val normalised(Val x, bool relu = true) {
    const Shape c{channels(x)};
    const Val gamma = weight(c, 0.5, 1.5), beta = weight(c, -0.5, 0.5);
    const Val mean = operand(c, Role::statistic), var = operand(c, Role::statistic, 0.5, 1.5);
    const Val y = ops::batch_norm(*tape, x, gamma, beta, mean, var, 1e-3);
    return relu ? ops::relu(*tape, y) : y;
  }
  Val conv(Val x, int64_t outputs, const Shape& kernel, const Window& window, bool bias = true) {
    const Val w = weight({kernel[0], kernel[1], channels(x), outputs});
    return ops::conv2d(*tape, x, w, bias ? weight({outputs}) : Val{}, window);
  }
  Val stem(Val x, int64_t outputs) {
    Window window;
    window.stride = {2, 2};
    window.padding = {0, 1, 0, 1};
    return normalised(conv(x, outputs, {3, 3}, window));
  }
  Val separable(Val x, int64_t outputs, bool bias = true) {
    Window same;
    same.padding = {1, 1, 1, 1};
    const Val d = ops::depthwise_conv2d(*tape, x, weight({3, 3, channels(x)}), same);
    return conv(d, outputs, {1, 1}, {}, bias);
  }
  Val pool_skip(Val z, Val u) {
    const Shape& shape = tape->shape(z);
    const auto rows = ops::same_padding(shape.height(), 3, 2, 1);
    const auto columns = ops::same_padding(shape.width(), 3, 2, 1);
    Window window;
    window.stride = {2, 2};
    window.padding = {rows[0], rows[1], columns[0], columns[1]};
    const Val pooled = ops::max_pool(*tape, z, {3, 3}, window);
    Window strided;
    strided.stride = {2, 2};
    return ops::add(*tape, pooled, conv(u, channels(z), {1, 1}, strided));
  }
  Val block(Val x, int64_t outputs) {
    const Val a = normalised(separable(x, outputs));
    return pool_skip(normalised(separable(a, outputs, false)), x);
  }

  std::vector<double> run(Context& context, Device& device, std::shared_ptr<const Tape> on,
                          const std::vector<Val>& now, Val output) const {
    Session session(context, device, std::move(on), std::vector{output});
    size_t i = 0;
    for (const auto& [node, numbers] : values) {
      if (now[i]) session.set(now[i], std::span<const double>(numbers));
      i++;
    }
    for (const auto& [node, raw] : bytes) {
      if (now[i]) session.set_bytes(now[i], raw.data(), raw.size());
      i++;
    }
    session.run();
    return session.read(output);
  }
  std::vector<Val> leaves() const {
    std::vector<Val> all;
    for (const auto& [node, numbers] : values) all.push_back(Val{node, 0});
    for (const auto& [node, raw] : bytes) all.push_back(Val{node, 0});
    return all;
  }
  std::vector<double> reference(Val output) const {
    static Context context;
    return run(context, context.device("reference"), tape, leaves(), output);
  }
  std::vector<double> fused(Val output, Context& context, std::vector<Val> kept = {},
                            std::shared_ptr<Tape>* tape_now = nullptr,
                            std::optional<Precision> precision = {}) const {
    Device& cpu = context.device("cpu", precision);
    kept.push_back(output);
    const Rewritten f = fuse(*tape, cpu, kept, {}, FuseFor::inference);
    std::vector<Val> now;
    for (const Val v : leaves()) now.push_back(f.now(v));
    if (tape_now) *tape_now = f.tape;
    return run(context, cpu, f.tape, now, f.now(output));
  }
};

// The largest difference beside the largest value; NaN must be where NaN is.
inline double apart(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, largest = 0;
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < a.size(); i++) {
    if (std::isnan(a[i]) || std::isnan(b[i])) {
      if (std::isnan(a[i]) != std::isnan(b[i])) return std::numeric_limits<double>::infinity();
      continue;
    }
    difference = std::max(difference, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return difference / std::max(largest, 1e-30);
}

}  // namespace fulmar::test
