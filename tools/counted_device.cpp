#include "tools/counted_device.h"

#include "engine/backend_library.h"

namespace fulmar::tools {
namespace {

constexpr BackendLibrary counted_library{
    "counters",
    CountedLibrary::file_name,
    "FULMAR_COUNTED_LIBRARY",
    CountedLibrary::symbol,
    "build its target, 'cmake --build --preset release --target fulmar_counted'",
    "build it anew"};

const CountedLibrary* load() {
  const auto [library, path] = counted_library.load<CountedLibrary>();
  require_version(counted_library, path, "library's interface", library->version,
                  CountedLibrary::current_version);
  require_layout(counted_library, path, library->layout, CountedLibrary::current_layout);
  require_version(counted_library, path, "table of kernels",
                  library->backend(Precision::fp32).version, Backend::current_version);
  return library;
}

DeviceInfo info_of(Precision precision) {
  DeviceInfo info;
  info.precision = precision;
  return info;
}

}  // namespace

CountedDevice::CountedDevice(const counted::Machine& machine, Precision precision)
    : library_(load()),
      stream_(library_->open(machine)),
      device_(library_->backend(precision), stream_, info_of(precision)) {}

CountedDevice::~CountedDevice() { library_->close(stream_); }

}  // namespace fulmar::tools
