#include "engine/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "engine/leaf.h"
#include "engine/ops.h"
#include "engine/optimizer.h"
#include "kernels/error.h"
#include "kernels/fnv1a.h"
#include "kernels/random.h"

namespace fulmar {
namespace {

using ops::Leaf;

// Buffers that are made when first asked for, beside the optimisers'.
constexpr const char *gradient_sum_name = "/gradient_sum", *weight_sum_name = "/weight_sum",
                     *nonfinite_name = "/nonfinite";

bool is_optimizers(const std::string& name) {
  const std::vector<std::string>& all = all_state_names();
  return std::find(all.begin(), all.end(), name) != all.end();
}

// A layer's weights are called "LAYER/WHAT", so hardly one has such a name.
bool is_buffer_name(const std::string& name) {
  return name == "/parameters" || name == "/segments" || name == "/step_state" ||
         name == gradient_sum_name || name == weight_sum_name || name == nonfinite_name ||
         is_optimizers(name);
}

int64_t align_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Draws of one tensor, each by its index alone.
template <class Draw>
std::vector<double> drawn(size_t n, const Draw& draw) {
  std::vector<double> values(n);
  for (size_t i = 0; i < n; i++) values[i] = static_cast<float>(draw(i));
  return values;
}

std::vector<double> initial_values(const Leaf& leaf, int64_t count, uint64_t seed) {
  using Kind = ops::Initializer::Kind;
  const auto n = static_cast<size_t>(count);
  if (leaf.kind() == Leaf::Kind::statistic) return std::vector<double>(n, leaf.initial);
  const ops::Initializer& how = leaf.initializer;
  const uint64_t stream = fnv1a(leaf.key());
  const auto within = [&](double limit) {
    return drawn(n, [&](size_t i) {
      const RandomBits bits = philox(seed, stream, i / 4);
      return (2 * uniform(bits.word[i % 4]) - 1) * limit;
    });
  };
  switch (how.kind) {
    case Kind::zeros:
      return std::vector<double>(n, 0.0);
    case Kind::ones:
      return std::vector<double>(n, 1.0);
    case Kind::glorot_uniform:  // Glorot & Bengio 2010, as Keras
      return within(std::sqrt(6 / (how.fan_in + how.fan_out)));
    case Kind::fan_in_uniform:
      return within(1 / std::sqrt(how.fan_in));
    case Kind::kaiming_normal:
      break;
  }
  // He et al. 2015; normal numbers by Box & Muller 1958.
  const double deviation = std::sqrt(2 / how.fan_out);
  return drawn(n, [&](size_t i) {
    const RandomBits bits = philox(seed, stream, i / 2);
    const double a = 1 - uniform(bits.word[i % 2 * 2]), b = uniform(bits.word[i % 2 * 2 + 1]);
    return deviation * std::sqrt(-2 * std::log(a)) * std::cos(2 * std::numbers::pi * b);
  });
}

// Conversion between doubles and a device's float type.
template <class T>
void pack(std::span<const double> values, std::vector<std::byte>& bytes) {
  bytes.resize(values.size() * sizeof(T));
  for (size_t i = 0; i < values.size(); i++) {
    const T value = static_cast<T>(values[i]);
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
}
template <class T>
void unpack(const std::vector<std::byte>& bytes, std::vector<double>& values) {
  for (size_t i = 0; i < values.size(); i++) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<double>(value);
  }
}

}  // namespace

Model::Model(Device& device, const Tape& tape, std::optional<uint64_t> seed) : device_(&device) {
  std::vector<const Leaf*> weights, statistics;
  for (int n = 0; n < tape.size(); n++) {
    const Leaf* leaf = ops::as_leaf(tape.node(n));
    if (!leaf) continue;
    const bool lasts =
        leaf->kind() == Leaf::Kind::parameter || leaf->kind() == Leaf::Kind::statistic;
    if (!lasts) continue;
    const bool weight = leaf->kind() == Leaf::Kind::parameter && leaf->trainable;
    if (is_buffer_name(leaf->key()))
      usage_error("a weight is named '" + leaf->key() + "', as one of the model's own buffers is");
    (weight ? weights : statistics).push_back(leaf);
  }
  const auto shape_of = [&](const Leaf* leaf) { return tape.shape(tape.find(leaf->key())); };

  std::reverse(weights.begin(), weights.end());
  for (const Leaf* leaf : weights) {
    parameters_.push_back({leaf->key(), shape_of(leaf), flat_size_, leaf->decays});
    flat_size_ += align_up(parameters_.back().shape.elements(), parameter_alignment);
  }
  std::byte* flat = zeros("/parameters", Shape{flat_size_}).data();
  for (const Parameter& p : parameters_)
    views_[p.name] = view_of(flat + p.begin * static_cast<int64_t>(size_of(device.real())), p.shape,
                             device.real());

  for (const Leaf* leaf : statistics) {
    statistics_.push_back({leaf->key(), shape_of(leaf)});
    const View view = view_of(nullptr, statistics_.back().shape, device.real());
    DeviceBuffer& memory =
        buffers_.emplace(leaf->key(), DeviceBuffer(device, view.bytes())).first->second;
    views_[leaf->key()] = view_of(memory.data(), view.shape, view.type);
    if (!seed) device.backend().fill(device.stream(), views_[leaf->key()], 0);
  }
  if (seed)
    for (const auto& leaves : {weights, statistics})
      for (const Leaf* leaf : leaves)
        write(leaf->key(), initial_values(*leaf, shape_of(leaf).elements(), *seed));

  DeviceBuffer& segments =
      buffers_.emplace("/segments", DeviceBuffer(device, parameters_.size() * sizeof(Segment)))
          .first->second;
  views_["/segments"] = view_of(segments.data(), segments_info().shape, DType::u8);
  write_segments();

  const ValueInfo state = ops::step_state_info();
  DeviceBuffer& step =
      buffers_.emplace("/step_state", DeviceBuffer(device, sizeof(StepState))).first->second;
  views_["/step_state"] = view_of(step.data(), state.shape, DType::u8);
  for (Sent& sent : sent_) sent.memory = PinnedBuffer(device, sizeof(StepState));
  set_step_state({});
}

void Model::write_segments() {
  std::vector<Segment> table;
  for (const Parameter& p : parameters_)
    table.push_back({p.begin, p.begin + p.shape.elements(), p.decays ? 1 : 0});
  device_->backend().copy_in(device_->stream(), views_["/segments"].data, table.data(),
                             table.size() * sizeof(Segment));
}

void Model::decay_all() {
  for (Parameter& p : parameters_) p.decays = true;
  write_segments();
}

int64_t Model::trainable_count() const {
  int64_t count = 0;
  for (const Parameter& p : parameters_) count += p.shape.elements();
  return count;
}

int64_t Model::parameter_count() const {
  int64_t count = trainable_count();
  for (const Statistic& s : statistics_) count += s.shape.elements();
  return count;
}

size_t Model::bytes() const {
  size_t sum = 0;
  for (const auto& [name, buffer] : buffers_) sum += buffer.bytes();
  return sum;
}

ValueInfo Model::segments_info() const {
  const auto bytes = static_cast<int64_t>(parameters_.size() * sizeof(Segment));
  return {Shape{bytes}, Role::source, DType::u8};
}

// A buffer of the device's real type, made of zeros when first asked for.
DeviceBuffer& Model::zeros(const std::string& name, const Shape& shape) {
  const auto found = buffers_.find(name);
  if (found != buffers_.end()) return found->second;
  const View view = view_of(nullptr, shape, device_->real());
  DeviceBuffer& memory = buffers_.emplace(name, DeviceBuffer(*device_, view.bytes())).first->second;
  views_[name] = view_of(memory.data(), view.shape, view.type);
  device_->backend().fill(device_->stream(), views_[name], 0);
  return memory;
}

bool Model::has(const std::string& name) const { return views_.count(name) > 0; }

std::vector<std::string> Model::states() const {
  std::vector<std::string> names = all_state_names();
  std::erase_if(names, [&](const std::string& name) { return !has(name); });
  return names;
}

View Model::find(const std::string& name) {
  if (name == gradient_sum_name || is_optimizers(name)) zeros(name, Shape{flat_size_});
  if (name == weight_sum_name) zeros(name, Shape{1});
  if (name == nonfinite_name && !has(name)) {
    DeviceBuffer& memory =
        buffers_.emplace(name, DeviceBuffer(*device_, sizeof(int32_t))).first->second;
    views_[name] = view_of(memory.data(), Shape{1}, DType::i32);
    clear(name);
  }
  const auto found = views_.find(name);
  if (found == views_.end())
    usage_error("the model has no '" + name + "': was it made from another network?");
  return found->second;
}

View Model::view(const std::string& name, const ValueInfo& info) {
  const View view = find(name);
  if (view.shape != info.shape)
    usage_error("'" + name + "' is " + view.shape.to_string() + " in the model, " +
                info.shape.to_string() + " on the tape");
  return view;
}

std::vector<std::byte> Model::read_bytes(const std::string& name) {
  const View view = find(name);
  std::vector<std::byte> bytes(view.bytes());
  device_->backend().copy_out(device_->stream(), bytes.data(), view.data, bytes.size());
  device_->backend().synchronize(device_->stream());
  return bytes;
}

void Model::write_bytes(const std::string& name, std::span<const std::byte> bytes) {
  const View view = find(name);
  if (bytes.size() != view.bytes())
    usage_error("'" + name + "' has " + std::to_string(view.bytes()) + " bytes, " +
                std::to_string(bytes.size()) + " given");
  device_->backend().copy_in(device_->stream(), view.data, bytes.data(), bytes.size());
  changed();
}

std::vector<double> Model::read(const std::string& name) {
  const View view = find(name);
  const std::vector<std::byte> bytes = read_bytes(name);
  std::vector<double> values(static_cast<size_t>(view.shape.elements()));
  if (view.type == DType::f64)
    unpack<double>(bytes, values);
  else if (view.type == DType::f32)
    unpack<float>(bytes, values);
  else
    usage_error("'" + name + "' holds no float values");
  return values;
}

void Model::write(const std::string& name, std::span<const double> values) {
  const View view = find(name);
  if (std::ssize(values) != view.shape.elements())
    usage_error("'" + name + "' has " + std::to_string(view.shape.elements()) + " elements, " +
                std::to_string(values.size()) + " given");
  std::vector<std::byte> bytes;
  if (view.type == DType::f64)
    pack<double>(values, bytes);
  else if (view.type == DType::f32)
    pack<float>(values, bytes);
  else
    usage_error("'" + name + "' holds no float values");
  write_bytes(name, bytes);
}

void Model::set_step_state(const StepState& state) {
  const Backend& backend = device_->backend();
  Stream& stream = device_->stream();
  Sent& sent = sent_[next_sent_++ % sent_.size()];
  backend.wait(stream, sent.mark);
  std::memcpy(sent.memory.data(), &state, sizeof state);
  backend.transfer(stream, views_["/step_state"].data, sent.memory.data(), sizeof state);
  sent.mark = backend.mark(stream);
}

void Model::clear(const std::string& name) {
  write_bytes(name, std::vector<std::byte>(find(name).bytes()));
}

}  // namespace fulmar
