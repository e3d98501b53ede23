#include "bench/step/resident.h"

#include <fstream>
#include <string>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace fulmar::bench {
namespace {

// A line of Linux' account of a process, in kB there.
size_t status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(name + ":", 0) == 0) return std::stoull(line.substr(name.size() + 1)) * 1024;
  return 0;
}

}  // namespace

size_t peak_resident_bytes() { return status_bytes("VmHWM"); }

size_t forget_peak() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  std::ofstream("/proc/self/clear_refs") << "5";
  return status_bytes("VmRSS");
}

}  // namespace fulmar::bench
