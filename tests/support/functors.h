#pragma once

#include <vector>

#include "kernels/pointwise.h"

namespace fulmar::test {

// What a test must know of a pointwise function to call it.
struct FunctorTraits {
  const char* name;
  int arity;
  pointwise::Saved saved;  // of functions of one argument
};

namespace functors {
#define FULMAR_INLINE inline
#include "kernels/pointwise_functors.inc"
#undef FULMAR_INLINE

template <class F>
constexpr FunctorTraits traits() {
  if constexpr (F::arity == 1)
    return {F::name, 1, F::saved};
  else
    return {F::name, F::arity, pointwise::Saved::none};
}
}  // namespace functors

// Of every function, by its number in the backend table.
inline const std::vector<FunctorTraits>& functor_traits() {
#define FULMAR_TRAITS(F) functors::traits<functors::F>(),
  static const std::vector<FunctorTraits> all{FULMAR_POINTWISE(FULMAR_TRAITS)};
#undef FULMAR_TRAITS
  return all;
}

}  // namespace fulmar::test
