#include "model/loaded_model.h"

#include "kernels/error.h"
#include "model/from_file.h"
#include "model/program.h"

namespace fulmar::model {
namespace {

// A thread pool of one starts no thread: a model computes nothing itself.
std::unique_ptr<Context> context_for_loading() {
  return std::make_unique<Context>(Context::Options{.threads = 1});
}

// Sides that stand for those of a first input of any extents.
constexpr int64_t a_side = 256, another_side = 320;

Program record_for_one(const ModelInfo& info, const Heads& heads, int64_t side) {
  std::vector<TensorSpec> tensors;
  for (const auto& [name, shape] : input_shapes(info, side)) {
    const auto preprocess = info.preprocess.find(name);
    const bool pictures = preprocess != info.preprocess.end();
    tensors.push_back({name, pictures ? preprocess->second.type : DType::f32, shape});
    if (pictures) tensors.push_back(samples_spec(name, 1));
  }
  return record_program(info, heads, tensors, {Mode::eval});
}

// The first extent is the batch's; others are free where two recordings differ in them.
TensorInfo output_info(const std::string& name, const ValueInfo& info, const Shape& other) {
  TensorInfo tensor{name, info.is_real() ? DType::f32 : info.type, info.shape};
  for (int axis = 0; axis < info.shape.rank(); axis++)
    if (axis == 0 || info.shape[axis] != other[axis]) tensor.extents[axis] = -1;
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
  Program program, other;
  from_file(path_, [&] {
    heads_ = heads_of(info_);
    const std::vector<std::string> names = info_.network.inputs();
    const bool any_size = !names.empty() && info_.preprocess.count(names[0]) == 0;
    describe_inputs(any_size);
    program = record_for_one(info_, heads_, a_side);
    other = any_size ? record_for_one(info_, heads_, another_side) : program;
    weights_ = std::make_unique<Model>(*device_, *program.tape, std::nullopt);
  });
  const auto values = named_outputs(program, heads_, info_.network);
  const auto others = named_outputs(other, heads_, info_.network);
  for (size_t i = 0; i < values.size(); i++)
    outputs_.push_back(output_info(values[i].first, program.tape->info(values[i].second),
                                   other.tape->shape(others[i].second)));
  file.restore(*weights_);
}

void LoadedModel::describe_inputs(bool any_size) {
  const std::map<std::string, Shape> shapes = input_shapes(info_, a_side);
  for (const std::string& name : info_.network.inputs()) {
    const Shape& one = shapes.at(name);
    const auto preprocess = info_.preprocess.find(name);
    if (preprocess != info_.preprocess.end())
      inputs_.push_back({name, preprocess->second.type, {-1, -1, -1, one.channels()}, true});
    else
      inputs_.push_back({name, DType::f32,
                         any_size ? Shape{-1, -1, -1, one.channels()}
                                  : Shape{-1, one.height(), one.width(), one.channels()}});
  }
}

}  // namespace fulmar::model
