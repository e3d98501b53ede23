#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/batch_source.h"

namespace fulmar::data {

// What batches are made of: which tensors they have, and how a sample gets into its slot of them.
class BatchFiller {
 public:
  virtual ~BatchFiller() = default;

  virtual const std::vector<TensorSpec>& tensors() const = 0;
  virtual int64_t batches_per_epoch() const = 0;
  virtual int64_t sample_count() const { return 0; }  // as BatchSource's
  virtual void leave_out(size_t /*tensor*/) {}        // as BatchSource's
  // Before the first sample of an epoch, when no thread fills one in.
  virtual void start(bool /*calibrating*/) {}

  // The samples of a batch: its size, or fewer. Never called by two threads at once.
  virtual std::vector<int64_t> choose(int64_t epoch, int64_t number) = 0;
  // Fills in place `place` of batch `number`, of tensors in the order of tensors(). Any thread.
  virtual void fill(std::span<const View> tensors, size_t place, int64_t sample, int64_t epoch,
                    int64_t number) = 0;
  // Makes a place one that counts for nothing.
  virtual void clear(std::span<const View> tensors, size_t place) = 0;

  // What threads do that have no batch to fill: parts 0 up to this, exclusive, each once. A part's
  // error is told of at the end of the epoch, when all were done.
  virtual int64_t parts_ahead() const { return 0; }
  virtual void work_ahead(int64_t /*part*/) {}
};

// The batches of a filler, prepared by background threads. Threads share out samples, not batches:
// all fill in the batch that is wanted first.
class BatchThreads : public BatchSource {
 public:
  // `ready` batches are prepared ahead, at least; ready + 1 are in memory. Error(usage): no batch,
  // thread or ready batch.
  BatchThreads(std::unique_ptr<BatchFiller> filler, int64_t batch, int threads, int64_t ready);
  ~BatchThreads() override;

  const std::vector<TensorSpec>& tensors() const override;
  int64_t batches_per_epoch() const override;
  void start(int64_t epoch, int64_t first) override;
  void set_calibrating(bool calibrating) override;
  const Batch* next() override;
  int64_t sample_count() const override;
  void leave_out(size_t tensor) override;

 private:
  void stop();

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fulmar::data
