#include "engine/readback.h"

#include <cstring>

#include "kernels/bf16.h"
#include "kernels/error.h"

namespace fulmar {
namespace {

double as_double(bf16 value) { return static_cast<double>(to_float(value)); }
template <class T>
double as_double(T value) {
  return static_cast<double>(value);
}

template <class T>
void convert(const View& tensor, std::vector<double>& values) {
  values.resize(static_cast<size_t>(tensor.shape.elements()));
  const auto* bytes = static_cast<const std::byte*>(tensor.data);
  for (size_t i = 0; i < values.size(); i++) {
    T value;
    std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
    values[i] = as_double(value);
  }
}

}  // namespace

void to_doubles(const View& tensor, std::vector<double>& values) {
  switch (tensor.type) {
    case DType::f64:
      return convert<double>(tensor, values);
    case DType::f32:
      return convert<float>(tensor, values);
    case DType::i32:
      return convert<int32_t>(tensor, values);
    case DType::u16:
      return convert<uint16_t>(tensor, values);
    case DType::u8:
      return convert<uint8_t>(tensor, values);
    case DType::bf16:
      return convert<bf16>(tensor, values);
  }
  usage_error("a value of an unknown element type was read");
}

Readback::Readback(Session& session, std::span<const Val> outputs)
    : session_(&session), outputs_(outputs.begin(), outputs.end()) {
  Device& device = session.device();
  for (const Val output : outputs_) {
    const ValueInfo& info = session.tape().info(output);
    const View view = view_of(nullptr, info.shape, type_on(device, info));
    memory_.emplace_back(device, view.bytes());
    host_.push_back(view_of(memory_.back().data(), view.shape, view.type));
  }
}

void Readback::start() {
  for (size_t i = 0; i < outputs_.size(); i++) session_->fetch(outputs_[i], memory_[i].data());
  mark_ = session_->mark();
}

double Readback::first(size_t output) {
  to_doubles(view_of(host_[output].data, Shape{1}, host_[output].type), one_);
  return one_[0];
}

}  // namespace fulmar
