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
                                        "pointwise_chain",
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

template <auto kernel>
struct Adapted;
template <class R, class... A, R (*kernel)(Stream&, A...)>
struct Adapted<kernel> {
  template <bool widens, Arguments written, Arguments weights>
  static R run(Stream& stream, A... given) {
    return call<widens, written, weights>(std::index_sequence_for<A...>(), stream, given...);
  }

 private:
  template <bool widens, Arguments written, Arguments weights, size_t... i>
  static R call(std::index_sequence<i...>, Stream& stream, A... given) {
    constexpr auto operand_of = [](size_t argument) {
      if ((written >> argument & 1U) != 0) return Operand::out;
      return (weights >> argument & 1U) != 0 ? Operand::weights : Operand::in;
    };
    FloatOperands operands(stream, widens, std::is_void_v<R>);
    // Braces: in order.
    const std::tuple<std::decay_t<A>...> taken{operands.take(given, operand_of(i + 1))...};
    if constexpr (std::is_void_v<R>) {
      kernel(stream, std::get<i>(taken)...);
      operands.store();
    } else {
      return kernel(stream, std::get<i>(taken)...);  // bytes of scratch memory
    }
  }
};

// A kernel, or its workspace's size, as the table has it.
template <auto kernel, bool widens, Arguments written, Arguments weights>
constexpr auto in_bf16_table() {
  if constexpr (!widens && weights == 0)
    return kernel;
  else
    return &Adapted<kernel>::template run<widens, written, weights>;
}

}  // namespace fulmar::cpu
