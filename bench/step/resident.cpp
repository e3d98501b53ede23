#include "bench/step/resident.h"

#include <fstream>
#include <string>

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

size_t resident_bytes() { return status_bytes("VmRSS"); }

size_t peak_resident_bytes() { return status_bytes("VmHWM"); }

void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace fulmar::bench
