#include "model/program.h"

#include <algorithm>
#include <array>

#include "engine/fuse/fuse.h"
#include "kernels/error.h"

namespace fulmar::model {
namespace {

const std::string samples_suffix = "/samples", given_suffix = "/given";

bool has_tensor(std::span<const TensorSpec> tensors, const std::string& name) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const TensorSpec& spec) { return spec.name == name; });
}

// The tensor that an input of the network reads.
std::string tensor_of(const std::string& input, const Network& network,
                      std::span<const TensorSpec> tensors) {
  if (has_tensor(tensors, input)) return input;
  if (network.inputs().size() == 1 && has_tensor(tensors, "image")) return "image";
  usage_error("the batches have no tensor '" + input + "' for the network's input of that name");
}

// What a tensor of a batch is on the tape.
Role role_of(const TensorSpec& spec, std::span<const TensorSpec> tensors, bool of_network) {
  if (has_tensor(tensors, spec.name + samples_suffix) || spec.name.ends_with(samples_suffix))
    return Role::source;
  if (of_network) return Role::activation;
  // Floats beside pictures are weights and soft labels of a loss.
  return spec.type == DType::f32 ? Role::statistic : Role::index;
}

// The network's inputs, by the tensors' values.
std::map<std::string, Val> record_inputs(Tape& tape, const ModelInfo& info,
                                         std::span<const TensorSpec> tensors,
                                         const std::map<std::string, Val>& values,
                                         const ProgramOptions& options) {
  std::map<std::string, Val> inputs;
  const auto scope = tape.scope("preprocessing");
  for (const std::string& name : info.network.inputs()) {
    const std::string tensor = tensor_of(name, info.network, tensors);
    const auto preprocess = info.preprocess.find(name);
    if (preprocess == info.preprocess.end()) {
      inputs[name] = values.at(tensor);
      continue;
    }
    const auto samples = values.find(tensor + samples_suffix);
    if (samples == values.end())
      usage_error("the batches have no tensor '" + tensor + samples_suffix +
                  "', which says how pictures are sampled");
    const Preprocess& p = preprocess->second;
    const bool cuts = std::any_of(tensors.begin(), tensors.end(), [&](const TensorSpec& spec) {
      return spec.name == tensor + samples_suffix && spec.cuts;
    });
    const auto [height, width] = options.extents.value_or(std::array{p.crop, p.crop});
    inputs[name] =
        ops::warp(tape, values.at(tensor), samples->second, height, width, p.warp_options(), cuts);
  }
  return inputs;
}

Recorded record_head(Tape& tape, const Head& head, const Program& program,
                     const std::map<std::string, Val>& tensors, const LossOptions& options) {
  const auto given = [&](const std::string& name) {
    const auto found = tensors.find(name);
    return found == tensors.end() ? Val{} : found->second;
  };
  return head.task->record(
      tape, program.outputs.at(head.output),
      {given(head.label), given(head.label + samples_suffix), given(head.weight)}, options);
}

// The loss of all heads as one sum and one weight.
void join_losses(Program& p, const Heads& heads) {
  Tape& tape = *p.tape;
  if (p.heads.empty() ||
      std::any_of(p.heads.begin(), p.heads.end(), [](const Recorded& r) { return !r.loss_sum; }))
    return;
  const auto scaled = [&](Val x, double by) { return by == 1 ? x : ops::affine(tape, x, by, 0); };
  if (p.heads.size() == 1) {
    p.loss_sum = scaled(p.heads[0].loss_sum, heads[0].loss_weight);
    p.loss_weight = p.heads[0].loss_weight;
  } else {
    Val mean, weights;
    for (size_t i = 0; i < p.heads.size(); i++) {
      const Recorded& r = p.heads[i];
      const Val part =
          scaled(ops::div_no_nan(tape, r.loss_sum, r.loss_weight), heads[i].loss_weight);
      mean = mean ? ops::add(tape, mean, part) : part;
      weights = weights ? ops::add(tape, weights, r.loss_weight) : r.loss_weight;
    }
    p.loss_weight = scaled(weights, 1 / static_cast<double>(p.heads.size()));
    p.loss_sum = ops::mul(tape, mean, p.loss_weight);
  }
  p.loss = ops::div_no_nan(tape, p.loss_sum, p.loss_weight);
}

