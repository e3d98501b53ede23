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
  // widens: whether bf16 operands are copied, or only weights are.
  enum class Memory { own, none };  // none: only types and shapes are wanted
  FloatOperands(Stream& stream, bool widens, Memory memory)
      : stream_(stream), widens_(widens), has_memory_(memory == Memory::own) {}
  // In memory of bytes(), as counted without memory.
  FloatOperands(Stream& stream, bool widens, std::byte* memory)
      : stream_(stream), widens_(widens), has_memory_(true), given_(memory) {}
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

  // What the copies of all operands take.
  size_t bytes() const { return bytes_; }
  static constexpr size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  enum class Place { given, scratch, allocated };
  struct Copy {
    View original, copy;
    bool written;
    Place place;
  };
  // `group`, its member taken.
  template <class Group>
  Group with(const Group& group, View Group::*member, Operand operand) {
    Group taken = group;
    taken.*member = take(group.*member, operand);
    return taken;
  }
  View widened(const View& view, bool written);
  View rounded(const View& weights);
  View add(const View& original, bool written);

  Stream& stream_;
  bool widens_, has_memory_;
  std::byte* given_ = nullptr;
  size_t bytes_ = 0;
  Scratch<Copy> copies_;
  Scratch<View> list_;
};

}  // namespace fulmar::cpu
