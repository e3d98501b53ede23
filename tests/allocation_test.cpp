// Counts the memory that a training step takes anew.
#include <doctest/doctest.h>
#include <execinfo.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

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

TEST_CASE("a training step takes no memory after the second") {
  Context context({2, {}});
  Device& device = context.device("cpu");
  NoiseSource source;
  const ModelInfo info =
      model::classifier_of(model::polar_low({NoiseSource::bands, 2, {4, 8}, 0.5}),
                           Preprocess::of_pictures(0, NoiseSource::crop, NoiseSource::bands),
                           model::Classification({"a", "b"}, 1));
  Model model = model::new_model(info, device, 5);
  model::TrainStep step(context, device, info, model::heads_of(info), model, source.tensors(), {});
  Feeder feeder(device, source);
  feeder.start(0, 0);
  StepState state;
  for (int i = 0; i < 4; i++) {
    const Batch& batch = *feeder.next();
    taken = 0;
    counting = i >= 2;
    step.run(feeder, batch, state, true);
    counting = false;
    if (i >= 2) CHECK(taken == 0);
    state.step++;
    state.draw++;
  }
}