// The extents of an input that was not told any: the first input's over its grid.
Shape shape_of_input(const Call& call, const Shape& first) {
  const auto integer = [&](const char* name) {
    const auto found = call.attributes.find(name);
    const auto* value =
        found == call.attributes.end() ? nullptr : std::get_if<int64_t>(&found->second);
    return value ? *value : 0;
  };
  const int64_t grid = std::max<int64_t>(1, integer("grid"));
  const int64_t channels = integer("channels");
  return {1, grid_cells(first.height(), grid), grid_cells(first.width(), grid),
          channels > 0 ? channels : first.channels()};
}

Shape of_batch(const Shape& one, int64_t batch) {
  return {batch, one.height(), one.width(), one.channels()};
}

}  // namespace

Program record_program(const ModelInfo& info, const Heads& heads,
                       std::span<const TensorSpec> tensors, const ProgramOptions& options) {
  Program p;
  p.tape = std::make_shared<Tape>();
  Tape& tape = *p.tape;
  std::map<std::string, Val> values;
  const std::vector<std::string> inputs = info.network.inputs();
  for (const TensorSpec& spec : tensors) {
    const bool of_network = std::find(inputs.begin(), inputs.end(), spec.name) != inputs.end();
    const Role role = role_of(spec, tensors, of_network);
    // The network gives the name itself to what it makes of the tensor.
    const std::string name = of_network ? spec.name + given_suffix : spec.name;
    p.inputs.push_back(ops::input(tape, name, {spec.shape, role, spec.type}));
    values[spec.name] = p.inputs.back();
  }
  p.outputs = record(info.network, tape, record_inputs(tape, info, tensors, values, options),
                     {options.mode, options.unbiased_running_variance});
  for (size_t i = 0; i < heads.size(); i++) {
    p.heads.push_back(record_head(tape, heads[i], p, values, options.loss));
    for (const auto& [name, value] : p.heads.back().results)
      tape.name(value, prefix_of(heads, i, "/") + name);
  }
  join_losses(p, heads);
  return p;
}

namespace {

// All values of a program that it names.
std::vector<Val*> values_of(Program& p) {
  std::vector<Val*> values;
  for (Val& v : p.inputs) values.push_back(&v);
  for (auto& [name, v] : p.outputs) values.push_back(&v);
  for (Recorded& r : p.heads) {
    for (Val* v : {&r.loss_sum, &r.loss_weight, &r.sample_loss, &r.sample_weight})
      values.push_back(v);
    for (auto& [name, v] : r.results) values.push_back(&v);
    for (Val& v : r.watched) values.push_back(&v);
  }
  for (Val* v : {&p.loss, &p.loss_sum, &p.loss_weight}) values.push_back(v);
  return values;
}

}  // namespace

Program fused(const Program& program, const Device& device, FuseFor use) {
  Program p = program;
  std::vector<Val> keep;
  for (const Val* v : values_of(p))
    if (*v) keep.push_back(*v);
  const Rewritten after = fuse(*p.tape, device, keep, {}, use);
  return moved(program, after.tape, [&](Val v) { return after.now(v); });
}

Program moved(const Program& program, std::shared_ptr<Tape> tape,
              const std::function<Val(Val)>& now) {
  Program p = program;
  for (Val* v : values_of(p)) *v = now(*v);
  p.tape = std::move(tape);
  return p;
}

TensorSpec samples_spec(const std::string& name, int64_t batch) {
  return {name + samples_suffix, DType::u8, {batch, static_cast<int64_t>(sizeof(WarpSample))}};
}

