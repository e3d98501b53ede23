#pragma once

#include <cstddef>
#include <span>

#include "kernels/backend.h"
#include "kernels/cpu/scratch.h"

namespace fulmar::cpu {

// Which operand of a kernel an argument is.
enum class Operand { in, out, weights };  // weights of a dense convolution

// The operands of one call, as a kernel that knows float alone takes them: float copies of those
// that are bf16. Weights of dense convolutions are rounded to bf16.
class FloatOperands {
 public:
  // widens: whether bf16 operands are copied at all. With memory: else only types and shapes are
  // wanted.
  FloatOperands(Stream& stream, bool widens, bool with_memory)
      : stream_(stream), widens_(widens), with_memory_(with_memory) {}
  ~FloatOperands();
  FloatOperands(const FloatOperands&) = delete;
  FloatOperands& operator=(const FloatOperands&) = delete;

  // In the order of a kernel's arguments: what is written may be what was read.
  View take(const View& view, Operand operand);
  std::span<const View> take(std::span<const View> views, Operand operand);
  Loaded take(const Loaded& x, Operand operand);
  Cotangent take(const Cotangent& dy, Operand operand);
  SkipGrad take(const SkipGrad& skip, Operand operand);
  NormReluGrad take(const NormReluGrad& d, Operand operand);
  ConvolutionInputGrad take(const ConvolutionInputGrad& d, Operand operand);
  SeparableGrad take(const SeparableGrad& d, Operand operand);
  template <class T>
  T take(const T& argument, Operand) {
    return argument;
  }

  // After the call: writes what the kernel wrote, rounded.
  void store();

 private:
  struct Copy {
    View original, copy;
    bool written;
    bool scratch;  // else memory of its own
  };
  View widened(const View& view, bool written);
  View rounded(const View& weights);
  View& add(const View& original, bool written);

  Stream& stream_;
  bool widens_, with_memory_;
  Scratch<Copy> copies_;
  Scratch<View> list_;
};

}  // namespace fulmar::cpu
