#include "kernels/cuda/ops.h"
#include "kernels/no_workspace.h"

namespace fulmar::cuda {

Backend table(const char* name, const char* (*isa)(), Precision precision) {
  Backend b{};
  b.version = Backend::current_version;
  b.name = name;
  b.isa = isa;
  b.real = DType::f32;
  b.activation = precision == Precision::bf16 ? DType::bf16 : DType::f32;

  set_memory(b);

  b.copy = copy;
  b.fill = fill;
  b.broadcast = broadcast;
  b.reduce_sum = reduce_sum;
  b.count_nonfinite = count_nonfinite;

  b.pointwise = pointwise;
  b.pointwise_grad = pointwise_grad;

  b.conv2d = conv2d;
  b.conv2d_workspace = no_workspace;
  b.conv2d_input_grad = conv2d_input_grad;
  b.conv2d_input_grad_workspace = no_workspace;
  b.conv2d_weight_grad = conv2d_weight_grad;
  b.conv2d_weight_grad_workspace = no_workspace;

  b.depthwise_conv2d = depthwise_conv2d;
  b.depthwise_conv2d_input_grad = depthwise_conv2d_input_grad;
  b.depthwise_conv2d_weight_grad = depthwise_conv2d_weight_grad;
  b.depthwise_conv2d_weight_grad_workspace = no_workspace;

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

  set_vendor(b);
  return b;
}

}  // namespace fulmar::cuda
