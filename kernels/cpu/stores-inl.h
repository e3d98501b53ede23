// Kernels write large outputs past the caches.
#if defined(FULMAR_KERNELS_CPU_STORES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_STORES_INL_H
#undef FULMAR_KERNELS_CPU_STORES_INL_H
#else
#define FULMAR_KERNELS_CPU_STORES_INL_H
#endif

#include "kernels/backend.h"
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// From this size on a streaming store, which does not fetch the line first, was measured faster,
// and no slower for the reader that comes next (relu of 128 MiB: 19 ms without, 10.6 with; at
// 16 MiB no difference; Intel, 2 MiB L2).
constexpr int64_t streamed_bytes = int64_t{32} << 20;
constexpr uintptr_t line_bytes = 64;

HWY_INLINE bool writes_past_caches(const View& y) {
  return static_cast<int64_t>(y.bytes()) >= streamed_bytes &&
         reinterpret_cast<uintptr_t>(y.data) % line_bytes == 0;
}

struct Cached {
  using Load = Whole;
  HWY_INLINE void operator()(V v, float* p) const { hn::StoreU(v, D(), p); }
  HWY_INLINE void finish() const {}
};
// p is aligned to a vector. Before other threads may read, finish().
struct Streamed {
  using Load = WholeAhead;
  HWY_INLINE void operator()(V v, float* p) const { hn::Stream(v, D(), p); }
  HWY_INLINE void finish() const { hwy::FlushStream(); }
};

// The same for a part of what a task writes: the task calls finish() of Store itself.
template <class Store>
struct PartOf : Store {
  HWY_INLINE void finish() const {}
};

// body(how to store whole vectors of y)
template <class Body>
HWY_INLINE void with_stores(const View& y, const Body& body) {
  if (writes_past_caches(y))
    body(Streamed());
  else
    body(Cached());
}

// y[i] = op(x[i]...) for n elements. An x may be y.
template <class Store, class Op, class... X>
HWY_INLINE void transform(const Store& store, int64_t n, float* y, const Op& op, const X*... x) {
  const int64_t step = lanes();
  int64_t i = 0;
  [[maybe_unused]] const typename Store::Load load;
  for (; i + step <= n; i += step) store(op(load(x + i)...), y + i);
  if (i < n) store_part(op(Part{n - i}(x + i)...), y + i, n - i);
  store.finish();
}

// For kernels that write a row in any order: the rows of a large y are made in the worker's scratch
// memory, which stays in cache, and then written as a whole.
class OutputRows {
 public:
  OutputRows(Stream& stream, int worker, const View& y)
      : y_(y.as<float>()), elements_(y.shape.width() * y.shape.channels()) {
    const bool streams = writes_past_caches(y) &&
                         static_cast<uintptr_t>(elements_) * sizeof(float) % line_bytes == 0;
    if (streams)
      memory_ = static_cast<float*>(
          stream.pool->scratch(worker, static_cast<size_t>(elements_) * sizeof(float)));
  }
  float* begin(int64_t row) const { return memory_ ? memory_ : y_ + row * elements_; }
  void end(int64_t row) const {
    if (memory_)
      transform(
          Streamed(), elements_, y_ + row * elements_, [](V v) HWY_ATTR { return v; }, memory_);
  }

 private:
  float* y_;
  int64_t elements_;
  float* memory_ = nullptr;
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
