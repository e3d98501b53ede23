#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/view.h"

namespace fulmar {

// One tensor of every batch, by name. Extents are the same for all batches of a source; the first
// is the batch size. A picture task has, with `image` the name of a source array:
//   image          u8, u16 or f32 [N,H,W,bands]  slots, a picture at its slot's top left corner
//   image/samples  u8  [N, sizeof(WarpSample)]   how each slot is sampled, how much of it is valid
//   label          i32 [N,1,1,1]                 (or, for masks, whatever the task wants)
//   weight         f32 [N,1,1,1]                 0 for slots that fill up the last batch, else 1
struct TensorSpec {
  std::string name;
  DType type = DType::f32;
  Shape shape;
  // A sample's slot has the same contents in every batch: no part of it is drawn anew.
  bool fixed = false;
  // Of samples: pictures are cut out as they are, by whole pixels.
  bool cuts = false;
};

// A batch in host memory, ready to be copied: one View for each spec, in their order, valid until
// the next call.
struct Batch {
  std::vector<View> tensors;
  std::vector<int64_t> samples;  // which sample of the dataset lies in each used slot
};

// The tensor of that name. Error(usage) where there is none.
inline const View& named_tensor(const std::vector<TensorSpec>& specs, const Batch& batch,
                                const std::string& name) {
  for (size_t i = 0; i < specs.size(); i++)
    if (specs[i].name == name) return batch.tensors[i];
  usage_error("the batches have no tensor '" + name + "'");
}

// Gives training and evaluation their batches. A batch depends on (seed, epoch, number within the
// epoch) alone, never on threads or on timing.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  virtual const std::vector<TensorSpec>& tensors() const = 0;
  virtual int64_t batches_per_epoch() const = 0;

  // Starts at batch `first` of an epoch (a resumed run starts in the middle of one).
  virtual void start(int64_t epoch, int64_t first) = 0;
  // From the next start() on: whether samples calibrate statistics that prediction will use. Of
  // random variations such samples keep those alone amid whose range an unvaried sample lies, and
  // not those of which it is an extreme (interpolation smooths, noise adds variance).
  virtual void set_calibrating(bool /*calibrating*/) {}
  // The next batch, or nullptr after the epoch's last. Throws a loader thread's error.
  virtual const Batch* next() = 0;

  // Number of samples; their numbers are 0 up to this, exclusive. 0: not known.
  virtual int64_t sample_count() const { return 0; }
  // The caller keeps every sample of this fixed tensor (by its place in tensors()). The source need
  // not fill the tensor in later batches.
  virtual void leave_out(size_t /*tensor*/) {}
};

}  // namespace fulmar
