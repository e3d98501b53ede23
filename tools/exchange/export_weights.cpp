#include "tools/exchange/export_weights.h"

#include <vector>

#include "engine/io/safetensors.h"
#include "tools/exchange/torch_names.h"
#include "tools/exchange/zip.h"
#include "tools/run/npy.h"

namespace fulmar::exchange {
namespace {

// A module's count of batches, which nobody kept here: torch.optim and evaluation don't use it.
constexpr int64_t no_batches = 0;

std::vector<float> values_of(const TorchWeight& weight, Model& model) {
  const std::vector<double> values = to_torch(weight, model.read(weight.name));
  return {values.begin(), values.end()};
}

}  // namespace

Exported export_safetensors(const std::string& path, const ModelInfo& info, Model& model) {
  const std::vector<TorchWeight> weights = torch_weights(info.network, model);
  std::vector<std::vector<float>> values;
  std::vector<StoredTensor> tensors;
  Exported exported;
  for (const TorchWeight& weight : weights) {
    exported.tensors++;
    if (weight.name.empty()) {
      tensors.push_back({weight.key, StoredType::i64, {}, &no_batches});
      continue;
    }
    values.push_back(values_of(weight, model));
    exported.values += std::ssize(values.back());
    tensors.push_back({weight.key, StoredType::f32, weight.shape, values.back().data()});
  }
  write_safetensors(path, tensors, {{"format", "pt"}});
  return exported;
}

Exported export_npz(const std::string& path, const ModelInfo& info, Model& model) {
  ZipWriter archive(path);
  Exported exported;
  const auto add = [&](const std::string& key, std::string array, const void* data, size_t bytes) {
    array.append(static_cast<const char*>(data), bytes);
    archive.add(key + ".npy", array);
    exported.tensors++;
  };
  for (const TorchWeight& weight : torch_weights(info.network, model)) {
    if (weight.name.empty()) {
      add(weight.key, tools::npy_header("<i8", {}), &no_batches, sizeof no_batches);
      continue;
    }
    const std::vector<float> values = values_of(weight, model);
    exported.values += std::ssize(values);
    add(weight.key, tools::npy_header("<f4", weight.shape), values.data(),
        values.size() * sizeof(float));
  }
  archive.commit();
  return exported;
}

}  // namespace fulmar::exchange
