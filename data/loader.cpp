#include "data/loader.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

#include "engine/picture/geometry.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

struct Free {
  void operator()(uint8_t* memory) const { std::free(memory); }
};
// Starts as zeros, which cost nothing until they are touched.
using Memory = std::unique_ptr<uint8_t[], Free>;

// Zeros, aligned so that a device with host memory can read them where they lie.
Memory allocate(int64_t bytes) {
  constexpr size_t alignment = 64;
  const size_t size = (static_cast<size_t>(bytes) + alignment - 1) / alignment * alignment;
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
  size_t claimed = 0, done = 0;  // of its pictures, in their order
  size_t error_at = 0;           // the picture that `error` is about
  Memory images;
  std::vector<WarpSample> samples;
  std::vector<int32_t> labels;
  std::vector<float> weights;
  Batch batch;
  std::exception_ptr error;
};

// Whether the preprocessing makes any picture larger or smaller.
bool resizes(const Pictures& pictures, const Preprocess& preprocess) {
  if (preprocess.size == 0) return false;
  for (int64_t i = 0; i < pictures.count(); i++) {
    const ImageHeader& header = pictures.header(i);
    if (header.height != preprocess.size || header.width != preprocess.size) return true;
  }
  return false;
}

}  // namespace

struct Loader::State {
  std::shared_ptr<const Pictures> pictures;
  std::vector<int32_t> picture_labels;
  std::unique_ptr<Sampler> sampler;
  Preprocess preprocess;
  LoaderOptions options;
  std::vector<TensorSpec> specs;
  std::atomic<bool> without_pictures{false};     // the caller has them
  int64_t height = 0, width = 0, row_bytes = 0;  // of a slot's picture

  std::mutex mutex;
  std::condition_variable slot_freed, slot_filled;
  std::vector<Slot> slots;  // batch number b lies in slot b % size
  bool stopping = false;
  int64_t epoch = 0, end = 0;        // `end`: batches of the epoch, 0 before start()
  int64_t to_fill = 0, to_give = 0;  // to_fill: the first batch with pictures that nobody claimed
  int64_t working = 0;               // threads that fill in a picture
  int64_t ahead = 0;                 // the first picture that nobody decodes ahead
  int64_t working_ahead = 0;         // threads that do
  PictureErrors ahead_errors;
  std::exception_ptr ahead_failure;                    // of another kind
  bool calibrating = false, next_calibrating = false;  // since, and from the next start() on
  Slot* given = nullptr;
  std::vector<std::thread> threads;

  Slot& slot(int64_t number) { return slots[static_cast<size_t>(number) % slots.size()]; }

  void make_slots();
  bool has_work();
  void work();
  void fill_next(std::unique_lock<std::mutex>& lock);
  void decode_next(std::unique_lock<std::mutex>& lock);
  void wait_for_all_pictures(std::unique_lock<std::mutex>& lock);
  void open(Slot& slot);
  void fill_sample(Slot& slot, size_t place, int64_t picture, int64_t fill_epoch, int64_t number);
};

void Loader::State::make_slots() {
  const auto n = static_cast<size_t>(options.batch);
  for (Slot& slot : slots) {
    slot.images = allocate(options.batch * height * row_bytes);
    slot.samples.resize(n);
    slot.labels.resize(n);
    slot.weights.resize(n);
    void* const data[] = {slot.images.get(), slot.samples.data(), slot.labels.data(),
                          slot.weights.data()};
    for (size_t i = 0; i < specs.size(); i++)
      slot.batch.tensors.push_back(view_of(data[i], specs[i].shape, specs[i].type));
  }
}

bool Loader::State::has_work() {
  if (to_fill >= end) return false;
  const Slot& place = slot(to_fill);  // where an earlier batch may still be filled in
  return place.phase == Slot::Phase::free ||
         (place.phase == Slot::Phase::filling && place.number == to_fill);
}

