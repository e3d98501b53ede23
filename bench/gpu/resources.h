#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "bench/gpu/gpu.h"

namespace fulmar::bench {

// What nvcc made of a kernel.
struct Resources {
  uint64_t registers = 0;  // of a thread
  uint64_t stack = 0;  // bytes of a thread in slow memory: spills, and arrays indexed at run time
};

// The kernels of the CUDA backend's library for one architecture, as `cuobjdump
// --dump-resource-usage` lists them, by their demangled names.
class ResourceTable {
 public:
  // From the tool's output.
  static ResourceTable parse(const std::string& text, int capability);
  // Runs the tool (FULMAR_CUOBJDUMP, or "cuobjdump") on a library; without it, or without code for
  // the architecture, the table is empty and says why.
  static ResourceTable read(const std::string& library, int capability);

  const std::string& missing() const { return missing_; }
  std::optional<Resources> of(const std::string& symbol) const;  // mangled
  size_t size() const { return by_name_.size(); }

 private:
  std::string missing_;
  std::map<std::string, Resources> by_name_;
};

// Blocks of so many threads that are resident on a processor at once, by the limits of threads,
// blocks, registers and shared memory. Without the compiler's word registers set no limit.
uint64_t resident_blocks(const Gpu& gpu, uint64_t threads,
                         const std::optional<Resources>& resources, uint64_t shared_bytes);

}  // namespace fulmar::bench
