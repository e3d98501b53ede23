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
  const auto threshold = static_cast<uint32_t>(std::ceil(rate * 16777216.0));
  const float scale = static_cast<float>(1 / (1 - rate));
  const float* from = x.as<float>();
  float* to = y.as<float>();
  for_chunks(stream, x.shape.elements(), elementwise_grain,
             [=](int64_t begin, int64_t end, int) HWY_ATTR {
               uint32_t words[block];
               for (int64_t i = begin; i < end; i += block) {
                 philox_block(seed, draw, id << 40 | static_cast<uint64_t>(i / 4), words);
                 const int64_t count = std::min(block, end - i);
                 for (int64_t j = 0; j < count; j++)
                   to[i + j] = words[j] >> 8 >= threshold ? from[i + j] * scale : 0.0f;
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