// Threads share out pictures, not batches: all work for the batch that is wanted first.
void Loader::State::work() {
  std::unique_lock lock(mutex);
  for (;;) {
    slot_freed.wait(lock, [&] { return stopping || has_work() || ahead < pictures->count(); });
    if (stopping) return;
    if (has_work())
      fill_next(lock);
    else
      decode_next(lock);
  }
}

void Loader::State::fill_next(std::unique_lock<std::mutex>& lock) {
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
    fill_sample(place, at, chosen[at], fill_epoch, number);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  working--;
  // The first picture's error counts, whichever thread was the first.
  if (error && (!place.error || at < place.error_at)) {
    place.error = error;
    place.error_at = at;
  }
  if (++place.done == chosen.size()) place.phase = Slot::Phase::ready;
  if (place.phase == Slot::Phase::ready || end == 0) slot_filled.notify_all();
}

// What can't be decoded is told of when all pictures were looked at, so that no thread decides what
// is told.
void Loader::State::decode_next(std::unique_lock<std::mutex>& lock) {
  const int64_t picture = ahead++;
  working_ahead++;
  std::string reason;
  std::exception_ptr failure;
  lock.unlock();
  try {
    pictures->decode_ahead(picture);
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
    ahead_errors[picture] = reason;
  if (ahead == pictures->count() && working_ahead == 0) slot_filled.notify_all();
}

void Loader::State::wait_for_all_pictures(std::unique_lock<std::mutex>& lock) {
  slot_filled.wait(lock, [&] { return ahead == pictures->count() && working_ahead == 0; });
  if (ahead_failure) std::rethrow_exception(ahead_failure);
  throw_first(ahead_errors);
}

// Chooses the batch's pictures, and fills in what is left unused.
void Loader::State::open(Slot& slot) {
  slot.number = to_fill;
  slot.claimed = slot.done = 0;
  slot.error = nullptr;
  slot.phase = Slot::Phase::filling;
  try {
    slot.batch.samples = sampler->batch(epoch, to_fill);  // not for several threads: in the lock
  } catch (...) {
    slot.error = std::current_exception();
    slot.phase = Slot::Phase::ready;
    return;
  }
  for (size_t place = slot.batch.samples.size(); place < slot.samples.size(); place++) {
    slot.samples[place] = WarpSample{};  // an empty source reads as fill
    slot.labels[place] = 0;
    slot.weights[place] = 0;
  }
  if (slot.batch.samples.empty()) slot.phase = Slot::Phase::ready;
}

void Loader::State::fill_sample(Slot& slot, size_t place, int64_t picture, int64_t fill_epoch,
                                int64_t number) {
  const ImageHeader& header = pictures->header(picture);
  if (!without_pictures)
    pictures->copy(picture, slot.images.get() + static_cast<int64_t>(place) * height * row_bytes,
                   row_bytes);
  AugmentDraw drawn;
  if (options.augment) {
    const int64_t in_epoch = number * options.batch + static_cast<int64_t>(place);
    drawn = draw_augment(*options.augment, options.seed, fill_epoch, in_epoch);
  }
  if (options.augment && !calibrating) {
    slot.samples[place] = augmented_sample(preprocess, header.height, header.width, drawn);
  } else {
    slot.samples[place] = pictures->centre(picture, preprocess);
    slot.samples[place].gain = drawn.gain;
  }
  if (!picture_labels.empty()) slot.labels[place] = picture_labels[static_cast<size_t>(picture)];
  slot.weights[place] = 1;
}

Loader::Loader(std::shared_ptr<const Pictures> pictures, std::vector<int32_t> labels,
               std::unique_ptr<Sampler> sampler, const Preprocess& preprocess,
               const LoaderOptions& options)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  if (options.batch < 1 || options.threads < 1 || options.ready < 1)
    usage_error("a loader needs a batch, threads and ready batches of at least 1 each");
  if (!labels.empty() && static_cast<int64_t>(labels.size()) != pictures->count())
    usage_error(std::to_string(labels.size()) + " labels for " + std::to_string(pictures->count()) +
                " pictures");
  if (pictures->bands() != preprocess.bands)
    usage_error("the pictures have " + std::to_string(pictures->bands()) +
                " bands, the preprocessing record says " + std::to_string(preprocess.bands));
  const std::string kind = kind_misfit(preprocess, pictures->header(0));
  if (!kind.empty()) file_error(pictures->path(0) + ": " + kind);
  if (options.augment) options.augment->check();
  for (int64_t i = 0; i < pictures->count(); i++) {
    const ImageHeader& header = pictures->header(i);
    const std::string reason = misfit(preprocess, header.height, header.width);
    if (!reason.empty()) file_error(pictures->path(i) + ": " + reason);
  }

  s.height = pictures->max_height();
  s.width = pictures->max_width();
  s.row_bytes = s.width * pictures->bands() * static_cast<int64_t>(size_of(pictures->type()));
  const int64_t n = options.batch;
  s.specs = {{"image", pictures->type(), {n, s.height, s.width, pictures->bands()}, true},
             {"image/samples", DType::u8, {n, static_cast<int64_t>(sizeof(WarpSample))}}};
  s.specs[1].cuts = !options.augment && !resizes(*pictures, preprocess);
  if (!labels.empty()) {
    s.specs.push_back({"label", DType::i32, {n, 1, 1, 1}});
    s.specs.push_back({"weight", DType::f32, {n, 1, 1, 1}});
  }
  s.pictures = std::move(pictures);
  s.picture_labels = std::move(labels);
  s.sampler = std::move(sampler);
  s.preprocess = preprocess;
  s.options = options;
  s.slots = std::vector<Slot>(static_cast<size_t>(options.slots()));
  s.make_slots();
  try {
    for (int i = 0; i < options.threads; i++) s.threads.emplace_back([&s] { s.work(); });
  } catch (...) {
    stop();
    throw;
  }
}

