#include "kernels/cpu/streamed.h"

#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/streamed.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// y[i] = op(x[i]) for `count` elements
template <class X, class Y, class Op>
void transform_flat(Stream& stream, const View& x, const View& y, int64_t count, const Op& op) {
  const X* from = x.as<X>();
  Y* to = y.as<Y>();
  with_stores(y, [&](auto store) HWY_ATTR {
    for_chunks(stream, count, elementwise_grain, [&](int64_t begin, int64_t end, int) HWY_ATTR {
      transform(store, end - begin, to + begin, op, from + begin);
    });
  });
}

void copy_flat(Stream& stream, const View& x, const View& y) {
  const auto keep = [](V v) HWY_ATTR { return v; };
  if (x.type == y.type)
    transform_flat<float, float>(stream, x, y, static_cast<int64_t>(y.bytes() / sizeof(float)),
                                 keep);
  else if (y.type == DType::bf16)
    transform_flat<float, bf16>(stream, x, y, y.shape.elements(), keep);
  else
    transform_flat<bf16, float>(stream, x, y, y.shape.elements(), keep);
}

void round_flat(Stream& stream, const View& x, const View& y) {
  transform_flat<float, float>(stream, x, y, y.shape.elements(),
                               [](V v) HWY_ATTR { return widened(D(), rounded(D(), v)); });
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

HWY_EXPORT(round_flat);
void round_flat(Stream& stream, const View& x, const View& y) {
  HWY_DYNAMIC_DISPATCH(round_flat)(stream, x, y);
}

HWY_EXPORT(fill_flat);
void fill_flat(Stream& stream, const View& y, float value) {
  HWY_DYNAMIC_DISPATCH(fill_flat)(stream, y, value);
}

}  // namespace fulmar::cpu
#endif
