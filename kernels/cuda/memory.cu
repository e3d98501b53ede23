#include "kernels/cuda/check.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/queue.h"

// Memory and order on a GPU. Work goes to the stream's own queue; nothing waits but synchronize and
// copies to and from memory that isn't pinned.
namespace fulmar::cuda {
namespace {

// Releasing is told of no errors: it happens where others are on their way.
void begin_release(const Stream& stream) {
  int now = 0;
  const int device = static_cast<const Queue*>(stream.native)->device;
  if (cudaGetDevice(&now) != cudaSuccess || now != device) cudaSetDevice(device);
}

MemoryInfo memory(Stream& stream) {
  queue_of(stream);
  MemoryInfo info;
  check(cudaMemGetInfo(&info.free_bytes, &info.total_bytes), "cudaMemGetInfo");
  return info;
}

[[noreturn]] void out_of_memory(const char* call, size_t bytes, const std::string& remedy) {
  cudaGetLastError();  // it has been told of
  device_error("cuda: " + std::string(call) + ": out of memory: " + std::to_string(bytes) +
               " bytes asked for" + remedy);
}

void* allocate(Stream& stream, size_t bytes) {
  queue_of(stream);
  void* allocated = nullptr;
  const cudaError_t error = cudaMalloc(&allocated, bytes > 0 ? bytes : 1);
  if (error == cudaErrorMemoryAllocation) {
    const MemoryInfo now = memory(stream);
    out_of_memory("cudaMalloc", bytes,
                  ", " + std::to_string(now.free_bytes) + " of " + std::to_string(now.total_bytes) +
                      " are free; use a smaller batch, crop or network");
  }
  check(error, "cudaMalloc of " + std::to_string(bytes) + " bytes");
  return allocated;
}

void release(Stream& stream, void* memory, size_t) {
  begin_release(stream);
  cudaFree(memory);
}

void* allocate_pinned(Stream& stream, size_t bytes) {
  queue_of(stream);
  void* allocated = nullptr;
  const cudaError_t error = cudaMallocHost(&allocated, bytes > 0 ? bytes : 1);
  if (error == cudaErrorMemoryAllocation)
    out_of_memory("cudaMallocHost", bytes, " of page-locked host memory");
  check(error, "cudaMallocHost of " + std::to_string(bytes) + " bytes");
  return allocated;
}

void release_pinned(Stream& stream, void* memory, size_t) {
  begin_release(stream);
  cudaFreeHost(memory);
}

void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream,
          const char* where) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, bytes, kind, stream),
        "cudaMemcpyAsync of " + std::to_string(bytes) + " bytes " + where);
}

void copy_in(Stream& stream, void* device, const void* host, size_t bytes) {
  copy(device, host, bytes, cudaMemcpyHostToDevice, queue_of(stream).stream, "to the device");
}

void copy_out(Stream& stream, void* host, const void* device, size_t bytes) {
  copy(host, device, bytes, cudaMemcpyDeviceToHost, queue_of(stream).stream, "from the device");
}

void synchronize(Stream& stream) {
  check(cudaStreamSynchronize(queue_of(stream).stream), "cudaStreamSynchronize");
}

void upload(Stream& stream, void* device, const void* pinned, size_t bytes) {
  copy(device, pinned, bytes, cudaMemcpyHostToDevice, queue_of(stream).uploads, "to the device");
}

// What runs next waits for the uploads so far, and uploads to come for what runs already.
void fence(Stream& stream) {
  const Queue& queue = queue_of(stream);
  check(cudaEventRecord(queue.uploaded, queue.uploads), "cudaEventRecord");
  check(cudaEventRecord(queue.launched, queue.stream), "cudaEventRecord");
  check(cudaStreamWaitEvent(queue.stream, queue.uploaded, 0), "cudaStreamWaitEvent");
  check(cudaStreamWaitEvent(queue.uploads, queue.launched, 0), "cudaStreamWaitEvent");
}

void transfer(Stream& stream, void* to, const void* from, size_t bytes) {
  copy(to, from, bytes, cudaMemcpyDefault, queue_of(stream).stream, "in the order of kernels");
}

uint64_t mark(Stream& stream) {
  queue_of(stream);
  Queue& queue = *static_cast<Queue*>(stream.native);
  queue.marked++;
  check(cudaEventRecord(queue.marks[queue.marked % Queue::mark_count], queue.stream),
        "cudaEventRecord");
  return queue.marked;
}

// An event that stands for a later mark by now is reached after this one.
void wait(Stream& stream, uint64_t mark) {
  if (mark == 0) return;  // nothing was called yet
  check(cudaEventSynchronize(queue_of(stream).marks[mark % Queue::mark_count]),
        "cudaEventSynchronize");
}

void begin_capture(Stream& stream) {
  check(cudaStreamBeginCapture(queue_of(stream).stream, cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
}

void* end_capture(Stream& stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(queue_of(stream).stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t ready = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&ready, graph, 0);
  cudaGraphDestroy(graph);
  check(error, "cudaGraphInstantiate");
  return ready;
}

void replay(Stream& stream, void* graph) {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), queue_of(stream).stream),
        "cudaGraphLaunch");
}

void release_graph(Stream& stream, void* graph) {
  begin_release(stream);
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

}  // namespace

// Asking costs some 10 ns; setting is left out where it changes nothing.
void make_current(int device) {
  int now = 0;
  check(cudaGetDevice(&now), "cudaGetDevice");
  if (now != device) check(cudaSetDevice(device), "cudaSetDevice of GPU " + std::to_string(device));
}

void set_memory(Backend& b) {
  b.allocate = allocate;
  b.release = release;
  b.copy_in = copy_in;
  b.copy_out = copy_out;
  b.synchronize = synchronize;
  b.memory = memory;
  b.allocate_pinned = allocate_pinned;
  b.release_pinned = release_pinned;
  b.upload = upload;
  b.fence = fence;
  b.transfer = transfer;
  b.mark = mark;
  b.wait = wait;
  b.begin_capture = begin_capture;
  b.end_capture = end_capture;
  b.replay = replay;
  b.release_graph = release_graph;
}

}  // namespace fulmar::cuda
