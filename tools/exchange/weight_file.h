#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/safetensors.h"

namespace fulmar::exchange {

// A tensor of a file of weights: elements of a storage at `offset` + sum of index times stride.
struct FileTensor {
  StoredType type = StoredType::f32;
  std::vector<int64_t> shape, stride;
  int64_t offset = 0;
  std::string_view storage;

  int64_t elements() const;
};

// A file of named tensors: a state dict that torch.save wrote (zip, or as before PyTorch 1.6), or
// a safetensors file. Nothing in it is run.
class WeightFile {
 public:
  // Error(file) naming the file and what is wrong with it.
  static WeightFile read(const std::string& path);
  // The same for a file in memory; `name` stands for it in messages.
  static WeightFile parse(std::string bytes, const std::string& name);

  const std::map<std::string, FileTensor>& tensors() const { return tensors_; }
  // Row-major.
  std::vector<double> values(const FileTensor& tensor) const;
  // "PyTorch", "PyTorch before 1.6" or "safetensors".
  const std::string& format() const { return format_; }
  // Where in the file the tensors were, and what of it isn't read; a sentence each.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  void read_zip();
  void read_legacy();
  void read_safetensors(const std::string& name);
  class Unwrapped;

  std::shared_ptr<const std::string> bytes_;
  std::shared_ptr<const Safetensors> safetensors_;
  std::map<std::string, FileTensor> tensors_;
  std::string format_;
  std::vector<std::string> notes_;
};

}  // namespace fulmar::exchange
