#include "kernels/simt/shared.h"

#include <algorithm>
#include <cstring>

#include "kernels/error.h"
#include "kernels/simt/sanitizers.h"

namespace fulmar::simt {
namespace {

constexpr size_t alignment = 128;
constexpr size_t red_zone = 256;
constexpr unsigned char unwritten = 0xFF;

size_t padded(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

}  // namespace

unsigned char* SharedMemory::Array::data() const { return memory.get() + red_zone; }

SharedMemory::SharedMemory(size_t dynamic_bytes) : dynamic_bytes_(dynamic_bytes) {
  if (dynamic_bytes > 0) add(nullptr, "dynamic shared memory", dynamic_bytes);
}

SharedMemory::~SharedMemory() {
#ifdef FULMAR_SIMT_ASAN
  for (const Array& a : arrays_)
    __asan_unpoison_memory_region(a.memory.get(), 2 * red_zone + padded(a.bytes));
#endif
}

void SharedMemory::add(const void* tag, const char* name, size_t bytes) {
  const size_t all = 2 * red_zone + padded(bytes);
  Array a{tag, name, bytes, {}};
  a.memory.reset(static_cast<unsigned char*>(std::aligned_alloc(alignment, all)));
  if (!a.memory) device_error("simt: no memory for shared memory");
  std::memset(a.memory.get(), unwritten, all);
#ifdef FULMAR_SIMT_ASAN
  __asan_poison_memory_region(a.memory.get(), red_zone);
  __asan_poison_memory_region(a.data() + bytes, all - red_zone - bytes);
#endif
  arrays_.push_back(std::move(a));
}

void* SharedMemory::array(const void* tag, const char* name, size_t bytes) {
  for (const Array& a : arrays_)
    if (a.tag == tag) return a.data();
  static_bytes_ += bytes;
  if (static_bytes_ > max_static_bytes)
    usage_error("static shared memory with '" + std::string(name) + "' is " +
                std::to_string(static_bytes_) + " bytes, more than " +
                std::to_string(max_static_bytes) + "; make it dynamic");
  if (static_bytes_ + dynamic_bytes_ > max_bytes)
    usage_error("shared memory with '" + std::string(name) + "' is " +
                std::to_string(static_bytes_ + dynamic_bytes_) + " bytes, more than " +
                std::to_string(max_bytes));
  add(tag, name, bytes);
  return arrays_.back().data();
}

std::string SharedMemory::overrun() const {
#ifndef FULMAR_SIMT_ASAN  // which has reported it already, and forbids the look
  const auto spoiled = [](unsigned char byte) { return byte != unwritten; };
  for (const Array& a : arrays_) {
    if (std::any_of(a.memory.get(), a.data(), spoiled))
      return "a write before the beginning of '" + std::string(a.name) + "'";
    if (std::any_of(a.data() + a.bytes, a.data() + padded(a.bytes) + red_zone, spoiled))
      return "a write past the end of '" + std::string(a.name) + "'";
  }
#endif
  return "";
}

}  // namespace fulmar::simt
