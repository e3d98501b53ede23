#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/io/safetensors_header.h"

namespace fulmar::exchange {

// A tensor of a file of PyTorch's: a part of a storage; extents, strides and offset in elements.
struct TorchTensor {
  StoredType type = StoredType::f32;
  std::string storage;  // its key
  int64_t offset = 0;
  std::vector<int64_t> shape, stride;
};

struct TorchStorage {
  StoredType type = StoredType::f32;
  int64_t elements = 0;
};

// A pickle as PyTorch's files hold them (protocol 2), read as data: the opcodes and globals of
// state dicts alone, of which none is called. A dict, a list and so on become a Node.
class Pickle {
 public:
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,   // or an integer of more than 8 bytes, as they lie
    tuple,  // of `items`
    list,
    dict,  // `items` has key, value, key, value, …
    global,
    storage,  // `text` is its key
    tensor,   // number `integer` of tensors()
    opaque    // of no interest: a device, a set, …
  };
  struct Node {
    Kind kind = Kind::none;
    int64_t integer = 0;
    double real = 0;
    std::string text{};
    std::vector<uint32_t> items{};
  };

  // Limits of a pickle: a checkpoint of a thousand tensors with its optimiser has some 10^5 nodes.
  static constexpr size_t max_nodes = size_t{1} << 21, max_items = size_t{1} << 22,
                          max_text_bytes = size_t{1} << 20, max_depth = 64;

  // Reads one pickle from `bytes` and takes it off. Error(file) for any fault, naming an opcode
  // that isn't read and a global that isn't allowed.
  static Pickle read(std::string_view& bytes);

  const Node& root() const { return nodes_[root_]; }
  const Node& node(uint32_t number) const { return nodes_[number]; }
  const TorchTensor& tensor(const Node& node) const {
    return tensors_[static_cast<size_t>(node.integer)];
  }
  const std::map<std::string, TorchStorage>& storages() const { return storages_; }
  // The node of a dict under a text; nullptr where there is none, or `dict` is no dict.
  const Node* find(const Node& dict, std::string_view key) const;

 private:
  friend class Unpickler;
  std::vector<Node> nodes_;
  std::vector<TorchTensor> tensors_;
  std::map<std::string, TorchStorage> storages_;
  uint32_t root_ = 0;
};

}  // namespace fulmar::exchange
