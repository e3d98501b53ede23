#include "model/explain/picture.h"

#include <array>
#include <memory>

#include "engine/ops.h"
#include "engine/session.h"
#include "kernels/error.h"
#include "model/explain/bilinear.h"

namespace fulmar::model::explain {

std::vector<float> input_of(Context& context, Device& device, const Preprocess& preprocess,
                            const View& picture, const WarpSample& sample) {
  auto tape = std::make_shared<Tape>();
  const Val source = ops::input(*tape, "picture", {picture.shape, Role::source, picture.type});
  const Val samples = ops::input(
      *tape, "samples", {{1, static_cast<int64_t>(sizeof sample)}, Role::source, DType::u8});
  const Val x = ops::warp(*tape, source, samples, preprocess.crop, preprocess.crop,
                          preprocess.warp_options());
  Session session(context, device, tape, std::array{x});
  session.set_bytes(source, picture.data, picture.bytes());
  session.set_bytes(samples, &sample, sizeof sample);
  session.run();
  std::vector<float> values(static_cast<size_t>(tape->shape(x).elements()));
  session.read(x, values);
  return values;
}

std::vector<float> on_picture(std::span<const float> map, const Preprocess& preprocess,
                              int64_t height, int64_t width) {
  const Geometry geometry(preprocess, height, width);
  const Affine to_picture = compose(geometry.frame_to_picture, geometry.crop_to_frame);
  const int64_t crop = preprocess.crop;
  const int64_t channels = std::ssize(map) / (crop * crop);
  if (channels < 1 || channels * crop * crop != std::ssize(map))
    usage_error("a map of " + std::to_string(map.size()) + " numbers doesn't lie on " +
                std::to_string(crop) + " x " + std::to_string(crop) + " pixels");
  // The map has no rotation: rows and columns are found each by themselves.
  const auto taps = [&](double scale, double offset, int64_t extent) {
    std::vector<Tap> all(static_cast<size_t>(extent));
    for (int64_t i = 0; i < extent; i++) {
      const double at = (static_cast<double>(i) - offset) / scale;
      if (at < -0.5 || at >= static_cast<double>(crop) - 0.5) continue;
      all[static_cast<size_t>(i)] = Tap::at(at, crop);
    }
    return all;
  };
  return bilinear(map, crop, channels, taps(to_picture.a[4], to_picture.a[5], height),
                  taps(to_picture.a[0], to_picture.a[2], width));
}

}  // namespace fulmar::model::explain
