#pragma once

#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/cpu/float_operands.h"

// How kernels become those of a table whose activations are bf16.
namespace fulmar::cpu {

// Numbers of arguments, as in kernels/kernel_list.h, as a set.
using Arguments = uint32_t;
template <class... Number>
constexpr Arguments arguments(Number... number) {
  return (0U | ... | (1U << number));
}

// Kernels that read and write bf16 themselves: the others work on float copies. A pointwise_chain
// is given floats alone.
constexpr bool takes_bf16(std::string_view kernel) {
  constexpr std::string_view names[] = {"copy",
                                        "fill",
                                        "broadcast",
                                        "reduce_sum",
                                        "count_nonfinite",
                                        "channel_sums",
                                        "batch_norm",
                                        "batch_norm_grad_sums",
                                        "batch_norm_grad",
                                        "separable",
                                        "separable_grad",
                                        "pool_skip",
                                        "pool_grad_sums",
                                        "skip_weight_grad",
                                        "norm_relu",
                                        "norm_relu_grad",
                                        "pack_row_weight",
                                        "pointwise_chain",
                                        "row_run",
                                        "warp"};
  for (const std::string_view name : names)
    if (name == kernel) return true;
  return false;
}

// The arguments that are weights of dense convolutions.
constexpr Arguments dense_weights(std::string_view kernel) {
  if (kernel == "conv2d" || kernel == "conv2d_input_grad" || kernel == "convolution" ||
      kernel == "convolution_input_grad")
    return arguments(2);
  if (kernel == "pack_weight") return arguments(1);
  if (kernel == "separable" || kernel == "pool_skip") return arguments(3);
  if (kernel == "separable_grad") return arguments(4, 5);
  return 0;
}

// What a kernel of either list writes.
constexpr Arguments written_by(std::string_view kernel) {
#define FULMAR_WRITES(name, ...) \
  if (kernel == #name) return arguments(__VA_ARGS__);
  FULMAR_KERNELS(FULMAR_WRITES)
  FULMAR_FUSED_KERNELS(FULMAR_WRITES)
#undef FULMAR_WRITES
  return 0;
}

// How a kernel is adapted.
struct Adaptation {
  bool widens;  // its operands to float
  Arguments written, weights;

  constexpr explicit Adaptation(std::string_view kernel)
      : widens(!takes_bf16(kernel)), written(written_by(kernel)), weights(dense_weights(kernel)) {}
  constexpr bool is_needed() const { return widens || weights != 0; }
  constexpr Operand operand(size_t argument) const {
    if ((written >> argument & 1U) != 0) return Operand::out;
    return (weights >> argument & 1U) != 0 ? Operand::weights : Operand::in;
  }
};

// The operands of a call, taken in their order.
template <class... A>
struct Taken {
  std::tuple<std::decay_t<A>...> operands;

  Taken(FloatOperands& from, const Adaptation& how, const A&... given)
      : Taken(from, how, std::index_sequence_for<A...>(), given...) {}

 private:
  template <size_t... i>
  Taken(FloatOperands& from, const Adaptation& how, std::index_sequence<i...>, const A&... given)
      : operands{from.take(given, how.operand(i + 1))...} {}
};

// A kernel without scratch memory of its own.
template <auto kernel>
struct Adapted;
template <class... A, void (*kernel)(Stream&, A...)>
struct Adapted<kernel> {
  template <Adaptation how>
  static void run(Stream& stream, A... given) {
    FloatOperands operands(stream, how.widens, FloatOperands::Memory::own);
    const Taken<std::decay_t<A>...> taken(operands, how, given...);
    std::apply([&](const auto&... x) { kernel(stream, x...); }, taken.operands);
    operands.store();
  }
};

// One whose copies lie behind its scratch memory.
template <auto kernel, auto workspace>
struct AdaptedWithWork;
template <auto kernel, class... A, size_t (*workspace)(Stream&, A...)>
struct AdaptedWithWork<kernel, workspace> {
  template <Adaptation how>
  static void run(Stream& stream, A... given, void* work) {
    FloatOperands operands(stream, how.widens,
                           static_cast<std::byte*>(work) + own_bytes(stream, how, given...).first);
    const Taken<std::decay_t<A>...> taken(operands, how, given...);
    std::apply([&](const auto&... x) { kernel(stream, x..., work); }, taken.operands);
    operands.store();
  }
  template <Adaptation how>
  static size_t bytes(Stream& stream, A... given) {
    const auto [own, copies] = own_bytes(stream, how, given...);
    return own + copies;
  }

 private:
  // The kernel's, and those of the copies.
  static std::pair<size_t, size_t> own_bytes(Stream& stream, const Adaptation& how,
                                             const std::decay_t<A>&... given) {
    FloatOperands types(stream, how.widens, FloatOperands::Memory::none);
    const Taken<std::decay_t<A>...> taken(types, how, given...);
    const size_t own =
        std::apply([&](const auto&... x) { return workspace(stream, x...); }, taken.operands);
    return {FloatOperands::aligned(own), types.bytes()};
  }
};

}  // namespace fulmar::cpu