std::vector<std::pair<std::string, Val>> named_outputs(const Program& program, const Heads& heads,
                                                       const Network& network) {
  std::vector<std::pair<std::string, Val>> all;
  for (size_t i = 0; i < program.heads.size(); i++)
    for (const auto& [name, value] : program.heads[i].results)
      all.emplace_back(prefix_of(heads, i, "/") + name, value);
  for (const std::string& name : network.outputs())
    all.emplace_back(name, program.outputs.at(name));
  return all;
}

void require_labels(const Program& program, const Heads& heads, const std::string& what) {
  if (heads.empty()) usage_error(what + " needs a model with a task");
  for (size_t i = 0; i < heads.size(); i++)
    if (!program.heads[i].loss_sum)
      usage_error(what + " needs batches with a tensor '" + heads[i].label + "'");
}

std::map<std::string, Shape> input_shapes(const ModelInfo& info, int64_t side) {
  std::map<std::string, Shape> shapes;
  Shape first;
  for (const std::string& name : info.network.inputs()) {
    const auto preprocess = info.preprocess.find(name);
    if (preprocess == info.preprocess.end() && first.rank() == 0 && side == 0)
      usage_error("the network's first input '" + name +
                  "' has no preprocessing that says how large it is");
    shapes[name] =
        preprocess == info.preprocess.end()
            ? shape_of_input(info.network.call(name),
                             first.rank() == 0 ? Shape{1, side, side, 0} : first)
            : Shape{1, preprocess->second.crop, preprocess->second.crop, preprocess->second.bands};
    if (shapes[name].channels() == 0)
      usage_error("the network's input '" + name + "' doesn't say how many channels it has");
    if (first.rank() == 0) first = shapes[name];
  }
  return shapes;
}

std::vector<TensorSpec> tensors_of(const ModelInfo& info, const Heads& heads, int64_t batch,
                                   int64_t side) {
  std::vector<TensorSpec> tensors;
  Tape tape;
  std::map<std::string, Val> inputs;
  for (const auto& [name, shape] : input_shapes(info, side)) {
    inputs[name] = ops::input(tape, name + given_suffix, {shape});
    const auto preprocess = info.preprocess.find(name);
    if (preprocess == info.preprocess.end()) {
      tensors.push_back({name, DType::f32, of_batch(shape, batch)});
      continue;
    }
    const Preprocess& p = preprocess->second;
    const int64_t extent = p.size > 0 ? p.size : p.crop;
    const std::string tensor = info.network.inputs().size() == 1 ? "image" : name;
    tensors.push_back({tensor, DType::u8, {batch, extent, extent, p.bands}});
    tensors.push_back(samples_spec(tensor, batch));
  }
  if (heads.empty()) return tensors;
  const auto outputs = record(info.network, tape, inputs, {Mode::eval});
  for (const Head& head : heads) {
    TensorSpec label = head.task->label_of(of_batch(tape.shape(outputs.at(head.output)), batch));
    label.name = head.label;
    if (!has_tensor(tensors, label.name)) tensors.push_back(label);
    if (!has_tensor(tensors, head.weight))
      tensors.push_back({head.weight, DType::f32, {batch, 1, 1, 1}});
  }
  return tensors;
}

Model new_model(const ModelInfo& info, Device& device, std::optional<uint64_t> seed, int64_t side) {
  Tape tape;
  std::map<std::string, Val> inputs;
  for (const auto& [name, shape] : input_shapes(info, side))
    inputs[name] = ops::input(tape, name + given_suffix, {shape});
  record(info.network, tape, inputs, {Mode::train});
  return Model(device, tape, seed);
}

Model load_model(const Checkpoint& checkpoint, Device& device) {
  Model model = new_model(checkpoint.info(), device, {});
  checkpoint.restore(model);
  return model;
}

}  // namespace fulmar::model
