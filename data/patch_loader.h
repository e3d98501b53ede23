#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/augment.h"
#include "data/batch_threads.h"
#include "data/label_store.h"
#include "data/pictures.h"
#include "engine/picture/preprocess.h"

namespace fulmar::data {

// Square parts of pictures with a label for each pixel; their side is the record's crop.
struct PatchOptions {
  int64_t batch = 8;
  int threads = 1;    // that fill in patches in the background
  int64_t ready = 2;  // batches prepared ahead, at least
  uint64_t seed = 0;  // of places and augmentation

  // Patches to train on: so many batches are an epoch. 0: patches to evaluate on, which together
  // show every pixel once.
  int64_t batches = 0;
  // To train on: a patch is drawn anew, up to 16 times, until at least this share of its pixels has
  // a label in some layer; of 16 that don't, the one with most labels is taken.
  double labelled = 0;
  std::optional<Augment> augment{};  // without translation: places are drawn anyhow
  // To train on: the probability that a patch gets a rectangle of another one with its labels
  // (CutMix, Yun et al. 2019), of a share of the area and around a place that are both uniform.
  double cutmix = 0;
  // To evaluate on: pixels at a patch's edges that count for nothing, where the picture goes on.
  int64_t halo = 0;
};

// Batches of patches. Tensors: `image` [N,side,side,bands] of the pictures' own type and
// `image/samples`; of each layer LAYER/label u8 [N,side,side,1], the place of the class or 255, and
// LAYER/label/samples; `weight` f32 [N,1,1,1]. Outside a picture the network reads fill, and labels
// are 255. Every variation is one map that picture and labels are sampled by, labels by nearest.
class PatchLoader : public BatchThreads {
 public:
  // Error(usage): bands that are not the record's, or a halo that leaves nothing of a patch.
  PatchLoader(std::shared_ptr<const Pictures> pictures, std::shared_ptr<const LabelStore> labels,
              const Preprocess& preprocess, const PatchOptions& options);

  static std::string label_tensor(const std::string& layer) { return layer + "/label"; }
  // Of the tensors of one batch.
  static int64_t batch_bytes(const Preprocess& preprocess, const PatchOptions& options,
                             size_t layers);
};

}  // namespace fulmar::data
