#include "kernels/cpu/patches.h"
#include "kernels/cpu/scratch.h"

#include <algorithm>

namespace fulmar::cpu {

namespace {

Patches patches_of(const View& source, int64_t group_channels, int64_t group) {
  Patches patches;
  patches.images = source.shape.images();
  patches.source = source.as<float>() + group * group_channels;
  patches.height = source.shape.height();
  patches.width = source.shape.width();
  patches.pixel_stride = source.shape.channels();
  patches.row_stride = patches.pixel_stride * patches.width;
  patches.image_stride = patches.row_stride * patches.height;
  patches.channels = group_channels;
  return patches;
}

// Appends a tap; it prolongs the last run where memory goes on.
void add_tap(Patches& patches, int64_t dy, int64_t dx) {
  const int64_t channels = patches.channels;
  if (!patches.runs.empty() && patches.pixel_stride == channels) {
    PatchRun& last = patches.runs.back();
    if (last.dy == dy && last.dx + last.length / channels == dx) {
      last.length += channels;
      patches.columns += channels;
      return;
    }
  }
  patches.runs.push_back({dy, dx, patches.columns, channels});
  patches.columns += channels;
}

// The taps of one axis that reach the input positions first + q * stride, and from where.
struct AxisPhase {
  int64_t first, count;            // positions
  Scratch<int64_t> taps, offsets;  // position q reads output q + offset through the tap
};

Scratch<AxisPhase> axis_phases(int64_t in, int64_t kernel, int64_t stride, int64_t dilation,
                               int64_t before) {
  Scratch<AxisPhase> phases;
  for (int64_t first = 0; first < std::min(stride, in); first++) {
    AxisPhase phase{first, (in - first + stride - 1) / stride, {}, {}};
    // Backwards through the taps, so that outputs are read in rising order.
    for (int64_t tap = kernel - 1; tap >= 0; tap--) {
      const int64_t at = first + before - tap * dilation;
      if (at % stride != 0) continue;
      phase.taps.push_back(tap);
      phase.offsets.push_back(at / stride);
    }
    phases.push_back(std::move(phase));
  }
  return phases;
}

}  // namespace

bool Patches::is_matrix() const {
  return runs.size() == 1 && runs[0].dy == 0 && runs[0].dx == 0 && step_y == 1 && step_x == 1 &&
         grid_height == height && grid_width == width && runs[0].length <= pixel_stride;
}

bool Patches::overlaps() const {
  if (step_y != 1 || step_x != 1 || pixel_stride != channels || runs.empty()) return false;
  return runs[0].length > channels && std::all_of(runs.begin(), runs.end(), [&](const auto& run) {
           return run.length == runs[0].length;
         });
}

Patches forward_patches(const View& x, const View& y, int64_t kernel_height, int64_t kernel_width,
                        int64_t group_channels, const Window& window, int64_t group) {
  Patches patches = patches_of(x, group_channels, group);
  patches.grid_height = y.shape.height();
  patches.grid_width = y.shape.width();
  patches.step_y = window.stride[0];
  patches.step_x = window.stride[1];
  for (int64_t i = 0; i < kernel_height; i++)
    for (int64_t j = 0; j < kernel_width; j++)
      add_tap(patches, i * window.dilation[0] - window.padding[0],
              j * window.dilation[1] - window.padding[2]);
  return patches;
}

Scratch<Phase> input_grad_phases(const View& dy, const View& dx, int64_t kernel_height,
                                 int64_t kernel_width, int64_t group_channels, const Window& window,
                                 int64_t group) {
  const auto rows = axis_phases(dx.shape.height(), kernel_height, window.stride[0],
                                window.dilation[0], window.padding[0]);
  const auto columns = axis_phases(dx.shape.width(), kernel_width, window.stride[1],
                                   window.dilation[1], window.padding[2]);
  Scratch<Phase> phases;
  for (const AxisPhase& row : rows)
    for (const AxisPhase& column : columns) {
      Phase phase{row.first, column.first, {}, patches_of(dy, group_channels, group)};
      phase.patches.grid_height = row.count;
      phase.patches.grid_width = column.count;
      for (size_t i = 0; i < row.taps.size(); i++)
        for (size_t j = 0; j < column.taps.size(); j++) {
          phase.taps.push_back(row.taps[i] * kernel_width + column.taps[j]);
          add_tap(phase.patches, row.offsets[i], column.offsets[j]);
        }
      phases.push_back(std::move(phase));
    }
  return phases;
}

}  // namespace fulmar::cpu
