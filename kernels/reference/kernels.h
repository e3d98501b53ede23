#pragma once

#include <type_traits>

#include "kernels/backend.h"

// The kernels of the reference device: float64, one loop per formula. kernels/backend.h gives
// shapes and meanings; each kernel has the type of its line in that table.
namespace fulmar::reference {

template <class Pointer>
using Function = std::remove_pointer_t<Pointer>;

Function<decltype(Backend::copy)> copy;
Function<decltype(Backend::fill)> fill;
Function<decltype(Backend::broadcast)> broadcast;
Function<decltype(Backend::reduce_sum)> reduce_sum;
Function<decltype(Backend::count_nonfinite)> count_nonfinite;

Function<decltype(Backend::pointwise)> pointwise;
Function<decltype(Backend::pointwise_grad)> pointwise_grad;

Function<decltype(Backend::conv2d)> conv2d;
Function<decltype(Backend::conv2d_input_grad)> conv2d_input_grad;
Function<decltype(Backend::conv2d_weight_grad)> conv2d_weight_grad;

Function<decltype(Backend::depthwise_conv2d)> depthwise_conv2d;
Function<decltype(Backend::depthwise_conv2d_input_grad)> depthwise_conv2d_input_grad;
Function<decltype(Backend::depthwise_conv2d_weight_grad)> depthwise_conv2d_weight_grad;

Function<decltype(Backend::channel_sums)> channel_sums;
Function<decltype(Backend::moments)> moments;
Function<decltype(Backend::update_running)> update_running;
Function<decltype(Backend::batch_norm)> batch_norm;
Function<decltype(Backend::batch_norm_grad_sums)> batch_norm_grad_sums;
Function<decltype(Backend::batch_norm_grad)> batch_norm_grad;
Function<decltype(Backend::batch_norm_param_grad)> batch_norm_param_grad;

Function<decltype(Backend::max_pool)> max_pool;
Function<decltype(Backend::max_pool_grad)> max_pool_grad;
Function<decltype(Backend::average_pool)> average_pool;
Function<decltype(Backend::average_pool_grad)> average_pool_grad;

Function<decltype(Backend::resize)> resize;
Function<decltype(Backend::resize_grad)> resize_grad;

Function<decltype(Backend::softmax)> softmax;
Function<decltype(Backend::softmax_cross_entropy)> softmax_cross_entropy;
Function<decltype(Backend::softmax_cross_entropy_grad)> softmax_cross_entropy_grad;

Function<decltype(Backend::dropout)> dropout;
Function<decltype(Backend::accumulate)> accumulate;
Function<decltype(Backend::adamw)> adamw;

Function<decltype(Backend::warp)> warp;

}  // namespace fulmar::reference
