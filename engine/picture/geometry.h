#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/picture/preprocess.h"
#include "kernels/api.h"
#include "kernels/warp.h"

namespace fulmar {

// x -> outer(inner(x)).
inline Affine compose(const Affine& outer, const Affine& inner) {
  const auto& o = outer.a;
  const auto& i = inner.a;
  return {{o[0] * i[0] + o[1] * i[3], o[0] * i[1] + o[1] * i[4], o[0] * i[2] + o[1] * i[5] + o[2],
           o[3] * i[0] + o[4] * i[3], o[3] * i[1] + o[4] * i[4], o[3] * i[2] + o[4] * i[5] + o[5]}};
}

// Reads a picture of `from` pixels as one of `to` pixels: half-pixel centres, as Pillow and
// tf.image.resize place them.
FULMAR_API Affine resize_map(int64_t from_height, int64_t from_width, int64_t to_height,
                             int64_t to_width);

// The maps between crop, frame and picture, for a picture of given extents. The frame is the padded
// and resized picture. The crop is its centre (one pixel up and left where the rest is odd, as in
// Keras' CenterCrop).
struct FULMAR_API Geometry {
  // Error(usage) with misfit() where the picture can't be used.
  Geometry(const Preprocess& preprocess, int64_t height, int64_t width);

  int64_t height, width;              // of the picture
  int64_t frame_height, frame_width;  // of the frame
  Affine crop_to_frame, frame_to_picture;
  bool padded;  // the frame is larger than the picture
  bool clamps;  // positions outside the picture read its edge: cut_at_picture() for padding
};

// Why a picture of these extents can't be used, and a remedy; empty where it can. Unless the record
// pads, resizing must not stretch the picture, and the crop must fit into it.
FULMAR_API std::string misfit(const Preprocess& preprocess, int64_t height, int64_t width);

// How a picture of these extents is read for prediction. Error(usage) with misfit().
FULMAR_API WarpSample centre_sample(const Preprocess& preprocess, int64_t height, int64_t width);

// What centre_sample() reads of a picture: its rows and columns, ascending (a picture that is
// enlarged has some of them twice), and the sample that reads a picture of these alone to the same
// bits.
struct CentrePart {
  std::vector<int64_t> rows, columns;
  WarpSample sample;
};
// Error(usage) with misfit(). All of a picture that a bilinear resize reads: there a shifted map
// might round otherwise.
FULMAR_API CentrePart centre_part(const Preprocess& preprocess, int64_t height, int64_t width);

// The rectangle of a picture that the network sees of it: edges in pixels, cut at the picture's.
struct SeenArea {
  double left = 0, top = 0, right = 0, bottom = 0;

  double width() const { return right - left; }
  double height() const { return bottom - top; }
};
// Error(usage) with misfit().
FULMAR_API SeenArea seen_area(const Preprocess& preprocess, int64_t height, int64_t width);

// Cuts everything outside the picture itself.
FULMAR_API void cut_at_picture(WarpSample& sample, const Geometry& geometry);

}  // namespace fulmar
