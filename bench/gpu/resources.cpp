#include "bench/gpu/resources.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>

namespace fulmar::bench {
namespace {

// Compilers name what is in an unnamed namespace each in their own way; demangled it is one.
std::string demangled(const std::string& symbol) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : symbol;
}

// The number behind "REG:" in "REG:24 STACK:0 SHARED:6144".
uint64_t number_behind(const std::string& text, const std::string& word) {
  const size_t at = text.find(word);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + word.size(), nullptr, 10);
}

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

uint64_t rounded_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

ResourceTable ResourceTable::parse(const std::string& text, int capability) {
  ResourceTable table;
  const std::string wanted = "sm_" + std::to_string(capability);
  std::istringstream lines(text);
  std::string line, function;
  bool is_wanted = false;
  while (std::getline(lines, line)) {
    if (const size_t at = line.find("arch = "); at != std::string::npos) {
      is_wanted = line.substr(at + 7) == wanted;
    } else if (const size_t name = line.find(" Function "); name != std::string::npos) {
      function = line.substr(name + 10);
      if (!function.empty() && function.back() == ':') function.pop_back();
    } else if (is_wanted && !function.empty() && line.find("REG:") != std::string::npos) {
      table.by_name_[demangled(function)] = {number_behind(line, "REG:"),
                                             number_behind(line, "STACK:")};
      function.clear();
    }
  }
  if (table.by_name_.empty()) table.missing_ = "no code for " + wanted;
  return table;
}

ResourceTable ResourceTable::read(const std::string& library, int capability) {
  ResourceTable table;
  if (library.empty()) {
    table.missing_ = "the CUDA backend's library is not there (CMake preset cuda)";
    return table;
  }
  const char* asked = std::getenv("FULMAR_CUOBJDUMP");
  const std::string tool = asked && *asked ? asked : "cuobjdump";
  const std::string command = quoted(tool) + " --dump-resource-usage " + quoted(library) + " 2>&1";
  std::string text;
  if (const std::unique_ptr<FILE, int (*)(FILE*)> output(popen(command.c_str(), "r"), pclose);
      output) {
    char some[4096];
    while (const size_t bytes = std::fread(some, 1, sizeof some, output.get()))
      text.append(some, bytes);
  }
  if (text.find("Resource usage") == std::string::npos) {
    table.missing_ = "'" + tool + "' of the CUDA toolkit is not there, or can't read " + library +
                     ": name it by FULMAR_CUOBJDUMP";
    return table;
  }
  table = parse(text, capability);
  if (!table.missing_.empty()) table.missing_ = library + " has " + table.missing_;
  return table;
}

std::optional<Resources> ResourceTable::of(const std::string& symbol) const {
  if (symbol.empty()) return std::nullopt;
  const auto found = by_name_.find(demangled(symbol));
  if (found == by_name_.end()) return std::nullopt;
  return found->second;
}

uint64_t resident_blocks(const Gpu& gpu, uint64_t threads,
                         const std::optional<Resources>& resources, uint64_t shared_bytes) {
  // A warp's registers come by 256; a block takes 1 KiB of shared memory for the system, and shared
  // memory by 128 bytes.
  const uint64_t warps = (threads + 31) / 32;
  uint64_t blocks = std::min(gpu.blocks, gpu.threads / (warps * 32));
  if (resources && resources->registers > 0) {
    const uint64_t of_warp = rounded_up(resources->registers * 32, 256);
    blocks = std::min(blocks, gpu.registers / of_warp / warps);
  }
  return std::min(blocks, gpu.shared_bytes / (rounded_up(shared_bytes, 128) + 1024));
}

}  // namespace fulmar::bench
