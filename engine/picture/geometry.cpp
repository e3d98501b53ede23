#include "engine/picture/geometry.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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

namespace {

std::vector<int64_t> lines(int64_t begin, int64_t end) {
  std::vector<int64_t> list(static_cast<size_t>(end - begin));
  std::iota(list.begin(), list.end(), begin);
  return list;
}

// The lines of an axis that a picture of `extent` is read at, for output lines 0 to crop - 1 at
// scale * line + offset, and the output line that reads the first.
struct AxisPart {
  std::vector<int64_t> lines;
  int64_t begin = 0;
};

// Each output line reads the one line that it is nearest to, or, outside the picture, none.
AxisPart nearest_lines(double scale, double offset, int64_t crop, int64_t extent) {
  AxisPart part;
  for (int64_t line = 0; line < crop; line++) {
    const double at = scale * static_cast<double>(line) + offset;
    if (at <= -.5) part.begin = line + 1;
    if (at > -.5 && at < static_cast<double>(extent) - .5)
      part.lines.push_back(static_cast<int64_t>(std::floor(at + .5)));
  }
  return part;
}

// Output lines are lines of the picture, and each also touches the next.
AxisPart native_lines(double offset, int64_t crop, int64_t extent) {
  const auto first = static_cast<int64_t>(offset);
  AxisPart part;
  part.lines = lines(std::max<int64_t>(0, first), std::min(extent, first + crop + 1));
  return part;
}

}  // namespace

CentrePart centre_part(const Preprocess& preprocess, int64_t height, int64_t width) {
  const Geometry geometry(preprocess, height, width);
  CentrePart part{lines(0, height), lines(0, width), centre_sample(preprocess, height, width)};
  const auto& map = part.sample.map.a;
  const int64_t crop = preprocess.crop;
  AxisPart rows, columns;
  if (preprocess.size == 0) {
    rows = native_lines(map[5], crop, height);
    columns = native_lines(map[2], crop, width);
  } else if (preprocess.resize == Interpolation::nearest) {
    rows = nearest_lines(map[4], map[5], crop, height);
    columns = nearest_lines(map[0], map[2], crop, width);
  }
  if (rows.lines.empty() || columns.lines.empty() ||
      std::ssize(rows.lines) * std::ssize(columns.lines) >= height * width)
    return part;
  part.rows = std::move(rows.lines);
  part.columns = std::move(columns.lines);
  const bool cut = part.sample.frames > 0;
  part.sample.source_height = std::ssize(part.rows);
  part.sample.source_width = std::ssize(part.columns);
  part.sample.frames = 0;
  if (preprocess.size == 0)
    part.sample.map = shift(map[2] - static_cast<double>(part.columns.front()),
                            map[5] - static_cast<double>(part.rows.front()));
  else
    part.sample.map = shift(-static_cast<double>(columns.begin), -static_cast<double>(rows.begin));
  if (cut) {
    Geometry of_part = geometry;
    of_part.height = part.sample.source_height;
    of_part.width = part.sample.source_width;
    cut_at_picture(part.sample, of_part);
  }
  return part;
}

SeenArea seen_area(const Preprocess& preprocess, int64_t height, int64_t width) {
  const Geometry geometry(preprocess, height, width);
  const Affine map = compose(geometry.frame_to_picture, geometry.crop_to_frame);
  const auto crop = static_cast<double>(preprocess.crop);
  // Centres of pixels are whole numbers there, so that a pixel's edge lies half a pixel before.
  const auto edge = [&](double at, size_t row, int64_t extent) {
    const double place = (map.a[row] + map.a[row + 1]) * (at - 0.5) + map.a[row + 2] + 0.5;
    return std::clamp(place, 0.0, static_cast<double>(extent));
  };
  return {edge(0, 0, width), edge(0, 3, height), edge(crop, 0, width), edge(crop, 3, height)};
}

}  // namespace fulmar
