#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/api.h"

namespace fulmar {

enum class DType : uint8_t { f32, f64, bf16, u8, u16, i32 };

FULMAR_API size_t size_of(DType type);
FULMAR_API const char* name_of(DType type);

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType dtype_of<uint16_t>() {
  return DType::u16;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}

// Up to four extents, channels last. Right-aligned onto (image, row, column, channel):
// [C] is a vector of channels, [N, K] is one row of N pixels with K channels.
class FULMAR_API Shape {
 public:
  static constexpr int max_rank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return extents_[axis]; }
  int64_t& operator[](int axis) { return extents_[axis]; }

  // The extents as an image batch; missing leading axes count as 1.
  int64_t images() const { return aligned(0); }
  int64_t height() const { return aligned(1); }
  int64_t width() const { return aligned(2); }
  int64_t channels() const { return aligned(3); }

  int64_t pixels() const { return images() * height() * width(); }
  int64_t elements() const { return pixels() * channels(); }

  std::string to_string() const;  // "[16,128,128,16]"

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && a.extents_ == b.extents_;
  }
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }

 private:
  int64_t aligned(int axis) const {
    const int at = axis - (max_rank - rank_);
    return at < 0 ? 1 : extents_[at];
  }

  int rank_ = 0;  // rank 0 is a scalar
  std::array<int64_t, max_rank> extents_{};
};

// A tensor in memory that its caller owns. Channels are contiguous; images, rows and pixels are
// `stride` elements apart. So crops, every second pixel and concatenation need no copy.
struct View {
  void* data = nullptr;
  Shape shape;
  std::array<int64_t, 3> stride{};  // image, row, pixel; in elements
  DType type = DType::f32;

  bool is_contiguous() const;
  std::string to_string() const;  // shape and type: "[16,128,128,16] f32"
  size_t bytes() const { return static_cast<size_t>(shape.elements()) * size_of(type); }
  explicit operator bool() const { return data != nullptr; }  // false: an optional operand left out

  // Pointer to the first channel of a pixel.
  template <class T>
  T* at(int64_t image, int64_t row, int64_t column) const {
    return static_cast<T*>(data) + image * stride[0] + row * stride[1] + column * stride[2];
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// A contiguous view of `data`.
FULMAR_API View view_of(void* data, const Shape& shape, DType type);

}  // namespace fulmar
