#include "kernels/pointwise.h"

#include <iterator>

#include "kernels/cuda/each.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/repeated_axes.h"

namespace fulmar::cuda {
namespace {

namespace functors {
FULMAR_DEVICE float abs(float x) { return ::fabsf(x); }
FULMAR_DEVICE float erf(float x) { return ::erff(x); }
FULMAR_DEVICE float erfc(float x) { return ::erfcf(x); }
FULMAR_DEVICE float exp(float x) { return ::expf(x); }
FULMAR_DEVICE float expm1(float x) { return ::expm1f(x); }
FULMAR_DEVICE float log(float x) { return ::logf(x); }
FULMAR_DEVICE float log1p(float x) { return ::log1pf(x); }
FULMAR_DEVICE float sqrt(float x) { return ::sqrtf(x); }
FULMAR_DEVICE float tanh(float x) { return ::tanhf(x); }
FULMAR_DEVICE float gate(float x, float a) { return x <= 0 ? 0 : a; }
#define FULMAR_INLINE FULMAR_DEVICE
#include "kernels/pointwise_functors.inc"
#undef FULMAR_INLINE
}  // namespace functors

// y may be x, a or b: an element is read before it is written, by one thread.
template <class F, class T>
struct Map {
  const T *a, *b;  // b: of functions of two arguments
  T* y;
  float alpha, beta;
  template <int lanes>
  FULMAR_DEVICE void run(int64_t i) const {
    auto value = load<lanes>(a + i);
    if constexpr (F::arity == 1) {
      FULMAR_UNROLL
      for (int k = 0; k < lanes; k++) value.v[k] = F::f(value.v[k], alpha, beta);
    } else {
      const auto other = load<lanes>(b + i);
      FULMAR_UNROLL
      for (int k = 0; k < lanes; k++) value.v[k] = F::f(value.v[k], other.v[k], alpha, beta);
    }
    store<lanes>(y + i, value);
  }
};

// A function of two arguments, `lanes` neighbours of the fastest axis a thread; its extent and
// strides count them as one. y may be an operand that does not repeat.
template <class F, class T, int lanes>
struct MapRepeated {
  const T* x[2];
  T* y;
  float alpha, beta;
  RepeatedAxes axes;

  FULMAR_DEVICE Vec<Number<T>, lanes> operand(int which, int64_t at) const {
    if (axes.axis[RepeatedAxes::end - 1].stride[which] != 0) return load<lanes>(x[which] + at);
    Vec<Number<T>, lanes> repeated;
    const Number<T> value = number(x[which][at]);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) repeated.v[k] = value;
    return repeated;
  }
  FULMAR_DEVICE void operator()(int64_t i) const {
    int64_t rest = i, a = 0, b = 0;
    FULMAR_UNROLL
    for (int axis = RepeatedAxes::end - 1; axis >= 0; axis--) {
      if (axis < axes.first) continue;
      const auto& at = axes.axis[axis];
      const int64_t slower = axis == axes.first ? 0 : divide(rest, at.extent);
      const int64_t position = rest - slower * at.extent;
      a += position * at.stride[0];
      b += position * at.stride[1];
      rest = slower;
    }
    auto value = operand(0, a);
    const auto other = operand(1, b);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) value.v[k] = F::f(value.v[k], other.v[k], alpha, beta);
    store<lanes>(y + i * lanes, value);
  }
};

template <class F, class T>
void map_repeated(const Stream& stream, std::span<const View> x, const View& y, float alpha,
                  float beta) {
  RepeatedAxes axes(x[0].shape, x[1].shape, y.shape);
  RepeatedAxes::Axis& fastest = axes.axis[RepeatedAxes::end - 1];
  const T *a = elements<T>(x[0]), *b = elements<T>(x[1]);
  T* to = elements<T>(y);
  constexpr int lanes = lanes_of<T>;
  const auto moved = [&](const T* memory, int which) {
    return fastest.stride[which] == 0 || can_move_16_bytes(memory);
  };
  if (fastest.extent % lanes != 0 || !moved(a, 0) || !moved(b, 1) || !can_move_16_bytes(to))
    return each(stream, F::name, y.shape.elements(),
                MapRepeated<F, T, 1>{{a, b}, to, alpha, beta, axes});
  fastest.extent /= lanes;
  for (int64_t& stride : fastest.stride) stride *= lanes;
  each(stream, F::name, y.shape.elements() / lanes,
       MapRepeated<F, T, lanes>{{a, b}, to, alpha, beta, axes});
}

