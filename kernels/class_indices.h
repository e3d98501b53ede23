#pragma once

#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/view.h"

namespace fulmar {

// The class indices in a tensor of u8 or i32, for CPU and CUDA code.
class ClassIndices {
 public:
  ClassIndices() = default;
  // None where the tensor has another type.
  explicit ClassIndices(const View& view)
      : narrow_(view.type == DType::u8 ? view.as<uint8_t>() : nullptr),
        wide_(view.type == DType::i32 ? view.as<int32_t>() : nullptr) {}

  FULMAR_HOST_DEVICE explicit operator bool() const { return narrow_ || wide_; }
  FULMAR_HOST_DEVICE int32_t operator[](int64_t i) const { return narrow_ ? narrow_[i] : wide_[i]; }

 private:
  const uint8_t* narrow_ = nullptr;
  const int32_t* wide_ = nullptr;
};

}  // namespace fulmar
