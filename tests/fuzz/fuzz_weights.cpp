// Any bytes are a file of weights, whose tensors then lie inside it, or an Error(file); and a
// pickle, which is data alone, or an Error(file).
#include <cstdint>
#include <cstdlib>
#include <string>

#include "kernels/error.h"
#include "tools/exchange/pickle.h"
#include "tools/exchange/torch_names.h"
#include "tools/exchange/weight_file.h"

namespace {

using namespace fulmar;

template <class Work>
void refuses_or_works(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::file) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string text(reinterpret_cast<const char*>(data), bytes);
  refuses_or_works([&] {
    std::string_view rest = text;
    const exchange::Pickle pickle = exchange::Pickle::read(rest);
    if (rest.size() >= bytes) std::abort();
    pickle.find(pickle.root(), "state_dict");
  });
  refuses_or_works([&] {
    const exchange::WeightFile file = exchange::WeightFile::parse(text, "fuzzed");
    for (const auto& [name, tensor] : file.tensors()) {
      if (tensor.storage.size() > bytes) std::abort();
      exchange::torchvision_key(name);
      // AddressSanitizer watches every element.
      if (std::ssize(file.values(tensor)) != tensor.elements()) std::abort();
    }
  });
  return 0;
}
