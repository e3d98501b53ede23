#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/philox-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

void dropout(Stream& stream, const View& x, const View& y, const StepState* state, double rate,
             uint64_t id) {
  constexpr int64_t block = 4 * philox_lanes;
  static_assert(elementwise_grain % block == 0);
  const uint64_t seed = state->seed, draw = state->draw;
  // uniform(word) >= rate, in whole numbers: uniform is (word >> 8) / 2^24.
  const auto threshold = static_cast<int32_t>(std::ceil(rate * 16777216.0));
  const float* from = x.as<float>();
  float* to = y.as<float>();
  for_chunks(stream, x.shape.elements(), elementwise_grain,
             [=](int64_t begin, int64_t end, int) HWY_ATTR {
               const D d;
               const hn::RebindToSigned<D> di;
               const V scale = hn::Set(d, static_cast<float>(1 / (1 - rate)));
               HWY_ALIGN uint32_t words[block];
               for (int64_t i = begin; i < end; i += block) {
                 philox_block(seed, draw, id << 40 | static_cast<uint64_t>(i / 4), words);
                 for (int64_t j = 0; j < block && i + j < end; j += lanes()) {
                   const auto word = hn::Load(hn::RebindToUnsigned<D>(), words + j);
                   const auto dropped =
                       hn::Lt(hn::BitCast(di, hn::ShiftRight<8>(word)), hn::Set(di, threshold));
                   const auto kept = [&](V v) HWY_ATTR {
                     return hn::IfThenZeroElse(hn::RebindMask(d, dropped), hn::Mul(v, scale));
                   };
                   const int64_t at = i + j, count = end - at;
                   if (count >= lanes())
                     hn::StoreU(kept(Whole()(from + at)), d, to + at);
                   else
                     store_part(kept(Part{count}(from + at)), to + at, count);
                 }
               }
             });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(dropout);
void dropout(Stream& stream, const View& x, const View& y, const StepState* state, double rate,
             uint64_t id) {
  HWY_DYNAMIC_DISPATCH(dropout)(stream, x, y, state, rate, id);
}

}  // namespace fulmar::cpu
#endif
