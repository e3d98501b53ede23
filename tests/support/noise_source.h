#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/batch_source.h"
#include "engine/picture/geometry.h"
#include "kernels/warp.h"
#include "tests/support/array.h"

namespace fulmar::test {

// Batches of pictures of noise, in an order that depends on the epoch; a sample may come twice in
// one, the last batch of an epoch is smaller.
class NoiseSource : public BatchSource {
 public:
  static constexpr int64_t side = 20, crop = 16, bands = 3, batch = 4, samples = 6, batches = 4;

  explicit NoiseSource(bool counted = true) : counted_(counted) {
    specs_ = {{"image", DType::u8, {batch, side, side, bands}, true},
              {"image/samples", DType::u8, {batch, int64_t{sizeof(WarpSample)}}},
              {"label", DType::i32, {batch, 1, 1, 1}},
              {"weight", DType::f32, {batch, 1, 1, 1}}};
    warp_.resize(batch);
    batch_.tensors = {image_.view(), view_of(warp_.data(), specs_[1].shape, DType::u8),
                      labels_.view(), weights_.view()};
  }

  const std::vector<TensorSpec>& tensors() const override { return specs_; }
  int64_t batches_per_epoch() const override { return batches; }
  void start(int64_t epoch, int64_t first) override {
    epoch_ = epoch;
    next_ = first;
  }
  const Batch* next() override {
    if (next_ == batches) return nullptr;
    const int64_t number = next_++, used = number == batches - 1 ? batch - 1 : batch;
    batch_.samples.clear();
    for (int64_t i = 0; i < batch; i++) {
      const bool in = i < used;
      const auto sample = static_cast<int64_t>(
          uniform_value(static_cast<uint64_t>(epoch_) + 77, number * batch + i, 0, samples));
      if (in) batch_.samples.push_back(sample);
      fill(i, in ? sample : -1);
    }
    return &batch_;
  }
  int64_t sample_count() const override { return counted_ ? samples : 0; }
  void leave_out(size_t tensor) override { without_pictures_ = tensor == 0; }

  int64_t packed() const { return packed_; }  // pictures that were put into batches

 private:
  void fill(int64_t slot, int64_t sample) {
    constexpr int64_t bytes = side * side * bands;
    const auto at = static_cast<size_t>(slot);
    // A slot that isn't filled holds what nobody may look at.
    for (int64_t i = 0; i < bytes; i++) image_[slot * bytes + i] = 0xAB;
    warp_[at] = WarpSample{};
    labels_[slot] = 0;
    weights_[slot] = 0;
    if (sample < 0) return;
    Preprocess preprocess = Preprocess::of_pictures(0, crop, bands);
    warp_[at] = centre_sample(preprocess, side, side);
    labels_[slot] = static_cast<int32_t>(sample % 2);
    weights_[slot] = 1;
    if (without_pictures_) return;
    packed_++;
    for (int64_t i = 0; i < bytes; i++)
      image_[slot * bytes + i] =
          static_cast<uint8_t>(uniform_value(static_cast<uint64_t>(sample) + 1, i, 0, 256));
  }

  bool counted_, without_pictures_ = false;
  int64_t epoch_ = 0, next_ = 0, packed_ = 0;
  std::vector<TensorSpec> specs_;
  Array<uint8_t> image_{{batch, side, side, bands}};
  std::vector<WarpSample> warp_;
  Array<int32_t> labels_{{batch, 1, 1, 1}};
  Array<float> weights_{{batch, 1, 1, 1}};
  Batch batch_;
};

}  // namespace fulmar::test
