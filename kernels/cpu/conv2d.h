#pragma once

#include "kernels/backend.h"

namespace fulmar::cpu {

// Dense convolution in float32 (see kernels/backend.h) as a matrix product over patches that are
// copied a block at a time (implicit im2col). Throws Error(usage) on shapes that don't fit.
void conv2d(Stream&, const View& x, const View& w, const View& bias, const View& y, const Window&,
            int64_t groups);
void conv2d_input_grad(Stream&, const View& dy, const View& w, const View& dx, const Window&,
                       int64_t groups);

// Pixels are cut into chunks by the shape alone; each chunk's sum goes to `work`, and they are
// added in order: the same bits with any number of threads.
void conv2d_weight_grad(Stream&, const View& x, const View& dy, const View& dw, const Window&,
                        int64_t groups, void* work);
size_t conv2d_weight_grad_workspace(Stream&, const View& x, const View& dy, const View& dw,
                                    const Window&, int64_t groups);

}  // namespace fulmar::cpu
