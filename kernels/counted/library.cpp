#include "kernels/counted/library.h"

#include <memory>
#include <optional>
#include <span>
#include <unordered_map>

#include "kernels/api.h"
#include "kernels/counted/counter.h"
#include "kernels/counted/machine_code.h"
#include "kernels/cuda/emulated.h"
#include "kernels/cuda/queue.h"
#include "kernels/error.h"

namespace fulmar {
namespace counted {
namespace {

GlobalMemory& memory() {
  static GlobalMemory device;
  return device;
}

struct Opened;
std::unordered_map<void*, std::unique_ptr<Opened>>& opened();

// Where a few blocks stand for all numbers mean nothing, and no step shall end for what they are.
void count_nonfinite(Stream& stream, std::span<const View> x, const View& count);

const Backend& backend(Precision precision) {
  const auto make = [](Precision p) {
    Backend b = simt_backend(p);
    b.allocate = [](Stream& stream, size_t bytes) {
      void* allocated = simt_backend().allocate(stream, bytes);
      memory().add(allocated, bytes);
      return allocated;
    };
    b.release = [](Stream& stream, void* allocated, size_t bytes) {
      simt_backend().release(stream, allocated, bytes);
      memory().remove(allocated);
    };
    b.count_nonfinite = count_nonfinite;
    return b;
  };
  static const Backend made[] = {make(Precision::fp32), make(Precision::tf32),
                                 make(Precision::bf16)};
  return made[static_cast<int>(precision)];
}

struct Opened {
  explicit Opened(const Machine& machine)
      : counter(memory(), machine), few_run(machine.most_run > 0) {
    auto& queue = *static_cast<cuda::Queue*>(owner.stream().native);
    queue.max_blocks = machine.max_blocks;
    memory().add(queue.partials, cuda::Queue::partial_bytes);
    memory().add(queue.small, cuda::Queue::small_bytes);
  }
  ~Opened() {
    const auto& queue = *static_cast<cuda::Queue*>(owner.stream().native);
    memory().remove(queue.partials);
    memory().remove(queue.small);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  simt::StreamOwner owner;
  Counter counter;
  bool few_run;
  std::optional<simt::UseObserver> observed;
};

std::unordered_map<void*, std::unique_ptr<Opened>>& opened() {
  static std::unordered_map<void*, std::unique_ptr<Opened>> streams;
  return streams;
}

void count_nonfinite(Stream& stream, std::span<const View> x, const View& count) {
  simt_backend().count_nonfinite(stream, x, count);
  if (!opened().at(stream.native)->few_run) return;
  auto* const found = count.as<int32_t>();
  simt::submit(static_cast<cuda::Queue*>(stream.native)->stream, [found] { *found = 0; });
}

Stream open(const Machine& machine) {
  auto one = std::make_unique<Opened>(machine);
  const Stream stream = one->owner.stream();
  opened()[stream.native] = std::move(one);
  return stream;
}

void close(const Stream& stream) { opened().erase(stream.native); }

void begin(const Stream& stream) {
  Opened& one = *opened().at(stream.native);
  one.counter.take();
  one.observed.emplace(&one.counter);
}

std::vector<Launch> take(const Stream& stream) {
  Opened& one = *opened().at(stream.native);
  one.observed.reset();
  return one.counter.take();
}

}  // namespace
}  // namespace counted
}  // namespace fulmar

extern "C" FULMAR_API const fulmar::CountedLibrary* fulmar_counted_library();
extern "C" FULMAR_API const fulmar::CountedLibrary* fulmar_counted_library() {
  using namespace fulmar;
  static const CountedLibrary library{CountedLibrary::current_version,
                                      CountedLibrary::current_layout,
                                      counted::backend,
                                      counted::open,
                                      counted::close,
                                      counted::begin,
                                      counted::take,
                                      [] { return counted::MachineCode::own().missing(); }};
  return &library;
}
