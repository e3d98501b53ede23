// philox() of kernels/random.h, several counters at a time: the same words.
#if defined(FULMAR_KERNELS_CPU_PHILOX_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_PHILOX_INL_H
#undef FULMAR_KERNELS_CPU_PHILOX_INL_H
#else
#define FULMAR_KERNELS_CPU_PHILOX_INL_H
#endif

#include "kernels/cpu/simd-inl.h"
#include "kernels/random.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Counters that one call of philox_block works on.
constexpr int64_t philox_lanes =
    HWY_TARGET == HWY_SCALAR ? 1 : static_cast<int64_t>(hn::MaxLanes(hn::ScalableTag<uint64_t>()));

// words[4 i + k] = word k of philox(key, high, low + i), i in [0, philox_lanes)
HWY_INLINE void philox_block(uint64_t key, uint64_t high, uint64_t low, uint32_t* words) {
#if HWY_TARGET == HWY_SCALAR
  const RandomBits bits = philox(key, high, low);
  std::memcpy(words, bits.word, sizeof(bits.word));
#else
  // A number lives in the lower half of a 64-bit lane; what its upper half holds is not looked at.
  const hn::ScalableTag<uint64_t> d;
  const hn::Repartition<uint32_t, decltype(d)> half;
  const auto times = [&](auto a, uint32_t b) HWY_ATTR {
    return hn::MulEven(hn::BitCast(half, a), hn::BitCast(half, hn::Set(d, b)));
  };
  auto c0 = hn::Add(hn::Set(d, low), hn::Iota(d, 0));
  auto c1 = hn::ShiftRight<32>(c0);
  auto c2 = hn::Set(d, high), c3 = hn::Set(d, high >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; round++) {
    const auto p0 = times(c0, 0xD2511F53u), p1 = times(c2, 0xCD9E8D57u);
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, k0));
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, k1));
    c1 = p1;
    c3 = p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const hn::Rebind<uint32_t, decltype(d)> narrow;
  const auto low_half = [&](auto v) HWY_ATTR { return hn::TruncateTo(narrow, v); };
  hn::StoreInterleaved4(low_half(c0), low_half(c1), low_half(c2), low_half(c3), narrow, words);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
