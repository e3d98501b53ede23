// Elements of tensors: float or bf16 in memory, float in registers. Stored bf16 are rounded as
// kernels/bf16.h says. Compiled once per instruction set, inside its namespace.
#if defined(FULMAR_KERNELS_CPU_ELEMENTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_ELEMENTS_INL_H
#undef FULMAR_KERNELS_CPU_ELEMENTS_INL_H
#else
#define FULMAR_KERNELS_CPU_ELEMENTS_INL_H
#endif

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/bf16.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D>
using Halves = hn::Rebind<uint16_t, D>;
template <class D>
HWY_INLINE hn::Vec<D> widened(D d, hn::Vec<Halves<D>> halves) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, halves)));
}
// AVX512_BF16's instruction gives other bits: 0 for numbers below 2^-126, and other NaNs.
template <class D>
HWY_INLINE hn::Vec<Halves<D>> rounded(D /*d*/, hn::Vec<D> v) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto up = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFF)));
  const auto nan = hn::RebindMask(du, hn::IsNaN(v));
  const auto kept = hn::IfThenElse(nan, hn::Set(du, 0x7FFF0000), up);
  return hn::TruncateTo(Halves<D>(), hn::ShiftRight<16>(kept));
}

HWY_INLINE const uint16_t* bits_at(const bf16* p) { return reinterpret_cast<const uint16_t*>(p); }
HWY_INLINE uint16_t* bits_at(bf16* p) { return reinterpret_cast<uint16_t*>(p); }

template <class D>
HWY_INLINE hn::Vec<D> load_vector(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <class D>
HWY_INLINE hn::Vec<D> load_vector(D d, const bf16* p) {
  return widened(d, hn::LoadU(Halves<D>(), bits_at(p)));
}
template <class D>
HWY_INLINE void store_vector(D d, hn::Vec<D> v, float* p) {
  hn::StoreU(v, d, p);
}
template <class D>
HWY_INLINE void store_vector(D d, hn::Vec<D> v, bf16* p) {
  hn::StoreU(rounded(d, v), Halves<D>(), bits_at(p));
}
// Past the caches; p is aligned to as much as is written.
template <class D>
HWY_INLINE void stream_vector(D d, hn::Vec<D> v, float* p) {
  hn::Stream(v, d, p);
}
template <class D>
HWY_INLINE void stream_vector(D d, hn::Vec<D> v, bf16* p) {
  hn::Stream(rounded(d, v), Halves<D>(), bits_at(p));
}

// Memory is asked for in floats, whatever lies there.
template <class T>
HWY_INLINE const float* asked_at(const T* p) {
  return reinterpret_cast<const float*>(p);
}
template <class T>
constexpr int64_t asked_floats(int64_t elements) {
  return elements * static_cast<int64_t>(sizeof(T)) / static_cast<int64_t>(sizeof(float));
}

// The first `count` lanes, 0 in the others, nothing else of memory being touched.
template <class D>
HWY_INLINE hn::Vec<D> load_first(D d, const float* p, int64_t count) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, p);
#else  // there a masked load reads all lanes
  HWY_ALIGN float lane[hn::MaxLanes(D())] = {};
  std::memcpy(lane, p, static_cast<size_t>(count) * sizeof(float));
  return hn::Load(d, lane);
#endif
}
template <class D>
HWY_INLINE hn::Vec<D> load_first(D d, const bf16* p, int64_t count) {
#if HWY_TARGET == HWY_AVX3
  const Halves<D> dh;
  return widened(d, hn::MaskedLoad(hn::FirstN(dh, static_cast<size_t>(count)), dh, bits_at(p)));
#else
  HWY_ALIGN uint16_t lane[hn::MaxLanes(D())] = {};
  std::memcpy(lane, p, static_cast<size_t>(count) * sizeof(bf16));
  return widened(d, hn::LoadU(Halves<D>(), lane));
#endif
}
template <class D>
HWY_INLINE void store_first(D d, hn::Vec<D> v, float* p, int64_t count) {
  hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(count)), d, p);
}
template <class D>
HWY_INLINE void store_first(D d, hn::Vec<D> v, bf16* p, int64_t count) {
#if HWY_TARGET == HWY_AVX3
  const Halves<D> dh;
  hn::BlendedStore(rounded(d, v), hn::FirstN(dh, static_cast<size_t>(count)), dh, bits_at(p));
#else
  HWY_ALIGN uint16_t lane[hn::MaxLanes(D())];
  hn::StoreU(rounded(d, v), Halves<D>(), lane);
  std::memcpy(p, lane, static_cast<size_t>(count) * sizeof(bf16));
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
