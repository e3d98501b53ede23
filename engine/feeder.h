#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <vector>

#include "engine/batch_source.h"
#include "engine/session.h"

namespace fulmar {

// Copies a host tensor into a session's input and converts floats to the device's type.
// Error(usage) where the value is no input, or the tensor has another shape or type than it takes.
FULMAR_API void set_input(Session& session, Val input, const View& values);

// Brings a source's batches to the inputs of Sessions. On a device with memory of its own, the
// feeder reads and copies the next batch while the device works on this one. Samples can stay in
// device memory after their first copy; values and order are the same without. On a device with
// host memory the feeder passes batches on. Device and source must outlive it.
class FULMAR_API Feeder {
 public:
  // `keep_bytes`: bytes of device memory that may keep samples of fixed tensors. Once the device
  // has all samples of the source, the source leaves the tensor out.
  Feeder(Device& device, BatchSource& source, size_t keep_bytes = 0);

  BatchSource& source() { return *source_; }
  // As BatchSource::start. Forgets a batch that was fetched ahead.
  void start(int64_t epoch, int64_t first);
  // The next batch, nullptr after the last. Throws the source's error; Error(usage) where its batch
  // is not as the source announced. A tensor that the device keeps may hold anything in host
  // memory. The batch stays valid until the next call but one.
  const Batch* next();
  // Makes the batch of the latest next() the inputs of the session's next run; `inputs` are in the
  // order of the source's tensors. On a device with host memory they may be the source's own
  // memory.
  void bind(Session& session, std::span<const Val> inputs);
  // The same with the batch before it, which a device with memory of its own has until
  // fetch_ahead().
  void bind_previous(Session& session, std::span<const Val> inputs);
  // Reads the following batch and starts its copy: call it while the device works on this one.
  void fetch_ahead();

  // Number of a tensor's samples that the device keeps; bytes of memory reserved for all tensors.
  int64_t kept(size_t tensor) const { return kept_[tensor].count; }
  size_t kept_bytes() const;

 private:
  struct StagingBuffers {  // of one batch
    Batch batch;           // views of pinned memory
    std::vector<PinnedBuffer> pinned;
    std::vector<DeviceBuffer> device;
    std::vector<std::vector<bool>> uploaded;  // by tensor and slot: the host sent it
    uint64_t mark = 0;                        // behind the run that used it last
    bool filled = false, used = false;
    std::exception_ptr error;
  };
  struct Kept {  // samples of one tensor
    DeviceBuffer memory;
    std::vector<int64_t> slot_of;  // by sample; -1: not there
    int64_t count = 0, capacity = 0;
  };
  void make_staging();
  void make_kept(size_t keep_bytes);
  void upload(StagingBuffers& staged, const Batch& from);
  void bind_staged(Session& session, std::span<const Val> inputs, const StagingBuffers& staged);
  void exchange_kept(StagingBuffers& staged, size_t tensor);
  size_t slot_bytes(size_t tensor) const;

  Device* device_;
  BatchSource* source_;
  bool apart_;  // the device has memory of its own
  std::array<StagingBuffers, 2> staging_;
  size_t now_ = 1;  // where the latest batch lies
  std::vector<Kept> kept_;
  const Batch* passed_ = nullptr;  // the latest batch, where memory is the host's
};

}  // namespace fulmar
