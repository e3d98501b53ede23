#include "tools/exchange/export_onnx.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "engine/ops.h"
#include "kernels/error.h"
#include "model/program.h"
#include "tools/exchange/onnx_graph.h"
#include "tools/exchange/onnx_layers.h"
#include "tools/exchange/torch_names.h"

namespace fulmar::exchange {
namespace {

// [C,H,W]
std::vector<int64_t> channels_first(const Shape& shape) {
  return {shape.channels(), shape.height(), shape.width()};
}

bool is_vector(const Shape& shape) { return shape.height() == 1 && shape.width() == 1; }

// The extents that a weight has in ONNX, where they aren't PyTorch's: a dense layer is a
// convolution, and slopes of channels stand before extents of 1.
std::vector<int64_t> onnx_shape(const std::string& op, const std::string& what,
                                std::vector<int64_t> shape) {
  if ((op == "dense" || op == "prelu") && what == "weight" && shape.size() < 3)
    shape.insert(shape.end(), {1, 1});
  return shape;
}

class Writer {
 public:
  Writer(const ModelInfo& info, Model& model) : info_(info), model_(model) {
    for (TorchWeight& weight : torch_weights(info.network, model))
      weights_[weight.key.substr(0, weight.key.size() - ending(weight).size())].push_back(
          std::move(weight));
    for (const std::string& name : info.network.outputs()) outputs_.insert(name);
  }

  std::string write(std::optional<std::array<int64_t, 2>> extents) {
    record_shapes(extents);
    for (const Call& call : info_.network.calls())
      call.op == "input" ? add_input(call) : add_layer(call);
    for (const std::string& name : info_.network.outputs()) add_output(name);
    std::map<std::string, std::string> metadata = info_.task;
    for (const auto& [name, preprocess] : info_.preprocess)
      metadata[info_.preprocess.size() == 1 ? "preprocess" : "preprocess/" + name] =
          preprocess.to_json();
    return graph_.model("fulmar", metadata);
  }

  Exported exported;

 private:
  // What follows the layer's name in a key, with its point.
  static std::string ending(const TorchWeight& weight) {
    const size_t layer = weight.name.empty() ? weight.key.rfind('.') : weight.name.rfind('/');
    return weight.key.substr(layer);
  }

  void record_shapes(std::optional<std::array<int64_t, 2>> extents) {
    std::map<std::string, Val> inputs;
    for (auto [name, shape] : model::input_shapes(info_, extents ? (*extents)[0] : 0)) {
      if (extents) shape[1] = (*extents)[0], shape[2] = (*extents)[1];
      inputs[name] = ops::input(tape_, "/" + name, {shape});
    }
    record(info_.network, tape_, inputs, {Mode::eval});
  }
  const Shape& shape(const std::string& call) { return tape_.shape(tape_.find(call)); }

  // An output of the network has its own name as a graph's output: its value another.
  std::string value(const std::string& call) const {
    return outputs_.count(call) > 0 ? call + "/value" : call;
  }

  void add_input(const Call& call) {
    graph_.input(call.name, channels_first(shape(call.name)));
    if (outputs_.count(call.name) > 0)
      usage_error("input '" + call.name + "' is an output too, which isn't written to ONNX");
  }

  void add_layer(const Call& call) {
    const auto converter = onnx_layers().find(call.op);
    if (converter == onnx_layers().end())
      usage_error(call.op + " '" + call.name + "' isn't written to ONNX");
    std::vector<Val> values;
    std::vector<std::string> inputs;
    std::vector<Shape> shapes;
    for (const std::string& name : call.inputs) {
      values.push_back(tape_.find(name));
      inputs.push_back(value(name));
      shapes.push_back(shape(name));
    }
    const RecordOptions options{Mode::eval};
    const LayerArgs args(tape_, call, values, options, 0);
    OnnxLayer layer{graph_,
                    call,
                    args,
                    std::move(inputs),
                    std::move(shapes),
                    shape(call.name),
                    value(call.name),
                    constants(call)};
    converter->second(layer);
  }

  std::map<std::string, std::string> constants(const Call& call) {
    std::map<std::string, std::string> names;
    const auto found = weights_.find(call.weights.empty() ? call.name : call.weights);
    if (found == weights_.end()) return names;
    for (const TorchWeight& weight : found->second) {
      if (weight.name.empty()) continue;
      const std::string what = ending(weight).substr(1);
      const std::vector<double> values = to_torch(weight, model_.read(weight.name));
      const std::vector<float> rounded(values.begin(), values.end());
      names[what] = graph_.floats(weight.key, onnx_shape(call.op, what, weight.shape), rounded);
      if (!call.weights.empty()) continue;
      exported.tensors++;
      exported.values += std::ssize(rounded);
    }
    return names;
  }

  void add_output(const std::string& name) {
    const Shape& y = shape(name);
    if (is_vector(y)) {
      graph_.node("Flatten", {value(name)}, name);
      graph_.output(name, {y.channels()});
    } else {
      graph_.node("Identity", {value(name)}, name);
      graph_.output(name, channels_first(y));
    }
  }

  const ModelInfo& info_;
  Model& model_;
  OnnxGraph graph_;
  Tape tape_;
  std::map<std::string, std::vector<TorchWeight>> weights_;  // by layer
  std::set<std::string> outputs_;
};

}  // namespace

Exported export_onnx(const std::string& path, const ModelInfo& info, Model& model,
                     std::optional<std::array<int64_t, 2>> extents) {
  if (extents && info.network.inputs().size() > 1)
    usage_error("the network has several inputs: it is written at the model's own crop");
  Writer writer(info, model);
  write_file(path, writer.write(extents));
  return writer.exported;
}

}  // namespace fulmar::exchange
