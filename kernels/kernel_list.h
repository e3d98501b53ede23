#pragma once

// Every kernel of the backend table (kernels/backend.h) once: its name there, and the numbers of
// the arguments that it writes, of which the stream is number 0. Backends' tables and declarations,
// the emulated bf16 device, benchmarks, and the tests that damage each kernel are made from this
// list. A kernel that is in the table but not here doesn't compile; a backend that lacks one is
// refused by the kernel's name (require_complete).
#define FULMAR_KERNELS(X)            \
  X(copy, 2)                         \
  X(fill, 1)                         \
  X(broadcast, 2)                    \
  X(reduce_sum, 2)                   \
  X(count_nonfinite)                 \
  X(pointwise, 3)                    \
  X(pointwise_grad, 4)               \
  X(conv2d, 4)                       \
  X(conv2d_input_grad, 3)            \
  X(conv2d_weight_grad, 3)           \
  X(depthwise_conv2d, 3)             \
  X(depthwise_conv2d_input_grad, 3)  \
  X(depthwise_conv2d_weight_grad, 3) \
  X(channel_sums, 3)                 \
  X(moments, 3, 4)                   \
  X(update_running, 4, 5)            \
  X(batch_norm, 6)                   \
  X(batch_norm_grad_sums, 4)         \
  X(batch_norm_grad, 8)              \
  X(batch_norm_param_grad, 3, 4)     \
  X(max_pool, 2, 3)                  \
  X(max_pool_grad, 3)                \
  X(average_pool, 2)                 \
  X(average_pool_grad, 2)            \
  X(resize, 2)                       \
  X(resize_grad, 2)                  \
  X(softmax, 2)                      \
  X(argmax, 2)                       \
  X(confusion, 3)                    \
  X(softmax_cross_entropy, 5, 6)     \
  X(softmax_cross_entropy_grad, 6)   \
  X(dropout, 2)                      \
  X(accumulate, 2)                   \
  X(adamw, 2, 3, 4)                  \
  X(warp, 3)                         \
  X(warp_labels, 3)

// Those of them that ask for scratch memory, by a line NAME_workspace of the table.
#define FULMAR_WORKSPACE_KERNELS(X) \
  X(conv2d)                         \
  X(conv2d_input_grad)              \
  X(conv2d_weight_grad)             \
  X(depthwise_conv2d_weight_grad)
