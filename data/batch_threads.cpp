#include "data/batch_threads.h"

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "data/picture_errors.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

struct Free {
  void operator()(uint8_t* memory) const { std::free(memory); }
};
// Starts as zeros, which cost nothing until they are touched.
using Memory = std::unique_ptr<uint8_t[], Free>;

// Zeros, aligned so that a device with host memory can read them where they lie.
Memory allocate(size_t bytes) {
  constexpr size_t alignment = 64;
  const size_t size = (bytes + alignment - 1) / alignment * alignment;
  Memory memory(static_cast<uint8_t*>(std::aligned_alloc(alignment, size)));
  if (!memory)
    device_error("no memory for a batch of " + std::to_string(bytes >> 20) +
                 " MiB; use a smaller batch");
  std::memset(memory.get(), 0, size);
  return memory;
}

// A place for one batch, used again and again.
struct Slot {
  enum class Phase { free, filling, ready };
  Phase phase = Phase::free;
  int64_t number = -1;           // of the batch; while it is filled
  size_t claimed = 0, done = 0;  // of its samples, in their order
  size_t error_at = 0;           // the sample that `error` is about
  std::vector<Memory> memory;    // of each tensor
  Batch batch;
  std::exception_ptr error;
};

}  // namespace

struct BatchThreads::State {
  std::unique_ptr<BatchFiller> filler;
  size_t places = 0;  // of a batch

  std::mutex mutex;
  std::condition_variable slot_freed, slot_filled;
  std::vector<Slot> slots;  // batch number b lies in slot b % size
  bool stopping = false;
  int64_t epoch = 0, end = 0;        // `end`: batches of the epoch, 0 before start()
  int64_t to_fill = 0, to_give = 0;  // to_fill: the first batch with samples that nobody claimed
  int64_t working = 0;               // threads that fill in a sample
  int64_t ahead = 0;                 // the first part that nobody works ahead on
  int64_t working_ahead = 0;         // threads that do
  PictureErrors ahead_errors;
  std::exception_ptr ahead_failure;  // of another kind
  bool calibrating = false;          // from the next start() on
  Slot* given = nullptr;
  std::vector<std::thread> threads;

  Slot& slot(int64_t number) { return slots[static_cast<size_t>(number) % slots.size()]; }

  void make_slots();
  bool has_work();
  void work();
  void fill_next(std::unique_lock<std::mutex>& lock);
  void work_ahead(std::unique_lock<std::mutex>& lock);
  void wait_for_all_parts(std::unique_lock<std::mutex>& lock);
  void open(Slot& slot);
};

void BatchThreads::State::make_slots() {
  for (Slot& slot : slots)
    for (const TensorSpec& spec : filler->tensors()) {
      slot.memory.push_back(allocate(view_of(nullptr, spec.shape, spec.type).bytes()));
      slot.batch.tensors.push_back(view_of(slot.memory.back().get(), spec.shape, spec.type));
    }
}

bool BatchThreads::State::has_work() {
  if (to_fill >= end) return false;
  const Slot& place = slot(to_fill);  // where an earlier batch may still be filled in
  return place.phase == Slot::Phase::free ||
         (place.phase == Slot::Phase::filling && place.number == to_fill);
}

void BatchThreads::State::work() {
  std::unique_lock lock(mutex);
  for (;;) {
    slot_freed.wait(lock, [&] { return stopping || has_work() || ahead < filler->parts_ahead(); });
    if (stopping) return;
    if (has_work())
      fill_next(lock);
    else
      work_ahead(lock);
  }
}

