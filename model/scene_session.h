#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/batch_source.h"
#include "engine/session.h"
#include "model/loaded_model.h"

namespace fulmar::model {

// How far apart places of a network's input must be that it treats alike: the strides of its
// convolutions and poolings, multiplied along the way to the coarsest; 1: none halves. Windows that
// average all there is don't count.
FULMAR_API int64_t coarsest_stride(const Network& network);

// A part of a line of a scene; parts overlap in what the network sees, not in what they decide.
struct SceneSpan {
  int64_t start, end;          // of what the network sees
  int64_t own_start, own_end;  // of what it decides
};
// Parts of `tile` pixels at most, with `halo` pixels around their own where the scene goes on. They
// begin at multiples of `stride`, to which the halo is rounded up. Error(usage): a tile that has no
// room for a halo and `stride` pixels of its own.
FULMAR_API std::vector<SceneSpan> scene_spans(int64_t extent, int64_t tile, int64_t halo,
                                              int64_t stride);

// What a network's input is made of, of a part [1,h,w,bands] of a scene: the picture, and how it is
// sampled, by whole pixels.
FULMAR_API std::vector<TensorSpec> scene_tensors(const std::string& input, const TensorSpec& part);

// One thread's use of a model that gives each pixel of a picture a class, on parts of scenes of any
// extents. Model, context and device must outlive it.
class FULMAR_API SceneSession {
 public:
  // Error(usage): a model with several inputs, or whose pictures are resized.
  SceneSession(std::shared_ptr<const LoadedModel> model, Context& context, Device& device);
  ~SceneSession();

  // The classes' places of a part [1,h,w,bands] of a picture, for each of the model's heads a byte
  // for each pixel. Errors as Session::run.
  std::vector<std::vector<uint8_t>> call(const View& part);
  // Likewise the classes' probabilities, [h,w,classes]; of heads of numbers these, [h,w,1]. They
  // stay until the next call.
  const std::vector<std::vector<float>>& probabilities(const View& part);

  // What activations and inputs of such a part take, bytes; nothing is allocated.
  enum class Result { classes, probabilities };
  uint64_t planned_bytes(const Shape& part, DType type, Result result) const;

 private:
  struct Prepared;
  struct Recorded;
  Recorded record(const TensorSpec& part, Result result) const;
  Prepared& prepare(const View& part, Result result);
  Prepared& run(const View& part, Result result);
  std::array<int64_t, 2> seen(const Shape& part) const;

  std::shared_ptr<const LoadedModel> model_;
  Context* context_;
  Device* device_;
  int64_t stride_;
  std::shared_ptr<Arena> arena_;
  std::vector<std::unique_ptr<Prepared>> prepared_;  // latest first
  std::vector<std::vector<float>> probabilities_;
};

}  // namespace fulmar::model
