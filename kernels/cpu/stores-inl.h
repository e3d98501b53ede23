// Kernels write large outputs past the caches.
#if defined(FULMAR_KERNELS_CPU_STORES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef FULMAR_KERNELS_CPU_STORES_INL_H
#undef FULMAR_KERNELS_CPU_STORES_INL_H
#else
#define FULMAR_KERNELS_CPU_STORES_INL_H
#endif

#include "kernels/backend.h"
#include "kernels/cpu/element_type.h"
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
  template <class T>
  HWY_INLINE void operator()(V v, T* p) const {
    store_vector(D(), v, p);
  }
  HWY_INLINE void finish() const {}
};
// p is aligned to as much as is written. Before other threads may read, finish().
struct Streamed {
  using Load = WholeAhead;
  template <class T>
  HWY_INLINE void operator()(V v, T* p) const {
    stream_vector(D(), v, p);
  }
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
template <class Store, class T, class Op, class... X>
HWY_INLINE void transform(const Store& store, int64_t n, T* y, const Op& op, const X*... x) {
  const int64_t step = lanes();
  int64_t i = 0;
  [[maybe_unused]] const typename Store::Load load;
  for (; i + step <= n; i += step) store(op(load(x + i)...), y + i);
  if (i < n) store_part(op(Part{n - i}(x + i)...), y + i, n - i);
  store.finish();
}

// For kernels that write a row of floats in any order: the rows of a large y, or of one that rounds
// them, are made in the worker's scratch memory, which stays in cache, and then written as a whole.
template <class T>
class OutputRows {
 public:
  OutputRows(Stream& stream, int worker, const View& y)
      : y_(elements<T>(y)), elements_(y.shape.width() * y.shape.channels()) {
    streams_ =
        writes_past_caches(y) && static_cast<uintptr_t>(elements_) * sizeof(T) % line_bytes == 0;
    if (streams_ || !std::is_same_v<T, float>)
      memory_ = static_cast<float*>(
          stream.pool->scratch(worker, static_cast<size_t>(elements_) * sizeof(float)));
  }
  float* begin(int64_t row) const {
    if constexpr (std::is_same_v<T, float>)
      if (!memory_) return y_ + row * elements_;
    return memory_;
  }
  void end(int64_t row) const {
    if (streams_)
      write(Streamed(), row);
    else if (memory_)
      write(Cached(), row);
  }

 private:
  template <class Store>
  void write(const Store& store, int64_t row) const {
    transform(
        store, elements_, y_ + row * elements_, [](V v) HWY_ATTR { return v; }, memory_);
  }

  T* y_;
  int64_t elements_;
  bool streams_;
  float* memory_ = nullptr;
};

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#endif
