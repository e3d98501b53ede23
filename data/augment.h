#pragma once

#include <cstdint>

#include "engine/picture/preprocess.h"
#include "kernels/warp.h"

namespace fulmar::data {

// Random changes of training pictures; each part is off at 0. The published order, with Keras' own
// layers' conventions: translate, flip, rotate, zoom about the frame's centre (the frame is the
// resized picture), then the centre crop. Keras cuts at the frame and samples again after every
// layer; here the parts are composed into one map that samples once, cut at the same frames.
struct Augment {
  double translate = 0;  // by U(-t, t) of the height down and of the width right, drawn apart
  bool flip_horizontal = false, flip_vertical = false;  // each with probability 1/2
  double rotate = 0;                                    // by U(-r, r) full turns
  double zoom = 0;     // source distances times 1 + U(-z, z): above 1 shows more
  double gain = 0;     // values times (1 + g)^U(-1, 1): alike in decibels up and down
  double speckle = 0;  // values times max(0, 1 + s n), n ~ N(0, 1), by band and pixel

  static Augment published();  // 0.1, both flips, 0.4, 0.15
  // Error(usage) naming the part whose range makes no sense.
  void check() const;
};

// The draw for one picture.
struct AugmentDraw {
  double down = 0, right = 0;  // fractions of the frame's height and width
  bool flip_horizontal = false, flip_vertical = false;
  double angle = 0;  // radians
  double zoom = 1, gain = 1, speckle = 0;
  uint64_t speckle_seed = 0;
};

// The draw depends on its arguments alone: `slot` is the number of the picture within its epoch.
AugmentDraw draw_augment(const Augment& augment, uint64_t seed, int64_t epoch, int64_t slot);

// The warp op's record for a picture of these extents and a draw. Error(usage) as centre_sample.
WarpSample augmented_sample(const Preprocess& preprocess, int64_t height, int64_t width,
                            const AugmentDraw& draw);

}  // namespace fulmar::data
