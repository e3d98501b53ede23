#include "kernels/backend.h"

#include <cstring>
#include <new>

#include "kernels/error.h"
#include "kernels/reference/kernels.h"

namespace fulmar {
namespace reference {
namespace {

constexpr std::align_val_t alignment{64};

void* allocate(Stream&, size_t bytes) {
  void* memory = ::operator new(bytes, alignment, std::nothrow);
  if (!memory)
    device_error("reference: no memory for " + std::to_string(bytes) +
                 " bytes; use a smaller batch or picture");
  return memory;
}

void release(Stream&, void* memory, size_t) { ::operator delete(memory, alignment); }

void copy_bytes(void* to, const void* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

Backend make() {
  Backend b{};
  b.version = Backend::current_version;
  b.name = "reference";
  b.isa = [] { return "float64"; };
  b.real = DType::f64;

  b.allocate = allocate;
  b.release = release;
  b.copy_in = [](Stream&, void* device, const void* host, size_t n) {
    copy_bytes(device, host, n);
  };
  b.copy_out = [](Stream&, void* host, const void* device, size_t n) {
    copy_bytes(host, device, n);
  };
  b.synchronize = [](Stream&) {};

  b.copy = copy;
  b.fill = fill;
  b.broadcast = broadcast;
  b.reduce_sum = reduce_sum;
  b.count_nonfinite = count_nonfinite;

  b.pointwise = pointwise;
  b.pointwise_grad = pointwise_grad;

  b.conv2d = conv2d;
  b.conv2d_input_grad = conv2d_input_grad;
  b.conv2d_weight_grad = conv2d_weight_grad;
  b.conv2d_weight_grad_workspace = [](Stream&, const View&, const View&, const View&, const Window&,
                                      int64_t) { return size_t{0}; };

  b.depthwise_conv2d = depthwise_conv2d;
  b.depthwise_conv2d_input_grad = depthwise_conv2d_input_grad;
  b.depthwise_conv2d_weight_grad = depthwise_conv2d_weight_grad;
  b.depthwise_conv2d_weight_grad_workspace = [](Stream&, const View&, const View&, const View&,
                                                const Window&) { return size_t{0}; };

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
}  // namespace reference

const Backend& reference_backend() {
  static const Backend backend = reference::make();
  return backend;
}

}  // namespace fulmar
