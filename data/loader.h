#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "data/augment.h"
#include "data/batch_threads.h"
#include "data/pictures.h"
#include "data/sampler.h"
#include "engine/batch_source.h"
#include "engine/picture/preprocess.h"

namespace fulmar::data {

struct LoaderOptions {
  int64_t batch = 16;
  int threads = 1;    // that fill in pictures in the background
  int64_t ready = 2;  // batches prepared ahead, at least; each takes batch_bytes() of memory
  std::optional<Augment> augment{};  // none: the centre crop, as in prediction
  uint64_t seed = 0;                 // of the augmentation

  int64_t slots() const { return ready + 1; }  // batches in memory: one is with the caller
};

// Batches of pictures and, where `labels` are given, their classes, prepared by background threads.
// Tensors: `image` [N,Hmax,Wmax,bands] of the pictures' own type, `image/samples`, `label` i32 and
// `weight` f32 [N,1,1,1]. A slot that a last, smaller batch leaves unused has weight 0, label 0 and
// an empty picture. Threads that find no batch to fill decode ahead what nobody asked for yet: by
// the end of the first epoch all pictures are decoded, or next() names and counts those that can't.
class Loader : public BatchThreads {
 public:
  // `labels`: one for each picture, or none. Error(file) naming a picture that doesn't fit the
  // record: smaller than the crop or not square before a resize (unless it pads), or of another
  // element type. Error(usage): other band counts.
  Loader(std::shared_ptr<const Pictures> pictures, std::vector<int32_t> labels,
         std::unique_ptr<Sampler> sampler, const Preprocess& preprocess,
         const LoaderOptions& options);

  int64_t batch_bytes() const;
};

}  // namespace fulmar::data
