// Any bytes are either a safetensors file, whose tensors then lie inside it, or an Error(file).
#include <cstdint>
#include <cstdlib>

#include "engine/io/safetensors.h"
#include "kernels/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  try {
    const auto file = fulmar::Safetensors::parse(std::as_bytes(std::span(data, bytes)), "fuzzed");
    uint64_t total = 0;
    for (const fulmar::StoredTensor& tensor : file.tensors()) {
      // The first and last byte are there: AddressSanitizer watches.
      const auto* at = static_cast<const volatile uint8_t*>(tensor.data);
      if (tensor.bytes() > 0) (void)(at[0] + at[tensor.bytes() - 1]);
      total += tensor.bytes();
      if (file.find(tensor.name) != &tensor) std::abort();
    }
    if (total > bytes) std::abort();
  } catch (const fulmar::Error& error) {
    if (error.kind() != fulmar::ErrorKind::file) std::abort();
  }
  return 0;
}
