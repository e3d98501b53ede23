#pragma once

#include "kernels/backend.h"

// What stands between our operands and those of the vendor's libraries. `type` is f32 or bf16.
namespace fulmar::cuda {

// Filters [taps,channels,filters] f32 -> [filters,taps,channels] of `type`, as cuDNN's engines for
// tensors with channels last want them.
void filters_to_vendor(Stream& stream, const void* from, void* to, DType type, int64_t taps,
                       int64_t channels, int64_t filters);
// And a gradient of such filters back, to f32.
void filters_from_vendor(Stream& stream, const void* from, DType type, void* to, int64_t taps,
                         int64_t channels, int64_t filters);

// f32 -> the nearest bf16
void round_to_bf16(Stream& stream, const void* from, void* to, int64_t count);

// y [..,C] of `type` += bias [C] f32
void add_bias(Stream& stream, const void* bias, void* y, DType type, const Shape& shape);

// Numbers in (-1, 1) without a pattern, always the same: something to time kernels on.
void fill_with_noise(Stream& stream, void* to, DType type, int64_t count);

}  // namespace fulmar::cuda
