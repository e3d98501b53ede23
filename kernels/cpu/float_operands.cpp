#include "kernels/cpu/float_operands.h"

#include <cassert>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/streamed.h"

namespace fulmar::cpu {
namespace {

// Larger copies are no scratch memory.
constexpr size_t most_scratch = size_t{1} << 20;

}  // namespace

FloatOperands::~FloatOperands() {
  for (; !copies_.empty(); copies_.pop_back()) {
    const Copy& last = copies_.back();
    if (last.place == Place::scratch)
      give_scratch(last.copy.data, last.copy.bytes());
    else if (last.place == Place::allocated)
      release(stream_, last.copy.data, last.copy.bytes());
  }
}

View FloatOperands::add(const View& original, bool written) {
  View copy = view_of(nullptr, original.shape, DType::f32);
  const size_t bytes = copy.bytes(), before = bytes_;
  bytes_ += aligned(bytes);
  if (!has_memory_) return copy;
  constexpr size_t usual = 16;
  if (copies_.capacity() == copies_.size()) copies_.reserve(copies_.size() + usual);
  const Place place = given_                  ? Place::given
                      : bytes <= most_scratch ? Place::scratch
                                              : Place::allocated;
  copy.data = place == Place::given     ? given_ + before
              : place == Place::scratch ? take_scratch(bytes)
                                        : allocate(stream_, bytes);
  copies_.push_back({original, copy, written, place});
  return copy;
}

View FloatOperands::take(const View& view, Operand operand) {
  if (operand == Operand::weights) return rounded(view);
  return widened(view, operand == Operand::out);
}

View FloatOperands::widened(const View& view, bool written) {
  if (!widens_ || view.type != DType::bf16) return view;
  if (has_memory_ && !view) {
    View empty = view;
    empty.type = DType::f32;
    return empty;
  }
  for (Copy& known : copies_)
    if (known.original.data == view.data && known.original.shape == view.shape &&
        known.original.type == view.type) {
      known.written = known.written || written;
      return known.copy;
    }
  const View copy = add(view, written);
  if (has_memory_ && !written) copy_flat(stream_, view, copy);
  return copy;
}

View FloatOperands::rounded(const View& weights) {
  if (has_memory_ && !weights) return weights;
  const View copy = add(weights, false);
  if (has_memory_) round_flat(stream_, weights, copy);
  return copy;
}

std::span<const View> FloatOperands::take(std::span<const View> views, Operand operand) {
  assert(list_.empty());  // a kernel has one list at most
  list_.reserve(views.size());
  for (const View& view : views) list_.push_back(take(view, operand));
  return list_;
}

Loaded FloatOperands::take(const Loaded& x, Operand operand) {
  return with(x, &Loaded::x, operand);
}

Cotangent FloatOperands::take(const Cotangent& dy, Operand operand) {
  return with(with(dy, &Cotangent::dy, operand), &Cotangent::z, operand);
}

SkipGrad FloatOperands::take(const SkipGrad& skip, Operand operand) {
  return with(with(skip, &SkipGrad::dy, Operand::in), &SkipGrad::w, operand);
}

NormReluGrad FloatOperands::take(const NormReluGrad& d, Operand operand) {
  return with(d, &NormReluGrad::g, operand);
}

ConvolutionInputGrad FloatOperands::take(const ConvolutionInputGrad& d, Operand operand) {
  return with(d, &ConvolutionInputGrad::dx, operand);
}

SeparableGrad FloatOperands::take(const SeparableGrad& d, Operand operand) {
  return with(d, &SeparableGrad::dx, operand);
}

void FloatOperands::store() {
  for (const Copy& copy : copies_)
    if (copy.written) copy_flat(stream_, copy.copy, copy.original);
}

}  // namespace fulmar::cpu
