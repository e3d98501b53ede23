#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace fulmar::data {

// Which samples make up which batch. A batch depends on (seed, epoch, number) alone, so the state
// of a run is those two counters: any batch can be asked for at any time, in order it is cheap.
// Not for several threads at a time.
class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual int64_t batches_per_epoch() const = 0;
  // The samples of a batch: its size, or fewer where a sequential epoch ends.
  virtual std::vector<int64_t> batch(int64_t epoch, int64_t number) = 0;
};

// The published class-balanced sampling: the class of each sample is a fair draw among the classes,
// and each class is a stream of its own that gives its samples in a fresh random order again and
// again, across epochs. An epoch is ceil(classes * samples of the largest class / batch) batches,
// which is the published ceil(2 n_neg / batch) for two: each sample is drawn once on average in the
// largest class, and more often in the others. Error(usage): a class without samples.
std::unique_ptr<Sampler> balanced_sampler(std::span<const int32_t> labels, int64_t classes,
                                          int64_t batch, uint64_t seed);

// The last batch of a shuffled epoch may lack samples. fill: the epoch's first samples fill it up
// (they count twice in that epoch). drop: its samples are left out (others in each epoch). All
// batches have one size, because the plan of a step is made for it.
enum class LastBatch { fill, drop };
// Every sample once an epoch, in an order of its own. Error(usage): no batch in an epoch.
std::unique_ptr<Sampler> shuffled_sampler(int64_t samples, int64_t batch, uint64_t seed,
                                          LastBatch last = LastBatch::fill);

// In order; for evaluation. The last batch may be smaller.
std::unique_ptr<Sampler> sequential_sampler(int64_t samples, int64_t batch);

}  // namespace fulmar::data
