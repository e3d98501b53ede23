#pragma once

#include "kernels/backend.h"

namespace fulmar::cpu {

// Dense convolutions with few input channels, whose patches would cost more to copy than to
// multiply: pixels are lanes. Which shapes, the first functions say; the shapes have been checked.
// An x may be sampled, but isn't normalised.

bool conv2d_is_direct(const View& w, const View& y, const Window& window, int64_t groups);
// With sums as FusedKernels::convolution.
size_t conv2d_direct_workspace(const View& y, const View& sums);
void conv2d_direct(Stream& stream, const Loaded& x, const View& w, const View& bias,
                   const View& shift, const View& y, const View& sums, const Window& window,
                   void* work);

// Its workspace holds as many floats as w.
bool conv2d_input_grad_is_direct(const View& dy, const View& w, const View& dx,
                                 const Window& window, int64_t groups);
void conv2d_direct_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                              const Window& window, void* work);

bool conv2d_weight_grad_is_direct(const View& dy, const View& dw, const Window& window,
                                  int64_t groups);
size_t conv2d_direct_weight_grad_workspace(const View& dy, const View& dw);
void conv2d_direct_weight_grad(Stream& stream, const Loaded& x, const Cotangent& dy, const View& dw,
                               const Window& window, void* work);

}  // namespace fulmar::cpu
