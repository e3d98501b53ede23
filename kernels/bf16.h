#pragma once

#include <bit>
#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/view.h"

namespace fulmar {

// The upper half of a float: 8 bits of exponent, 7 of fraction.
struct bf16 {
  uint16_t bits;
};
template <>
constexpr DType dtype_of<bf16>() {
  return DType::bf16;
}

FULMAR_HOST_DEVICE inline float to_float(float value) { return value; }
FULMAR_HOST_DEVICE inline float to_float(bf16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

// The nearest bf16; ties go to the even one. Infinity from 2^128 - 2^119 on. Every NaN becomes
// 0x7FFF, as CUDA's cvt.rn.bf16.f32 has it.
FULMAR_HOST_DEVICE inline bf16 to_bf16(float value) {
#ifdef __CUDA_ARCH__
  bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return {0x7FFF};
  return {static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16)};
#endif
}

}  // namespace fulmar
