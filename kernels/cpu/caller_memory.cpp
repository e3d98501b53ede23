#include "kernels/cpu/caller_memory.h"

#include <memory>
#include <new>
#include <string>

#include "kernels/error.h"

namespace fulmar::cpu {

namespace {

struct Free {
  void operator()(float* memory) const { ::operator delete (memory, std::align_val_t{64}); }
};
struct Piece {
  std::unique_ptr<float, Free> memory;
  size_t floats = 0;
};

}  // namespace

float* caller_memory(size_t floats) {
  static thread_local Piece piece;
  if (piece.floats < floats) {
    piece = {};
    const size_t bytes = floats * sizeof(float);
    piece.memory.reset(
        static_cast<float*>(::operator new (bytes, std::align_val_t{64}, std::nothrow)));
    if (!piece.memory)
      device_error("out of memory: " + std::to_string(bytes) + " bytes for packed weights");
    piece.floats = floats;
  }
  return piece.memory.get();
}

}  // namespace fulmar::cpu
