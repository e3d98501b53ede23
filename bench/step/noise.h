#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/batch_source.h"
#include "engine/model.h"
#include "kernels/warp.h"

namespace fulmar::bench {

struct NoiseSize {
  int64_t batch = 16, size = 1536, crop = 1024, channels = 3;
  int64_t margin() const { return (size - crop) / 2; }  // whole pixels before the central crop
};

// Labels by pixel of an output of that name, and how many classes there are.
struct LabelNoise {
  std::string output;
  int64_t classes = 2;
  std::string tensor() const { return output + "/label"; }
};

// One batch of noise, over and over: uint8 pictures "image", and "label" or, with `by_pixel`, these
// of the crop's pixels; its bytes are those of bench/peers/step.py. Each picture is seen through
// the central crop or, augmented, through a map drawn anew for each batch from the published
// ranges.
class Noise : public BatchSource {
 public:
  Noise(const NoiseSize& size, bool augment, const std::vector<LabelNoise>& by_pixel = {});

  const std::vector<TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override { return INT64_MAX; }
  void start(int64_t, int64_t) override {}
  const Batch* next() override;
  int64_t sample_count() const override { return size_.batch; }
  void leave_out(size_t) override {}  // there is nothing to save

 private:
  NoiseSize size_;
  bool augment_;
  std::mt19937_64 random_{2};
  std::vector<TensorSpec> specs_;
  Batch batch_;
  // At the start of a cache line a session reads pictures where they lie; others it copies.
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  std::vector<Line> image_;
  std::vector<WarpSample> samples_;
  std::vector<int32_t> labels_;
  std::vector<std::vector<uint8_t>> pixel_labels_;
};

// Weights that any program can compute, to compare results by:
// u(name, i) = (splitmix64(fnv1a64(name) + i) >> 11) 2^-53. Kernels: Glorot's range; gamma: 0.5 to
// 1.5; beta and biases: within 0.1.
void set_formula_weights(Model& model);

}  // namespace fulmar::bench
