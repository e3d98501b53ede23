#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace fulmar::simt {

// The shared memory of one block: arrays that start as NaN (all bits set), each between red zones.
// The red zones are NaN too; ASan reports a touch, without it a write is found when the block ends.
class SharedMemory {
 public:
  static constexpr size_t max_static_bytes = 48 * 1024;
  static constexpr size_t max_bytes = 227 * 1024;  // of sm_90; a launch asks for what is dynamic

  explicit SharedMemory(size_t dynamic_bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // The array that belongs to `tag`. Error(usage) where more is asked for than there is.
  void* array(const void* tag, const char* name, size_t bytes);
  void* dynamic() const { return dynamic_bytes_ > 0 ? arrays_[0].data() : nullptr; }

  // What was written beside an array, in words; "" where nothing was.
  std::string overrun() const;

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  struct Array {
    const void* tag;
    const char* name;
    size_t bytes;
    std::unique_ptr<unsigned char, Free> memory;
    unsigned char* data() const;
  };
  void add(const void* tag, const char* name, size_t bytes);

  size_t static_bytes_ = 0, dynamic_bytes_;
  std::vector<Array> arrays_;
};

}  // namespace fulmar::simt
