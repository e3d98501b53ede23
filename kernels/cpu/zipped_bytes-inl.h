// Zipped rows of floats, bytes or pairs of bf16 straight from bytes, where vectors have 16 lanes.
// Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_ZIPPED_BYTES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_ZIPPED_BYTES_INL_H
#undef FULMAR_KERNELS_CPU_ZIPPED_BYTES_INL_H
#else
#define FULMAR_KERNELS_CPU_ZIPPED_BYTES_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/zipped-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

// What becomes of bytes: (byte * scale + offset) * gain, by bands that take turns.
struct ByteScale {
  const float *scale, *offset;
  int64_t bands;
  float gain;
};

constexpr int64_t byte_block = 64;

// 16 bytes after another, of 16 segments.
using ZippedByte = hn::Vec<hn::Rebind<uint8_t, D>>;

// What stores the bytes of step t of all segments. Without members that are vectors: clang 14 with
// ASan passes these by value where they aren't aligned.
class StoreScaled {
 public:
  StoreScaled(const ByteScale& how, float* to) : how_(how), gain_(how.gain), to_(to) {}
  HWY_INLINE void operator()(ZippedByte bytes) {
    const D d;
    const V v = hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<D>(), bytes));
    const V y = hn::MulAdd(v, hn::Set(d, how_.scale[band_]), hn::Set(d, how_.offset[band_]));
    hn::Store(hn::Mul(y, hn::Set(d, gain_)), d, to_);
    band_ = band_ + 1 == how_.bands ? 0 : band_ + 1;
    to_ += 16;
  }
  using Element = float;
  static void clear(float* to, int64_t t, int64_t l) { to[t * 16 + l] = 0; }

 private:
  const ByteScale& how_;
  float gain_;
  float* to_;
  int64_t band_ = 0;
};
class StoreBytes {
 public:
  explicit StoreBytes(uint8_t* to) : to_(to) {}
  HWY_INLINE void operator()(ZippedByte bytes) {
    hn::Store(bytes, hn::Rebind<uint8_t, D>(), to_);
    to_ += 16;
  }
  using Element = uint8_t;
  static void clear(uint8_t* to, int64_t t, int64_t l) { to[t * 16 + l] = 0; }

 private:
  uint8_t* to_;
};
// Bytes 2 i and 2 i + 1 of a segment as a pair of bf16, which holds them exactly.
class StorePairs {
 public:
  explicit StorePairs(uint32_t* to) : to_(to) {}
  HWY_INLINE void operator()(ZippedByte bytes) {
    const D d;
    const hn::RebindToUnsigned<D> bits;
    const auto value =
        hn::BitCast(bits, hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<D>(), bytes)));
    if (odd_)
      hn::Store(hn::Or(hn::Load(bits, to_), value), bits, to_);
    else
      hn::Store(hn::ShiftRight<16>(value), bits, to_);
    if (odd_) to_ += 16;
    odd_ = !odd_;
  }
  using Element = uint32_t;
  static void clear(uint32_t* to, int64_t t, int64_t l) {
    to[t / 2 * 16 + l] &= t % 2 == 0 ? 0xFFFF0000 : 0xFFFF;
  }

 private:
  uint32_t* to_;
  bool odd_ = false;
};

// Bytes [16 block, 16 block + 16) of v.
template <class DX>
HWY_INLINE ZippedByte block_of(DX, hn::Vec<DX> v, int block) {
  if constexpr (hn::MaxLanes(DX()) == 16) {
    return v;
  } else {
    const hn::Half<DX> half;
    constexpr int blocks = static_cast<int>(hn::MaxLanes(hn::Half<DX>())) / 16;
    return block < blocks ? block_of(half, hn::LowerHalf(half, v), block)
                          : block_of(half, hn::UpperHalf(half, v), block - blocks);
  }
}

// As zip_bytes of as many bytes of each segment as a vector of d has, from `first` on; the first
// `count` of them are stored.
template <class DX, class Store>
HWY_INLINE void zip_byte_block(DX d, const uint8_t* const* segments, int64_t first, int64_t count,
                               Store& store) {
  using Bytes = hn::Vec<DX>;
  Bytes x[16], y[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) x[i] = hn::LoadU(d, segments[i] + first);
    // Four perfect shuffles transpose 16 x 16 bytes in every 128 bits.
#pragma GCC unroll 4
  for (int stage = 0; stage < 4; stage++) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      y[2 * i] = hn::InterleaveLower(d, x[i], x[i + 8]);
      y[2 * i + 1] = hn::InterleaveUpper(d, x[i], x[i + 8]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) x[i] = y[i];
  }
  // From registers: parts of a vector that was just stored wait for it when they are loaded.
  constexpr int blocks = static_cast<int>(hn::MaxLanes(DX())) / 16;
#pragma GCC unroll 4
  for (int b = 0; b < blocks; b++) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
      if (16 * b + i < count) store(block_of(d, x[i], b));
  }
}

// store(byte t of all segments) for t in [0, count). Segments are read to the end of a block.
template <class Store>
HWY_NOINLINE void zip_bytes(const uint8_t* const* segments, int64_t count, Store store) {
  const hn::ScalableTag<uint8_t> whole;
  const hn::Rebind<uint8_t, D> one;
  int64_t t = 0;
  for (; t + byte_block / 4 < count; t += byte_block)
    zip_byte_block(whole, segments, t, count - t, store);
  if (t < count) zip_byte_block(one, segments, t, count - t, store);
}

// Rows of bytes that are wanted next, in so many steps; what lies between them too.
inline Fetch fetch_bytes(const uint8_t* first, int64_t row_stride, int64_t rows, int64_t row_bytes,
                         int64_t steps) {
  constexpr auto size = static_cast<int64_t>(sizeof(float));
  return {reinterpret_cast<const float*>(first), ((rows - 1) * row_stride + row_bytes) / size,
          steps};
}

// As zip_row, of a row of bytes. `edge` has room for all segments where `count` is enough.
constexpr int64_t least_byte_count = 16;
template <class Store>
void zip_byte_row(const uint8_t* row, int64_t size, int64_t first, int64_t step, int64_t count,
                  void* edge, typename Store::Element* to, const Store& store) {
  const int64_t room = (count + byte_block - 1) / byte_block * byte_block;
  const uint8_t* segments[16];
  auto* spare = static_cast<uint8_t*>(edge);
  const auto low = [&](int64_t l) { return std::clamp<int64_t>(-first - l * step, 0, count); };
  const auto high = [&](int64_t l) {
    return std::clamp<int64_t>(size - first - l * step, low(l), count);
  };
  for (int64_t l = 0; l < 16; l++) {
    const int64_t begin = first + l * step;
    if (begin >= 0 && begin + room <= size) {
      segments[l] = row + begin;
      continue;
    }
    if (low(l) < high(l))
      std::memcpy(spare + low(l), row + (begin + low(l)), static_cast<size_t>(high(l) - low(l)));
    segments[l] = spare;
    spare += room;
  }
  zip_bytes(segments, count, store);
  // Outside of the row are zeros, not what scaling makes of them.
  for (int64_t l = 0; l < 16; l++) {
    for (int64_t t = 0; t < low(l); t++) Store::clear(to, t, l);
    for (int64_t t = high(l); t < count; t++) Store::clear(to, t, l);
  }
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