Loader::~Loader() { stop(); }

void Loader::stop() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->slot_freed.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
  state_->threads.clear();
}

const std::vector<TensorSpec>& Loader::tensors() const { return state_->specs; }

int64_t Loader::batches_per_epoch() const { return state_->sampler->batches_per_epoch(); }

int64_t Loader::sample_count() const { return state_->pictures->count(); }

void Loader::leave_out(size_t tensor) {
  if (state_->specs[tensor].name == "image") state_->without_pictures = true;
}

int64_t Loader::batch_bytes() const {
  return state_->options.batch * state_->height * state_->row_bytes;
}

void Loader::start(int64_t epoch, int64_t first) {
  State& s = *state_;
  const int64_t batches = batches_per_epoch();
  if (epoch < 0 || first < 0 || first > batches)
    usage_error("no batch " + std::to_string(first) + " in epoch " + std::to_string(epoch));
  std::unique_lock lock(s.mutex);
  s.end = 0;  // nobody takes another picture
  s.slot_filled.wait(lock, [&] { return s.working == 0; });
  for (Slot& slot : s.slots) slot.phase = Slot::Phase::free;
  s.given = nullptr;
  s.calibrating = s.next_calibrating;
  s.epoch = epoch;
  s.end = batches;
  s.to_fill = s.to_give = first;
  s.slot_freed.notify_all();
}

void Loader::set_calibrating(bool calibrating) {
  const std::lock_guard lock(state_->mutex);
  state_->next_calibrating = calibrating;
}

const Batch* Loader::next() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (s.given) {
    s.given->phase = Slot::Phase::free;
    s.given = nullptr;
    s.slot_freed.notify_all();
  }
  if (s.to_give >= s.end) {
    if (s.end > 0) s.wait_for_all_pictures(lock);
    return nullptr;
  }
  Slot& slot = s.slot(s.to_give);
  s.slot_filled.wait(lock, [&] { return slot.phase == Slot::Phase::ready; });
  if (slot.error) {
    s.wait_for_all_pictures(lock);  // which says how many others can't be used
    std::rethrow_exception(slot.error);
  }
  s.to_give++;
  s.given = &slot;
  return &slot.batch;
}

}  // namespace fulmar::data
