#include "tools/run/memory.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "engine/leaf.h"
#include "engine/ops.h"
#include "kernels/error.h"
#include "model/program.h"
#include "tools/run/text.h"

namespace fulmar::tools {

uint64_t memory_here() {
  uint64_t bytes = UINT64_MAX;
  struct sysinfo info {};
  if (::sysinfo(&info) == 0)
    bytes = (uint64_t{info.totalram} + uint64_t{info.totalswap}) * info.mem_unit;
  // Of control groups, version 2 and 1; "max" is no number.
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    uint64_t limit = 0;
    if (std::ifstream(path) >> limit) bytes = std::min(bytes, limit);
  }
  return bytes;
}

namespace {

// The number behind a name in a file of "name: number" lines; 0 where it is not there.
uint64_t named_number(const char* path, const std::string& name) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    const size_t end = line.find_first_of(": ");
    if (line.substr(0, end) != name || end == std::string::npos) continue;
    return std::strtoull(line.c_str() + end + 1, nullptr, 10);
  }
  return 0;
}

}  // namespace

uint64_t memory_left() {
  const char* info = "/proc/meminfo";
  uint64_t left = 1024 * (named_number(info, "MemAvailable") + named_number(info, "SwapFree"));
  if (left == 0) left = memory_here();
  // A control group counts the cache of files too, which gives way.
  const uint64_t here = memory_here();
  const uint64_t taken = std::max(named_number("/sys/fs/cgroup/memory.stat", "anon"),
                                  named_number("/sys/fs/cgroup/memory/memory.stat", "total_rss"));
  return std::min(left, here > taken ? here - taken : 0);
}

void require_memory(double bytes, const std::string& what, const std::string& remedy) {
  const uint64_t here = memory_here();
  if (bytes <= static_cast<double>(here)) return;
  const auto needed = static_cast<uint64_t>(std::min(bytes, 1.8e19));
  device_error("out of memory: " + what + " takes about " + readable_bytes(needed) + ", and " +
               readable_bytes(here) + " are here; " + remedy);
}

void require_device_memory(double bytes, Device& device, const std::string& what,
                           const std::string& remedy, double of_batch, int64_t batch) {
  if (device.backend().host_memory) return require_memory(bytes, what, remedy);
  const MemoryInfo memory = device.backend().memory(device.stream());
  if (bytes <= static_cast<double>(memory.free_bytes)) return;
  const auto needed = static_cast<uint64_t>(std::min(bytes, 1.8e19));
  const double left = static_cast<double>(memory.free_bytes) - (bytes - of_batch);
  const auto fits =
      of_batch > 0 ? static_cast<int64_t>(static_cast<double>(batch) * left / of_batch) : 0;
  device_error("out of memory: " + what + " takes about " + readable_bytes(needed) + ", and " +
               readable_bytes(memory.free_bytes) + " of the " + readable_bytes(memory.total_bytes) +
               " of " + device.describe() + " are free; " +
               (fits > 0 ? "a batch of " + std::to_string(fits) + " fits; " : "") + remedy);
}

void require_memory_for_weights(const ModelInfo& info, Device& device) {
  const model::Program program =
      model::record_program(info, {}, model::tensors_of(info, {}, 1), {Mode::eval});
  const Tape& tape = *program.tape;
  double weights = 0;
  for (int n = 0; n < tape.size(); n++) {
    const ops::Leaf* leaf = ops::as_leaf(tape.node(n));
    if (leaf && leaf->kind() == ops::Leaf::Kind::parameter)
      weights += static_cast<double>(tape.node(n).outputs[0].shape.elements());
  }
  const char *what = "holding this network's weights", *remedy = "use smaller --widths";
  require_memory(4 * sizeof(float) * weights, what, remedy);
  require_device_memory(4 * sizeof(float) * weights, device, what, remedy);
}

}  // namespace fulmar::tools
