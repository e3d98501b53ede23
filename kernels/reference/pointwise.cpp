#include "kernels/pointwise.h"

#include <cmath>
#include <iterator>

#include "kernels/reference/kernels.h"
#include "kernels/reference/loops.h"

namespace fulmar::reference {
namespace {

namespace functors {
using std::abs, std::erf, std::erfc, std::exp, std::expm1, std::log, std::log1p, std::sqrt,
    std::tanh;
inline double gate(double x, double a) { return x <= 0 ? 0 : a; }
#define FULMAR_INLINE inline
#include "kernels/pointwise_functors.inc"
#undef FULMAR_INLINE
}  // namespace functors

template <class F>
void map(std::span<const View> x, const View& y, double alpha, double beta) {
  double* out = reals(y);
  const double* a = reals(x[0]);
  if constexpr (F::arity == 1) {
    const int64_t count = y.shape.elements();
    for (int64_t i = 0; i < count; i++) out[i] = F::f(a[i], alpha, beta);
  } else {
    const double* b = reals(x[1]);
    const Shape &of_a = x[0].shape, &of_b = x[1].shape;
    int64_t i = 0;
    for (int64_t n = 0; n < y.shape.images(); n++)
      for (int64_t h = 0; h < y.shape.height(); h++)
        for (int64_t w = 0; w < y.shape.width(); w++)
          for (int64_t c = 0; c < y.shape.channels(); c++)
            out[i++] = F::f(a[repeated_at(of_a, n, h, w, c)], b[repeated_at(of_b, n, h, w, c)],
                            alpha, beta);
  }
}

template <class F>
void map_grad(const View& saved, const View& dy, const View& dx, double alpha, double beta) {
  if constexpr (F::arity == 1) {
    const int64_t count = dx.shape.elements();
    double* out = reals(dx);
    const double* grad = reals(dy);
    const double* kept = F::saved == pointwise::Saved::none ? grad : reals(saved);
    for (int64_t i = 0; i < count; i++) out[i] = F::df(kept[i], grad[i], alpha, beta);
  } else {
    usage_error(std::string("reference: pointwise '") + F::name +
                "' has two arguments; its gradient is made of other ops");
  }
}

struct Entry {
  decltype(&map<functors::Add>) f;
  decltype(&map_grad<functors::Add>) df;
  int arity;
};
const Entry table[] = {
#define FULMAR_ENTRY(F) {map<functors::F>, map_grad<functors::F>, functors::F::arity},
    FULMAR_POINTWISE(FULMAR_ENTRY)
#undef FULMAR_ENTRY
};

const Entry& entry(int functor) {
  if (functor < 0 || functor >= static_cast<int>(std::size(table)))
    usage_error("reference: there is no pointwise function number " + std::to_string(functor));
  return table[functor];
}

}  // namespace

void pointwise(Stream&, int functor, std::span<const View> x, const View& y, double alpha,
               double beta) {
  if (static_cast<int>(x.size()) != entry(functor).arity)
    usage_error("reference: pointwise function number " + std::to_string(functor) + " takes " +
                std::to_string(entry(functor).arity) + " operands, " + std::to_string(x.size()) +
                " given");
  entry(functor).f(x, y, alpha, beta);
}

void pointwise_grad(Stream&, int functor, const View& saved, const View& dy, const View& dx,
                    double alpha, double beta) {
  entry(functor).df(saved, dy, dx, alpha, beta);
}

}  // namespace fulmar::reference
