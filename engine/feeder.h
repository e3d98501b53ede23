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

// Page-locked memory of the host, which a device copies from beside its work. The device must
// outlive it.
class FULMAR_API PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(Device& device, size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;

  std::byte* data() const { return data_; }

 private:
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// Gives an input the values of a host tensor; floats are converted to the device's type.
// Error(usage) where the value is no input, or the tensor has another shape or type than it takes.
FULMAR_API void set_input(Session& session, Val input, const View& values);

// Brings a source's batches to the inputs of Sessions. On a device with memory of its own, the next
// batch is read and copied there while the device works on this one, and samples that came once can
// stay there: with the same values in the same order as without. Where memory is the host's it
// passes batches on. Device and source must outlive it.
class FULMAR_API Feeder {
 public:
  // `keep_bytes` of the device's memory are for what fixed tensors hold of samples seen; once all
  // of a source's samples are there, the source leaves the tensor out.
  Feeder(Device& device, BatchSource& source, size_t keep_bytes = 0);

  BatchSource& source() { return *source_; }
  // As of the source; a batch that was fetched ahead is forgotten.
  void start(int64_t epoch, int64_t first);
  // The next batch, nullptr after the last. Throws what the source threw; Error(usage) where its
  // batch is not what it announced. Tensors that are kept on
  // the device may hold anything in host memory. Good until the next but one call.
  const Batch* next();
  // Makes the batch of the latest next() the inputs of the session's next run; `inputs` in the
  // order of the source's tensors. Before it, the runs with all earlier batches must have been
  // waited for, but for the latest.
  void bind(Session& session, std::span<const Val> inputs);
  // Starts the way of the batch after: call it while the device works on this one.
  void fetch_ahead();

  // Samples of a tensor that lie on the device, and what that takes when all are there that fit.
  int64_t kept(size_t tensor) const { return kept_[tensor].count; }
  size_t kept_bytes() const;

 private:
  struct Place {  // of one batch
    Batch batch;  // views of pinned memory
    std::vector<PinnedBuffer> pinned;
    std::vector<DeviceBuffer> device;
    std::vector<std::vector<bool>> uploaded;  // by tensor and slot: it came from the host
    bool filled = false, used = false;
    std::exception_ptr error;
  };
  struct Kept {  // of one tensor
    DeviceBuffer memory;
    std::vector<int64_t> slot_of;  // by sample; -1: not there
    int64_t count = 0, capacity = 0;
  };
  void make_places();
  void make_kept(size_t keep_bytes);
  void upload(Place& place, const Batch& from);
  void exchange_kept(Place& place, size_t tensor);
  size_t slot_bytes(size_t tensor) const;

  Device* device_;
  BatchSource* source_;
  bool apart_;  // the device has memory of its own
  std::array<Place, 2> places_;
  size_t now_ = 1;  // place of the latest batch
  std::vector<Kept> kept_;
  const Batch* passed_ = nullptr;  // where memory is the host's
};

}  // namespace fulmar
