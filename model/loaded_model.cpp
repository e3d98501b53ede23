#include "model/loaded_model.h"

#include "kernels/error.h"
#include "model/program.h"

namespace fulmar::model {
namespace {

// A thread pool of one starts no thread: a model computes nothing itself.
std::unique_ptr<Context> context_for_loading() {
  return std::make_unique<Context>(Context::Options{.threads = 1});
}

TensorInfo output_info(const std::string& name, const ValueInfo& info) {
  TensorInfo tensor{name, info.is_real() ? DType::f32 : info.type, info.shape};
  if (tensor.extents.rank() > 0) tensor.extents[0] = -1;
  return tensor;
}

}  // namespace

LoadedModel::LoadedModel(const std::string& path, const std::string& device)
    : path_(path), own_(context_for_loading()), device_(&own_->device(device)) {
  load();
}

LoadedModel::LoadedModel(const std::string& path, Device& device) : path_(path), device_(&device) {
  load();
}

LoadedModel::~LoadedModel() = default;

void LoadedModel::load() {
  ModelFile file(path_);
  info_ = file.info();
  notes_ = file.notes();
  metadata_ = file.metadata();
  metadata_.erase("training_state");
  Program program;
  try {
    heads_ = heads_of(info_);
    describe_inputs();
    std::vector<TensorSpec> tensors;
    for (const auto& [name, shape] : input_shapes(info_)) {
      const auto preprocess = info_.preprocess.find(name);
      tensors.push_back(
          {name, preprocess == info_.preprocess.end() ? DType::f32 : preprocess->second.type,
           shape});
      if (preprocess != info_.preprocess.end()) tensors.push_back(samples_spec(name, 1));
    }
    program = record_program(info_, heads_, tensors, {Mode::eval});
    weights_ = std::make_unique<Model>(*device_, *program.tape, std::nullopt);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    file_error(path_ + ": not a usable model: " + error.what());
  }
  for (const auto& [name, value] : named_outputs(program, heads_, info_.network))
    outputs_.push_back(output_info(name, program.tape->info(value)));
  file.restore(*weights_);
}

void LoadedModel::describe_inputs() {
  const std::map<std::string, Shape> shapes = input_shapes(info_);
  for (const std::string& name : info_.network.inputs()) {
    const Shape& one = shapes.at(name);
    const auto preprocess = info_.preprocess.find(name);
    if (preprocess != info_.preprocess.end())
      inputs_.push_back({name, preprocess->second.type, {-1, -1, -1, one.channels()}, true});
    else
      inputs_.push_back({name, DType::f32, {-1, one.height(), one.width(), one.channels()}});
  }
}

}  // namespace fulmar::model
