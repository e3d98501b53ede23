#include "kernels/backend.h"

#include "kernels/cpu/conv2d.h"
#include "kernels/cpu/ops.h"
#include "kernels/host_memory.h"
#include "kernels/no_workspace.h"

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

namespace {

Backend make() {
  Backend b{};
  b.version = Backend::current_version;
  b.name = "cpu";
  b.isa = isa;
  b.real = b.activation = DType::f32;

  use_host_memory(b);
  b.allocate = allocate;
  b.release = release;

  b.copy = copy;
  b.fill = fill;
  b.broadcast = broadcast;
  b.reduce_sum = reduce_sum;
  b.count_nonfinite = count_nonfinite;

  b.pointwise = pointwise;
  b.pointwise_grad = pointwise_grad;

  b.conv2d = [](Stream& stream, const View& x, const View& w, const View& bias, const View& y,
                const Window& window, int64_t groups,
                void*) { conv2d(stream, x, w, bias, y, window, groups); };
  b.conv2d_workspace = no_workspace;
  b.conv2d_input_grad = [](Stream& stream, const View& dy, const View& w, const View& dx,
                           const Window& window, int64_t groups,
                           void*) { conv2d_input_grad(stream, dy, w, dx, window, groups); };
  b.conv2d_input_grad_workspace = no_workspace;
  b.conv2d_weight_grad = conv2d_weight_grad;
  b.conv2d_weight_grad_workspace = conv2d_weight_grad_workspace;

  b.depthwise_conv2d = depthwise_conv2d;
  b.depthwise_conv2d_input_grad = depthwise_conv2d_input_grad;
  b.depthwise_conv2d_weight_grad = depthwise_conv2d_weight_grad;
  b.depthwise_conv2d_weight_grad_workspace = depthwise_conv2d_weight_grad_workspace;

  b.channel_sums = channel_sums;
  b.moments = moments;
  b.update_running = update_running;
  b.batch_norm = batch_norm;
  b.batch_norm_grad_sums = batch_norm_grad_sums;
  b.batch_norm_grad = batch_norm_grad;
  b.batch_norm_param_grad = batch_norm_param_grad;

  b.max_pool = max_pool;
  b.max_pool_grad = max_pool_grad;
  b.average_pool = average_pool;
  b.average_pool_grad = average_pool_grad;

  b.resize = resize;
  b.resize_grad = resize_grad;

  b.softmax = softmax;
  b.softmax_cross_entropy = softmax_cross_entropy;
  b.softmax_cross_entropy_grad = softmax_cross_entropy_grad;

  b.dropout = dropout;
  b.accumulate = accumulate;
  b.adamw = adamw;
  b.warp = warp;
  return b;
}

}  // namespace
}  // namespace cpu

const Backend& cpu_backend() {
  static const Backend backend = cpu::make();
  return backend;
}

}  // namespace fulmar
#endif
