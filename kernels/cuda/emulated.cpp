#include "kernels/cuda/emulated.h"

#include <limits>

#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"
#include "kernels/host_memory.h"

namespace fulmar {
namespace cuda {

namespace {

simt::StreamState& state_of(const Stream& stream) {
  return *static_cast<simt::StreamState*>(queue_of(stream).stream);
}

// What can't be captured, and waits for all that came before.
simt::StreamState& waited(const Stream& stream, const char* call) {
  simt::StreamState& state = state_of(stream);
  state.forbid_in_capture(call);
  state.wait();
  return state;
}

const Backend& host() {
  static const Backend made = [] {
    Backend b{};
    use_host_memory(b);
    return b;
  }();
  return made;
}

}  // namespace

void make_current(int) {}

void set_memory(Backend& b) {
  b.host_memory = false;
  b.allocate = b.allocate_pinned = [](Stream& stream, size_t bytes) {
    state_of(stream).forbid_in_capture("an allocation");
    return host().allocate(stream, bytes);
  };
  b.release = b.release_pinned = [](Stream& stream, void* memory, size_t bytes) {
    state_of(stream).give_up();
    host().release(stream, memory, bytes);
  };
  b.copy_in = [](Stream& stream, void* device, const void* from, size_t bytes) {
    waited(stream, "a copy to the device");
    host().copy_in(stream, device, from, bytes);
  };
  b.copy_out = [](Stream& stream, void* to, const void* device, size_t bytes) {
    waited(stream, "a copy to the host");
    host().copy_out(stream, to, device, bytes);
  };
  b.synchronize = [](Stream& stream) { waited(stream, "a wait"); };
  b.memory = host().memory;
  b.upload = [](Stream& stream, void* device, const void* pinned, size_t bytes) {
    state_of(stream).forbid_in_capture("an upload");
    state_of(stream).upload(device, pinned, bytes);
  };
  b.fence = [](Stream& stream) {
    state_of(stream).forbid_in_capture("a fence");
    state_of(stream).fence();
  };
  b.transfer = [](Stream& stream, void* to, const void* from, size_t bytes) {
    state_of(stream).forbid_in_capture("a transfer");
    state_of(stream).transfer(to, from, bytes);
  };
  b.mark = [](Stream& stream) { return state_of(stream).mark(); };
  b.wait = [](Stream& stream, uint64_t mark) {
    state_of(stream).forbid_in_capture("a wait");
    state_of(stream).wait(mark);
  };
  b.begin_capture = [](Stream& stream) { state_of(stream).begin_capture(); };
  b.end_capture = [](Stream& stream) -> void* {
    return new simt::Launches(state_of(stream).end_capture());
  };
  b.replay = [](Stream& stream, void* graph) {
    state_of(stream).replay(*static_cast<const simt::Launches*>(graph));
  };
  b.release_graph = [](Stream& stream, void* graph) {
    state_of(stream).give_up();
    delete static_cast<simt::Launches*>(graph);
  };
}

void set_vendor(Backend&) {}

}  // namespace cuda

namespace simt {

// Memory that a kernel reads without having written it is NaN.
struct StreamOwner::Memory {
  std::vector<double> partials = unwritten(cuda::Queue::partial_bytes);
  std::vector<double> small = unwritten(cuda::Queue::small_bytes);
  StreamState state;
  cuda::Queue queue;

  explicit Memory(Timing timing) : state(timing) {}
  static std::vector<double> unwritten(size_t bytes) {
    return std::vector<double>(bytes / sizeof(double), std::numeric_limits<double>::quiet_NaN());
  }
};

StreamOwner::StreamOwner(Timing timing) : memory_(new Memory(timing)) {
  memory_->queue.stream = &memory_->state;
  memory_->queue.partials = memory_->partials.data();
  memory_->queue.small = memory_->small.data();
  memory_->queue.max_blocks = 3;  // so that grids stride over what they work on
}
StreamOwner::~StreamOwner() = default;

Stream StreamOwner::stream() const { return {nullptr, &memory_->queue}; }

}  // namespace simt

const Backend& simt_backend(Precision precision) {
  const auto make = [](Precision p) {
    return cuda::table(
        "simt", [] { return "emulated CUDA"; }, p);
  };
  static const Backend backends[] = {make(Precision::fp32), make(Precision::tf32),
                                     make(Precision::bf16)};
  return backends[static_cast<int>(precision)];
}

}  // namespace fulmar
