#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fulmar::exchange {

// A message in Protocol Buffers' wire format, written field by field; writing alone needs no more
// of it than this.
class ProtobufMessage {
 public:
  void integer(int field, int64_t value);
  void number(int field, float value);
  void text(int field, std::string_view bytes);
  void message(int field, const ProtobufMessage& inner) { text(field, inner.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(uint64_t value);
  std::string bytes_;
};

// An ONNX graph (onnx.proto of ONNX 1.12: IR version 8, opset 17).
class OnnxGraph {
 public:
  using Attribute =
      std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>>;
  using Attributes = std::vector<std::pair<std::string, Attribute>>;

  // A node with one output, whose name it gives; it is the node's name too.
  std::string node(const std::string& op, const std::vector<std::string>& inputs,
                   const std::string& output, const Attributes& attributes = {});
  // Constants; one of a name that is there already is the same. They give the name.
  std::string floats(const std::string& name, const std::vector<int64_t>& shape,
                     std::span<const float> values);
  std::string integers(const std::string& name, std::span<const int64_t> values);
  // Float tensors with any number of images: the first extent is "N", which `shape` leaves out.
  void input(const std::string& name, const std::vector<int64_t>& shape);
  void output(const std::string& name, const std::vector<int64_t>& shape);

  // The whole file. Error(usage) where it is 2 GiB or more, which Protocol Buffers can't hold.
  std::string model(const std::string& name, const std::map<std::string, std::string>& metadata);

 private:
  bool is_new(const std::string& name);

  ProtobufMessage nodes_, constants_, inputs_, outputs_;
  std::map<std::string, bool> known_;
};

}  // namespace fulmar::exchange
