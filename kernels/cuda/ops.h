#pragma once

#include <type_traits>

#include "kernels/backend.h"

// The host's side of the hand-written CUDA kernels. Each has the type of its line in the table of
// kernels/backend.h, which gives shapes and meanings. Activations are float32 or bf16, by the type
// of the views. One source serves nvcc and the emulator, except for memory.
namespace fulmar::cuda {

template <class Pointer>
using Function = std::remove_pointer_t<Pointer>;

// Memory and order: memory.cu, and kernels/simt/backend.cpp.
void set_memory(Backend& backend);
// On a GPU (vendor.cpp): gives dense convolutions to the vendor's libraries where they can. On the
// emulator (kernels/simt/backend.cpp): keeps the plain kernels.
void set_vendor(Backend& backend);
// Copies to the host and waits until it's there.
void read_back(Stream& stream, void* host, const void* device, size_t bytes);

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

// The table of all these.
Backend table(const char* name, const char* (*isa)(), Precision precision);

}  // namespace fulmar::cuda
