#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "kernels/backend.h"
#include "tests/support/array.h"

namespace fulmar::test {

// Which device a test compares is which of parity_cpu.cpp and parity_simt.cpp it links. Calls body
// for each way in which it can run; `same_bits`: the results have the bits of the last call.
using OnDevice = std::function<void(const Backend& backend, const Stream& stream, bool same_bits)>;
void for_each_compared(const OnDevice& body);

// One kernel call on the reference device and on the one that is compared with it.
class Parity {
 public:
  // Tensors of the device's real type.
  int in(const Shape& shape, double low = -1, double high = 1) {
    const uint64_t seed = tensors_.size() + 1;
    return add(shape, DType::f64, true, random_reals(shape, seed, low, high).values);
  }
  int in(const Shape& shape, std::vector<double> values) {
    return add(shape, DType::f64, true, std::move(values));
  }
  int out(const Shape& shape) { return add(shape, DType::f64, true, {}); }
  // Of one type on every device.
  int raw(const Shape& shape, DType type, std::vector<double> values = {}) {
    return add(shape, type, false, std::move(values));
  }

  const View& operator[](int tensor) const { return tensors_[tensor].view; }
  Stream& stream() { return stream_; }

  // call(device): values within `bound` of the reference's, relative to each tensor's largest.
  template <class Call>
  void check(const Call& call, double bound = 1e-6) {
    prepare(DType::f64);
    stream_ = {};
    call(reference_backend());
    std::vector<std::vector<double>> expected;
    for (const Tensor& tensor : tensors_) expected.push_back(values(tensor));
    std::vector<std::vector<std::byte>> bits(tensors_.size());
    for_each_compared([&](const Backend& backend, const Stream& stream, bool same_bits) {
      prepare(DType::f32);
      stream_ = stream;
      call(backend);
      for (size_t i = 0; i < tensors_.size(); i++) {
        CAPTURE(i);
        compare(values(tensors_[i]), expected[i], bound);
        if (same_bits) CHECK(bits[i] == tensors_[i].memory);
        bits[i] = tensors_[i].memory;
      }
    });
  }

 private:
  struct Tensor {
    Shape shape;
    DType type;
    bool real;  // takes the device's real type
    std::vector<double> initial;
    std::vector<std::byte> memory;
    View view;
  };

  int add(const Shape& shape, DType type, bool real, std::vector<double> initial) {
    initial.resize(static_cast<size_t>(shape.elements()));
    // What float can hold: both devices start from the same numbers.
    if (type == DType::f64 && real)
      for (double& v : initial) v = static_cast<double>(static_cast<float>(v));
    tensors_.push_back({shape, type, real, std::move(initial), {}, {}});
    return static_cast<int>(tensors_.size()) - 1;
  }

  void prepare(DType real) {
    for (Tensor& tensor : tensors_) {
      const DType type = tensor.real ? real : tensor.type;
      tensor.memory.assign(tensor.initial.size() * size_of(type), std::byte{0});
      tensor.view = view_of(tensor.memory.data(), tensor.shape, type);
      each(tensor, [&](auto& element, size_t i) {
        element = static_cast<std::remove_reference_t<decltype(element)>>(tensor.initial[i]);
      });
    }
  }

  template <class Body>
  static void each(const Tensor& tensor, const Body& body) {
    const auto over = [&](auto zero) {
      auto* data = tensor.view.as<decltype(zero)>();
      for (size_t i = 0; i < tensor.initial.size(); i++) body(data[i], i);
    };
    switch (tensor.view.type) {
      case DType::f32:
        return over(float{});
      case DType::f64:
        return over(double{});
      case DType::i32:
        return over(int32_t{});
      case DType::u16:
        return over(uint16_t{});
      default:
        return over(uint8_t{});
    }
  }
  static std::vector<double> values(const Tensor& tensor) {
    std::vector<double> values(tensor.initial.size());
    each(tensor, [&](auto element, size_t i) { values[i] = static_cast<double>(element); });
    return values;
  }

  static void compare(const std::vector<double>& values, const std::vector<double>& expected,
                      double bound) {
    double largest = 0;
    for (const double v : expected)
      if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
    for (size_t i = 0; i < values.size(); i++) {
      const double a = values[i], b = expected[i];
      const bool same =
          a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= bound * largest;
      if (same) continue;
      CAPTURE(i);
      CAPTURE(largest);
      CHECK(a == b);
      return;  // one element of a tensor is enough
    }
  }

  std::vector<Tensor> tensors_;
  Stream stream_;
};

}  // namespace fulmar::test
