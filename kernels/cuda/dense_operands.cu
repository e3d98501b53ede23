#include "kernels/cuda/dense_operands.h"

#include "kernels/cuda/each.cuh"

namespace fulmar::cuda {
namespace {

template <class T>
struct ToVendor {
  const float* from;
  T* to;
  int64_t inner, filters;  // taps * channels
  FULMAR_DEVICE void operator()(int64_t i) const {
    const int64_t filter = divide(i, inner);
    to[i] = rounded<T>(from[(i - filter * inner) * filters + filter]);
  }
};

template <class T>
struct FromVendor {
  const T* from;
  float* to;
  int64_t inner, filters;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const int64_t at = divide(i, filters);
    to[i] = number(from[(i - at * filters) * inner + at]);
  }
};

struct Round {
  const float* from;
  bf16* to;
  FULMAR_DEVICE void operator()(int64_t i) const { to[i] = to_bf16(from[i]); }
};

template <class T>
struct AddBias {
  const float* bias;
  T* y;
  int64_t channels;
  template <int lanes>
  FULMAR_DEVICE void run(const Pixel& p) const {
    // Of one image with one row, so that the column is the pixel's number.
    T* at = y + p.column * channels + p.channel;
    auto v = load<lanes>(at);
    const auto b = load<lanes>(bias + p.channel);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) v.v[k] += b.v[k];
    store<lanes>(at, v);
  }
};

template <class T>
struct Noise {
  T* to;
  FULMAR_DEVICE void operator()(int64_t i) const {
    uint32_t h = static_cast<uint32_t>(i) * 2654435769u;
    h = (h ^ (h >> 15)) * 2246822519u;
    h ^= h >> 13;
    const float signed_fraction = static_cast<float>(static_cast<int32_t>(h >> 8) - 8388608);
    to[i] = rounded<T>(signed_fraction * (1.0f / 8388608.0f));
  }
};

template <class T>
void add(Stream& stream, const void* bias, void* y, const Shape& shape) {
  const float* from = static_cast<const float*>(bias);
  T* to = static_cast<T*>(y);
  each_pixel<T>(stream, "add_bias", {1, 1, shape.pixels(), shape.channels()},
                AddBias<T>{from, to, shape.channels()}, from, to);
}

}  // namespace

void filters_to_vendor(Stream& stream, const void* from, void* to, DType type, int64_t taps,
                       int64_t channels, int64_t filters) {
  const int64_t inner = taps * channels, count = inner * filters;
  const float* source = static_cast<const float*>(from);
  if (type == DType::bf16)
    each(stream, "filters_to_vendor", count,
         ToVendor<bf16>{source, static_cast<bf16*>(to), inner, filters});
  else
    each(stream, "filters_to_vendor", count,
         ToVendor<float>{source, static_cast<float*>(to), inner, filters});
}

void filters_from_vendor(Stream& stream, const void* from, DType type, void* to, int64_t taps,
                         int64_t channels, int64_t filters) {
  const int64_t inner = taps * channels, count = inner * filters;
  float* target = static_cast<float*>(to);
  if (type == DType::bf16)
    each(stream, "filters_from_vendor", count,
         FromVendor<bf16>{static_cast<const bf16*>(from), target, inner, filters});
  else
    each(stream, "filters_from_vendor", count,
         FromVendor<float>{static_cast<const float*>(from), target, inner, filters});
}

void round_to_bf16(Stream& stream, const void* from, void* to, int64_t count) {
  each(stream, "round_to_bf16", count,
       Round{static_cast<const float*>(from), static_cast<bf16*>(to)});
}

void add_bias(Stream& stream, const void* bias, void* y, DType type, const Shape& shape) {
  if (type == DType::bf16)
    add<bf16>(stream, bias, y, shape);
  else
    add<float>(stream, bias, y, shape);
}

void fill_with_noise(Stream& stream, void* to, DType type, int64_t count) {
  if (type == DType::bf16)
    each(stream, "fill_with_noise", count, Noise<bf16>{static_cast<bf16*>(to)});
  else
    each(stream, "fill_with_noise", count, Noise<float>{static_cast<float*>(to)});
}

}  // namespace fulmar::cuda
