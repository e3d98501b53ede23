#include "kernels/backend.h"

#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/backend.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Highway's name, but for "AVX3", which nobody else calls so.
const char* isa() { return HWY_TARGET == HWY_AVX3 ? "AVX-512" : hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar {

namespace cpu {

HWY_EXPORT(isa);
const char* isa() { return HWY_DYNAMIC_DISPATCH(isa)(); }

}  // namespace cpu

const Backend& cpu_backend() {
  using namespace cpu;
  static const Backend backend = {
      .version = Backend::current_version,
      .name = "cpu",
      .isa = cpu::isa,
      .real = DType::f32,
      .allocate = allocate,
      .release = release,
      .copy_in = copy_in,
      .copy_out = copy_out,
      .synchronize = synchronize,
      .copy = copy,
      .fill = fill,
      .broadcast = broadcast,
      .reduce_sum = reduce_sum,
      .count_nonfinite = count_nonfinite,
      .pointwise = cpu::pointwise,
      .pointwise_grad = pointwise_grad,
      .conv2d = conv2d,
      .conv2d_input_grad = conv2d_input_grad,
      .conv2d_weight_grad = conv2d_weight_grad,
      .conv2d_weight_grad_workspace = conv2d_weight_grad_workspace,
      .depthwise_conv2d = depthwise_conv2d,
      .depthwise_conv2d_input_grad = depthwise_conv2d_input_grad,
      .depthwise_conv2d_weight_grad = depthwise_conv2d_weight_grad,
      .depthwise_conv2d_weight_grad_workspace = depthwise_conv2d_weight_grad_workspace,
      .channel_sums = channel_sums,
      .moments = moments,
      .update_running = update_running,
      .batch_norm = batch_norm,
      .batch_norm_grad_sums = batch_norm_grad_sums,
      .batch_norm_grad = batch_norm_grad,
      .batch_norm_param_grad = batch_norm_param_grad,
      .max_pool = max_pool,
      .max_pool_grad = max_pool_grad,
      .average_pool = average_pool,
      .average_pool_grad = average_pool_grad,
      .resize = resize,
      .resize_grad = resize_grad,
      .softmax = softmax,
      .softmax_cross_entropy = softmax_cross_entropy,
      .softmax_cross_entropy_grad = softmax_cross_entropy_grad,
      .dropout = dropout,
      .accumulate = accumulate,
      .adamw = adamw,
      .warp = warp,
  };
  return backend;
}

}  // namespace fulmar
#endif
