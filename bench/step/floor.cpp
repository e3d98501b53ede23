#include "bench/step/floor.h"

#include <algorithm>
#include <optional>

namespace fulmar::bench {
namespace {

double bytes_of(const Device& device, const ValueInfo& info, int64_t elements) {
  return static_cast<double>(elements) * static_cast<double>(size_of(type_on(device, info)));
}

// Whether the producer of a joined operand wrote it where it belongs.
bool joined_in_place(const Node& node, const Plan& plan, size_t operand, Val output) {
  if (node.op->join_offset(static_cast<int>(operand)) < 0) return false;
  const int buffer = plan.allocation(node.inputs[operand]).buffer;
  return buffer >= 0 && buffer == plan.allocation(output).buffer;
}

// How much an op that samples a picture, its first operand, sees of it.
std::optional<int64_t> sampled_elements(const Node& node, const Tape& tape) {
  if (node.op->name() == "warp") return node.outputs[0].shape.elements();
  const Attributes attributes = node.op->attributes();
  const auto height = attributes.find("sampled_height"), width = attributes.find("sampled_width");
  if (height == attributes.end() || width == attributes.end()) return {};
  const Shape& source = tape.shape(node.inputs[0]);
  return source.images() * std::get<int64_t>(height->second) * std::get<int64_t>(width->second) *
         source.channels();
}

template <class Key>
std::vector<Stage> added_up(const std::vector<TimedStep>& steps, const Key& key) {
  std::vector<Stage> stages;
  for (const TimedStep& step : steps) {
    const std::string name = key(step);
    auto at = std::find_if(stages.begin(), stages.end(),
                           [&](const Stage& stage) { return stage.name == name; });
    if (at == stages.end()) at = stages.insert(at, Stage{name});
    at->seconds += step.seconds;
    at->floor += step.floor;
    at->steps++;
  }
  return stages;
}

}  // namespace

Need need_of(const Tape& tape, const Plan& plan, size_t step, const Device& device) {
  const int at = plan.steps[step].node;
  const Node& node = tape.node(at);
  Need need;
  std::vector<ValueInfo> in;
  std::vector<Val> seen;
  double in_place = 0;
  for (size_t i = 0; i < node.inputs.size(); i++) {
    const Val x = node.inputs[i];
    in.push_back(x ? tape.info(x) : ValueInfo{{}, Role::activation, DType::f32});
    if (!x || std::find(seen.begin(), seen.end(), x) != seen.end()) continue;
    seen.push_back(x);
    int64_t elements = in.back().shape.elements();
    if (const auto read = sampled_elements(node, tape); read && i == 0)
      elements = std::min(elements, *read);
    const double bytes = bytes_of(device, in.back(), elements);
    if (joined_in_place(node, plan, i, Val{at, 0}))
      in_place += bytes;
    else
      need.bytes += bytes;
  }
  for (const ValueInfo& out : node.outputs)
    need.bytes += bytes_of(device, out, out.shape.elements());
  need.bytes = std::max(need.bytes - in_place, 0.0);
  need.flops = node.op->flops(in, node.outputs);
  return need;
}

double floor_seconds(const Need& need, const CopyCurve& copies, double gflops) {
  const double copied = need.bytes > 0 ? need.bytes / copies.gbytes(need.bytes) : 0;
  return std::max(copied, need.flops / gflops) * 1e-9;
}

std::vector<Stage> by_op(const std::vector<TimedStep>& steps) {
  std::vector<Stage> stages = added_up(steps, [](const TimedStep& step) { return step.op; });
  std::stable_sort(stages.begin(), stages.end(),
                   [](const Stage& a, const Stage& b) { return a.seconds > b.seconds; });
  return stages;
}

std::vector<Stage> by_block(const std::vector<TimedStep>& steps) {
  return added_up(steps, [](const TimedStep& step) { return step.block; });
}

std::vector<Stage> furthest_above_floor(const std::vector<TimedStep>& steps, size_t count) {
  std::vector<Stage> stages =
      added_up(steps, [](const TimedStep& step) { return step.op + ", " + step.block; });
  std::stable_sort(stages.begin(), stages.end(), [](const Stage& a, const Stage& b) {
    return a.seconds - a.floor > b.seconds - b.floor;
  });
  stages.resize(std::min(count, stages.size()));
  return stages;
}

std::vector<TimedStep> timed_steps(const Tape& tape, const Plan& plan, const Device& device,
                                   const std::vector<double>& seconds, const CopyCurve& copies,
                                   double gflops) {
  std::vector<TimedStep> steps;
  for (auto i = static_cast<size_t>(plan.once); i < plan.steps.size(); i++) {
    const Node& node = tape.node(plan.steps[i].node);
    TimedStep step;
    step.op = std::string(node.op->name());
    step.block = node.scopes.empty() ? "outside" : node.scopes.front();
    step.need = need_of(tape, plan, i, device);
    step.seconds = seconds[i];
    step.floor = floor_seconds(step.need, copies, gflops);
    steps.push_back(std::move(step));
  }
  return steps;
}

double floor_seconds(const std::vector<TimedStep>& steps) {
  double sum = 0;
  for (const TimedStep& step : steps) sum += step.floor;
  return sum;
}

}  // namespace fulmar::bench
