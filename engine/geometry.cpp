#include "engine/geometry.h"

#include <algorithm>

#include "kernels/error.h"

namespace fulmar {
namespace {

// Where the smaller extent begins within the larger, centred.
int64_t margin(int64_t outer, int64_t inner) { return (outer - inner) / 2; }

Affine shift(double x, double y) { return {{1, 0, x, 0, 1, y}}; }

}  // namespace

Affine resize_map(int64_t from_height, int64_t from_width, int64_t to_height, int64_t to_width) {
  const double y = static_cast<double>(from_height) / static_cast<double>(to_height);
  const double x = static_cast<double>(from_width) / static_cast<double>(to_width);
  return {{x, 0, .5 * x - .5, 0, y, .5 * y - .5}};
}

std::string misfit(const Preprocess& preprocess, int64_t height, int64_t width) {
  const std::string extents =
      "the picture is " + std::to_string(width) + " x " + std::to_string(height) + " pixels, ";
  if (height < 1 || width < 1) return extents + "which is none";
  if (preprocess.pad) return "";
  if (preprocess.size > 0)
    return height == width
               ? ""
               : extents + "not square, and would be stretched by resizing it to " +
                     std::to_string(preprocess.size) + "; cut it square, or train with --pad";
  if (std::min(height, width) < preprocess.crop)
    return extents + "smaller than the crop of " + std::to_string(preprocess.crop) +
           "; use larger pictures, or train with a smaller --crop or with --pad";
  return "";
}

Geometry::Geometry(const Preprocess& preprocess, int64_t picture_height, int64_t picture_width)
    : height(picture_height), width(picture_width) {
  const std::string reason = misfit(preprocess, height, width);
  if (!reason.empty()) usage_error(reason);
  int64_t placed_height = height, placed_width = width;
  Affine placed_to_picture;
  clamps = preprocess.size > 0;
  if (preprocess.size > 0) {
    const int64_t side = std::max(height, width);
    placed_height = placed_width = preprocess.size;
    placed_to_picture = compose(shift(static_cast<double>(-margin(side, width)),
                                      static_cast<double>(-margin(side, height))),
                                resize_map(side, side, preprocess.size, preprocess.size));
    // A pixel whose centre falls between two source pixels takes the second: rounding must not
    // decide (in Pillow it does).
    if (preprocess.resize == Interpolation::nearest) {
      placed_to_picture.a[2] += 1e-9;
      placed_to_picture.a[5] += 1e-9;
    }
  }
  frame_height = std::max(placed_height, preprocess.crop);
  frame_width = std::max(placed_width, preprocess.crop);
  frame_to_picture =
      compose(placed_to_picture, shift(static_cast<double>(-margin(frame_width, placed_width)),
                                       static_cast<double>(-margin(frame_height, placed_height))));
  crop_to_frame = shift(static_cast<double>(margin(frame_width, preprocess.crop)),
                        static_cast<double>(margin(frame_height, preprocess.crop)));
  padded = frame_height != placed_height || frame_width != placed_width ||
           (preprocess.size > 0 && height != width);
}

void cut_at_picture(WarpSample& sample, const Geometry& geometry) {
  const auto at = static_cast<size_t>(sample.frames++);
  sample.to_frame[at] = sample.map;
  sample.frame_height[at] = static_cast<double>(geometry.height);
  sample.frame_width[at] = static_cast<double>(geometry.width);
}

WarpSample centre_sample(const Preprocess& preprocess, int64_t height, int64_t width) {
  const Geometry geometry(preprocess, height, width);
  WarpSample sample;
  sample.map = compose(geometry.frame_to_picture, geometry.crop_to_frame);
  sample.source_height = height;
  sample.source_width = width;
  if (geometry.padded && geometry.clamps) cut_at_picture(sample, geometry);
  return sample;
}

}  // namespace fulmar
