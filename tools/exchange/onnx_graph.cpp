#include "tools/exchange/onnx_graph.h"

#include <bit>
#include <cstring>
#include <limits>

#include "kernels/error.h"
#include "kernels/version.h"

namespace fulmar::exchange {
namespace {

static_assert(std::endian::native == std::endian::little, "ONNX's raw data is little-endian");

constexpr int64_t ir_version = 8, opset = 17, type_float = 1, type_int64 = 7;

// Numbers of onnx.proto's fields.
namespace model_field {
constexpr int ir = 1, producer = 2, producer_version = 3, graph = 7, opset_import = 8,
              metadata = 14;
}
namespace graph_field {
constexpr int node = 1, name = 2, initializer = 5, input = 11, output = 12;
}
namespace node_field {
constexpr int input = 1, output = 2, name = 3, op = 4, attribute = 5;
}
namespace attribute_field {
constexpr int name = 1, number = 2, integer = 3, text = 4, numbers = 7, integers = 8, type = 20;
}
namespace attribute_type {
constexpr int64_t number = 1, integer = 2, text = 3, numbers = 6, integers = 7;
}
namespace tensor_field {
constexpr int dims = 1, type = 2, name = 8, raw = 9;
}

ProtobufMessage attribute_message(const std::string& name, const OnnxGraph::Attribute& value) {
  ProtobufMessage m;
  m.text(attribute_field::name, name);
  int64_t type = 0;
  if (const auto* integer = std::get_if<int64_t>(&value)) {
    m.integer(attribute_field::integer, *integer);
    type = attribute_type::integer;
  } else if (const auto* number = std::get_if<float>(&value)) {
    m.number(attribute_field::number, *number);
    type = attribute_type::number;
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    m.text(attribute_field::text, *text);
    type = attribute_type::text;
  } else if (const auto* integers = std::get_if<std::vector<int64_t>>(&value)) {
    for (const int64_t item : *integers) m.integer(attribute_field::integers, item);
    type = attribute_type::integers;
  } else {
    for (const float item : std::get<std::vector<float>>(value))
      m.number(attribute_field::numbers, item);
    type = attribute_type::numbers;
  }
  m.integer(attribute_field::type, type);
  return m;
}

ProtobufMessage tensor(const std::string& name, int64_t type, const std::vector<int64_t>& shape,
                       std::string_view raw) {
  ProtobufMessage m;
  for (const int64_t extent : shape) m.integer(tensor_field::dims, extent);
  m.integer(tensor_field::type, type);
  m.text(tensor_field::name, name);
  m.text(tensor_field::raw, raw);
  return m;
}

template <class T>
std::string_view bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

// ValueInfoProto {name 1, type 2}, TypeProto {tensor_type 1}, Tensor {elem_type 1, shape 2},
// TensorShapeProto {dim 1}, Dimension {dim_value 1, dim_param 2}.
ProtobufMessage value_info(const std::string& name, const std::vector<int64_t>& shape) {
  ProtobufMessage dims, images, of_float, type, info;
  images.text(2, "N");
  dims.message(1, images);
  for (const int64_t extent : shape) {
    ProtobufMessage dim;
    dim.integer(1, extent);
    dims.message(1, dim);
  }
  of_float.integer(1, type_float);
  of_float.message(2, dims);
  type.message(1, of_float);
  info.text(1, name);
  info.message(2, type);
  return info;
}

}  // namespace

void ProtobufMessage::varint(uint64_t value) {
  for (; value >= 128; value >>= 7) bytes_ += static_cast<char>(value | 128);
  bytes_ += static_cast<char>(value);
}
void ProtobufMessage::integer(int field, int64_t value) {
  varint(static_cast<uint64_t>(field) << 3);
  varint(static_cast<uint64_t>(value));
}
void ProtobufMessage::number(int field, float value) {
  varint(static_cast<uint64_t>(field) << 3 | 5);
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  bytes_.append(bytes, sizeof value);
}
void ProtobufMessage::text(int field, std::string_view bytes) {
  varint(static_cast<uint64_t>(field) << 3 | 2);
  varint(bytes.size());
  bytes_ += bytes;
}

bool OnnxGraph::is_new(const std::string& name) { return known_.emplace(name, true).second; }

std::string OnnxGraph::node(const std::string& op, const std::vector<std::string>& inputs,
                            const std::string& output, const Attributes& attributes) {
  ProtobufMessage m;
  for (const std::string& input : inputs) m.text(node_field::input, input);
  m.text(node_field::output, output);
  m.text(node_field::name, output);
  m.text(node_field::op, op);
  for (const auto& [name, value] : attributes)
    m.message(node_field::attribute, attribute_message(name, value));
  nodes_.message(graph_field::node, m);
  return output;
}

std::string OnnxGraph::floats(const std::string& name, const std::vector<int64_t>& shape,
                              std::span<const float> values) {
  if (is_new(name))
    constants_.message(graph_field::initializer, tensor(name, type_float, shape, bytes_of(values)));
  return name;
}
std::string OnnxGraph::integers(const std::string& name, std::span<const int64_t> values) {
  if (is_new(name))
    constants_.message(graph_field::initializer,
                       tensor(name, type_int64, {std::ssize(values)}, bytes_of(values)));
  return name;
}
void OnnxGraph::input(const std::string& name, const std::vector<int64_t>& shape) {
  inputs_.message(graph_field::input, value_info(name, shape));
}
void OnnxGraph::output(const std::string& name, const std::vector<int64_t>& shape) {
  outputs_.message(graph_field::output, value_info(name, shape));
}

std::string OnnxGraph::model(const std::string& name,
                             const std::map<std::string, std::string>& metadata) {
  ProtobufMessage title;
  title.text(graph_field::name, name);
  // Fields of a message may come in any order, so parts are joined by putting them side by side.
  const std::string graph =
      nodes_.bytes() + title.bytes() + constants_.bytes() + inputs_.bytes() + outputs_.bytes();
  ProtobufMessage m, operators;
  m.integer(model_field::ir, ir_version);
  m.text(model_field::producer, "fulmar");
  m.text(model_field::producer_version, version());
  m.text(model_field::graph, graph);
  operators.text(1, "");
  operators.integer(2, opset);
  m.message(model_field::opset_import, operators);
  for (const auto& [key, value] : metadata) {
    ProtobufMessage entry;
    entry.text(1, key);
    entry.text(2, value);
    m.message(model_field::metadata, entry);
  }
  if (m.bytes().size() > std::numeric_limits<int32_t>::max())
    usage_error("the network takes 2 GiB or more, which an ONNX file can't hold");
  return m.bytes();
}

}  // namespace fulmar::exchange