template <class F, class T>
struct MapGrad {
  const T *saved, *dy;
  T* dx;
  float alpha, beta;
  template <int lanes>
  FULMAR_DEVICE void run(int64_t i) const {
    const auto kept = load<lanes>(saved + i);
    auto grad = load<lanes>(dy + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) grad.v[k] = F::df(kept.v[k], grad.v[k], alpha, beta);
    store<lanes>(dx + i, grad);
  }
};

struct AddSums {
  const double *a, *b;
  double* y;
  FULMAR_DEVICE void operator()(int64_t i) const { y[i] = a[i] + b[i]; }
};

template <class F>
void map(const Stream& stream, std::span<const View> x, const View& y, float alpha, float beta) {
  for_type_of(y, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (F::arity == 2)
      if (any_repeats(x[0].shape, x[1].shape, y.shape))
        return map_repeated<F, T>(stream, x, y, alpha, beta);
    const T* a = elements<T>(x[0]);
    const T* b = F::arity == 2 ? elements<T>(x[F::arity - 1]) : nullptr;
    T* to = elements<T>(y);
    each_several<T>(stream, F::name, y.shape.elements(), Map<F, T>{a, b, to, alpha, beta}, a, b,
                    to);
  });
}

template <class F>
void map_grad(const Stream& stream, const View& saved, const View& dy, const View& dx, float alpha,
              float beta) {
  if constexpr (F::arity == 1) {
    for_type_of(dx, [&](auto zero) {
      using T = decltype(zero);
      const T* grad = elements<T>(dy);
      const T* kept = F::saved == pointwise::Saved::none ? grad : elements<T>(saved);
      T* to = elements<T>(dx);
      each_several<T>(stream, F::name, dx.shape.elements(),
                      MapGrad<F, T>{kept, grad, to, alpha, beta}, kept, grad, to);
    });
  } else {
    usage_error(std::string("cuda: pointwise '") + F::name +
                "' has two arguments; its gradient is made of other ops");
  }
}

struct Entry {
  void (*f)(const Stream&, std::span<const View>, const View&, float, float);
  void (*df)(const Stream&, const View&, const View&, const View&, float, float);
  int arity;
};
const Entry entries[] = {
#define FULMAR_ENTRY(F) {map<functors::F>, map_grad<functors::F>, functors::F::arity},
    FULMAR_POINTWISE(FULMAR_ENTRY)
#undef FULMAR_ENTRY
};

const Entry& entry(int functor) {
  if (functor < 0 || functor >= static_cast<int>(std::size(entries)))
    usage_error("cuda: there is no pointwise function number " + std::to_string(functor));
  return entries[functor];
}

}  // namespace

void pointwise(Stream& stream, int functor, std::span<const View> x, const View& y, double alpha,
               double beta) {
  const Entry& e = entry(functor);
  if (static_cast<int>(x.size()) != e.arity)
    usage_error("cuda: pointwise function number " + std::to_string(functor) + " takes " +
                std::to_string(e.arity) + " operands, " + std::to_string(x.size()) + " given");
  if (y.type != DType::f64)
    return e.f(stream, x, y, static_cast<float>(alpha), static_cast<float>(beta));
  if (functor != functor_Add) usage_error("cuda: of pointwise functions, only add takes f64");
  each(stream, "add", y.shape.elements(),
       AddSums{elements<double>(x[0]), elements<double>(x[1]), elements<double>(y)});
}

void pointwise_grad(Stream& stream, int functor, const View& saved, const View& dy, const View& dx,
                    double alpha, double beta) {
  entry(functor).df(stream, saved, dy, dx, static_cast<float>(alpha), static_cast<float>(beta));
}

}  // namespace fulmar::cuda
