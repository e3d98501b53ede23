// Counts the memory that a training step takes anew.
#include <doctest/doctest.h>
#include <execinfo.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "model/polar_low.h"
#include "model/tasks/classification.h"
#include "model/train_step.h"
#include "tests/support/noise_source.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<int64_t> taken{0};

void* take(std::size_t bytes, std::size_t alignment) {
  if (counting) {
    taken++;
    if (std::getenv("FULMAR_TRACE_ALLOCATIONS")) {
      counting = false;
      void* frames[16];
      backtrace_symbols_fd(frames, backtrace(frames, 16), 2);
      std::fputs("--\n", stderr);
      counting = true;
    }
  }
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!memory) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(std::size_t bytes) { return take(bytes, alignof(std::max_align_t)); }
void* operator new[](std::size_t bytes) { return take(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t a) { return take(bytes, std::size_t(a)); }
void* operator new[](std::size_t bytes, std::align_val_t a) { return take(bytes, std::size_t(a)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

using namespace fulmar;
using namespace fulmar::test;

namespace {

// Memory taken by each of `steps` training steps.
std::vector<int64_t> taken_by_steps(int threads, int steps) {
  Context context({threads, {}});
  Device& device = context.device("cpu");
  NoiseSource source;
  const ModelInfo info =
      model::classifier_of(model::polar_low({NoiseSource::bands, 2, {4, 8}, 0.5}),
                           Preprocess::of_pictures(0, NoiseSource::crop, NoiseSource::bands),
                           model::Classification({"a", "b"}, 1));
  Model model = model::new_model(info, device, 5);
  model::TrainStep step(context, device, info, model::heads_of(info), model, source.tensors(), {});
  Feeder feeder(device, source);
  StepState state;
  std::vector<int64_t> all;
  while (std::ssize(all) < steps) {
    feeder.start(0, 0);
    while (const Batch* batch = feeder.next()) {
      taken = 0;
      counting = true;
      step.run(feeder, *batch, state, true);
      counting = false;
      all.push_back(taken);
      state.step++;
      state.draw++;
    }
  }
  return all;
}

}  // namespace

TEST_CASE("a training step takes no memory after the second") {
  const std::vector<int64_t> alone = taken_by_steps(1, 8);
  for (size_t i = 2; i < alone.size(); i++) CHECK(alone[i] == 0);
}

// On a busy machine a thread may first take part in a later step, and takes its scratch memory
// then.
TEST_CASE("a training step of several threads takes none once each has taken part") {
  int in_a_row = 0, most = 0;
  for (const int64_t count : taken_by_steps(2, 60)) {
    in_a_row = count == 0 ? in_a_row + 1 : 0;
    most = std::max(most, in_a_row);
  }
  CHECK(most >= 10);
}
