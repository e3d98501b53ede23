#include "tools/run/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "tools/run/memory.h"

namespace fulmar::tools {
namespace {

// Of x86; other systems tell their architecture.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != line.npos) return line.substr(colon + 2);
  }
  struct utsname system {};
  return ::uname(&system) == 0 ? system.machine : "unknown";
}

}  // namespace

Json machine_json(Device& device, Context& context) {
  return {{"device", device.name()},
          {"hardware", device.hardware()},
          {"precision", name_of(device.precision())},
          {"processor", processor_name()},
          {"instruction_set", cpu_backend().isa()},
          {"processors", static_cast<int64_t>(::sysconf(_SC_NPROCESSORS_ONLN))},
          {"threads", context.pool().threads()},
          {"memory_bytes", memory_here()}};
}

}  // namespace fulmar::tools
