#include "data/augment.h"

#include <cmath>

#include "data/draws.h"
#include "engine/picture/geometry.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

double symmetric(uint32_t word) { return 2.0 * static_cast<double>(uniform(word)) - 1.0; }

struct Centre {
  double x, y;
};

// keras RandomRotation: [cos, -sin; sin, cos] about the centre of the pixels.
Affine rotation(double angle, Centre c) {
  const double cosine = std::cos(angle), sine = std::sin(angle);
  return {{cosine, -sine, c.x - cosine * c.x + sine * c.y,  //
           sine, cosine, c.y - sine * c.x - cosine * c.y}};
}
Affine zooming(double factor, Centre c) {
  return {{factor, 0, c.x * (1 - factor), 0, factor, c.y * (1 - factor)}};
}
Affine flip(bool horizontal, bool vertical, Centre c) {
  return {{horizontal ? -1.0 : 1.0, 0, horizontal ? 2 * c.x : 0,  //
           0, vertical ? -1.0 : 1.0, vertical ? 2 * c.y : 0}};
}
Affine translation(double x, double y) { return {{1, 0, -x, 0, 1, -y}}; }

void cut_at_frame(WarpSample& sample, const Affine& to_frame, const Geometry& geometry) {
  const auto at = static_cast<size_t>(sample.frames++);
  sample.to_frame[at] = to_frame;
  sample.frame_height[at] = static_cast<double>(geometry.frame_height);
  sample.frame_width[at] = static_cast<double>(geometry.frame_width);
}

}  // namespace

Augment Augment::published() { return {0.1, true, true, 0.4, 0.15, 0, 0}; }

void Augment::check() const {
  const auto require = [](bool condition, const char* message) {
    if (!condition) usage_error(std::string("augmentation: ") + message);
  };
  require(translate >= 0 && translate <= 1, "the translation must be 0 to 1 of the frame");
  require(rotate >= 0 && rotate <= 0.5, "the rotation must be 0 to 0.5 of a full turn");
  require(zoom >= 0 && zoom < 1, "the zoom must be 0 to below 1");
  require(gain >= 0 && gain <= 100, "the gain must be 0 to 100");
  require(speckle >= 0 && speckle <= 10, "the speckle must be 0 to 10");
}

AugmentDraw draw_augment(const Augment& augment, uint64_t seed, int64_t epoch, int64_t slot) {
  const auto high = static_cast<uint64_t>(epoch), low = static_cast<uint64_t>(slot);
  const RandomBits first = draw(seed, Draw::augment, high, 2 * low);
  const RandomBits second = draw(seed, Draw::augment, high, 2 * low + 1);
  const RandomBits noise = draw(seed, Draw::speckle, high, low);
  AugmentDraw result;
  result.down = augment.translate * symmetric(first.word[0]);
  result.right = augment.translate * symmetric(first.word[1]);
  result.flip_horizontal = augment.flip_horizontal && (first.word[2] >> 31);
  result.flip_vertical = augment.flip_vertical && (first.word[3] >> 31);
  result.angle = augment.rotate * 2 * M_PI * symmetric(second.word[0]);
  result.zoom = 1 + augment.zoom * symmetric(second.word[1]);
  result.gain = std::pow(1 + augment.gain, symmetric(second.word[2]));
  result.speckle = augment.speckle;
  result.speckle_seed = uint64_t{noise.word[0]} << 32 | noise.word[1];
  return result;
}

WarpSample augmented_sample(const Preprocess& preprocess, int64_t height, int64_t width,
                            const AugmentDraw& d) {
  const Geometry geometry(preprocess, height, width);
  const auto h = static_cast<double>(geometry.frame_height);
  const auto w = static_cast<double>(geometry.frame_width);
  const Centre centre{(w - 1) / 2, (h - 1) / 2};

  WarpSample sample;
  sample.source_height = height;
  sample.source_width = width;
  // From the crop back to the picture, through every layer's output to its input. A frame must be
  // cut only where a layer before it moved something else into its place.
  const bool zooms = d.zoom != 1, rotates = d.angle != 0, shifts = d.down != 0 || d.right != 0;
  const Affine to_rotated = compose(zooming(d.zoom, centre), geometry.crop_to_frame);
  if (zooms && rotates) cut_at_frame(sample, to_rotated, geometry);
  const Affine to_flipped = compose(rotation(d.angle, centre), to_rotated);
  if ((zooms || rotates) && shifts) cut_at_frame(sample, to_flipped, geometry);
  const Affine to_translated =
      compose(flip(d.flip_horizontal, d.flip_vertical, centre), to_flipped);
  const Affine to_frame = compose(translation(d.right * w, d.down * h), to_translated);
  sample.map = compose(geometry.frame_to_picture, to_frame);
  if (geometry.clamps) cut_at_picture(sample, geometry);
  sample.gain = d.gain;
  sample.speckle = d.speckle;
  sample.seed = d.speckle_seed;
  return sample;
}

}  // namespace fulmar::data
