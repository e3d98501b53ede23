#pragma once

#include <array>
#include <string_view>

// Every pointwise function of the engine. One function is a struct in pointwise_functors.inc, a
// line here and a row in the op tests; each backend compiles the same source for its own number
// type.
#define FULMAR_POINTWISE(X) \
  X(Add)                    \
  X(Sub)                    \
  X(Mul)                    \
  X(Div)                    \
  X(DivNoNan)               \
  X(Gate)                   \
  X(Affine)                 \
  X(Relu)                   \
  X(LeakyRelu)              \
  X(Sigmoid)                \
  X(Tanh)                   \
  X(Softplus)               \
  X(Exp)                    \
  X(Log)                    \
  X(Sqrt)                   \
  X(Square)                 \
  X(Abs)                    \
  X(Elu)                    \
  X(Selu)                   \
  X(Relu6)                  \
  X(HardSigmoid)            \
  X(Silu)                   \
  X(GeluTanh)               \
  X(Erf)                    \
  X(Gelu)

namespace fulmar {

// A function's number in the backend table: functor_Add, …
enum Functor {
#define FULMAR_NUMBER(F) functor_##F,
  FULMAR_POINTWISE(FULMAR_NUMBER)
#undef FULMAR_NUMBER
};

namespace pointwise {

// The value that the derivative of a function of one argument needs beside dy.
enum class Saved { none, input, output };

}  // namespace pointwise
}  // namespace fulmar