void BatchThreads::State::fill_next(std::unique_lock<std::mutex>& lock) {
  const int64_t number = to_fill, fill_epoch = epoch;
  Slot& place = slot(number);
  if (place.phase == Slot::Phase::free) open(place);
  const std::vector<int64_t>& chosen = place.batch.samples;
  if (place.phase == Slot::Phase::ready) {  // nothing to fill in, or an error
    to_fill++;
    slot_filled.notify_all();
    return;
  }
  const size_t at = place.claimed++;
  if (place.claimed == chosen.size()) {
    to_fill++;
    slot_freed.notify_all();  // the next batch may be free
  }
  working++;
  std::exception_ptr error;
  lock.unlock();
  try {
    filler->fill(place.batch.tensors, at, chosen[at], fill_epoch, number);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  working--;
  // The first sample's error counts, whichever thread was the first.
  if (error && (!place.error || at < place.error_at)) {
    place.error = error;
    place.error_at = at;
  }
  if (++place.done == chosen.size()) place.phase = Slot::Phase::ready;
  if (place.phase == Slot::Phase::ready || end == 0) slot_filled.notify_all();
}

// A part's error is told of when all parts were done, so that no thread decides what is told.
void BatchThreads::State::work_ahead(std::unique_lock<std::mutex>& lock) {
  const int64_t part = ahead++;
  working_ahead++;
  std::string reason;
  std::exception_ptr failure;
  lock.unlock();
  try {
    filler->work_ahead(part);
  } catch (const Error& error) {
    reason = error.what();
    if (error.kind() != ErrorKind::file) failure = std::current_exception();
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  working_ahead--;
  if (failure)
    ahead_failure = failure;
  else if (!reason.empty())
    ahead_errors[part] = reason;
  if (ahead == filler->parts_ahead() && working_ahead == 0) slot_filled.notify_all();
}

void BatchThreads::State::wait_for_all_parts(std::unique_lock<std::mutex>& lock) {
  slot_filled.wait(lock, [&] { return ahead >= filler->parts_ahead() && working_ahead == 0; });
  if (ahead_failure) std::rethrow_exception(ahead_failure);
  throw_first(ahead_errors);
}

// Chooses the batch's samples, and clears the places that are left unused.
void BatchThreads::State::open(Slot& slot) {
  slot.number = to_fill;
  slot.claimed = slot.done = 0;
  slot.error = nullptr;
  slot.phase = Slot::Phase::filling;
  try {
    slot.batch.samples = filler->choose(epoch, to_fill);  // in the lock
  } catch (...) {
    slot.error = std::current_exception();
    slot.phase = Slot::Phase::ready;
    return;
  }
  for (size_t place = slot.batch.samples.size(); place < places; place++)
    filler->clear(slot.batch.tensors, place);
  if (slot.batch.samples.empty()) slot.phase = Slot::Phase::ready;
}

BatchThreads::BatchThreads(std::unique_ptr<BatchFiller> filler, int64_t batch, int threads,
                           int64_t ready)
    : state_(std::make_unique<State>()) {
  if (batch < 1 || threads < 1 || ready < 1)
    usage_error("a loader needs a batch, threads and ready batches of at least 1 each");
  State& s = *state_;
  s.filler = std::move(filler);
  s.places = static_cast<size_t>(batch);
  s.slots = std::vector<Slot>(static_cast<size_t>(ready + 1));  // one is with the caller
  s.make_slots();
  try {
    for (int i = 0; i < threads; i++) s.threads.emplace_back([&s] { s.work(); });
  } catch (...) {
    stop();
    throw;
  }
}

BatchThreads::~BatchThreads() { stop(); }

void BatchThreads::stop() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->slot_freed.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
  state_->threads.clear();
}

const std::vector<TensorSpec>& BatchThreads::tensors() const { return state_->filler->tensors(); }

int64_t BatchThreads::batches_per_epoch() const { return state_->filler->batches_per_epoch(); }

int64_t BatchThreads::sample_count() const { return state_->filler->sample_count(); }

void BatchThreads::leave_out(size_t tensor) { state_->filler->leave_out(tensor); }

void BatchThreads::start(int64_t epoch, int64_t first) {
  State& s = *state_;
  const int64_t batches = batches_per_epoch();
  if (epoch < 0 || first < 0 || first > batches)
    usage_error("no batch " + std::to_string(first) + " in epoch " + std::to_string(epoch));
  std::unique_lock lock(s.mutex);
  s.end = 0;  // nobody takes another sample
  s.slot_filled.wait(lock, [&] { return s.working == 0; });
  for (Slot& slot : s.slots) slot.phase = Slot::Phase::free;
  s.given = nullptr;
  s.filler->start(s.calibrating);
  s.epoch = epoch;
  s.end = batches;
  s.to_fill = s.to_give = first;
  s.slot_freed.notify_all();
}

void BatchThreads::set_calibrating(bool calibrating) {
  const std::lock_guard lock(state_->mutex);
  state_->calibrating = calibrating;
}

const Batch* BatchThreads::next() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (s.given) {
    s.given->phase = Slot::Phase::free;
    s.given = nullptr;
    s.slot_freed.notify_all();
  }
  if (s.to_give >= s.end) {
    if (s.end > 0) s.wait_for_all_parts(lock);
    return nullptr;
  }
  Slot& slot = s.slot(s.to_give);
  s.slot_filled.wait(lock, [&] { return slot.phase == Slot::Phase::ready; });
  if (slot.error) {
    s.wait_for_all_parts(lock);  // which says how many others can't be used
    std::rethrow_exception(slot.error);
  }
  s.to_give++;
  s.given = &slot;
  return &slot.batch;
}

}  // namespace fulmar::data
