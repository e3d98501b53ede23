#include "engine/feeder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/error.h"

namespace fulmar {

namespace {

// A source is the caller's own code: what it gives is looked at before it is read.
void check_batch(const BatchSource& source, const Batch& batch) {
  const std::vector<TensorSpec>& specs = source.tensors();
  const size_t given = batch.tensors.size();
  if (given != specs.size())
    usage_error("a batch has " + std::to_string(given) + " tensors, its source announced " +
                std::to_string(specs.size()));
  for (size_t i = 0; i < specs.size(); i++) {
    const View& view = batch.tensors[i];
    const View wanted = view_of(nullptr, specs[i].shape, specs[i].type);
    const auto refuse = [&](const std::string& what) {
      usage_error("a batch's '" + specs[i].name + "' must be " + wanted.to_string() + what);
    };
    if (view.shape != wanted.shape || view.type != wanted.type)
      refuse(", it is " + view.to_string());
    if (!view.data && view.bytes() > 0) refuse(", it is a null pointer");
    if (!view.is_contiguous()) refuse(" without gaps");
  }
  if (specs.empty()) return;
  const int64_t slots = specs[0].shape.images(), samples = source.sample_count();
  if (std::ssize(batch.samples) > slots)
    usage_error("a batch of " + std::to_string(slots) + " names " +
                std::to_string(batch.samples.size()) + " samples");
  for (const int64_t sample : batch.samples)
    if (sample < 0 || (samples > 0 && sample >= samples))
      usage_error("a batch names sample " + std::to_string(sample) + " of " +
                  std::to_string(samples));
}

// Whether the session reads elements as they lie in the batch.
bool same_type(const Session& session, Val input, const View& values) {
  return type_on(session.device(), session.tape().info(input)) == values.type;
}

// Whether kernels can read the source's own memory, which then need not be copied. They take
// memory that is aligned as a device's is.
bool can_bind(const Session& session, Val input, const View& values) {
  constexpr uintptr_t alignment = 64;
  return same_type(session, input, values) && values.is_contiguous() && values.data &&
         values.shape == session.tape().shape(input) &&
         reinterpret_cast<uintptr_t>(values.data) % alignment == 0;
}

}  // namespace

void set_input(Session& session, Val input, const View& values) {
  const ValueInfo& info = session.tape().info(input);
  const View wanted = view_of(nullptr, info.shape, info.is_real() ? DType::f32 : info.type);
  if (values.shape != wanted.shape || values.type != wanted.type || !values.is_contiguous())
    usage_error("an input takes " + wanted.to_string() + " without gaps, " + values.to_string() +
                " given");
  if (!values.data && values.bytes() > 0) usage_error("an input was given a null pointer");
  if (info.is_real())
    session.set(input,
                std::span(values.as<const float>(), static_cast<size_t>(values.shape.elements())));
  else
    session.set_bytes(input, values.data, values.bytes());
}

Feeder::Feeder(Device& device, BatchSource& source, size_t keep_bytes)
    : device_(&device), source_(&source), apart_(!device.backend().host_memory) {
  kept_.resize(source.tensors().size());
  if (!apart_) return;
  make_staging();
  make_kept(keep_bytes);
}

void Feeder::make_staging() {
  for (StagingBuffers& staged : staging_)
    for (const TensorSpec& spec : source_->tensors()) {
      const View view = view_of(nullptr, spec.shape, spec.type);
      staged.pinned.emplace_back(*device_, view.bytes());
      staged.device.emplace_back(*device_, view.bytes());
      staged.batch.tensors.push_back(view_of(staged.pinned.back().data(), spec.shape, spec.type));
      staged.uploaded.emplace_back(static_cast<size_t>(spec.shape.images()), false);
    }
}

void Feeder::make_kept(size_t keep_bytes) {
  const int64_t samples = source_->sample_count();
  for (size_t i = 0; i < kept_.size(); i++) {
    if (!source_->tensors()[i].fixed || samples == 0) continue;
    Kept& kept = kept_[i];
    kept.capacity = std::min(samples, static_cast<int64_t>(keep_bytes / slot_bytes(i)));
    const size_t bytes = static_cast<size_t>(kept.capacity) * slot_bytes(i);
    if (bytes == 0) continue;
    kept.memory = DeviceBuffer(*device_, bytes);
    kept.slot_of.assign(static_cast<size_t>(samples), -1);
    keep_bytes -= bytes;
  }
}

size_t Feeder::slot_bytes(size_t tensor) const {
  const TensorSpec& spec = source_->tensors()[tensor];
  return view_of(nullptr, spec.shape, spec.type).bytes() / static_cast<size_t>(spec.shape.images());
}

size_t Feeder::kept_bytes() const {
  size_t sum = 0;
  for (const Kept& kept : kept_) sum += kept.memory.bytes();
  return sum;
}

void Feeder::start(int64_t epoch, int64_t first) {
  source_->start(epoch, first);
  for (StagingBuffers& staged : staging_) {
    staged.filled = false;
    staged.error = nullptr;
  }
}

const Batch* Feeder::next() {
  if (!apart_) {
    passed_ = source_->next();
    if (passed_) check_batch(*source_, *passed_);
    return passed_;
  }
  if (!staging_[1 - now_].filled) fetch_ahead();
  now_ = 1 - now_;
  StagingBuffers& staged = staging_[now_];
  staged.filled = false;
  if (staged.error) std::rethrow_exception(std::exchange(staged.error, nullptr));
  return staged.used ? &staged.batch : nullptr;
}

void Feeder::fetch_ahead() {
  StagingBuffers& staged = staging_[1 - now_];
  if (!apart_ || staged.filled) return;
  staged.filled = true;
  try {
    // What comes is written over what that run read.
    device_->backend().wait(device_->stream(), staged.mark);
    const Batch* batch = source_->next();
    staged.used = batch != nullptr;
    if (batch) {
      check_batch(*source_, *batch);
      upload(staged, *batch);
    }
  } catch (...) {
    staged.error = std::current_exception();  // told where the batch would be
  }
}

void Feeder::upload(StagingBuffers& staged, const Batch& from) {
  staged.batch.samples = from.samples;
  for (size_t i = 0; i < from.tensors.size(); i++) {
    const Kept& kept = kept_[i];
    const size_t bytes = slot_bytes(i), slots = staged.uploaded[i].size();
    const auto* host = static_cast<const std::byte*>(from.tensors[i].data);
    const auto known = [&](size_t slot) {
      return kept.capacity > 0 && slot < from.samples.size() &&
             kept.slot_of[static_cast<size_t>(from.samples[slot])] >= 0;
    };
    for (size_t first = 0; first < slots;) {
      size_t end = first;
      const bool here = known(first);
      while (end < slots && known(end) == here) staged.uploaded[i][end++] = !here;
      if (!here) {
        const size_t at = first * bytes, length = (end - first) * bytes;
        std::memcpy(staged.pinned[i].data() + at, host + at, length);
        device_->backend().upload(device_->stream(), staged.device[i].data() + at,
                                  staged.pinned[i].data() + at, length);
      }
      first = end;
    }
  }
}

// Takes from memory that is kept what did not come from the host, and keeps what did.
void Feeder::exchange_kept(StagingBuffers& staged, size_t tensor) {
  Kept& kept = kept_[tensor];
  const size_t bytes = slot_bytes(tensor);
  const bool words = bytes % sizeof(int32_t) == 0;
  const auto copy = [&](const std::byte* from, std::byte* to) {
    const Shape shape{static_cast<int64_t>(words ? bytes / sizeof(int32_t) : bytes)};
    const auto view = [&](const std::byte* data) {
      return view_of(const_cast<std::byte*>(data), shape, words ? DType::i32 : DType::u8);
    };
    device_->backend().copy(device_->stream(), view(from), view(to));
  };
  for (size_t slot = 0; slot < staged.batch.samples.size(); slot++) {
    int64_t& at = kept.slot_of[static_cast<size_t>(staged.batch.samples[slot])];
    std::byte* const here = staged.device[tensor].data() + slot * bytes;
    const auto there = [&] { return kept.memory.data() + static_cast<size_t>(at) * bytes; };
    if (!staged.uploaded[tensor][slot]) {
      copy(there(), here);
    } else if (at < 0 && kept.count < kept.capacity) {
      at = kept.count++;
      copy(here, there());
      if (kept.count == source_->sample_count()) source_->leave_out(tensor);
    }
  }
}

void Feeder::bind(Session& session, std::span<const Val> inputs) {
  if (!apart_) {
    for (size_t i = 0; i < inputs.size(); i++) {
      if (can_bind(session, inputs[i], passed_->tensors[i]))
        session.bind(inputs[i], passed_->tensors[i]);
      else
        set_input(session, inputs[i], passed_->tensors[i]);
    }
    return;
  }
  staging_[1 - now_].mark = device_->backend().mark(device_->stream());
  device_->backend().fence(device_->stream());
  for (size_t i = 0; i < inputs.size(); i++)
    if (kept_[i].capacity > 0) exchange_kept(staging_[now_], i);
  bind_staged(session, inputs, staging_[now_]);
}

void Feeder::bind_previous(Session& session, std::span<const Val> inputs) {
  bind_staged(session, inputs, staging_[1 - now_]);
}

void Feeder::bind_staged(Session& session, std::span<const Val> inputs,
                         const StagingBuffers& staged) {
  for (size_t i = 0; i < inputs.size(); i++) {
    const View& host = staged.batch.tensors[i];
    if (same_type(session, inputs[i], host))
      session.bind(inputs[i], view_of(staged.device[i].data(), host.shape, host.type));
    else
      set_input(session, inputs[i], host);
  }
}

}  // namespace fulmar
