#include "engine/device.h"

#include <utility>

#include "kernels/cuda/library.h"
#include "kernels/error.h"

namespace fulmar {

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::fp32:
      return "fp32";
    case Precision::tf32:
      return "tf32";
    case Precision::bf16:
      return "bf16";
  }
  return "unknown";
}

std::optional<Precision> precision_named(std::string_view name) {
  for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16})
    if (name == name_of(p)) return p;
  return std::nullopt;
}

Device::Device(const Backend& backend, Stream stream, DeviceInfo info)
    : backend_(&backend), stream_(stream), info_(std::move(info)) {
  require_complete(backend);
  if (info_.name.empty()) info_.name = backend.name;
  if (info_.hardware.empty()) info_.hardware = backend.isa();
}

std::string Device::describe() const {
  return info_.cuda ? info_.name + " (" + info_.hardware + ")" : info_.name;
}

std::string Device::convolution_choices() const {
  return info_.cuda ? info_.cuda->convolution_choices(stream_) : std::string();
}

void Device::use_convolution_choices(const std::string& choices) {
  if (info_.cuda && !choices.empty()) info_.cuda->use_convolution_choices(stream_, choices);
}

DeviceBuffer::DeviceBuffer(Device& device, size_t bytes)
    : device_(&device),
      data_(static_cast<std::byte*>(device.backend().allocate(device.stream(), bytes))),
      bytes_(bytes) {}

DeviceBuffer::~DeviceBuffer() {
  if (data_) device_->backend().release(device_->stream(), data_, bytes_);
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedBuffer::PinnedBuffer(Device& device, size_t bytes)
    : device_(&device),
      data_(static_cast<std::byte*>(device.backend().allocate_pinned(device.stream(), bytes))),
      bytes_(bytes) {}

PinnedBuffer::~PinnedBuffer() {
  if (data_) device_->backend().release_pinned(device_->stream(), data_, bytes_);
}

PinnedBuffer::PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

DeviceGraph::~DeviceGraph() {
  if (graph_) device_->backend().release_graph(device_->stream(), graph_);
}

DeviceGraph::DeviceGraph(DeviceGraph&& other) noexcept { *this = std::move(other); }

DeviceGraph& DeviceGraph::operator=(DeviceGraph&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(graph_, other.graph_);
  return *this;
}

// Ends a capture that failed: what made it fail is told, not that it ended early.
void DeviceGraph::abandon() {
  try {
    if (void* graph = device_->backend().end_capture(device_->stream()))
      device_->backend().release_graph(device_->stream(), graph);
  } catch (const Error&) {
  }
}

}  // namespace fulmar
