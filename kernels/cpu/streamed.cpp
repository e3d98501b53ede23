#include "kernels/cpu/streamed.h"

#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/streamed.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

void copy_flat(Stream& stream, const View& x, const View& y) {
  const float* from = x.as<float>();
  float* to = y.as<float>();
  with_stores(y, [&](auto store) HWY_ATTR {
    for_chunks(stream, static_cast<int64_t>(y.bytes() / sizeof(float)), elementwise_grain,
               [&](int64_t begin, int64_t end, int) HWY_ATTR {
                 transform(
                     store, end - begin, to + begin, [](V v) HWY_ATTR { return v; }, from + begin);
               });
  });
}

void fill_flat(Stream& stream, const View& y, float value) {
  float* to = y.as<float>();
  with_stores(y, [&](auto store) HWY_ATTR {
    const V v = hn::Set(D(), value);
    for_chunks(stream, y.shape.elements(), elementwise_grain,
               [&](int64_t begin, int64_t end, int) HWY_ATTR {
                 transform(store, end - begin, to + begin, [&]() HWY_ATTR { return v; });
               });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(copy_flat);
void copy_flat(Stream& stream, const View& x, const View& y) {
  HWY_DYNAMIC_DISPATCH(copy_flat)(stream, x, y);
}

HWY_EXPORT(fill_flat);
void fill_flat(Stream& stream, const View& y, float value) {
  HWY_DYNAMIC_DISPATCH(fill_flat)(stream, y, value);
}

}  // namespace fulmar::cpu
#endif
