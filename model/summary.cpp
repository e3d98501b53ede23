#include "model/summary.h"

#include <array>
#include <map>
#include <optional>

#include "engine/leaf.h"
#include "engine/model.h"
#include "engine/optimizer.h"
#include "model/observe.h"

namespace fulmar::model {
namespace {

double flops_of(const Tape& tape, int n) {
  const Node& node = tape.node(n);
  std::vector<ValueInfo> in;
  for (Val x : node.inputs) in.push_back(x ? tape.info(x) : ValueInfo{});
  return node.op->flops(in, node.outputs);
}

MemoryNeed memory_of(const Tape& tape, const Plan& plan, Device& device, int64_t batch) {
  MemoryNeed need;
  need.batch = batch;
  need.activations = plan.arena_bytes + plan.kept_bytes;
  for (int n : plan.leaves) {
    const ValueInfo& info = tape.node(n).outputs[0];
    const size_t bytes = view_of(nullptr, info.shape, type_on(device, info)).bytes();
    const ops::Leaf& leaf = *ops::as_leaf(tape.node(n));
    switch (leaf.kind()) {
      case ops::Leaf::Kind::input:
        need.pictures += bytes;
        break;
      case ops::Leaf::Kind::parameter:
      case ops::Leaf::Kind::statistic:
        need.weights += bytes;
        break;
      case ops::Leaf::Kind::buffer:
        break;
    }
  }
  return need;
}

void describe_layers(const Network& network, const Tape& tape, const Plan& plan, Summary& summary) {
  std::map<std::string, size_t> index;
  for (const Call& call : network.calls()) {
    index[call.name] = summary.layers.size();
    summary.layers.push_back(
        {call.name, call.op, call.scope, tape.shape(tape.find(call.name)), 0, 0, 0});
  }
  // A node's innermost scope is the layer that recorded it.
  const auto layer_of = [&](int n) -> LayerSummary* {
    const auto& scopes = tape.node(n).scopes;
    const auto found = scopes.empty() ? index.end() : index.find(scopes.back());
    return found == index.end() ? nullptr : &summary.layers[found->second];
  };
  for (int n : plan.leaves)
    if (LayerSummary* layer = layer_of(n)) {
      const int64_t elements = tape.node(n).outputs[0].shape.elements();
      const ops::Leaf& leaf = *ops::as_leaf(tape.node(n));
      const bool weight = leaf.kind() == ops::Leaf::Kind::parameter;
      if (weight && leaf.trainable) layer->trainable += elements;
      if ((weight && !leaf.trainable) || leaf.kind() == ops::Leaf::Kind::statistic)
        layer->statistics += elements;
    }
  for (const Plan::Step& step : plan.steps)
    if (LayerSummary* layer = layer_of(step.node)) layer->flops += flops_of(tape, step.node);
  for (const LayerSummary& layer : summary.layers) {
    summary.trainable += layer.trainable;
    summary.statistics += layer.statistics;
    summary.forward_flops += layer.flops;
  }
}

}  // namespace

PlannedProgram planned_inference(const ModelInfo& info, int64_t batch, Device& device, bool fuse,
                                 int64_t side) {
  const Heads heads = heads_of(info);
  const std::vector<TensorSpec> tensors = tensors_of(info, Heads{}, batch, side);
  PlannedProgram planned{record_program(info, heads, tensors, {Mode::eval}), {}};
  Program& p = planned.program;
  if (fuse) p = fused(p, device, FuseFor::inference);
  std::vector<Val> outputs = watched_values(p);
  for (const auto& [name, value] : p.outputs) outputs.push_back(value);
  for (const Recorded& head : p.heads)
    for (const auto& result : head.results) outputs.push_back(result.second);
  planned.plan = make_plan(*p.tape, outputs, device);
  return planned;
}

PlannedProgram planned_step(const ModelInfo& info, int64_t batch, Device& device,
                            const TrainStepOptions& options, int64_t side) {
  const Heads heads = heads_of(info);
  const std::vector<TensorSpec> tensors = tensors_of(info, heads, batch, side);
  const Model model = new_model(info, device, {}, side);
  RecordedStep step = record_step(info, heads, model, tensors, device, options, true);
  const Plan plan = make_plan(*step.program.tape, step.outputs, device);
  return {std::move(step.program), plan};
}

Summary summarize(const ModelInfo& info, int64_t batch, Device& device,
                  const TrainStepOptions& options, int64_t side) {
  Summary summary;
  {
    const auto [p, run] = planned_inference(info, 1, device, false, side);  // layer by layer
    describe_layers(info.network, *p.tape, run, summary);
    const auto [fused_program, fused_run] = planned_inference(info, 1, device, true, side);
    summary.inference = memory_of(*fused_program.tape, fused_run, device, 1);
  }
  if (heads_of(info).empty()) return summary;  // it can't be trained
  const auto [p, step] = planned_step(info, batch, device, options, side);
  for (const Plan::Step& s : step.steps) summary.training_flops += flops_of(*p.tape, s.node);
  summary.training_flops /= static_cast<double>(batch);
  summary.training = memory_of(*p.tape, step, device, batch);
  const View flat = view_of(nullptr, p.tape->shape(p.tape->find("/parameters")), device.real());
  // Its state, and a sum, with several micro-batches.
  summary.training.optimizer = (1 + state_names(options.optimizer).size()) * flat.bytes();
  return summary;
}

const LayerSummary* layer_without_pixels(const Network& network, const Summary& summary) {
  std::map<std::string, const LayerSummary*> layers;
  for (const LayerSummary& layer : summary.layers) layers[layer.name] = &layer;
  for (const Call& call : network.calls()) {
    if (call.inputs.empty() || layers.count(call.name) == 0) continue;
    const auto input = layers.find(call.inputs.front());
    if (input == layers.end() || call.attributes.count("stride") == 0) continue;
    const Shape& x = input->second->output;
    const auto* stride = std::get_if<int64_t>(&call.attributes.at("stride"));
    if (stride && *stride < 2) continue;
    if (x.height() < 2 || x.width() < 2) return layers[call.name];
  }
  return nullptr;
}

}  // namespace fulmar::model
