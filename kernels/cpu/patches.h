#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/scratch.h"

namespace fulmar::cpu {

// A dense convolution is a matrix product whose left side is never written out in full: a row per
// output pixel, a column per tap and channel (im2col). These structures say where its elements lie.

// Neighbouring columns of the matrix that are neighbours in memory too.
struct PatchRun {
  int64_t dy = 0, dx = 0;  // source pixel of the first element, beside the row's own
  int64_t first = 0;       // column of the first element
  int64_t length = 0;      // elements
};

struct Patches {
  // Row p belongs to pixel (image, qy, qx) of a grid, numbered in that order.
  int64_t images = 0, grid_height = 0, grid_width = 0;
  int64_t columns = 0;
  // Its element `first + e` of a run is source(image, qy step_y + dy, qx step_x + dx)[e], 0 where
  // that lies outside the source.
  const float* source = nullptr;
  int64_t height = 0, width = 0;
  int64_t image_stride = 0, row_stride = 0, pixel_stride = 0;  // elements
  int64_t step_y = 1, step_x = 1;
  int64_t channels = 0;  // of one tap
  Scratch<PatchRun> runs;

  int64_t rows() const { return images * grid_height * grid_width; }
  // Every row is one run of memory, row p `pixel_stride` elements after row p - 1.
  bool is_matrix() const;
  // Every run is a row of several taps, pixel by pixel as they lie in the source: neighbours on the
  // grid read the same elements again.
  bool overlaps() const;
  int64_t taps() const { return runs[0].length / channels; }  // of a run
};

// The patches of x that output pixels read: columns (tap row, tap column, channel of `group`).
Patches forward_patches(const View& x, const View& y, int64_t kernel_height, int64_t kernel_width,
                        int64_t group_channels, const Window& window, int64_t group);

// The input pixels (first_y + qy stride_y, first_x + qx stride_x) of a strided convolution are
// reached through the same taps; these read output pixels without gaps.
struct Phase {
  int64_t first_y = 0, first_x = 0;
  Scratch<int64_t> taps;  // tap row * kernel width + tap column, in the order of the columns
  Patches patches;        // of dy; columns (tap, channel of `group`); no columns without taps
};

Scratch<Phase> input_grad_phases(const View& dy, const View& dx, int64_t kernel_height,
                                 int64_t kernel_width, int64_t group_channels, const Window& window,
                                 int64_t group);

}  // namespace fulmar::cpu
